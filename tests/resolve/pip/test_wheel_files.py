"""Promise 12: two packages with one file. Which wheels overwrite files of each other, and what a user is told.

Through the real `envcompile lock` and uv, with an index on the loopback interface.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING
from zipfile import ZipInfo

import pytest

from envcompile.lock.families import FileOverlap
from envcompile.resolve.pip.wheel_files import FileContent, find_overlaps, list_installed_files, list_top_levels
from tests.kit.index import Index, Wheel, served

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = 64 * "0"
LIBRARY = "shared/core.cpython-312-x86_64-linux-gnu.so"
WORLD = (
    Wheel("engine", "1.0", files=((LIBRARY, "one"), ("shared/__init__.py", "a"), ("shared/same.py", "same"))),
    Wheel("engine-lite", "2.0", files=((LIBRARY, "two"), ("shared/__init__.py", "b"), ("shared/same.py", "same"))),
    Wheel("needs-lite", "1.0", ("engine-lite",)),
    Wheel("docs-a", "1.0", files=(("tests/conftest.py", "a"),)),
    Wheel("docs-b", "1.0", files=(("tests/conftest.py", "b"), ("tests/b.py", "b"))),
    Wheel("file", "1.0", files=(("thing", "x"),)),
    Wheel("folder", "1.0", files=(("thing/__init__.py", ""),)),
    Wheel("space-a", "1.0", files=(("space/__init__.py", ""), ("space/a.py", "a"))),
    Wheel("space-b", "1.0", files=(("space/__init__.py", ""), ("space/b.py", "b"))),
)


def lock(
    folder: Path, *packages: str, more: str = "", beside: bool = False, offline: bool = False
) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    with served(Index(WORLD, beside=beside, ranges=not beside)) as index:
        text = f"""name = "x"
python = "3.12"
[pip]
index = "{index.url()}"
packages = {list(packages)}
{more}
[image.base]
image = "x@sha256:{DIGEST}"
os = "debian-12"
glibc = "2.36"
python = "3.12.2"
python-path = "/p"
[tools]
uv = "uv@sha256:{DIGEST}"
"""
        (folder / "envcompile.toml").write_text(text, "utf-8")
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent)}
        argv = [sys.executable, "-m", "envcompile", "lock", *(["--offline"] if offline else [])]
        return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("beside", [False, True])
def test_different_libraries_are_an_error_at_both_requirements(tmp_path: Path, beside: bool) -> None:
    """Whatever the server sends: a small wheel is read as a whole."""
    done = lock(tmp_path / "x", "needs-lite", "engine", beside=beside)
    assert done.returncode == 1
    message = f"error[overlap]: `engine 1.0` and `engine-lite 2.0` have different files at `{LIBRARY}` and 1 more"
    assert done.stderr.count(message) == 2
    assert sum("^" in line for line in done.stderr.splitlines()) == 2
    assert '`allow-overlap = ["engine-lite"]` in `[pip]`' in done.stderr
    assert not (tmp_path / "x/envcompile.lock").exists()


def test_the_hint_and_a_second_run_from_the_cache(tmp_path: Path) -> None:
    done = lock(tmp_path / "x", "needs-lite", "engine", more='allow-overlap = ["engine-lite"]')
    assert done.returncode == 0, done.stderr
    assert "overlap" not in done.stderr


def test_other_files_are_a_warning(tmp_path: Path) -> None:
    done = lock(tmp_path / "x", "docs-b", "docs-a", "space-a", "space-b")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning[overlap]") == 1
    assert "`docs-a 1.0` and `docs-b 1.0` have different files at `tests/conftest.py`\n" in done.stderr
    assert "accept the files of `docs-b`, which is installed last" in done.stderr
    assert done.stderr.count("space-") == 2, "empty files of a namespace are alike"


def test_a_file_and_a_folder_are_an_error_at_both_requirements(tmp_path: Path) -> None:
    done = lock(tmp_path / "x", "file", "folder")
    assert done.returncode == 1
    message = "error[overlap]: `file 1.0` and `folder 1.0` have different files at `thing`\n"
    assert done.stderr.count(message) == 2, done.stderr


def test_where_files_are_installed() -> None:
    names = (
        *("a/__init__.py", "a/", "a-1.0.dist-info/RECORD", "a-1.0.data/purelib/b.py", "a-1.0.data/scripts/run"),
        *("a-1.0.data/platlib/c/d.so", "a-1.0.data/data/share/x", "a-1.0.data/headers/a.h", "e.pth"),
    )
    contents = [ZipInfo(name) for name in names]
    for each in contents:
        each.CRC = 0
    files = list_installed_files(contents)
    expected = ["a/__init__.py", "b.py", "<scripts>/run", "c/d.so", "<data>/share/x", "<headers>/a.h", "e.pth"]
    assert list(files) == expected
    assert list_top_levels(files) == ("<data>", "<headers>", "<scripts>", "a", "b.py", "c", "e.pth")


def test_only_packages_that_share_a_name_at_the_top_are_read() -> None:
    files = {
        "a": {"one/x.py": FileContent(1, 1), "one/lib.so.1": FileContent(1, 1)},
        "b": {"one/x.py": FileContent(1, 2), "one/lib.so.1": FileContent(1, 1)},
        "c": {"one/x.py": FileContent(2, 1), "one/lib.so.1": FileContent(1, 1), "one/lib.so.2": FileContent(1, 1)},
        "d": {"two/x.py": FileContent(1, 1)},
    }
    asked = []

    def read(name: str) -> dict[str, FileContent] | None:
        asked.append(name)
        return files[name]

    tops = {name: list_top_levels(each) for name, each in files.items()}
    assert find_overlaps(tops, read) == (FileOverlap(("a", "b", "c"), "one/x.py", 1, is_fatal=False),)
    assert asked == ["a", "b", "c"]
    assert find_overlaps(tops, lambda _: None) == ()


def test_a_file_that_is_the_folder_of_another_package() -> None:
    """No order of installation gives both what they need."""
    files = {"a": {"thing": FileContent(1, 1)}, "b": {"thing/x.py": FileContent(1, 2)}}
    tops = {name: list_top_levels(each) for name, each in files.items()}
    assert find_overlaps(tops, files.get) == (FileOverlap(("a", "b"), "thing", 1, is_fatal=True),)
