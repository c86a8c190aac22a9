"""Each rule by which a lock is stale.

Promise 7: `verify` compares the lock with the spec requirement by requirement and reports each one that fails.

The tests compare the places and the quoted names of the messages, not their wording.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.digests import compute_text_digest, compute_value_digest
from envcompile.lock.freshness import check_freshness, find_mismatches, made_from_text, made_from_value
from envcompile.lock.header import LAYOUT_VERSION
from envcompile.lock.model import (
    BaseImage,
    CondaPackage,
    Lock,
    PipPackage,
    PlatformLock,
    PythonInterpreter,
    RecordedInput,
    ToolImage,
)
from envcompile.spec.solver_inputs import recorded_inputs
from tests.kit.project import spec_of

if TYPE_CHECKING:
    from envcompile.spec.model import Spec

HEX = 64 * "0"
IMAGE = f"base:1@sha256:{HEX}"
BASE = BaseImage(IMAGE, "debian-12", "2.36")
PYTHON = PythonInterpreter("3.12.4", "/usr/bin/python3", "spec")
PLATFORM = PlatformLock("linux-64", PYTHON, BASE, BASE, (ToolImage("uv", f"uv:1@sha256:{HEX}"),), ())
IMAGE_TABLE = f'[image]\nbase = {{ image = "{IMAGE}", os = "debian-12", glibc = "2.36" }}\n'
PIP = '[pip]\npackages = ["one"]\n'
ONE = PipPackage("one", "1.0", "one-1.0-py3-none-any.whl", HEX, 1, "default")

Finding = tuple[object, list[str]]


def read_spec(text: str) -> Spec:
    python = "" if "python =" in text.partition("[")[0] else 'python = "3.12"\n'
    return spec_of(f'name = "a"\n{python}{text}')


def pip_lock(spec_text: str, **fields: Any) -> Lock:
    """A lock for one pip package that records the inputs of a spec."""
    recorded = tuple(RecordedInput(*row) for row in recorded_inputs(read_spec(spec_text)).items())
    lock = Lock(
        f"sha256:{HEX}",
        f"sha256:{HEX}",
        (replace(PLATFORM, pip=(ONE,)),),
        recorded_inputs=recorded,
    )
    return replace(lock, **fields)


def findings(spec_text: str, lock: Lock) -> list[Finding]:
    """The place in the spec and the quoted words of each mismatch."""
    found = check_freshness(read_spec(spec_text), lock, "a hint")
    assert {(each.rule, each.hint) for each in found} <= {("stale", "a hint")}
    return [(each.path, re.findall("`([^`]*)`", each.message)) for each in found]


def conda(name: str, version: str = "1.0", *depends: str) -> CondaPackage:
    return CondaPackage(name, version, "0", "corp", "noarch", f"{name}-{version}-0.conda", HEX, depends=depends)


def conda_findings(requested: str, *packages: CondaPackage, more: str = "", top: str = "") -> list[Finding]:
    spec = spec_of(f'name = "a"\n{top}[conda]\nchannels = ["corp"]\npackages = [{requested}]\n{more}{IMAGE_TABLE}')
    found = find_mismatches(spec, replace(PLATFORM, conda=packages))
    return [(each.path, re.findall("`([^`]*)`", each.message)) for each in found]


# The lock as a whole


def test_a_lock_is_fresh_by_digest_for_its_text_and_its_value_only() -> None:
    value = {"name": "a"}
    lock = Lock(compute_value_digest(value), compute_text_digest("name"), (PLATFORM,))
    assert made_from_text("name", lock)
    assert not made_from_text("name ", lock)
    assert made_from_value(value, lock)
    assert not made_from_value({"name": "b"}, lock)
    older = replace(lock, layout=LAYOUT_VERSION - 1)
    assert not made_from_text("name", older)
    assert not made_from_value(value, older)


def test_another_layout_is_the_only_finding() -> None:
    older = pip_lock(PIP, layout=1, platforms=())
    (found,) = check_freshness(read_spec(PIP), older)
    assert found.path == ()
    assert re.search(r"layout 1 .* layout 3$", found.message)
    assert found.hint == "run `envcompile lock`"


def test_the_platforms_of_spec_and_lock_are_compared() -> None:
    lock = pip_lock(PIP)
    assert findings(PIP, lock) == []
    both = 'platforms = ["linux-64", "linux-aarch64"]\n'
    assert findings(both + PIP, lock) == [(("platforms", 1), ["linux-aarch64"])]
    more = replace(lock, platforms=(*lock.platforms, replace(PLATFORM, platform="linux-aarch64", pip=())))
    assert findings(PIP, more) == [(("platforms",), ["linux-aarch64"])]
    # A package that both platforms lack is reported once, with both platforms.
    less = replace(lock, platforms=tuple(replace(each, pip=()) for each in more.platforms))
    assert findings(both + PIP, less) == [
        (("pip", "packages", 0), ["one", "one", "linux-64", "linux-aarch64"]),
    ]
    assert findings(both + PIP, more) == [(("pip", "packages", 0), ["one", "one", "linux-aarch64"])]


def test_a_lock_without_recorded_inputs_is_stale() -> None:
    (found,) = check_freshness(read_spec(PIP), pip_lock(PIP, recorded_inputs=None))
    assert (found.path, found.target) == ((), "key")


# Inputs of the spec that no package shows


@pytest.mark.parametrize(
    ("before", "now", "finding"),
    [
        # An earlier limit may exclude what is locked; a later or absent one does not.
        ("2026-01-01", "2026-01-02", None),
        ("2026-01-02", "2026-01-01", ["exclude-newer", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"]),
        ("2026-01-01", "", None),
        ("", "2026-01-01", ["exclude-newer", "2026-01-01T00:00:00Z"]),
    ],
)
def test_a_later_time_limit_keeps_the_lock_fresh(before: str, now: str, finding: list[str] | None) -> None:
    old, new = (f"exclude-newer = {day}T00:00:00Z\n{PIP}" if day else PIP for day in (before, now))
    assert findings(new, pip_lock(old)) == ([] if finding is None else [(("exclude-newer",), finding)])


def test_more_exclusions_keep_the_lock_fresh() -> None:
    old, less, more = (f"{PIP}exclude = [{names}]\n" for names in ('"two"', "", '"two", "three"'))
    assert findings(more, pip_lock(old)) == []
    assert findings(less, pip_lock(old)) == [(("pip", "exclude"), ["pip.exclude", "two", "pip.exclude"])]
    assert findings(f'{PIP}exclude = ["three"]\n', pip_lock(old)) == [
        (("pip", "exclude"), ["pip.exclude", "two", "three"])
    ]


def test_a_channel_behind_all_others_keeps_the_lock_fresh() -> None:
    def spec(*channels: str) -> str:
        names = ", ".join(f'"{each}"' for each in channels)
        return f"[conda]\nchannels = [{names}]\npackages = []\n{PIP}"

    lock = pip_lock(spec("one", "two"))
    assert findings(spec("one", "two", "three"), lock) == []
    for other in (("two", "one"), ("one",), ("three", "one", "two"), ()):
        ((path, words),) = findings(spec(*other), lock)
        assert path == ("conda", "channels")
        assert words[:3] == ["conda.channels", "one", "two"]
    assert findings(spec("one"), pip_lock(spec()))


def test_an_added_or_removed_extra_is_reported() -> None:
    old, new = '[pip]\npackages = ["two", "one[a,b]"]\n', '[pip]\npackages = ["two", "one[b,c,d]"]\n'
    lock = pip_lock(old)
    lock = replace(lock, platforms=(replace(PLATFORM, pip=(ONE, replace(ONE, name="two"))),))
    found = findings(new, lock)
    assert [path for path, _ in found] == [("pip", "packages", 1), ("pip", "packages", 1), ("pip", "packages")]
    assert [words for _, words in found] == [["one[c]"], ["one[d]"], ["one[a]"]]
    assert all(each.target == "key" for each in check_freshness(read_spec(new), lock))


def test_packages_must_come_from_the_index_that_the_spec_assigns() -> None:
    """Promise 10: each package comes from the one index that the spec assigns to it."""

    def spec(url: str, pattern: str, name: str = "corp") -> str:
        row = f'{{ name = "{name}", url = "https://{url}.example.com/simple", packages = ["{pattern}"] }}'
        return f"{PIP}extra-indexes = [{row}]\n"

    lock = pip_lock(spec("corp", "one"))
    assert findings(spec("corp", "on*"), lock) == []
    for other in (spec("other", "one"), spec("corp", "two"), spec("corp", "one", "team"), PIP):
        ((path, words),) = findings(other, lock)
        assert path == ("pip", "extra-indexes")
        assert words[0] == "pip.extra-indexes"
    assert findings(spec("corp", "two"), pip_lock(PIP)) == []
    assert findings(spec("corp", "one"), pip_lock(PIP))


def test_the_snapshot_is_the_one_of_the_lock() -> None:
    def spec(snapshot: str = "", limit: str = "") -> str:
        top = f"exclude-newer = {limit}\n" if limit else ""
        return f"{top}[apt]\npackages = []\n{f'snapshot = {snapshot}' if snapshot else ''}\n{PIP}"

    first, second = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    lock = pip_lock(spec(first), snapshot=first)
    assert findings(spec(first), lock) == []
    assert findings(spec(), lock) == []
    assert findings(spec(second), lock) == [(("apt", "snapshot"), ["apt.snapshot", first, second])]
    assert findings(spec(first), pip_lock(spec(), snapshot=first)) == []
    paths = [path for path, _ in findings(spec(limit=second), lock)]
    assert ("apt", "snapshot") in paths


@pytest.mark.parametrize(
    ("image", "fresh"),
    [(IMAGE, True), ("base:1", True), ("base:2", False), ("base", False), (f"base:1@sha256:{64 * '1'}", False)],
)
def test_the_base_image_is_the_locked_one(image: str, fresh: bool) -> None:
    lock = pip_lock(f"{PIP}{IMAGE_TABLE}")
    assert bool(findings(f"{PIP}{IMAGE_TABLE.replace(IMAGE, image)}", lock)) is not fresh


@pytest.mark.parametrize(("key", "value", "other"), [("os", "debian-12", "debian-13"), ("glibc", "2.36", "2.41")])
def test_facts_about_the_base_image_are_those_of_the_lock(key: str, value: str, other: str) -> None:
    text = f"{PIP}{IMAGE_TABLE}"
    assert findings(text.replace(f'"{value}"', f'"{other}"'), pip_lock(text)) == [
        (("image", "base", key), [f"image.base.{key}", value, other])
    ]
    # The spec now states what the lock has found out.
    assert findings(text, pip_lock(PIP)) == []


def test_the_python_of_the_base_image_is_that_of_the_lock() -> None:
    table = IMAGE_TABLE.replace(" }", ', python = "3.12.4", python-path = "/usr/bin/python3" }')
    lock = pip_lock(f"{PIP}{IMAGE_TABLE}")
    assert findings(f"{PIP}{table}", lock) == []
    for old, new, key in (("3.12.4", "3.12.5", "python"), ("/usr/bin/python3", "/usr/bin/python", "python-path")):
        assert [path for path, _ in findings(f"{PIP}{table.replace(old, new)}", lock)] == [("image", "base", key)]
    assert findings(f"{PIP}{IMAGE_TABLE}", pip_lock(f"{PIP}{table}")) == []


def test_a_tool_image_is_the_locked_one() -> None:
    def spec(name: str, image: str) -> str:
        return f'{PIP}[tools]\n{name} = "{image}"\n'

    lock = pip_lock(spec("uv", f"uv:1@sha256:{HEX}"))
    assert findings(spec("uv", "uv:1"), lock) == []
    assert findings(spec("uv", "uv:2"), lock) == [(("tools", "uv"), ["tools.uv", f"uv:1@sha256:{HEX}", "uv:2"])]
    assert findings(PIP, lock) == [(("tools", "uv"), ["tools.uv", f"uv:1@sha256:{HEX}", "tools.uv"])]
    # The lock has no such image, because no conda package is installed.
    assert findings(spec("python", "python:3.13"), pip_lock(PIP)) == []


# Python


def test_the_python_of_the_lock_is_a_release_of_the_requested_one() -> None:
    lock = pip_lock(PIP)
    assert findings(f'python = "3.12"\n{PIP}', lock) == []
    for other in ("3.11", "3.1", "3.13"):
        ((path, words),) = findings(f'python = "{other}"\n{PIP}', lock)
        assert (path, words) == (("python",), ["linux-64"])
    from_conda = replace(lock.platforms[0], python=replace(PYTHON, source="conda"))
    assert findings(f'python = "3.11"\n{PIP}', replace(lock, platforms=(from_conda,))) == []
    without = replace(lock.platforms[0], python=None)
    assert (("python",), ["linux-64"]) in findings(PIP, replace(lock, platforms=(without,)))


# Requirements of conda


@pytest.mark.parametrize(
    ("requirement", "satisfied"),
    [
        ("zz", True),
        ("ZZ", True),
        ("zz >=1", True),
        ("zz 1.0 0", True),
        ("corp::zz", True),
        ("zz >=2", False),
        ("other::zz", False),
        ("zz 1.0 1", False),
    ],
)
def test_the_locked_conda_package_satisfies_the_requirement(requirement: str, satisfied: bool) -> None:
    found = conda_findings(f'"{requirement}"', conda("zz"))
    assert found == ([] if satisfied else [(("conda", "packages", 0), [requirement])])


def test_a_mismatch_names_version_build_channel_and_subdir() -> None:
    spec = spec_of(f'name = "a"\n[conda]\nchannels = ["corp"]\npackages = ["zz >=2"]\n{IMAGE_TABLE}')
    (found,) = find_mismatches(spec, replace(PLATFORM, conda=(conda("zz"),)))
    assert found.message.endswith("zz 1.0 0 of corp/noarch")


def test_a_missing_conda_package_is_reported_at_its_place() -> None:
    assert conda_findings('"aa", "zz"', conda("aa")) == [(("conda", "packages", 1), ["zz", "zz"])]
    found = conda_findings('"aa"', conda("aa"), top='python = "3.12"\n')
    assert found == [(("python",), ["python 3.12.*", "python"])]


def test_a_conda_package_that_nothing_requires_is_reported() -> None:
    packages = conda("aa", "1.0", "bb"), conda("bb"), conda("cc", "1.0", "bb")
    assert conda_findings('"aa"', *packages) == [(("conda", "packages"), ["cc"])]
    assert conda_findings('"aa"', conda("aa", "1.0", "corp::BB >=1"), conda("bb")) == []


@pytest.mark.parametrize(
    ("dependency", "words"),
    [
        ("zz", []),
        ("zz >=1", []),
        ("zz>=1", []),
        ("zz >=2", ["aa", "zz >=2"]),
        ("yy", ["aa", "yy", "yy"]),
        ("__unix", []),
        ("__linux >=4", []),
        ("__archspec 1 x86_64", []),
        ("__conda", []),
        ("__glibc >=2.17,<3.0.a0", []),
        ("__osx >=10", ["aa", "__osx >=10", "__osx"]),
        # The tools read this version differently, so only the name counts.
        ("zz >1.*", []),
    ],
)
def test_the_dependencies_of_conda_packages_are_in_the_lock(dependency: str, words: list[str]) -> None:
    found = conda_findings('"aa", "zz"', conda("aa", "1.0", dependency), conda("zz"))
    assert found == ([(("conda", "packages"), words)] if words else [])


def test_a_package_that_needs_cuda_needs_a_cuda_version_in_the_spec() -> None:
    package = conda("aa", "1.0", "__cuda >=12")
    assert conda_findings('"aa"', package) == [(("conda", "packages"), ["aa"])]
    assert conda_findings('"aa"', package, more='[cuda]\nversion = "12.8"\n') == []
    assert conda_findings('"aa"', package, more="[cuda]\nversion = false\n") == [(("conda", "packages"), ["aa"])]
