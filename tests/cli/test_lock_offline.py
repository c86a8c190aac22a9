"""`envcompile lock --offline`: the caches are all there is, and what they lack is an error that says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.kit.channel import made_channel
from tests.kit.channel import served as served_folder
from tests.kit.index import Index, Wheel, served

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """
name = "x"
python = "3.12"
[conda]
channels = ["CHANNEL"]
packages = ["python"]
[pip]
packages = ["tiny"]
resolver = "RESOLVER"
[image]
base = "BASE"
"""
BASE = "debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251"


class Machine:
    """A folder with a spec, and caches that nothing else has filled."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.index = folder, ""

    def write(self, channel: str, base: str = BASE, resolver: str = "uv") -> None:
        text = SPEC.replace("CHANNEL", channel).replace("BASE", base).replace("RESOLVER", resolver)
        (self.folder / "envcompile.toml").write_text(text, "utf-8")

    def lock(self, *options: str) -> tuple[int, str]:
        own = {
            "HOME": str(self.folder),
            "RATTLER_CACHE_DIR": str(self.folder / "conda"),
            "UV_DEFAULT_INDEX": self.index,
        }
        words = [sys.executable, "-m", "envcompile", "lock", *options]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, check=False, text=True, env=own)
        return done.returncode, done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_was_seen_once_is_enough(machine: Machine) -> None:
    made_channel(machine.folder / "channel", {"name": "python", "version": "3.12.1"})
    with served_folder(machine.folder / "channel") as channel, served(Index((Wheel("tiny", "1.0"),))) as index:
        machine.write(channel)
        machine.index = index.url()
        code, said = machine.lock("--offline")
        assert (code, "is not in the cache, and `--offline` is set" in said) == (3, True), said
        assert machine.lock()[0] == 0
        whole = (machine.folder / "envcompile.lock").read_bytes()
        shutil.rmtree(machine.folder / ".cache" / "uv")
        code, said = machine.lock("--offline", "-U")
        assert (code, "is not in the cache of uv, and `--offline` or `UV_OFFLINE` is set" in said) == (3, True)
        assert machine.lock("-U")[0] == 0
    for options in (("--offline",), ("--offline", "-U"), ("--offline", "--check")):
        assert machine.lock(*options)[0] == 0, options
    assert (machine.folder / "envcompile.lock").read_bytes() == whole


def test_who_has_no_cache_says_so(machine: Machine) -> None:
    folder = made_channel(machine.folder / "channel", {"name": "python", "version": "3.12.1"})
    machine.write(folder.url, base="example.invalid/team/base:1")
    code, said = machine.lock("--offline")
    assert (code, "needs its registry, and `--offline` is set" in said) == (3, True), said
    machine.write(folder.url, resolver="pip-tools")
    code, said = machine.lock("--offline")
    assert (code, "`pip-tools` needs network access" in said) == (2, True), said
