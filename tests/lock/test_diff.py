"""What changed from one lock to the next, and why: as a value, as lines, as Markdown, as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcompile.lock.diff import LockChange, LockRequest, compare_locks
from envcompile.lock.diff_formats import format_json, format_listing, format_markdown, format_summary, format_text
from envcompile.lock.model import (
    ActivationVariable,
    AptPackage,
    Channel,
    CondaPackage,
    Lock,
    PipPackage,
    PlatformLock,
    ToolImage,
)
from envcompile.plan.sizes import describe_push_costs, estimate_push_costs
from tests.kit.project import FIXTURES, parsed, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conftest import Golden

HASH, OTHER = "a" * 64, "b" * 64


def lines(before: Lock, after: Lock, asked: LockRequest | None = None) -> list[str]:
    return list(format_text(compare_locks(before, after, asked)))


def pip(name: str, version: str, *depends: str, sha256: str = HASH) -> PipPackage:
    return PipPackage(name, version, f"{name}-{version}-py3-none-any.whl", sha256, depends=depends)


def conda(name: str, version: str, *depends: str, build: str = "0", provides: tuple[str, ...] = ()) -> CondaPackage:
    file = f"{name}-{version}-{build}.conda"
    found = CondaPackage(name, version, build, "c", "noarch", file, HASH, depends=depends, provides=provides)
    return replace(found, sha256=OTHER) if build != "0" else found


def locked(**packages: Iterable[CondaPackage | PipPackage]) -> Lock:
    """A lock of platforms, `-` for `_`, with other things as in a fixture."""
    _, lock = parsed("several")
    return replace(lock, platforms=tuple(platform(lock, name, each) for name, each in sorted(packages.items())))


def platform(lock: Lock, name: str, packages: Iterable[CondaPackage | PipPackage]) -> PlatformLock:
    each = [*packages]
    return replace(
        lock.platforms[0],
        platform=name.replace("_", "-"),
        conda=tuple(one for one in each if isinstance(one, CondaPackage)),
        pip=tuple(one for one in each if isinstance(one, PipPackage)),
    )


def before_and_after() -> tuple[Lock, Lock]:
    """Two made-up locks, with a change of every kind."""
    same = (pip("still", "1.0"), conda("base", "3"))
    before = locked(
        linux_64=(
            *same,
            *(pip("moves", "1.0", "still"), pip("goes", "1.0"), pip("refiled", "1.0"), pip("only", "1.0")),
            *(conda("scipy", "1.11.0", "numpy >=1.21,<2"), conda("numpy", "1.26.4"), conda("blas", "3")),
        ),
        linux_aarch64=(
            *same,
            pip("moves", "1.0", "still"),
            pip("goes", "1.0"),
            pip("refiled", "1.0"),
            pip("only", "1.0"),
        ),
        osx_64=(pip("still", "1.0"),),
    )
    after = locked(
        linux_64=(
            *same,
            *(pip("moves", "2.0", "new_one", "still"), pip("new_one", "0.1"), pip("refiled", "1.0", sha256=OTHER)),
            *(pip("only", "2.0"), conda("scipy", "1.13.0", "numpy >=2", "blas * mkl_*"), conda("numpy", "2.0.1")),
            conda("blas", "3", build="mkl_1"),
        ),
        linux_aarch64=(
            *same,
            *(pip("moves", "2.0", "new_one", "still"), pip("new_one", "0.1"), pip("refiled", "1.0", sha256=OTHER)),
            pip("only", "1.0"),
        ),
        osx_arm64=(pip("still", "1.0"),),
    )
    first, *rest = after.platforms
    first = replace(first, run=replace(first.run, image="a|b:1@sha256:" + OTHER), tools=(ToolImage("uv", "x:1"),))
    return before, replace(after, platforms=(first, *rest), channels=(Channel("c", "https://example.invalid/c"),))


@pytest.mark.parametrize("form", ["text", "md", "json"])
def test_every_form(form: str, golden: Golden) -> None:
    before, after = before_and_after()
    found = compare_locks(before, after)
    push = describe_push_costs(estimate_push_costs(before, after))
    written = {
        "text": "\n".join(format_text(found)),
        "md": "\n".join(format_markdown(found, "`envcompile.lock`")),
        "json": format_json(found, "HEAD:envcompile.lock", "envcompile.lock", push),
    }
    golden(FIXTURES / "diff" / f"changes.{form}", written[form] + "\n")


def test_the_document_says_all_that_the_lines_say() -> None:
    found = compare_locks(*before_and_after())
    rows = json.loads(format_json(found, "a", "b", {}))["changes"]
    assert [(each["kind"], each["name"], each["before"], each["after"]) for each in rows] == [
        (each.kind, each.name, each.before, each.after) for each in found
    ]
    assert {each["change"] for each in rows} == {"added", "removed", "changed", "another-file"}


def test_a_new_layout_is_said_to_change_no_package() -> None:
    """Promise 8: `diff` says "same packages, new layout"."""
    before, after = locked(pip=[pip("a", "1")]), locked(pip=[pip("a", "2")])
    older = replace(before, layout=before.layout - 1)
    row = f"  ~ layout of the Dockerfile {older.layout} -> {before.layout}"
    assert lines(older, before) == [row, "      same packages, new layout"]
    assert row in lines(older, after)
    assert "      same packages, new layout" not in lines(older, after)
    assert lines(older, replace(before, platforms=())) != []


def test_the_list_for_git(golden: Golden) -> None:
    """One package per line, so that `git diff` shows what a person would ask for."""
    for lock in before_and_after():
        listed = [*format_listing(lock)]
        assert len(set(listed)) == len(listed)
        assert sum(" pip " in line or " conda " in line for line in listed) == sum(
            len(each.pip) + len(each.conda) for each in lock.platforms
        )
    golden(FIXTURES / "diff" / "list.text", "".join(f"{line}\n" for line in format_listing(before_and_after()[1])))


PACKAGES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"])).map(
    lambda found: [*(conda(name, version) for name, version in found.items())]
)
PLATFORMS = st.dictionaries(st.sampled_from(["linux_64", "linux_aarch64", "osx_64"]), PACKAGES, min_size=1)


@given(PLATFORMS, PLATFORMS)
def test_nothing_is_left_out_and_nothing_said_twice(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Promise 8: the tool says what moved. For each platform all that differs, and a common change once."""
    found = compare_locks(locked(**old), locked(**new))
    told = [(each.kind, each.name, each.before, each.after) for each in found]
    assert len(set(told)) == len(told)
    for name in old.keys() & new.keys():
        before, after = ({each.name: each.version for each in lock[name]} for lock in (old, new))
        here = {each.name: (each.before, each.after) for each in found if name.replace("_", "-") in each.platforms}
        moved = {each for each in before.keys() | after.keys() if before.get(each) != after.get(each)}
        assert here == {each: (before.get(each), after.get(each)) for each in moved}
    came_and_went = {each.name.replace("-", "_") for each in found if each.kind == "platform"}
    assert came_and_went == old.keys() ^ new.keys()


@pytest.mark.parametrize("name", ["several", "conda", "ml"])
def test_a_lock_and_itself(name: str) -> None:
    _, lock = parsed(name)
    assert compare_locks(lock, lock) == ()
    assert format_summary(()) == "nothing changed"
    nothing = Lock("", "", ())
    assert {change.status for change in compare_locks(nothing, lock)} == {"added"}
    assert {change.status for change in compare_locks(lock, nothing)} == {"removed"}


def test_common_changes_stand_once() -> None:
    _, lock = parsed("several")
    moved = [replace(each, pip=(replace(each.pip[0], version="99"), *each.pip[1:])) for each in lock.platforms]
    first = lock.platforms[0].pip[0]
    everywhere = replace(lock, platforms=tuple(moved))
    assert lines(lock, everywhere) == [f"  ~ {first.name} {first.version} -> 99"]
    here = replace(lock, platforms=(moved[0], *lock.platforms[1:]))
    assert lines(lock, here) == [f"  ~ {first.name} {first.version} -> 99 ({lock.platforms[0].platform})"]


def test_bases_and_tools_move_too() -> None:
    _, lock = parsed("several")
    run, tool = lock.platforms[0].run, lock.platforms[0].tools[0]
    image = "other@sha256:" + "0" * 64
    moved = [
        replace(
            each,
            run=replace(each.run, image=image, glibc="2.41"),
            tools=(replace(each.tools[0], image=image),),
            python=None,
        )
        for each in lock.platforms
    ]
    python = lock.platforms[0].python
    assert lines(lock, replace(lock, platforms=tuple(moved))) == [
        f"  - Python {python and python.version}",
        f"  ~ run image {run.image} -> {image}",
        f"  ~ operating system of the run image {run.os}, glibc {run.glibc} -> {run.os}, glibc 2.41",
        f"  ~ image of the tool {tool.name} {tool.image} -> {image}",
        "      it is the default image of another release of envcompile",
    ]


def test_what_the_build_is_told_moves_too() -> None:
    _, lock = parsed("cuda-sdist")
    (platform,) = lock.platforms
    assert platform.base_decision
    home = (("CUDA_HOME", "/usr/local/cuda"),)
    other = replace(platform, base_decision=replace(platform.base_decision, build_env=home))
    assert lines(lock, replace(lock, platforms=(other,))) == ["  - build variable TORCH_CUDA_ARCH_LIST 8.0;9.0"]


SPEC = 'name = "x"\npython = "3.12"\n[conda]\nchannels = ["c"]\npackages = [CONDA]\n[pip]\npackages = [PIP]\n'


def asked(
    conda: str = '"a"', pip: str = "", upgraded: frozenset[str] | bool = frozenset(), more: str = ""
) -> LockRequest:
    return LockRequest(spec_of(SPEC.replace("CONDA", conda).replace("PIP", pip) + more), upgraded)


def why(
    old: Iterable[CondaPackage | PipPackage], new: Iterable[CondaPackage | PipPackage], told: LockRequest | None = None
) -> dict[str, tuple[str, ...]]:
    found: tuple[LockChange, ...] = compare_locks(locked(linux_64=old), locked(linux_64=new), told)
    return {each.name: each.reasons for each in found}


def test_why_conda_packages_move() -> None:
    """Promise 8: the tool says what moved, and why it had to, in the words of the packages' own metadata."""
    old = [conda("a", "1", "b <2"), conda("b", "1"), conda("c", "1", "b"), conda("d", "1", "x 1")]
    new = [conda("a", "2", "b >=2"), conda("b", "2"), conda("c", "2", "b"), conda("d", "1", "x 1")]
    told = asked(upgraded=frozenset({"a"}))
    assert why(old, new, told) == {"a": (), "b": ("a 2 needs `b >=2`",), "c": ("it needs b 2, which changed too",)}
    assert why(old, new)["a"] == ("a 1 needs `b <2`, and b is now 2",)
    assert why(old, new, asked(conda='"a"', upgraded=True)) == {"a": (), "b": (), "c": ()}
    assert why(old, new, asked(conda='"a >=2", "c"'))["a"] == ("the spec requests `a >=2`",)
    builds = [conda("a", "1", "b * 0"), conda("b", "1")], [conda("a", "1", build="9"), conda("b", "1", build="1")]
    assert why(*builds)["a"] == ("a 1 needs `b * 0`, and b is now 1 (1)",)
    python = [conda("python", "3.11.1")], [conda("python", "3.12.1")]
    assert why(*python, asked())["python"] == ("the spec requests `python 3.12.*`",)
    # What cannot be read without a solver is not claimed to be refused.
    assert why([conda("a", "1", "b >1.*"), conda("b", "1")], [conda("a", "2"), conda("b", "1")]) == {"a": ()}


def test_who_was_to_be_upgraded_is_the_first_reason() -> None:
    old = [conda("a", "1"), conda("b", "1"), conda("z", "1")]
    new = [conda("a", "2", "b >=2"), conda("b", "2"), conda("z", "2", "b >1")]
    assert why(old, new, asked(upgraded=frozenset({"z"})))["b"] == ("z 2 needs `b >1`",)
    assert why(old, new, asked(upgraded=frozenset({"a"})))["b"] == ("a 2 needs `b >=2`",)


def test_why_pip_packages_move() -> None:
    old = [pip("app", "1", "lib"), pip("lib", "1"), pip("other", "1", "lib"), pip("far", "1")]
    new = [pip("app", "2", "lib"), pip("lib", "2"), pip("other", "2", "lib"), pip("far", "2")]
    assert why(old, new, asked(pip='"app", "far"', upgraded=frozenset({"app"}))) == {
        "app": (),
        "lib": ("app 2, which changed too, needs it",),
        "other": ("it needs lib 2, which changed too",),
        # Nothing is made up.
        "far": ("the locks do not show the reason",),
    }
    assert why(old, new, asked(pip='"far >=2"'))["far"] == ("the spec requests `far >=2`",)
    assert why(old, new, asked(pip='''"far >=2 ; python_version < '3'"'''))["far"] == (
        "the locks do not show the reason",
    )
    assert why(old, new)["far"] == ()
    brought: list[CondaPackage | PipPackage] = [conda("pytorch", "1", provides=("torch",)), pip("app", "1", "torch")]
    moved: list[CondaPackage | PipPackage] = [conda("pytorch", "2", provides=("torch",)), pip("app", "2", "torch")]
    assert why(brought, moved)["app"] == ("it needs pytorch 2, which changed too",)


def test_files_move_with_what_they_are_chosen_for() -> None:
    before = locked(linux_64=[pip("a", "1"), pip("b", "1")])
    (platform,) = before.platforms
    assert platform.python
    moved = replace(platform, pip=(pip("a", "1", sha256=OTHER), pip("b", "1")))
    python = replace(moved, python=replace(platform.python, version="3.13.1"))
    assert lines(before, replace(before, platforms=(python,)))[-1] == "      Python is now 3.13.1"
    base = replace(moved, build=replace(platform.build, glibc="2.41"))
    assert lines(before, replace(before, platforms=(base,)))[-1] == "      glibc is now 2.41"


def test_why_packages_come_and_go() -> None:
    old = [pip("app", "1"), pip("gone", "1"), pip("torch", "1"), pip("out", "1")]
    new: list[CondaPackage | PipPackage] = [
        *(pip("app", "2", "came"), pip("came", "1", "deep"), pip("deep", "1"), pip("own", "1")),
        conda("pytorch", "2", provides=("torch",)),
    ]
    assert why(old, new, asked(pip='"own", "app"', more='exclude = ["out"]\n')) == {
        "app": ("it needs came 1, which changed too",),
        "came": ("needed by app 2",),
        "deep": ("needed by came 1",),
        "own": (),
        "pytorch": (),
        "gone": ("no locked package needs it any more",),
        "torch": ("conda pytorch 2 provides it now",),
        "out": ("the spec excludes it",),
    }
    many = [pip("came", "1"), *(pip(name, "2", "came") for name in "abcde")]
    assert why([pip(name, "1") for name in "abcde"], many)["came"] == ("needed by a 2, b 2, c 2 and 2 more",)
    # Who stayed is not why it came, where somebody moved.
    assert why(
        [pip("a", "1", "came"), pip("b", "1")], [pip("a", "1", "came"), pip("b", "2", "came"), pip("came", "1")]
    )["came"] == ("needed by b 2",)


def test_reasons_that_differ_name_their_platforms() -> None:
    old = locked(linux_64=[pip("a", "1"), pip("b", "1")], linux_aarch64=[pip("a", "1"), pip("b", "1")])
    new = locked(
        linux_64=[pip("a", "2", "came"), pip("b", "1"), pip("came", "1")],
        linux_aarch64=[pip("a", "1"), pip("b", "2", "came"), pip("came", "1")],
    )
    assert lines(old, new)[:3] == [
        "  + came 1",
        "      needed by a 2 (linux-64)",
        "      needed by b 2 (linux-aarch64)",
    ]


def test_nothing_in_a_cell_is_obeyed() -> None:
    """A pull request's comment is read by GitHub: what a lock holds must not become a link, a tag or another row."""
    evil = replace(conda("a", "1"), version="1|2<b>[x](y)_*")
    (row,) = [
        line
        for line in format_markdown(compare_locks(locked(linux_64=[]), locked(linux_64=[evil])), "x")
        if "conda a" in line
    ]
    assert row == r"| added | conda a |  | 1\|2\<b\>\[x\](y)\_\* |  |"


def test_a_package_that_comes_from_another_index_now() -> None:
    _, lock = parsed("indexes")
    public = tuple(
        replace(each, pip=tuple(replace(pin, index="default") for pin in each.pip)) for each in lock.platforms
    )
    assert lines(replace(lock, platforms=public), lock) == [
        "  + index of acme-models corp",
        "  + index of torch torch-cpu",
        "  + index of acme-net corp (linux-64)",
    ]
    assert any(line.endswith(" torch-cpu") for line in format_listing(lock) if " pip torch " in line)


def apt(name: str, version: str, *depends: str, sha256: str = HASH) -> AptPackage:
    return AptPackage(name, version, "amd64", sha256, 1, depends)


def test_debian_packages_move_with_the_snapshot() -> None:
    """What they are installed for is told, and who needs what came; why one went stands in no lock."""
    (platform,) = (lock := locked(linux_64=[pip("gcc", "1")])).platforms
    old = replace(platform, apt=(apt("curl", "7"), apt("libc", "1"), apt("tini", "1")), apt_build=(apt("gcc", "12"),))
    new = replace(
        platform,
        apt=(apt("curl", "8", "libssl"), apt("libc", "1", sha256=OTHER), apt("libssl", "3")),
        apt_build=(apt("gcc", "13"),),
        pip=(),
    )
    before, after = (
        replace(lock, platforms=(each,), snapshot=f"2026-01-0{day}T00:00:00Z") for day, each in enumerate((old, new), 1)
    )
    assert lines(before, after, asked()) == [
        "  + apt libssl 3",
        "      needed by curl 8",
        "  - gcc 1",
        "      no locked package needs it any more",
        "  - apt tini 1",
        "  ~ snapshot of the archive 2026-01-01T00:00:00Z -> 2026-01-02T00:00:00Z",
        "  ~ apt curl 7 -> 8",
        "  ~ apt (build stage) gcc 12 -> 13",
        f"  ~ apt libc 1: another file, {OTHER}",
    ]
    assert [*format_listing(after)][-4:] == [
        f"linux-64 apt curl 8 amd64 {HASH[:12]}",
        f"linux-64 apt libc 1 amd64 {OTHER[:12]}",
        f"linux-64 apt libssl 3 amd64 {HASH[:12]}",
        f"linux-64 apt-build gcc 13 amd64 {HASH[:12]}",
    ]
    assert next(format_listing(after)) == "snapshot of the archive 2026-01-02T00:00:00Z"
    (came,) = compare_locks(replace(after, platforms=()), after)
    assert (came.kind, came.after) == ("platform", "4 packages")


def test_a_variable_that_a_package_sets_in_the_image_is_a_change() -> None:
    """The Dockerfile differs, although every package has the same file."""
    script = "etc/conda/activate.d/gdal.sh"
    package = conda("libgdal", "3.9")
    before = replace(package, activate=("etc/conda/activate.d/*.sh",))
    after = replace(package, env=(ActivationVariable("GDAL_DATA", "/env/share/gdal", script),))
    assert lines(locked(linux_64=[before]), locked(linux_64=[after])) == [
        "  + variable GDAL_DATA of conda packages /env/share/gdal"
    ]
    assert lines(locked(linux_64=[after]), locked(linux_64=[after])) == []
