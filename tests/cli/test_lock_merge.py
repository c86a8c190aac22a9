"""Two branches that each added a package: whatever git leaves, `lock` mends it and keeps the pins of both.

Real git; pip's packages from an index on the loopback interface through uv, conda's from a channel in a folder through
py-rattler. When the branches meet, there are newer releases of everything, so that a pin that is lost shows.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING

import pytest

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.reader import parse_lock
from tests.cli.test_diff import GIT, git
from tests.kit.channel import made_channel
from tests.kit.index import Index, Wheel, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(not shutil.which("git"), reason="git is not installed"),
    pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed"),
]

SPEC = """
name = "x"
python = "3.12"
[conda]
channels = ["../channel"]
packages = [
CONDA]
[pip]
packages = [
PIP]
[image]
base = "debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251"
"""
# What is asked of both worlds, and what that needs.
NEEDS = {"first": ("first-below",), "middle": ("shared",), "tail": ("tail-below", "shared")}
NAMES = sorted({*NEEDS, *(need for needs in NEEDS.values() for need in needs)})


class Repository:
    """A repository whose spec asks for `middle`, with a branch that adds `first` and one that adds `tail`."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self._index, self._caches = folder / "repository", index, count()
        self.folder.mkdir()
        self.release("1.0")
        git(self.folder, "init", "-q", "-b", "main")
        self.ask("middle")
        self.lock()
        self.commit("middle")
        for branch, names in (("one", ("first", "middle")), ("two", ("middle", "tail"))):
            git(self.folder, "checkout", "-q", "-b", branch, "main")
            self.ask(*names)
            self.lock()
            self.commit(branch)
        self.release("1.0", "2.0")

    def release(self, *versions: str) -> None:
        """The index and the channel have these versions of everything."""
        self._index.wheels = tuple(
            Wheel(f"p-{name}", version, tuple(f"p-{need}" for need in NEEDS.get(name, ())))
            for name in NAMES
            for version in versions
        )
        records = [
            {"name": f"c-{name}", "version": version, "depends": [f"c-{need}" for need in NEEDS.get(name, ())]}
            for name in NAMES
            for version in versions
        ]
        made_channel(self.folder.parent / "channel", {"name": "python", "version": "3.12.1"}, *records)

    def ask(self, *names: str) -> None:
        conda, pip = ("".join(f'    "{kind}-{name}",\n' for name in names) for kind in "cp")
        (self.folder / "envcompile.toml").write_text(SPEC.replace("CONDA", conda).replace("PIP", pip), "utf-8")

    def lock(self, *options: str) -> str:
        """With empty caches: what is asked is what there is."""
        cache = self.folder.parent / f"cache{next(self._caches)}"
        own = {
            "UV_CACHE_DIR": f"{cache}/uv",
            "RATTLER_CACHE_DIR": f"{cache}/conda",
            "UV_DEFAULT_INDEX": self._index.url(),
        }
        done = subprocess.run(
            [sys.executable, "-m", "envcompile", "lock", *options],
            cwd=self.folder,
            capture_output=True,
            check=False,
            text=True,
            env={**os.environ, **own},
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def commit(self, message: str) -> None:
        git(self.folder, "add", ".")
        git(self.folder, "commit", "-q", "-m", message)

    def merge(self, *options: str) -> None:
        """Branch one into branch two; conflicts of the spec are mended by hand, as a person would."""
        subprocess.run(
            ["git", "merge", "-q", "--no-edit", *options, "one"],
            cwd=self.folder,
            check=False,
            capture_output=True,
            env={**os.environ, **GIT},
        )
        self.ask("first", "middle", "tail")

    def text(self) -> str:
        return (self.folder / "envcompile.lock").read_text("utf-8")

    def pins(self) -> dict[str, str]:
        (platform,) = parse_lock(self.text(), "x").platforms
        found = {each.name: each.version for each in platform.conda}
        return found | {each.name: each.version for each in platform.pip}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with served(Index(())) as index:
        yield Repository(tmp_path, index)


EVERYTHING = {"python": "3.12.1"} | {f"{kind}-{name}": "1.0" for kind in "cp" for name in NAMES}


@pytest.mark.parametrize(
    ("attributes", "options"),
    [
        ("", ()),
        ("envcompile.lock merge=union\n", ()),
        ("", ("-X", "ours")),
        ("", ("-X", "theirs")),
        ("", ("-X", "diff-algorithm=patience")),
    ],
    ids=[
        "marks of a conflict",
        "both sides of each line",
        "ours where they meet",
        "theirs where they meet",
        "patience",
    ],
)
def test_what_git_leaves_is_mended(attributes: str, options: tuple[str, ...], repository: Repository) -> None:
    (repository.folder / ".git" / "info" / "attributes").write_text(attributes, "utf-8")
    repository.merge(*options)
    # It is no lock: it has marks, or lines of both sides below the digest of one.
    with pytest.raises(InvalidInputError):
        parse_lock(repository.text(), "x")
    said = repository.lock()
    assert "can still be read and will be kept if the spec allows it" in said
    assert not [line for line in said.splitlines() if line.startswith("  ")]
    assert repository.pins() == EVERYTHING
    assert "is current" in repository.lock("--check")


@pytest.mark.parametrize(("side", "lost"), [("--ours", "first"), ("--theirs", "tail")])
def test_the_whole_lock_of_one_side(side: str, lost: str, repository: Repository) -> None:
    """It is sound, and not of this spec. What the other side added is solved anew, and nothing else moves."""
    repository.merge()
    git(repository.folder, "checkout", "-q", side, "envcompile.lock")
    kept = repository.pins()
    said = repository.lock()
    new = {f"{kind}-{name}": "2.0" for kind in "cp" for name in (lost, f"{lost}-below")}
    assert repository.pins() == EVERYTHING | new
    assert repository.pins().items() > kept.items()
    # All that is told is what came.
    assert {line.split()[0] for line in said.splitlines() if line.startswith("  ") and line[2] != " "} == {"+"}
    assert f"  + p-{lost}-below 2.0\n      needed by p-{lost} 2.0\n" in said


def test_of_two_pins_for_one_package_the_newer_stays(repository: Repository) -> None:
    git(repository.folder, "checkout", "-q", "one")
    repository.lock("-P", "p-shared", "-P", "c-shared")
    repository.commit("renewed")
    git(repository.folder, "checkout", "-q", "two")
    repository.merge()
    said = repository.lock()
    assert not [line for line in said.splitlines() if line.startswith("  ")]
    assert repository.pins() == {**EVERYTHING, "p-shared": "2.0", "c-shared": "2.0"}
