"""`lock --outdated`: what would move, what the spec holds back, and how old images are. It touches no file."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

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
APT = '[apt]\npackages = ["gcc"]\n'
OLD_WHEELS = (Wheel("app", "1.0", ("lib <2",)), Wheel("lib", "1.0"), Wheel("tiny", "1.0"), Wheel("late", "1.0"))
NEW_WHEELS = (
    *OLD_WHEELS,
    *(Wheel("lib", "1.1"), Wheel("lib", "2.0"), Wheel("tiny", "1.5"), Wheel("tiny", "2.0"), Wheel("app", "2.0")),
    Wheel("late", "2.0", uploaded="2025-12-01T00:00:00.000000Z"),
)


@pytest.fixture
def index() -> Iterator[Index]:
    with served(Index(OLD_WHEELS)) as index:
        yield index


@pytest.fixture
def machine(tmp_path: Path, index: Index) -> Iterator[Machine]:
    with made_hub() as hub:
        yield Machine(tmp_path, *hub, index)


def report(machine: Machine, code: int) -> dict[str, Any]:
    """The JSON report. No file of the project may change, and none may appear."""
    before = {path: path.read_bytes() for path in machine.folder.glob("*.*") if path.is_file()}
    out, _ = machine.run("lock", "--outdated", "--format", "json", code=code)
    assert {path: path.read_bytes() for path in machine.folder.glob("*.*") if path.is_file()} == before
    document: dict[str, Any] = json.loads(out)
    assert document["outdated"] == (code == 1)
    return document


def changes(document: dict[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    return {f"{each['kind']} {each['name']}".strip(): (each["before"], each["after"]) for each in document["changes"]}


def held(document: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {
        f"{each['kind']} {each['name']}".strip(): (each["allowed"], each["newest"], each["reason"])
        for each in document["held_back"]
    }


def test_a_current_lock_is_not_outdated(machine: Machine) -> None:
    machine.lock(["tiny", "late"])
    document = report(machine, 0)
    assert (document["changes"], document["held_back"], document["problems"]) == ([], [], [])
    (image,) = document["images"]
    assert (image["created"], image["moved"]) == ("2025-12-01T00:00:00Z", False)
    assert image["days"] > 300
    assert document["snapshot"] is None
    out, said = machine.run("lock", "--outdated")
    assert out.startswith("nothing is outdated\nbase image python:3.12-slim-bookworm@sha256:")
    assert out.endswith(" days old, its tag is unchanged\n")
    assert said == ""


def test_everything_that_would_move_is_listed(machine: Machine, index: Index) -> None:
    """As `-U` moves it: `--outdated` and `lock -U` agree."""
    locked = machine.lock(["tiny", "app"], APT)
    (machine.folder / "envcompile.lock").write_text(format_lock(replace(locked, snapshot=OLD_SNAPSHOT)), "utf-8")
    index.wheels = NEW_WHEELS
    machine.hub.move(*SLIM, python="3.12.13", created="2026-01-10T00:00:00Z")
    machine.hub.archive.newer["bookworm"] = [paragraph(name, "1.1") for name in DEBIAN]
    document = report(machine, 1)
    found = changes(document)
    assert {"pip tiny", "pip app", "apt gcc", "image run", "image build", "python", "snapshot"} <= found.keys()
    assert found["pip tiny"] == ("1.0", "2.0")
    assert document["images"][0]["moved"] is True
    assert document["images"][0]["newest"] == found["image run"][1]
    assert document["snapshot"]["time"] == OLD_SNAPSHOT
    assert document["snapshot"]["days"] > 200
    out, _ = machine.run("lock", "--outdated", code=1)
    assert "  ~ tiny 1.0 -> 2.0\n" in out
    assert "      the tag `python:3.12-slim-bookworm` was moved to another digest\n" in out
    assert f"snapshot of the archive {OLD_SNAPSHOT}: " in out
    annotations, _ = machine.run("lock", "--outdated", "--format", "github", code=1)
    assert (
        "::warning title=envcompile warning::tiny is outdated: 1.0 -> 2.0%0Arun `envcompile lock -U`\n" in annotations
    )
    machine.run("lock", "-U", "-q")
    assert report(machine, 0)["changes"] == []


def test_what_the_spec_holds_back_is_listed_with_the_requirement(machine: Machine, index: Index) -> None:
    index.wheels = NEW_WHEELS
    top = "exclude-newer = 2025-01-01T00:00:00Z\n"
    text = f'name = "x"\npython = "3.12"\n{top}[pip]\npackages = ["tiny <2", "late", "app <2", "lib"]\n'
    (machine.folder / "envcompile.toml").write_text(text, "utf-8")
    machine.run("lock")
    assert held(report(machine, 0)) == {
        "pip tiny": ("1.5", "2.0", "the spec requests `tiny <2`"),
        "pip late": ("1.0", "2.0", "`exclude-newer` is 2025-01-01T00:00:00Z"),
        "pip app": ("1.0", "2.0", "the spec requests `app <2`"),
        "pip lib": ("1.1", "2.0", "app 1.0 needs `lib <2`"),
    }
    out, _ = machine.run("lock", "--outdated")
    assert "newer, but excluded by the spec:\n" in out
    assert "  ! tiny 1.5, newest 2.0\n      the spec requests `tiny <2`\n" in out


@pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")
def test_conda_packages_are_held_back_too(machine: Machine, tmp_path: Path) -> None:
    rows = [{"name": "zlib", "version": each} for each in ("1.0", "2.0", "2.1")]
    pythons = [{"name": "python", "version": each} for each in ("3.12.2", "3.12.9")]
    channel = made_channel(tmp_path / "channel", *pythons, *rows)
    more = f'[conda]\nchannels = ["{channel.url}"]\npackages = ["zlib <2.1"]\n'
    machine.lock(["tiny"], more, python="3.12.2")
    assert held(report(machine, 0)) == {
        "conda zlib": ("2.0", "2.1", "the spec requests `zlib <2.1`"),
        "conda python": ("3.12.2", "3.12.9", "the spec requests `python ==3.12.2`"),
    }


def test_digests_times_and_an_exact_python_in_the_spec_hold_back_too(machine: Machine) -> None:
    image = machine.lock(["tiny"]).platforms[0].run.image
    machine.lock(["tiny"], '[tools]\nuv = "team/uv:1"\n')
    uv = machine.read().platforms[0].tools[0].image
    spec = f'{APT}snapshot = {OLD_SNAPSHOT}\n[image]\nbase = "{image}"\n[tools]\nuv = "{uv}"\n'
    machine.lock(["tiny"], spec, python="3.12.12")
    machine.hub.move(*SLIM)
    machine.hub.move("team/uv", "1")
    document = report(machine, 0)
    found = held(document)
    assert found["image"][2] == "`base` in `[image]` has a digest"
    assert found["tool uv"][2] == "`[tools]` has a digest"
    assert (found["snapshot"][0], found["snapshot"][2]) == (OLD_SNAPSHOT, "the spec sets `snapshot` in `[apt]`")
    assert (found["python"][0], found["python"][2]) == ("3.12.12", "the spec requests 3.12.12")
    assert [each["moved"] for each in document["images"]] == [True, True]


def test_a_registry_that_does_not_answer_is_not_taken_for_current(machine: Machine) -> None:
    image = machine.lock(["tiny"]).platforms[0].run.image
    (machine.folder / "envcompile.lock").unlink()
    machine.lock(["tiny"], f'[image]\nbase = "{image}"\n')
    machine.hub.statuses = [404]
    out, said = machine.run("lock", "--outdated", code=3)
    assert said.startswith(f"warning: cannot check `{image}`: ")
    assert "base image" not in out
    assert report(machine, 3)["problems"]


def test_a_time_before_docker_is_no_age(machine: Machine) -> None:
    machine.hub.move(*SLIM, created="1970-01-01T00:00:00Z")
    machine.lock(["tiny"])
    assert report(machine, 0)["images"][0]["created"] is None
    assert "age unknown, its tag is unchanged" in machine.run("lock", "--outdated")[0]


def test_outdated_needs_a_fresh_lock_and_no_other_option(machine: Machine) -> None:
    machine.lock(["tiny"])
    for words in (["-U"], ["-P", "tiny"], ["--check"], ["--dry-run"], ["--offline"]):
        assert "`--outdated` cannot be combined with `--" in machine.run("lock", "--outdated", *words, code=2)[1]
    spec = machine.folder / "envcompile.toml"
    spec.write_text(spec.read_text("utf-8").replace('"tiny"', '"tiny >=2"'), "utf-8")
    assert "error[stale]" in machine.run("lock", "--outdated", code=1)[1]
    (machine.folder / "envcompile.lock").unlink()
    assert "`envcompile.lock` does not exist" in machine.run("lock", "--outdated", code=2)[1]


def test_doctor_reports_moved_tags_and_ages(machine: Machine) -> None:
    locked = machine.lock(["tiny"], APT)
    (machine.folder / "envcompile.lock").write_text(format_lock(replace(locked, snapshot=OLD_SNAPSHOT)), "utf-8")

    def rows() -> dict[str, dict[str, str]]:
        argv = ("doctor", "--network", "--format", "json")
        # Docker is missing here, and the registry of the tool cannot be reached.
        document = json.loads(machine.run(*argv, code=3)[0])
        return {each["about"]: each for each in document["findings"]}

    found = rows()
    assert found["base"]["state"] == "fine"
    assert found["base"]["message"].endswith(" days old and is still the image of its tag")
    assert found["snapshot"]["message"].startswith(f"the snapshot of the archive, {OLD_SNAPSHOT}, is ")
    machine.hub.move(*SLIM)
    assert rows()["base"] == {
        "about": "base",
        "state": "note",
        "message": found["base"]["message"].replace("still", "no longer"),
        "remedy": "run `envcompile lock -P base`",
    }
