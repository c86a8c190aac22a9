"""The exports by those whose formats they are: pip, pip-sync and uv install them, from indexes on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.kit.index import Index, Wheel, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = "python:3.11-slim-bookworm@sha256:" + 64 * "a"
VERSION = ".".join(map(str, sys.version_info[:3]))
# The default index has another `acme-core` too, which must not be taken.
PUBLIC = (Wheel("top", "1.0", ("leaf>=1",)), Wheel("leaf", "1.5"), Wheel("leaf", "2.0"), Wheel("acme-core", "9.0"))
CORP = (Wheel("acme-core", "1.0", ("leaf<2",)),)
SEED = {"pip", "setuptools"}
WANTED = {"acme-core": "1.0", "leaf": "1.5", "top": "1.0"}


def run(folder: Path, *argv: str, code: int = 0) -> str:
    loopback = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PIP_CONFIG_FILE": os.devnull}
    # A cache of its own: a port of this machine may have been another index's.
    environment = {**os.environ, **loopback, "UV_CACHE_DIR": str(folder / "cache"), "PIP_NO_CACHE_DIR": "1"}
    done = subprocess.run(argv, cwd=folder, capture_output=True, check=False, encoding="utf-8", env=environment)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + done.stderr


def envcompile(folder: Path, *words: str, code: int = 0) -> str:
    return run(folder, sys.executable, "-m", "envcompile", *words, code=code)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a lock and its exports, and an environment for each installer."""
    folder = tmp_path_factory.mktemp("project")
    with served(Index(PUBLIC)) as public, served(Index(CORP, html=True)) as corp:
        (folder / "envcompile.toml").write_text(
            f"""
name = "x"
python = "{VERSION}"
[pip]
packages = ["top", "acme-core"]
index = "{public.url()}"
extra-indexes = [{{ name = "corp", url = "{corp.url()}", packages = ["acme-*"] }}]
[image]
base = {{ image = "{BASE}", os = "debian-12", glibc = "2.36", python = "{VERSION}", python-path = "/usr/bin/python3" }}
[lock]
exports = ["requirements.txt", "pylock.toml"]
""",
            "utf-8",
        )
        assert "wrote `pylock.toml`" in envcompile(folder, "lock")
        yield folder


def environment(project: Path, name: str, *, pip: bool = True) -> str:
    run(project, sys.executable, "-m", "venv", *(() if pip else ("--without-pip",)), name)
    return str(project / name / "bin" / "python")


def installed(project: Path, python: str) -> dict[str, str]:
    said = run(project, "uv", "pip", "list", "--python", python, "--format", "json", "--no-config")
    rows = {each["name"]: each["version"] for each in json.loads(said.partition("\n")[0])}
    return {name: version for name, version in rows.items() if name not in SEED}


def test_pip_installs_with_hashes_required(project: Path) -> None:
    python = environment(project, "pip")
    run(project, python, "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", "requirements.txt")
    assert installed(project, python) == WANTED


@pytest.mark.skipif(not find_spec("piptools"), reason="pip-tools is not installed")
def test_pip_sync_installs_it(project: Path) -> None:
    python = environment(project, "sync")
    run(project, sys.executable, "-m", "piptools", "sync", "-q", "--python-executable", python, "requirements.txt")
    assert installed(project, python) == WANTED


def test_uv_installs_both(project: Path) -> None:
    for file in ("requirements.txt", "pylock.toml"):
        name = file.partition(".")[0]
        python = environment(project, name, pip=False)
        more = ("--require-hashes", "--index-strategy", "unsafe-best-match") if name == "requirements" else ()
        preview = ("--preview",) if name == "pylock" else ()
        run(project, "uv", "pip", "sync", "-q", "--no-config", "--python", python, *more, *preview, file)
        assert installed(project, python) == WANTED


def test_another_hash_is_refused(project: Path) -> None:
    text = (project / "requirements.txt").read_text("utf-8")
    digest = Wheel("leaf", "1.5").sha256()
    assert digest in text
    (project / "other.txt").write_text(text.replace(digest, 64 * "0"), "utf-8")
    python = environment(project, "other")
    said = run(project, python, "-m", "pip", "install", "--no-deps", "--require-hashes", "-r", "other.txt", code=1)
    assert "HASH" in said.upper()
