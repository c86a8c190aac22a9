"""`lock -P base`, `-P apt`, `-P tools`, `-P python`: each part moves alone. Hub, archives and index are on loopback."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from envcompile.base_image.default import TOOL_IMAGES
from envcompile.base_image.python_builds import find_standalone_python
from envcompile.lock.diff import compare_locks
from envcompile.lock.model import Lock, PlatformLock, PythonInterpreter, ToolImage
from envcompile.lock.writer import format_lock
from tests.kit.archive import paragraph
from tests.kit.channel import made_channel
from tests.kit.hub import DEBIAN, made_hub
from tests.kit.index import Index, Wheel, served
from tests.kit.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg signs the archives")
SLIM = ("library/python", "3.12-slim-bookworm")
OLD_SNAPSHOT = "2026-01-15T00:00:00Z"
OLD_UV = f"ghcr.io/astral-sh/uv:0.12.1@sha256:{'7' * 64}"
APT = '[apt]\npackages = ["gcc"]\n'
OLD_WHEELS = (Wheel("tiny", "1.0"), Wheel("base", "1.0"), Wheel("onnxruntime-gpu", "1.22.0"))
NEW_WHEELS = (*OLD_WHEELS, Wheel("tiny", "2.0"), Wheel("base", "2.0"))


@pytest.fixture
def index() -> Iterator[Index]:
    with served(Index(OLD_WHEELS)) as index:
        yield index


@pytest.fixture
def machine(tmp_path: Path, index: Index) -> Iterator[Machine]:
    with made_hub() as hub:
        yield Machine(tmp_path, *hub, index)


def edit(machine: Machine, lock: Lock, **fields: object) -> Lock:
    """Write the lock as an earlier one with other fields."""
    (platform,) = lock.platforms
    rest = {key: fields.pop(key) for key in ("snapshot",) if key in fields}
    edited = replace(lock, platforms=(replace(platform, **fields),), **rest)  # type: ignore[arg-type]
    (machine.folder / "envcompile.lock").write_text(format_lock(edited), "utf-8")
    return edited


def blank(lock: Lock, *parts: str) -> Lock:
    """The lock without these fields of its platform, and without what describes files and decisions."""
    (platform,) = lock.platforms
    empty: dict[str, object] = {"tools": (), "apt": (), "apt_build": (), "python": None, "pip": (), "conda": ()}
    empty |= {"run": None, "build": None}
    fields = {part: empty[part] for part in parts if part != "snapshot"}
    snapshot = None if "snapshot" in parts else lock.snapshot
    return replace(
        lock,
        files=(),
        snapshot=snapshot,
        platforms=(replace(platform, base_decision=None, **fields),),  # type: ignore[arg-type]
    )


def make_everything_newer(machine: Machine, index: Index) -> None:
    """A newer release of each wheel, another image behind each tag, and newer Debian packages."""
    index.wheels = NEW_WHEELS
    machine.hub.move(*SLIM, python="3.12.13", created="2026-01-10T00:00:00Z")
    machine.hub.archive.newer["bookworm"] = [paragraph(name, "1.1") for name in DEBIAN]


PARTS = {
    "base": {"run", "build", "python"},
    "apt": {"apt", "apt_build", "snapshot"},
    "tools": {"tools"},
    # The Python is in the base image, so it moves with the image.
    "python": {"run", "build", "python"},
}


@pytest.mark.parametrize("part", PARTS)
def test_one_part_moves_alone_and_diff_says_why(machine: Machine, index: Index, part: str) -> None:
    """Promise 8: base images, apt packages, tools and Python are updated separately."""
    before = machine.lock(["tiny"], APT)
    tools = (ToolImage("uv", OLD_UV),)
    before = edit(machine, before, tools=tools, snapshot=OLD_SNAPSHOT)
    make_everything_newer(machine, index)
    assert machine.lock(["tiny"], APT, "--check") == before
    after = machine.lock(["tiny"], APT, "-P", part)
    assert blank(after, *PARTS[part]) == blank(before, *PARTS[part])
    (old,), (new,) = before.platforms, after.platforms
    moved = {name for name in ("run", "build", "python", "tools", "apt") if getattr(old, name) != getattr(new, name)}
    assert moved == PARTS[part] - {"apt_build", "snapshot"}
    reasons = {change.kind: " ".join(change.reasons) for change in compare_locks(before, after)}
    if part in ("base", "python"):
        assert new.python
        assert new.python.version == "3.12.13"
        assert reasons["image"] == "the tag `python:3.12-slim-bookworm` was moved to another digest"
        assert reasons["python"] == "`python:3.12-slim-bookworm` has this version now"
        assert ("which `-P python` upgrades" in machine.said) == (part == "python")
    elif part == "apt":
        assert [each.version for each in new.apt] == ["1.1"]
        assert after.snapshot is not None
        assert after.snapshot > OLD_SNAPSHOT
        assert reasons["snapshot"] == "the Debian packages were upgraded, with `-P apt` or `-U`"
    else:
        assert new.tools == (ToolImage("uv", TOOL_IMAGES["uv"]),)
        assert "default image of another release" in reasons["tool"]
    machine.run("verify", "-q", "--full")
    machine.lock(["tiny"], APT, "--check")


def test_parts_and_packages_are_upgraded_together(machine: Machine, index: Index) -> None:
    before = edit(machine, machine.lock(["tiny", "base"], APT), tools=(ToolImage("uv", OLD_UV),), snapshot=OLD_SNAPSHOT)
    make_everything_newer(machine, index)
    after = machine.lock(["tiny", "base"], APT, "-P", "apt", "-P", "tools", "-P", "tiny")
    (old,), (new,) = before.platforms, after.platforms
    assert (new.run, new.build, new.python) == (old.run, old.build, old.python)
    assert {each.name: each.version for each in new.pip} == {"base": "1.0", "tiny": "2.0"}
    assert new.tools != old.tools
    assert [each.version for each in new.apt] == ["1.1"]


def test_a_newer_base_image_takes_a_newer_snapshot_with_it(machine: Machine, index: Index) -> None:
    before = edit(machine, machine.lock(["tiny"], APT), snapshot=OLD_SNAPSHOT)
    make_everything_newer(machine, index)
    machine.hub.move(*SLIM, created="2026-02-01T01:02:03Z")
    after = machine.lock(["tiny"], APT, "-P", "base")
    assert after.snapshot is not None
    assert after.snapshot >= "2026-02-01T01:02:03Z"
    assert after.platforms[0].pip == before.platforms[0].pip


def test_another_package_does_not_move_the_tools_or_the_images(machine: Machine, index: Index) -> None:
    before = edit(machine, machine.lock(["tiny"], APT), tools=(ToolImage("uv", OLD_UV),), snapshot=OLD_SNAPSHOT)
    make_everything_newer(machine, index)
    after = machine.lock(["tiny", "base"], APT)
    assert replace(blank(after, "pip"), spec_digest="", spec_text_digest="") == replace(
        blank(before, "pip"), spec_digest="", spec_text_digest=""
    )


def test_a_tool_that_the_spec_names_by_tag_moves_alone(machine: Machine) -> None:
    more = '[tools]\nuv = "team/uv:1"\n'
    before = machine.lock(["tiny"], more)
    machine.hub.move("team/uv", "1")
    machine.hub.move(*SLIM)
    assert machine.lock(["tiny"], more, "--check") == before
    after = machine.lock(["tiny"], more, "-P", "tools")
    assert blank(after, "tools") == blank(before, "tools")
    assert after.platforms[0].tools != before.platforms[0].tools
    assert "the tag `team/uv:1` was moved to another digest" in machine.said


def test_a_standalone_python_moves_without_its_image(machine: Machine) -> None:
    """And the image moves without it."""
    more = '[cuda]\nversion = "12"\n'
    old = find_standalone_python("3.11.9", "linux-64")
    assert isinstance(old, PythonInterpreter)
    before = edit(machine, machine.lock(["onnxruntime-gpu"], more, python="3.11"), python=old)
    for stage in (before.platforms[0].run, before.platforms[0].build):
        machine.hub.move(*_split_official(stage.image))
    moved = machine.lock(["onnxruntime-gpu"], more, "-P", "base", python="3.11")
    assert blank(moved, "run", "build") == blank(before, "run", "build")
    assert moved.platforms[0].run != before.platforms[0].run
    newest = machine.lock(["onnxruntime-gpu"], more, "-P", "python", python="3.11")
    assert newest.platforms[0].python == find_standalone_python("3.11", "linux-64")
    assert blank(newest, "python") == blank(moved, "python")


def _split_official(image: str) -> tuple[str, str]:
    name, _, tag = image.partition("@")[0].partition(":")
    return (name if "/" in name else f"library/{name}"), tag


def test_a_debian_python_moves_with_the_debian_packages(machine: Machine) -> None:
    more = '[cuda]\nversion = "12"\n'
    before = edit(machine, machine.lock(["onnxruntime-gpu"], more), snapshot=OLD_SNAPSHOT)
    assert _python(before).source == "apt"
    archive = machine.hub.archive
    archive.newer["noble"] = [
        each.replace("3.12.3-1ubuntu0.8", "3.12.4-1ubuntu0.9") for each in archive.suites["noble"]
    ]
    assert machine.lock(["onnxruntime-gpu"], more, "--check") == before
    after = machine.lock(["onnxruntime-gpu"], more, "-P", "python")
    assert _python(after).version == "3.12.4"
    allowed = ("python", "apt", "apt_build", "snapshot")
    assert blank(after, *allowed) == blank(before, *allowed)
    assert "the Debian package has this version in the new snapshot" in machine.said


def _python(lock: Lock) -> PythonInterpreter:
    (platform,) = lock.platforms
    assert platform.python
    return platform.python


@pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")
def test_the_python_of_conda_is_its_package(machine: Machine, tmp_path: Path) -> None:
    """`-P python` needs no prefix there, although a package has this name, and accepts a version."""
    old = {"name": "python", "version": "3.12.2"}
    channel = made_channel(tmp_path / "channel", old, {"name": "zlib", "version": "1.0"})
    more = f'[conda]\nchannels = ["{channel.url}"]\npackages = ["zlib"]\n'
    before = machine.lock(["tiny"], more)
    rows = [{"name": "zlib", "version": each} for each in ("1.0", "2.0")]
    made_channel(tmp_path / "channel", old, {"name": "python", "version": "3.12.9"}, *rows)
    shutil.rmtree(machine.folder / "rattler", ignore_errors=True)
    after = machine.lock(["tiny"], more, "-P", "python")
    assert _python(after).version == "3.12.9"
    assert {each.name: each.version for each in after.platforms[0].conda} == {"python": "3.12.9", "zlib": "1.0"}
    assert blank(after, "python", "conda") == blank(before, "python", "conda")
    assert _python(machine.lock(["tiny"], more, "-P", "python==3.12.2")).version == "3.12.2"


def test_a_name_with_two_meanings_is_an_error_with_a_way_out(machine: Machine, index: Index) -> None:
    before = machine.lock(["tiny", "base"])
    make_everything_newer(machine, index)
    machine.lock(["tiny", "base"], "", "-P", "base", code=2)
    assert "`-P base` has two meanings: the base images, and the pip package `base`" in machine.said
    assert "write `-P part:base`, or `-P package:base` for the package" in machine.said
    assert machine.read() == before
    found = machine.lock(["tiny", "base"], "", "-P", "base==2.0")
    assert _versions(found) == {"base": "2.0", "tiny": "1.0"}
    assert found.platforms[0].run == before.platforms[0].run
    machine.lock(["tiny", "base"], "", "-P", "base==1.0")
    assert _versions(machine.lock(["tiny", "base"], "", "-P", "package:base")) == {"base": "2.0", "tiny": "1.0"}
    assert machine.read().platforms[0].run == before.platforms[0].run
    found = machine.lock(["tiny", "base"], "", "-P", "part:base")
    assert _versions(found) == {"base": "2.0", "tiny": "1.0"}
    assert found.platforms[0].run != before.platforms[0].run


def _versions(lock: Lock) -> dict[str, str]:
    (platform,) = lock.platforms
    assert isinstance(platform, PlatformLock)
    return {each.name: each.version for each in platform.pip}


def test_what_cannot_be_upgraded_is_said(machine: Machine) -> None:
    machine.lock(["tiny"])
    for target, code, message in (
        ("apt", 2, "the lock has no Debian packages, so `-P apt` cannot upgrade anything"),
        ("part:bsae", 2, "did you mean `base`?"),
        ("base==1", 2, "`base` is the base images and takes no version"),
        ("python==3.12.1", 2, 'write the version in the spec: `python = "X.Y.Z"`'),
        ("part:python==3.12.1", 2, "takes no version"),
        ("tool", 2, "did you mean `tools`?"),
    ):
        machine.lock(["tiny"], "", "-P", target, code=code)
        assert message in machine.said, target


def test_a_part_that_the_spec_fixes_is_a_warning(machine: Machine) -> None:
    digest = machine.lock(["tiny"]).platforms[0].run.image
    spec = f'{APT}snapshot = {OLD_SNAPSHOT}\n[image]\nbase = "{digest}"\n[tools]\nuv = "{OLD_UV}"\n'
    before = machine.lock(["tiny"], spec, python="3.12.12")
    words = [word for part in PARTS for word in ("-P", part)]
    assert machine.lock(["tiny"], spec, *words, python="3.12.12") == before
    for text in (
        "warning: `-P base` has no effect, because `base` in `[image]` has a digest",
        f"the Debian packages stay at the snapshot {OLD_SNAPSHOT}, because the spec sets `snapshot` in `[apt]`",
        "warning: `-P tools` keeps the images that `[tools]` names by digest: `uv`",
        "warning: `-P python` has no effect, because `python` in the spec is the exact version 3.12.12",
    ):
        assert text in machine.said
    before = machine.lock(["tiny"], spec)
    assert machine.lock(["tiny"], spec, "-P", "python") == before
    assert "because it is in the base image, and `base` in `[image]` has a digest" in machine.said
