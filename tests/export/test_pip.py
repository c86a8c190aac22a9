"""requirements.txt and pylock.toml: what they say is what the lock says, on every platform, and byte for byte so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import tomli
from packaging.pylock import Pylock
from packaging.requirements import Requirement

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.export import ExportInput, export_lock
from envcompile.export.common import derive_file_urls, parse_file_urls
from envcompile.platforms import PLATFORMS
from envcompile.spec.pip import make_marker_environment
from tests.kit.project import CASES, parsed, places

if TYPE_CHECKING:
    from envcompile.lock.model import PlatformLock

# What an sdist is built with has no place in them.
PIP = [case for case in CASES if parsed(case)[0].pip.packages and not parsed(case)[0].pip.allow_sdist]


@pytest.mark.parametrize("name", ["requirements", "pylock"])
def test_an_sdist_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot list the build dependencies of the sdist"):
        export_lock(name, ExportInput(*parsed("sdist")))


def given(case: str) -> ExportInput:
    spec, lock = parsed(case)
    return ExportInput(spec, lock, places(lock))


def locked(platform: PlatformLock) -> set[tuple[str, str, str]]:
    return {(each.name, each.version, each.sha256) for each in platform.pip}


@pytest.mark.parametrize("case", PIP)
def test_requirements_are_the_pins_of_each_platform(case: str) -> None:
    """Of a row with the files of several platforms, an installer takes the one that it can install."""
    text = export_lock("requirements", given(case))
    rows = [line for line in text.replace("\\\n", "").splitlines() if line[:1] not in "#- "]
    for platform in parsed(case)[1].platforms:
        python = platform.python.version if platform.python else "0"
        environment = make_marker_environment(PLATFORMS[platform.platform].machine, python)
        found = set()
        for row in rows:
            words, *hashes = (part.strip() for part in row.split("--hash=sha256:"))
            requirement = Requirement(words)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                (version,) = (each.version for each in requirement.specifier)
                mine = [each.sha256 for each in platform.pip if each.name == requirement.name]
                assert set(mine) <= set(hashes)
                found |= {(requirement.name, version, digest) for digest in mine}
        assert found == locked(platform)


@pytest.mark.parametrize("case", PIP)
def test_pylock_is_valid_and_its_pins_are_those_of_each_platform(case: str) -> None:
    lock = Pylock.from_dict(tomli.loads(export_lock("pylock", given(case))))
    lock.validate()
    for platform in parsed(case)[1].platforms:
        python = platform.python.version if platform.python else "0"
        environment = make_marker_environment(PLATFORMS[platform.platform].machine, python)
        assert any(each.evaluate(environment) for each in lock.environments or ())
        there = [each for each in lock.packages if each.marker is None or each.marker.evaluate(environment)]
        assert len({each.name for each in there}) == len(there), "of one name there is one version on a platform"
        assert {each.name for each in there} == {each.name for each in platform.pip}
        files = {str(wheel.hashes["sha256"]): wheel for each in there for wheel in each.wheels or ()}
        for package in platform.pip:
            wheel = files[package.sha256]
            assert (wheel.filename, wheel.size) == (package.file, package.size)
            assert wheel.url == given(case).file_urls[package.sha256]


@pytest.mark.parametrize("name", ["requirements", "pylock"])
@pytest.mark.parametrize("case", PIP)
def test_one_lock_has_one_text(case: str, name: str) -> None:
    """Promise 4: same spec and lock, same bytes. And what it says of addresses is read back."""
    first = given(case)
    backwards = dict(sorted(first.file_urls.items(), reverse=True))
    assert export_lock(name, first) == export_lock(name, first._replace(file_urls=backwards))
    if name == "pylock":
        assert parse_file_urls(export_lock(name, first)) == first.file_urls


def test_what_is_not_there_is_told() -> None:
    """Nothing is left out in silence: what conda brings, and what the spec leaves out."""
    text = export_lock("requirements", given("conda"))
    (line,) = (line for line in text.splitlines() if "conda packages provide" in line)
    assert "numpy" in line
    assert "# Omitted because the spec excludes them: nvidia-nccl-cu13." in export_lock(
        "requirements", given("everything")
    )
    assert "# Omitted because conda packages provide them: " in export_lock("pylock", given("conda"))


def test_an_address_that_nobody_knows() -> None:
    spec, lock = parsed("several")
    with pytest.raises(InvalidInputError, match=r"`pylock` needs the URL of `.*`, which is not known") as caught:
        export_lock("pylock", ExportInput(spec, lock))
    assert "--files URL" in str(caught.value.hint)
    spec, lock = parsed("indexes")
    with pytest.raises(InvalidInputError, match=r"comes from the index `corp`, so `--files` does not apply to it"):
        derive_file_urls(lock, "https://files.example.invalid")


def test_versions_that_differ_have_markers() -> None:
    spec, lock = parsed("several")
    one, other = lock.platforms
    older = tuple(
        replace(each, version="1.0", file=each.file.replace(each.version, "1.0")) if each.name == "numpy" else each
        for each in other.pip
    )
    lock = replace(lock, platforms=(one, replace(other, pip=older)))
    text = export_lock("requirements", ExportInput(spec, lock))
    assert "numpy==1.0 ; platform_machine == 'aarch64' \\\n" in text
    assert text.count("\nnumpy==") == 2
    Pylock.from_dict(tomli.loads(export_lock("pylock", ExportInput(spec, lock, places(lock))))).validate()
