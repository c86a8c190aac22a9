"""`[lock] exports`: files that `lock` keeps beside the lock, and that `verify` looks at without asking anybody."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tomli
from packaging.pylock import Pylock

from envcompile.project.discovery import find_spec_of_file, list_export_paths
from envcompile.project.generated_files import EXPORT_FILES
from tests.kit.index import Index, Wheel, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.sdists import Sdist

BASE = "python:3.12-slim-bookworm@sha256:" + 64 * "a"
SPEC = """
name = "x"
python = "3.12.4"
[pip]
packages = ["top"]
index = "{url}"
[image]
base = {{ image = "{base}", os = "debian-12", glibc = "2.36", python = "3.12.4", python-path = "/usr/bin/python3" }}
[lock]
exports = ["requirements.txt", "pylock.toml"]
"""
KEPT = ("requirements.txt", "pylock.toml")


class Project:
    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self.index = folder, index

    def run(self, *words: str, code: int = 0) -> str:
        more = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "UV_CACHE_DIR": str(self.folder.parent / "cache")}
        argv = [sys.executable, "-m", "envcompile", *words]
        done = subprocess.run(
            argv, cwd=self.folder, capture_output=True, check=False, encoding="utf-8", env={**os.environ, **more}
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    def texts(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    with served(Index((Wheel("top", "1.0", ("leaf",)), Wheel("leaf", "1.0")))) as index:
        (folder / "envcompile.toml").write_text(SPEC.format(url=index.url(), base=BASE), "utf-8")
        yield Project(folder, index)


def test_they_are_written_with_the_lock_and_looked_at_by_verify(project: Project) -> None:
    said = project.run("lock")
    assert all(f"wrote `{name}`\n" in said for name in KEPT)
    first = project.texts()
    digest = project.index.wheels[0].sha256().encode()
    asked = len(project.index.asked)
    assert project.run("verify") == "`envcompile.lock` is fresh\n"
    assert len(project.index.asked) == asked
    assert "wrote" not in project.run("lock")
    assert project.texts() == first
    for name in KEPT:
        path = project.folder / name
        path.unlink()
        assert f"`{name}` does not exist" in project.run("verify", code=1)
        assert "run `envcompile lock`" in project.run("verify", code=1)
        path.write_bytes(first[name].replace(digest, 64 * b"0"))
        assert f"`{name}` is not the `{name.partition('.')[0]}` export of this lock" in project.run("verify", code=1)
        assert f"`{name}` would change" in project.run("lock", "--check", code=1)
        assert "run `envcompile lock -U`" in project.run("lock", "--check", "-U", code=1)
        assert f"would write `{name}`" in project.run("lock", "--dry-run")
        assert f"wrote `{name}`" in project.run("lock")
        assert project.texts() == first


def test_a_new_pin_moves_them_all(project: Project) -> None:
    project.run("lock")
    project.index.wheels += (Wheel("leaf", "2.0"),)
    project.run("lock", "-P", "leaf")
    for name in KEPT:
        assert "2.0" in (project.folder / name).read_text("utf-8")
    project.run("verify")


def test_a_lock_that_moved_without_them_is_noticed(project: Project) -> None:
    project.run("lock")
    before = project.texts()
    project.index.wheels += (Wheel("leaf", "2.0"),)
    project.run("lock", "-P", "leaf")
    for name in KEPT:
        (project.folder / name).write_bytes(before[name])
    said = project.run("verify", code=1)
    assert all(f"`{name}` is not the " in said for name in KEPT)


def test_a_file_of_somebody_else_is_left_alone(project: Project) -> None:
    mine = project.folder / "requirements.txt"
    mine.write_text("numpy\n", "utf-8")
    before = project.texts()
    said = project.run("lock", code=2)
    assert "`requirements.txt` exists, and envcompile did not write it" in said
    assert "move the file away, or remove its name from `exports` in `[lock]`" in said
    assert project.texts() == before, "the lock is not written either"


def test_a_folder_in_the_place_of_one(project: Project) -> None:
    (project.folder / "pylock.toml").mkdir()
    assert "`pylock.toml` is a folder, not a file" in project.run("lock", code=2)
    assert [path.name for path in project.folder.iterdir() if path.is_file()] == ["envcompile.toml"]


def test_markers_that_leave_nothing_leave_empty_lists(project: Project) -> None:
    spec = project.folder / "envcompile.toml"
    spec.write_text(spec.read_text("utf-8").replace('"top"', "\"top ; python_version < '3'\""), "utf-8")
    project.run("lock")
    assert project.run("verify") == "`envcompile.lock` is fresh\n"
    texts = {name: (project.folder / name).read_text("utf-8") for name in KEPT}
    assert "==" not in "".join(line for line in texts["requirements.txt"].splitlines() if not line.startswith("#"))
    assert Pylock.from_dict(tomli.loads(texts["pylock.toml"])).packages == []


def test_beside_a_spec_with_a_name_of_its_own(project: Project) -> None:
    spec = project.folder / "envcompile.toml"
    spec.rename(project.folder / "cpu.toml")
    project.run("lock", "-f", "cpu.toml")
    assert {"cpu.requirements.txt", "pylock.cpu.toml", "cpu.lock"} <= set(project.texts())
    for name in ("cpu.requirements.txt", "pylock.cpu.toml", "cpu.lock"):
        assert project.run("verify", name) == "`cpu.lock` is fresh\n"
    (project.folder / "pylock.cpu.toml").unlink()
    said = project.run("verify", "cpu.requirements.txt", code=1)
    assert "`pylock.cpu.toml` does not exist" in said
    assert "run `envcompile lock -f cpu.toml`" in said


def test_what_pylock_cannot_know_offline(project: Project) -> None:
    """The addresses of files are kept in it, and asked for where it has them not."""
    project.run("lock")
    first = project.texts()
    project.run("lock", "--offline")
    (project.folder / "pylock.toml").unlink()
    assert "the URLs of the files must be read from the index" in project.run("lock", "--offline", code=3)
    project.run("lock")
    assert project.texts() == first


@pytest.mark.parametrize(
    "written",
    ["", "\\q", "\\", "https://u:secret@files.example.invalid/x", "ftp://files.example.invalid/x", "https://x"],
)
def test_what_is_no_address_is_asked_for(project: Project, written: str) -> None:
    """Neither believed nor kept, and no reason to end with a traceback."""
    project.run("lock")
    first = project.texts()
    path = project.folder / "pylock.toml"
    text = re.sub('url = "[^"]*"', lambda _: f'url = "{written}"', first["pylock.toml"].decode())
    path.write_text(text, "utf-8")
    assert "`pylock.toml` is not the `pylock` export of this lock" in project.run("verify", code=1)
    project.run("lock")
    assert project.texts() == first


class Signed(Index):
    """An index whose files are at addresses that are good for a while."""

    def _row(self, wheel: Wheel | Sdist) -> dict[str, object]:
        row = Index._row(self, wheel)
        return {**row, "url": f"{row['url']}?signature=secret"}

    def file(self, name: str) -> tuple[str, bytes] | None:
        return Index.file(self, name.partition("?")[0])


def test_an_address_that_may_hold_a_secret_is_kept_nowhere(tmp_path: Path) -> None:
    """Promise 10: nothing leaks."""
    with served(Signed((Wheel("top", "1.0"),))) as index:
        project = Project(tmp_path, index)
        (tmp_path / "envcompile.toml").write_text(SPEC.format(url=index.url(), base=BASE), "utf-8")
        said = project.run("lock", code=3)
        assert "has a query, which may be a secret" in said
        assert "secret" not in "".join(text.decode() for text in project.texts().values())
        assert "signature" not in said


def test_a_key_with_an_escape_is_seen(project: Project) -> None:
    spec = project.folder / "envcompile.toml"
    spec.write_text(spec.read_text("utf-8").replace("exports =", '"export\\u0073" ='), "utf-8")
    project.run("lock")
    assert project.run("verify") == "`envcompile.lock` is fresh\n"
    (project.folder / "pylock.toml").unlink()
    assert "`pylock.toml` does not exist" in project.run("verify", code=1)


def test_names_there_and_back(tmp_path: Path) -> None:
    for spec in ("envcompile.toml", "cpu.toml", "a.b.toml"):
        (tmp_path / spec).touch()
        for file in list_export_paths(str(tmp_path / spec), tuple(EXPORT_FILES)):
            Path(file).write_text("# Made by `envcompile export`\n", "utf-8")
            assert find_spec_of_file(file) == str(tmp_path / spec)
            Path(file).write_text("six\n", "utf-8")
            assert find_spec_of_file(file) is None
