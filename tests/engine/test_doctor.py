"""`envcompile doctor` on the real engine: what it finds is so, and a disk that is full."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.doctor.docker import REQUIRED_FEATURES, probe_builder
from envcompile.engine.command import DockerClient
from envcompile.lock.reader import parse_lock
from envcompile.lock.writer import format_lock
from tests.kit.engine import docker
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.engine import Engine

pytestmark = pytest.mark.engine


def doctor(folder: Path, *words: str, **more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", "doctor", "--format", "json", *words],
        cwd=folder,
        env={**os.environ, **more},
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert done.stderr == ""
    return done.returncode, {row["about"]: row for row in json.loads(done.stdout)["findings"]}


@pytest.mark.usefixtures("engine")
def test_this_engine_is_fine(tmp_path: Path) -> None:
    before = set(docker("image", "ls", "--all", "--quiet").split())
    code, rows = doctor(tmp_path)
    assert code == 0, rows
    engine = ("docker", "daemon", "buildx", "builder", "output", "disk")
    assert {name: rows[name]["state"] for name in engine} == dict.fromkeys(engine, "fine")
    # Trying the builder out leaves no image behind.
    assert set(docker("image", "ls", "--all", "--quiet").split()) == before


@pytest.mark.usefixtures("engine")
def test_a_feature_that_the_builder_lacks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a Dockerfile that no frontend knows in the place of one that it does."""
    strange = REQUIRED_FEATURES[1]._replace(name="strange", dockerfile="FROM scratch\nCOPY --strange=yes . /\n")
    monkeypatch.setattr(
        "envcompile.doctor.docker.REQUIRED_FEATURES", (REQUIRED_FEATURES[0], strange, REQUIRED_FEATURES[2])
    )
    monkeypatch.setattr("envcompile.doctor.docker._ALL_FEATURES_DOCKERFILE", strange.dockerfile)
    found = probe_builder(DockerClient(os.environ), "", "linux/amd64")
    assert [each.name for each in found.missing] == ["strange"]
    assert "strange" in found.error_output


@pytest.mark.usefixtures("engine")
def test_the_disk_is_full(tmp_path: Path) -> None:
    """The engine is real, but for where it says that its images are: on a disk of eight megabytes."""
    shutil.copytree(FIXTURES / "compile" / "ml", tmp_path / "ml")
    small, path = tmp_path / "small", tmp_path / "path"
    small.mkdir()
    path.mkdir()
    real = shutil.which("docker")
    script = f"""#!/bin/sh
if [ "$1" = info ]; then echo '{{"DockerRootDir": "{small}"}}'; else exec {real} "$@"; fi
"""
    (path / "docker").write_text(script, "utf-8")
    (path / "docker").chmod(0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "small", str(small)], check=True)
    try:
        code, rows = doctor(tmp_path / "ml", PATH=f"{path}{os.pathsep}{os.environ['PATH']}")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert (code, rows["disk"]["state"]) == (1, "wrong")
    assert rows["disk"]["message"].startswith(f"8.4 MB are free in `{small}`; building the image needs ")
    assert "docker buildx prune" in rows["disk"]["remedy"]


def test_registries_of_the_lock(engine: Engine, tmp_path: Path) -> None:
    """A base in the registry that `.ci/engine` has started, and one that is not there."""
    spec = f'name = "x"\npython = "3.11"\n[pip]\npackages = ["six"]\n[image]\nbase = {engine.table()}\n'
    (tmp_path / "envcompile.toml").write_text(spec, "utf-8")
    folder = FIXTURES / "compile" / "ml"
    lock = (folder / "envcompile.lock").read_text("utf-8")
    value = parse_lock(lock, "x")
    one = replace(value.platforms[0], tools=())
    for image, state in ((engine.base, "fine"), (engine.base.replace("python", "none"), "missing")):
        base = replace(one.build, image=image)
        (tmp_path / "envcompile.lock").write_text(
            format_lock(replace(value, platforms=(replace(one, build=base, run=base),))), "utf-8"
        )
        code, rows = doctor(tmp_path, "--network")
        assert (rows["registry"]["state"], code) == (state, 0 if state == "fine" else 3), rows
