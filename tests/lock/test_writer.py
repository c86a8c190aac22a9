"""The lock's text: one text for one value, and no damage that goes unnoticed."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from envcompile.diagnostics.errors import EXIT_INVALID_INPUT, InvalidInputError
from envcompile.lock.model import AptPackage, BaseImage, Lock, PipPackage, PlatformLock, PythonInterpreter, ToolImage
from envcompile.lock.reader import NewerLockFormatError, parse_lock
from envcompile.lock.recovery import recover_images, recover_pins
from envcompile.lock.writer import format_lock
from tests.kit.effort import count_examples
from tests.kit.project import CASES, FIXTURES, case

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = sorted((FIXTURES / "locks" / "v1").glob("*.lock"))

sha256 = st.text("0123456789abcdef", min_size=64, max_size=64)
names = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True)
versions = st.from_regex(r"[0-9]+(\.[0-9]+)*(rc[0-9]+)?(\.post[0-9]+)?(\+[a-z0-9]+(\.[a-z0-9]+)*)?", fullmatch=True)
images = st.builds("registry.example.com/{}@sha256:{}".format, names, sha256)
bases = st.builds(BaseImage, images, st.just("debian-12"), st.just("2.36"))
packages = st.builds(
    PipPackage,
    name=names,
    version=versions,
    file=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl", fullmatch=True),
    sha256=sha256,
    size=st.none() | st.integers(0, 10**10),
    index=names,
    depends=st.lists(names, max_size=4).map(lambda each: tuple(sorted(each))),
    unpacked=st.none() | st.integers(0, 10**10),
)
sorted_packages = st.lists(packages, max_size=6, unique_by=lambda each: each.name).map(
    lambda each: tuple(sorted(each, key=lambda package: package.name))
)
debian = st.builds(
    AptPackage,
    name=st.from_regex(r"[a-z0-9][a-z0-9.+-]+", fullmatch=True),
    version=st.from_regex(r"([0-9]+:)?[0-9][A-Za-z0-9.+~-]*", fullmatch=True),
    architecture=st.sampled_from(["amd64", "arm64", "all"]),
    sha256=sha256,
    size=st.integers(0, 10**10),
    depends=st.just(()) | st.just(("libc6", "zlib1g")),
    unpacked=st.none() | st.integers(0, 10**10),
)
sorted_debian = st.lists(debian, max_size=3, unique_by=lambda each: each.name).map(
    lambda each: tuple(sorted(each, key=lambda package: package.name))
)


def platform_locks(name: str) -> st.SearchStrategy[PlatformLock]:
    python = st.builds(
        PythonInterpreter, st.just("3.12.13"), st.just("/usr/bin/python3"), st.sampled_from(["spec", "assumed"])
    )
    tools = st.builds(lambda image: (ToolImage("uv", image),), images)
    return st.builds(
        PlatformLock, st.just(name), python, bases, bases, tools, sorted_packages, st.just(()), *(sorted_debian,) * 2
    )


locks = st.builds(
    Lock,
    sha256.map("sha256:{}".format),
    sha256.map("sha256:{}".format),
    st.tuples(platform_locks("linux-64")) | st.tuples(platform_locks("linux-64"), platform_locks("linux-aarch64")),
    snapshot=st.just("2026-11-01T00:00:00Z"),
)


@settings(deadline=None)
@given(locks)
def test_a_lock_is_read_back_as_it_was(lock: Lock) -> None:
    """One text for one value, in TOML's own reading too."""
    text = format_lock(lock)
    assert parse_lock(text, "x.lock") == lock
    assert format_lock(parse_lock(text, "x.lock")) == text
    assert parse_lock(text.replace("\n", "\r\n"), "x.lock") == lock
    assert tomli.loads(text)["counts"]["pip"] == sum(len(each.pip) for each in lock.platforms)


@pytest.mark.parametrize("name", CASES)
def test_one_package_per_line(name: str) -> None:
    """So that diffs read and merges work."""
    lock = parse_lock(case(name)[1], "x.lock")
    rows = [line for line in case(name)[1].splitlines() if 'kind = "' in line]
    builds = sum(len(build.packages) for each in lock.platforms for build in each.pip_build)
    assert len(rows) == sum(len(each.pip) + len(each.conda_installer) for each in lock.platforms) + builds


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_every_format_ever_released_is_read(path: object) -> None:
    lock = parse_lock(path.read_text("utf-8"), "x.lock")  # type: ignore[attr-defined]
    assert lock.format == 1
    assert dataclasses.replace(parse_lock(format_lock(lock), "x.lock"), format=1) == lock
    assert len(KEPT) > 1


def test_truncation_at_any_byte_is_noticed() -> None:
    """Promise 10, in part: nothing is half-written, and what was cut is not taken for a smaller lock."""
    text = case("several")[1]
    for end in range(len(text)):
        with pytest.raises(InvalidInputError) as said:
            parse_lock(text[:end], "x.lock")
        assert said.value.hint == "run `envcompile lock`"
        assert said.value.exit_code == EXIT_INVALID_INPUT


@settings(max_examples=count_examples(300))
@given(st.data())
def test_any_edit_by_hand_is_noticed(data: st.DataObject) -> None:
    text = case("several")[1]
    place = data.draw(st.integers(0, len(text) - 1))
    kind = data.draw(st.sampled_from(["delete", "insert", "replace", "line"]))
    character = data.draw(st.characters(codec="ascii", exclude_characters="\r"))
    edited = {
        "delete": text[:place] + text[place + 1 :],
        "insert": text[:place] + character + text[place:],
        "replace": text[:place] + character + text[place + 1 :],
        "line": "".join(line for number, line in enumerate(text.splitlines(keepends=True)) if number != place % 30),
    }[kind]
    if edited == text:
        return
    with pytest.raises(InvalidInputError):
        parse_lock(edited, "x.lock")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: "\ufeff" + text, "starts with a byte order mark"),
        (lambda text: text.replace("format = 2\n", "format = 3\n"), "has format 3, and this release reads formats up"),
        (
            lambda text: text.replace("[plat", "<<<<<<< ours\n=======\n>>>>>>> b\n[plat", 1),
            "merge conflict markers in line 14",
        ),
        (lambda text: text[: len(text) // 2], "is truncated"),
        (lambda text: text.replace('version = "3.', 'version = "4.', 1), "was edited by hand"),
        (lambda _: "", "is not a lock of envcompile"),
        (lambda _: "[package]\n", "is not a lock of envcompile"),
    ],
)
def test_each_damage_has_its_own_sentence(damage: Callable[[str], str], sentence: str) -> None:
    with pytest.raises(InvalidInputError) as said:
        parse_lock(damage(case("several")[1]), "x.lock")
    assert sentence in said.value.message
    assert said.value.hint


def test_a_lock_with_a_right_digest_is_still_not_trusted() -> None:
    """Threats: the lock file as vector. What reaches the Dockerfile is matched again when a lock is read."""
    lock = parse_lock(case("several")[1], "x.lock")
    platform = lock.platforms[0]
    package = platform.pip[0]
    wrong: list[dict[str, Any]] = [
        {"version": "1.0 --index-url https://example.invalid"},
        {"version": "1\nRUN id"},
        {"name": "a b"},
        {"sha256": "0" * 63},
        {"file": "../x.whl"},
        {"kind": "sdist"},
        {"index": "A"},
        {"depends": ("x y",)},
        {"size": -1},
    ]
    for fields in wrong:
        rows = (dataclasses.replace(package, **fields), *platform.pip[1:])
        with pytest.raises(InvalidInputError, match="not a valid lock"):
            parse_lock(format_lock(with_first(lock, dataclasses.replace(platform, pip=rows))), "x.lock")
    image = dataclasses.replace(platform.build, image="python:3.12")
    assert platform.python
    for broken in (
        dataclasses.replace(platform, build=image),
        dataclasses.replace(platform, pip=platform.pip[::-1]),
        dataclasses.replace(platform, pip=(package, package)),
        dataclasses.replace(platform, python=dataclasses.replace(platform.python, path="/usr/bin/python3;id")),
        dataclasses.replace(platform, tools=(ToolImage("uv", "uv:latest"),)),
    ):
        with pytest.raises(InvalidInputError, match="not a valid lock"):
            parse_lock(format_lock(with_first(lock, broken)), "x.lock")


def with_first(lock: Lock, platform: PlatformLock) -> Lock:
    return dataclasses.replace(lock, platforms=(platform, *lock.platforms[1:]))


def test_a_newer_lock_is_its_own_case() -> None:
    """It must not be written over."""
    with pytest.raises(NewerLockFormatError):
        parse_lock(case("ml")[1].replace("format = 2\n", "format = 7\n"), "x.lock")


def test_the_pins_of_both_sides_of_a_conflict_are_kept() -> None:
    """Each side has a package of its own, and of one package another version: the newer of them is preferred."""
    text = case("several")[1]
    row = next(line for line in text.splitlines() if 'name = "idna"' in line)
    ours = row.replace("idna", "ours")
    theirs = row.replace("idna", "theirs")
    older = re.sub(r'version = "[^"]*"', 'version = "0.1"', row)
    conflict = f"<<<<<<< ours\n{ours}\n{older}\n=======\n{row}\n{theirs}\n>>>>>>> theirs\n"
    damaged = text.replace(f"{row}\n", conflict, 1)
    with pytest.raises(InvalidInputError, match="merge conflict"):
        parse_lock(damaged, "x.lock")
    whole = parse_lock(text, "x.lock")
    pins = recover_pins(damaged)
    locked = {package.name for package in whole.platforms[0].pip}
    assert {package.name for package in pins["linux-64"].pip} == locked | {"ours", "theirs"}
    assert set(whole.platforms[0].pip) <= set(pins["linux-64"].pip)
    assert pins["linux-aarch64"].pip == whole.platforms[1].pip


def test_images_are_kept_where_there_is_no_doubt() -> None:
    """Of a tag that stands there with two digests, neither is."""
    _, text = case("several")
    (tool, base) = recover_images(f"<<<<<<< ours\n{text}")
    assert (tool.partition(":")[0], base.partition(":")[0]) == ("ghcr.io/astral-sh/uv", "python")
    other = f"{base[:-64]}{'0' * 64}"
    assert recover_images(f'{text}\nrun = {{ image = "{other}", os = "x" }}') == (tool,)


def test_condas_pins_are_kept_too() -> None:
    """By conda's order of versions: 1.0 is newer than 1.0rc1, 1.10 than 1.9."""
    text = case("conda")[1]
    row = next(line for line in text.splitlines() if 'name = "numpy"' in line)
    older = re.sub(r'version = "[^"]*"', 'version = "1.9"', row)
    conflict = f"<<<<<<< ours\n{older}\n=======\n{row}\n>>>>>>> theirs\n"
    (platform,) = parse_lock(text, "x.lock").platforms
    pins = recover_pins(text.replace(f"{row}\n", conflict, 1))["linux-64"]
    assert (pins.pip, pins.conda) == (platform.pip, platform.conda)
    assert pins.package_names() == {each.name for each in platform.pip} | {each.name for each in platform.conda}


@settings(deadline=None)
@given(st.integers(0, 100_000), st.binary(max_size=30))
def test_salvage_survives_anything(place: int, junk: bytes) -> None:
    text = case("several")[1]
    place %= len(text)
    pins = recover_pins(text[:place] + junk.decode("latin-1") + text[place + len(junk) :])
    assert set(pins) <= {"linux-64", "linux-aarch64"}
