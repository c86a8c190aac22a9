"""conda environments on the real engine, from a small real channel on loopback.

The images are stand-ins: the base `debian:bookworm-slim` is Debian's own minimal system, and the Python image in which
py-rattler runs has Debian's Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from tests.cli.test_lock_several_indexes import CANARY, found
from tests.engine.test_indexes import layers
from tests.kit.built_channel import serve
from tests.kit.engine import CA_BUNDLE, docker, envcompile
from tests.kit.hadolint import findings

if TYPE_CHECKING:
    from pathlib import Path

    from envcompile.lock.model import PlatformLock
    from tests.kit.built_channel import Channel
    from tests.kit.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.index]

INSIDE = """
import importlib.metadata as metadata, json, os, pathlib, subprocess
meta = [json.loads(path.read_text()) for path in pathlib.Path("/env/conda-meta").glob("*.json")]
print(json.dumps({
    "conda": sorted([each["name"], each["version"], each["sha256"]] for each in meta),
    "pip": sorted([each.name, each.version]
                  for each in metadata.distributions() if each.read_text("INSTALLER") != "conda"),
    "env": {key: value for key, value in os.environ.items() if key.startswith(("SETTINGS", "CONDA"))},
    "greeting": subprocess.run(["greeting"], capture_output=True, text=True, check=True).stdout,
    "greeter": subprocess.run(["greeter"], capture_output=True, text=True, check=True).stdout,
    "linked": sorted(os.listdir("/env/share/linked")),
    "uid": os.getuid(),
}))
"""


def spec(engine: Engine, channel: str, conda: str, pip: str = "", python: str = 'python = "3.11"') -> str:
    debian = os.environ["ENVCOMPILE_TEST_DEBIAN"]
    return f"""
name = "c"
{python}
[conda]
channels = ["{channel}"]
packages = [{conda}]
{pip}
[image]
base = {{ image = "{debian}", os = "debian-12", glibc = "2.36" }}
[tools]
python = "{engine.base}"
uv = "{engine.uv}"
"""


def lock(folder: Path, text: str) -> PlatformLock:
    (folder / "envcompile.toml").write_text(text, "utf-8")
    envcompile("lock", "-q", folder=folder)
    envcompile("lock", "-q", "--check", folder=folder)
    envcompile("dockerfile", "-q", "-o", "Dockerfile", folder=folder)
    assert findings(folder / "Dockerfile") == ""
    return parse_lock((folder / "envcompile.lock").read_text("utf-8"), "x").platforms[0]


def test_what_is_locked_is_what_runs(engine: Engine, conda_channel: Channel, tmp_path: Path) -> None:
    """Twice from nothing one image; what is in it is what the lock says; activation is honoured without conda."""
    locked = lock(tmp_path, spec(engine, conda_channel.url, '"everything"'))
    assert {package.name for package in locked.conda} >= {"python", "libgreeting", "greeting", "greeter", "settings"}
    text = (tmp_path / "Dockerfile").read_text("utf-8")
    tag = "envcompile-test-conda"
    digests = [engine.build(text, tag, "--no-cache") for _ in range(2)]
    assert digests[0] == digests[1]
    assert_contains(engine, tag, locked)
    leftovers = (
        "ls -d /root/.cache /root/.conda /env/CACHEDIR.TAG /usr/local/bin/uv /run/conda /layers 2>/dev/null; true"
    )
    # What activation scripts print goes to standard error, which docker() reads too.
    assert engine.run(tag, "sh", "-c", leftovers).splitlines()[0] == "settings: activated"


def assert_contains(engine: Engine, tag: str, locked: PlatformLock) -> None:
    """Assert that an image contains the packages of a lock, and that what they bring works."""
    inside = json.loads(engine.run(tag, "python", "-c", INSIDE).splitlines()[-1])
    assert inside["conda"] == sorted([each.name, each.version, each.sha256] for each in locked.conda)
    assert inside["pip"] == sorted([each.name, each.version] for each in locked.pip)
    assert inside["env"]["CONDA_PREFIX"] == "/env"
    assert inside["env"]["SETTINGS_HOME"] == "/env/share/settings"
    assert inside["env"]["SETTINGS_TEXT"] == 'two words, "quoted", $unexpanded'
    assert inside["greeting"].startswith("hello from libgreeting 1.2.3, installed below /env/share/greeting")
    assert inside["linked"] == ["empty", "greeting", "link", "where"]
    assert inside["greeter"] == "hello from greeter 0.4.0 in /env\n"
    assert inside["uid"] == 1000


def test_without_python(engine: Engine, conda_channel: Channel, tmp_path: Path) -> None:
    locked = lock(tmp_path, spec(engine, conda_channel.url, '"greeting"', python=""))
    assert [package.name for package in locked.conda] == ["greeting", "libgreeting"]
    assert locked.python is None
    text = (tmp_path / "Dockerfile").read_text("utf-8")
    engine.build(text, "envcompile-test-no-python")
    assert "hello from libgreeting 1.2.3" in engine.run("envcompile-test-no-python", "greeting")
    assert 'CMD ["bash"]' in text


def test_static_variables_need_no_entry_point(engine: Engine, conda_channel: Channel, tmp_path: Path) -> None:
    """`docker run --entrypoint` stands in for `docker exec`, Kubernetes, Apptainer and enroot."""
    locked = lock(tmp_path, spec(engine, conda_channel.url, '"settings"', python=""))
    (package,) = locked.conda
    assert package.activate == ("etc/conda/activate.d/settings.sh",)
    tag = "envcompile-test-static-variables"
    engine.build((tmp_path / "Dockerfile").read_text("utf-8"), tag)
    without = docker("run", "--rm", "--entrypoint", "env", tag).splitlines()
    assert "PLACES_DATA=/env/share/settings" in without
    assert not [line for line in without if line.startswith("SETTINGS_")]
    activated = docker("run", "--rm", "--entrypoint", "/env/bin/activated", tag, "env").splitlines()
    assert {"PLACES_DATA=/env/share/settings", "SETTINGS_HOME=/env/share/settings"} <= {*activated}
    assert {"PLACES_DATA=/env/share/settings", "SETTINGS_HOME=/env/share/settings"} <= {
        *engine.run(tag, "env").splitlines()
    }


def test_an_archive_with_other_bytes_fails_the_build(engine: Engine, conda_channel: Channel, tmp_path: Path) -> None:
    lock(tmp_path, spec(engine, conda_channel.url, '"greeting"', python=""))
    text = (tmp_path / "Dockerfile").read_text("utf-8")
    archive = next((conda_channel.folder / "linux-64").glob("greeting-*.tar.bz2"))
    whole = archive.read_bytes()
    docker("buildx", "prune", "--all", "--force", "--filter", "type=exec.cachemount")
    try:
        archive.write_bytes(whole + b"\0")
        options = ("--no-cache", "--network=host", "--secret", f"id=ca,src={CA_BUNDLE}")
        said = docker("buildx", "build", *options, "-", text=text, check=False)
    finally:
        archive.write_bytes(whole)
    assert f"envcompile: {conda_channel.url}/linux-64/{archive.name} is not the locked file" in said
    assert "ERROR: failed to solve" in said
    assert "installed below" not in said


def test_a_channel_that_requires_credentials(
    engine: Engine, conda_channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 10: nothing leaks. The password is in no file, no message, no layer and no cache."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {CANARY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    folder = tmp_path / "project"
    folder.mkdir()
    tag = "envcompile-test-private-channel"
    with serve(conda_channel.folder, f"me:{CANARY}") as url:
        lock(folder, spec(engine, url, '"greeting"', python=""))
        text = (folder / "Dockerfile").read_text("utf-8")
        options = ("--progress=plain", "--network=host", "--secret", f"id=ca,src={CA_BUNDLE}", "--tag", tag)
        said = docker("buildx", "build", "--no-cache", *options, "-", text=text, check=False)
        assert "cannot be downloaded" in said
        assert "for a channel that requires credentials, with --secret id=netrc,src=FILE" in said
        said += docker("buildx", "build", *options, "--secret", f"id=netrc,src={netrc}", "-", text=text)
    assert "hello from libgreeting 1.2.3" in engine.run(tag, "greeting")
    said += docker("history", "--no-trunc", tag) + docker("image", "inspect", tag)
    assert not found(text + said)
    assert not any(found(path.read_bytes()) for path in folder.rglob("*") if path.is_file())
    blobs = list(layers(tag))
    assert any(b"conda-meta/greeting-1.2.3" in blob for blob in blobs)
    assert not any(map(found, blobs))


def test_a_local_channel_is_locked_and_not_built(engine: Engine, conda_channel: Channel, tmp_path: Path) -> None:
    text = spec(engine, str(conda_channel.folder), '"greeting"', python="")
    (tmp_path / "envcompile.toml").write_text(text, "utf-8")
    envcompile("lock", "-q", folder=tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", "dockerfile"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "is a local folder, which the build cannot read" in done.stderr


def test_pip_packages_that_need_conda_packages(engine: Engine, conda_channel: Channel, tmp_path: Path) -> None:
    """Promise 12: pip packages find what they need of conda in the locked version, or the build fails.

    That two builds give one digest is a part of `test_two_engines_give_one_digest`.
    """
    requirement = '[pip]\npackages = ["greeter >=0.4", "six", "idna"]'
    locked = lock(tmp_path, spec(engine, conda_channel.url, '"everything"', requirement))
    assert "greeter" not in {package.name for package in locked.pip}
    text = (tmp_path / "Dockerfile").read_text("utf-8")
    assert "\ngreeter 0.4.0 greeter\n" in text
    engine.build(text, "envcompile-test-provided")
    assert_contains(engine, "envcompile-test-provided", locked)
    wrong = text.replace("\ngreeter 0.4.0 greeter\n", "\ngreeter 0.3.0 greeter\nsettings 1.0 settings\n")
    said = docker("buildx", "build", "--network=host", "-", text=wrong, check=False)
    assert "envcompile: conda's greeter 0.3.0 contains greeter 0.4.0" in said
    assert "envcompile: conda's settings 1.0 does not contain the distribution settings" in said
    assert "correct `provides` in `[conda]` of the spec" in said
