"""Digests from a real registry at lock time: pinned once, kept afterwards, through a mirror too."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from tests.kit.engine import docker

if TYPE_CHECKING:
    from pathlib import Path

    from envcompile.lock.model import PlatformLock
    from tests.kit.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.index]

SPEC = """
name = "x"
python = "3.11"
[pip]
packages = ["six"]
"""


def lock(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", "lock", *options],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def locked(folder: Path) -> PlatformLock:
    return parse_lock((folder / "envcompile.lock").read_text("utf-8"), "x").platforms[0]


def test_a_tag_becomes_a_digest_and_stays_it(engine: Engine, tmp_path: Path) -> None:
    """And the system, the C library and the Python are read from the image."""
    registry = engine.base.partition("/")[0]
    moving = f"{registry}/moving:bookworm"
    docker("buildx", "imagetools", "create", "-t", moving, engine.base)
    (tmp_path / "envcompile.toml").write_text(f'{SPEC}[image]\nbase = "{moving}"\n', "utf-8")
    assert lock(tmp_path)[0] == 0
    first = locked(tmp_path)
    assert first.build.image == f"{moving}@{engine.base.partition('@')[2]}"
    assert (first.build.os, first.build.glibc) == ("debian-12", "2.36")
    assert first.python
    assert (first.python.version, first.python.path, first.python.source) == (
        engine.python,
        "/usr/bin/python3",
        "image",
    )
    # The tag moves to another image, and the lock does not, until it is asked to.
    docker("buildx", "imagetools", "create", "-t", moving, engine.uv)
    code, said = lock(tmp_path)
    assert (code, "is current" in said) == (0, True)
    code, said = lock(tmp_path, "-U")
    assert (code, "has no Python, and no system that envcompile knows" in said) == (2, True)
    assert locked(tmp_path) == first


def test_the_default_base_through_a_mirror(engine: Engine, tmp_path: Path) -> None:
    """A setting of the user: the lock has the canonical name, and so the same bytes behind every mirror."""
    registry = engine.base.partition("/")[0]
    docker("buildx", "imagetools", "create", "-t", f"{registry}/library/python:3.11-slim-bookworm", engine.base)
    (tmp_path / "envcompile.toml").write_text(SPEC, "utf-8")
    (tmp_path / "config" / "envcompile").mkdir(parents=True)
    config = tmp_path / "config" / "envcompile" / "config.toml"
    config.write_text(f'[mirrors]\n"docker.io" = "{registry}"\n', "utf-8")
    code, said = lock(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert (code, said.startswith("wrote `envcompile.lock`: 1 package for linux-64")) == (0, True)
    assert locked(tmp_path).build.image == f"python:3.11-slim-bookworm@{engine.base.partition('@')[2]}"
    assert registry not in (tmp_path / "envcompile.lock").read_text("utf-8")
    (tmp_path / "envcompile.lock").unlink()
    for text, said in (("[mirror]\n", "`mirror` in"), ("mirrors = 1\n", "must be a table"), ("x", "cannot be read")):
        config.write_text(text, "utf-8")
        code, output = lock(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"))
        assert (code, said in output) == (2, True), output


def test_no_digest_to_be_had(engine: Engine, tmp_path: Path) -> None:
    """Nothing unpinned is ever written."""
    registry = engine.base.partition("/")[0]
    (tmp_path / "envcompile.toml").write_text(f'{SPEC}[image]\nbase = "{registry}/none:bookworm"\n', "utf-8")
    code, said = lock(tmp_path)
    assert (code, "hint: check its name, tag and digest" in said) == (3, True), said
    assert not (tmp_path / "envcompile.lock").exists()
