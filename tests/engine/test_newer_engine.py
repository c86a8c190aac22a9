"""A newer BuildKit: it finds nothing in our Dockerfiles, and builds the same layers and the same configuration.

Runs by hand: `.ci/engine with .ci/newer-engine pytest --long tests/engine/test_newer_engine.py`.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.test_apt import Work, apt_and_pip_spec
from tests.engine.test_conda import spec as conda_spec
from tests.kit.debian_archive import debian_archive
from tests.kit.engine import docker
from tests.kit.project import CASES, FIXTURES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kit.built_channel import Channel
    from tests.kit.engine import Engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.index,
    pytest.mark.long,
    pytest.mark.skipif("ENVCOMPILE_TEST_NEWER_HOST" not in os.environ, reason="run it by `.ci/newer-engine`"),
]
PIP = '\nname = "p"\npython = "3.11"\n[pip]\npackages = ["six", "idna", "numpy"]\n[image]\nbase = ""\n'
TAG = "envcompile-test-newer"


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Calling it switches to the newer client and daemon."""

    def switch() -> None:
        monkeypatch.setenv("DOCKER_HOST", os.environ["ENVCOMPILE_TEST_NEWER_HOST"])
        monkeypatch.setenv("DOCKER_CONFIG", os.environ["ENVCOMPILE_TEST_NEWER_CONFIG"])
        monkeypatch.setenv("PATH", f"{os.environ['ENVCOMPILE_TEST_NEWER_PATH']}:{os.environ['PATH']}")

    return switch


@pytest.mark.parametrize("name", CASES)
def test_its_check_finds_nothing(engine: Engine, newer: Callable[[], None], name: str) -> None:
    """The base stands in for all images, because their registries cannot be reached."""
    text = (FIXTURES / "compile" / name / "expected" / "Dockerfile").read_text("utf-8")
    text = re.sub(r"(?m)^(FROM --platform=\S+) \S+@sha256:[0-9a-f]{64}", rf"\1 {engine.base}", text)
    newer()
    assert "Check complete, no warnings found." in docker("buildx", "build", "--check", "-", text=text)


def inspect(engine: Engine, text: str, *options: str) -> tuple[list[str], dict[str, Any]]:
    """The diff ids and the run configuration of an image that is built from nothing."""
    engine.build(text, TAG, "--no-cache", *options)
    (found,) = json.loads(docker("image", "inspect", TAG))
    docker("image", "rm", "--force", TAG)
    return found["RootFS"]["Layers"], {key: value for key, value in found["Config"].items() if value}


def make_spec(engine: Engine, channel: str, kind: str) -> str:
    """The spec of an image of this kind. Half of them run as root, and half of them have an init."""
    if kind == "conda and pip":
        return conda_spec(engine, channel, '"everything"', '[pip]\npackages = ["six"]')
    if kind == "conda":
        return conda_spec(engine, channel, '"everything"').replace("[image]", '[image]\nuser = "0:0"\ninit = true')
    if kind == "apt and pip":
        return apt_and_pip_spec(engine)
    return engine.stand_ins(PIP)


@pytest.mark.parametrize("kind", ["pip", "conda", "conda and pip", "apt and pip"])
def test_it_builds_the_same_layers(
    engine: Engine, conda_channel: Channel, newer: Callable[[], None], tmp_path: Path, kind: str
) -> None:
    """Promise 6: every layer (diff id) and the run configuration are equal on every supported BuildKit."""
    with debian_archive() as archive:
        work = Work(tmp_path, archive)
        work.lock(make_spec(engine, conda_channel.url, kind))
        text = work.dockerfile()
        here = inspect(engine, text, *work.secret())
        newer()
        there = inspect(engine, text, *work.secret())
    assert here[0] == there[0]
    # Newer engines leave out what is empty, and what no container uses.
    keys = {"Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Labels", "ExposedPorts", "StopSignal", "Healthcheck"}
    assert {key: here[1].get(key) for key in keys} == {key: there[1].get(key) for key in keys}
