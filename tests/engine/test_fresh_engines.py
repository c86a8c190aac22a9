"""Promise 6 beyond one machine: one lock, one digest, on an engine that has never built anything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.test_apt import Work, apt_and_pip_spec
from tests.engine.test_apt import spec as apt_spec
from tests.engine.test_conda import spec as conda_spec
from tests.kit.debian_archive import debian_archive
from tests.kit.engine import CA_BUNDLE, docker, envcompile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.built_channel import Channel
    from tests.kit.engine import Engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.index,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="the archive is fetched by apt, and this is no Debian"),
    pytest.mark.skipif(os.geteuid() != 0, reason="another engine is started, which needs root"),
]

PIP = '\nname = "p"\npython = "3.11"\n[pip]\npackages = ["six", "idna", "markupsafe"]\n[image]\nbase = ""\n'
SECONDS = 60


@contextmanager
def fresh_engine(size: str = "") -> Iterator[str]:
    """The DOCKER_HOST of an engine with a data root of its own, that is gone afterwards; `size` is all it has."""
    registry = os.environ["ENVCOMPILE_TEST_REGISTRY"]
    # Not pytest's folder: the path of a socket has 107 bytes at most.
    root = Path(tempfile.mkdtemp(prefix="engine-", dir="/var/tmp"))
    if size:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", root], check=True)
    try:
        yield from _started(root, registry)
    finally:
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
        # The deepest first; its own, if it has one, is the last.
        for path in sorted((each for each in mounts if f"{each}/".startswith(f"{root}/")), reverse=True):
            subprocess.run(["umount", "-l", path], check=False)
        shutil.rmtree(root)


def _started(root: Path, registry: str) -> Iterator[str]:
    settings = {
        "features": {"containerd-snapshotter": True},
        "iptables": False,
        "ip6tables": False,
        "bridge": "none",
        **{key: str(root / key) for key in ("data-root", "exec-root")},
        "insecure-registries": [registry],
    }
    (root / "daemon.json").write_text(json.dumps(settings), "utf-8")
    host = f"unix://{root}/docker.sock"
    command = ["dockerd", "--config-file", str(root / "daemon.json"), "-H", host, "-p", str(root / "pid")]
    with (root / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as daemon:
        try:
            end = time.monotonic() + SECONDS
            while subprocess.run(["docker", "-H", host, "version"], capture_output=True, check=False).returncode:
                if daemon.poll() is not None or time.monotonic() > end:
                    pytest.fail((root / "log").read_text("utf-8")[-3000:])
                time.sleep(0.2)
            yield host
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(SECONDS)


def test_two_engines_give_one_digest(
    engine: Engine, conda_channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For pip packages, conda and pip packages, Debian packages, and these with pip packages and an init."""
    with debian_archive() as archive:
        specs = {
            "pip": engine.stand_ins(PIP),
            "conda": conda_spec(engine, conda_channel.url, '"everything"', '[pip]\npackages = ["six", "idna"]'),
            "apt": apt_spec('"tini"', os.environ["ENVCOMPILE_TEST_DEBIAN"]),
            "apt and pip": apt_and_pip_spec(engine),
        }
        works = {}
        for name, spec in specs.items():
            (tmp_path / name).mkdir()
            works[name] = Work(tmp_path / name, archive)
            works[name].lock(spec)
        engine.forget()
        here = {name: built(engine, work) for name, work in works.items()}
        with fresh_engine() as host:
            monkeypatch.setenv("DOCKER_HOST", host)
            assert docker("buildx", "du").split()[-1] == "0B"
            there = {name: built(engine, work) for name, work in works.items()}
    assert here == there
    assert len(set(here.values())) == len(specs)


def test_an_engine_whose_disk_is_full(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base fits, and half of what is installed."""
    (tmp_path / "envcompile.toml").write_text(engine.stand_ins(PIP.replace('"six"', '"scipy"')), "utf-8")
    envcompile("lock", "-q", folder=tmp_path)
    here = ("--secret", f"id=ca,src={CA_BUNDLE}", "--", "--network=host")
    with fresh_engine("500m") as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        command = [sys.executable, "-m", "envcompile", "build", *here]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, encoding="utf-8")
        images = docker("image", "ls", "--all", "--quiet")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    last = done.stderr.rpartition("error: ")[2]
    assert last.startswith("the build failed: a disk is full"), done.stderr
    assert "`docker buildx prune`" in last
    assert images == ""


def built(engine: Engine, work: Work) -> str:
    return engine.build(work.dockerfile(), "envcompile-test-fresh", *work.secret())
