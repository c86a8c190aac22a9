"""`envcompile doctor` with stand-ins on its PATH: shell scripts that say what the real programs say when they are ill.

With the real engine: tests/engine/test_doctor.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli

from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.doctor.machine import check_driver
from envcompile.doctor.project import _find_minimum_drivers
from envcompile.lock.model import PipPackage
from envcompile.lock.writer import format_lock
from envcompile.spec.decode import decode_spec
from tests.kit.project import FIXTURES, parsed
from tests.kit.registry import INDEX, Server, start

if TYPE_CHECKING:
    from collections.abc import Iterator

LIGHT = ("tomli", "jinja2", "markupsafe", "packaging")
# Stands in for docker 26 with buildx 0.13 and a builder that can do everything; `{}` is what a case changes, first.
DOCKER = r"""#!/bin/sh
down() { echo "Cannot connect to the Docker daemon at unix:///nope.sock. Is the docker daemon running?" >&2; exit 1; }
%s
case "$*" in
  "version --format {{json .}}")
    echo '{"Client": {"Version": "26.1.5"}, "Server": {"Version": "26.1.5+dfsg1"}}' ;;
  "version --format {{.Server.Os}}/{{.Server.Arch}}") echo linux/amd64 ;;
  "info --format {{json .}}")
    echo '{"DockerRootDir": "ROOT", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}' ;;
  "context inspect --format {{.Endpoints.docker.Host}}") echo unix:///var/run/docker.sock ;;
  "buildx version") echo github.com/docker/buildx v0.13.1 788433953af10f2a698f5c07611dddce2e08c7a0 ;;
  "buildx inspect"*) printf 'Name:   default\nDriver: docker\n\nNodes:\nName:   default\nStatus: running\n' ;;
  "buildx build"*"type=oci"*) cat >/dev/null
    echo "ERROR: OCI exporter is not supported for the docker driver." >&2; exit 1 ;;
  "buildx build"*) cat >/dev/null ;;
  *) echo "nobody taught this stand-in: $*" >&2; exit 99 ;;
esac
"""
NO_SERVER = """[ "$1 $2" = "version --format" ] && echo '{"Client": {"Version": "28.2.2"}, "Server": null}' && exit 1
[ "$1" = info ] && echo '{"DockerRootDir": "", "ServerErrors": ["Cannot connect"]}' && exit 1
[ "$1" = buildx ] || down"""
# What the frontend in Docker 20.10 says of a heredoc; and of --link.
OLD_FRONTEND = """case "$1 $2" in
  "version --format") echo '{"Client": {"Version": "20.10.24"}, "Server": {"Version": "20.10.24+dfsg1"}}'; exit ;;
  "buildx build") text=$(cat); case "$text" in
    *EOF*) echo "ERROR: failed to solve: dockerfile parse error line 3: unknown instruction: A" >&2; exit 1 ;;
    *--link*) echo "ERROR: failed to solve: dockerfile parse error line 4: Unknown flag: link" >&2; exit 1 ;;
  esac; exit ;;
esac"""
ASLEEP = (
    r"""[ "$1 $2" = "buildx inspect" ] && printf 'Name: far\nDriver: docker-container\n\nStatus: inactive\n' && exit"""
)
NO_BUILDER = """[ "$1 $2" = "buildx inspect" ] && echo 'ERROR: no builder "far" found' >&2 && exit 1"""


def doctor(
    folder: Path, *words: str, docker: str | None = None, nvidia: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """The command in a folder, with nothing on its PATH but the stand-ins and what their scripts need."""
    path = folder / "path"
    path.mkdir(exist_ok=True)
    for name in ("sh", "cat", "printf"):
        if not (path / name).exists():
            (path / name).symlink_to(str(shutil.which(name)))
    if docker is not None:
        (path / "docker").write_text((DOCKER % docker).replace("ROOT", str(folder)), "utf-8")
        (path / "docker").chmod(0o755)
    if nvidia is not None:
        (path / "nvidia-smi").write_text(f"#!/bin/sh\n{nvidia}\n", "utf-8")
        (path / "nvidia-smi").chmod(0o755)
    environment = {"PATH": str(path), "HOME": str(folder), "NO_PROXY": "*", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-m", "envcompile", "doctor", *words],
        cwd=folder,
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**environment, **more},
    )


def found(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The findings of `--format json`, by what each is about."""
    assert done.stderr == ""
    return {row["about"]: row for row in json.loads(done.stdout)["findings"]}


def test_all_fine(tmp_path: Path) -> None:
    done = doctor(tmp_path, docker="")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "fine     docker      docker 26.1.5, the command line" in lines
    assert "fine     builder     builder `default` (docker) knows heredocs, `COPY --link` and named contexts" in lines
    assert "fine     driver      no NVIDIA driver here, and none is needed" in lines
    # Worth knowing, with what mends it, and no reason to fail.
    (at,) = [number for number, line in enumerate(lines) if line.startswith("note     output      ")]
    assert "writes no OCI archives" in lines[at]
    assert lines[at + 1].startswith(" " * 21 + '= write `{"features": {"containerd-snapshotter": true}}`')
    assert doctor(tmp_path, "--quiet", docker="").stdout == ""


@pytest.mark.parametrize(
    ("docker", "code", "about", "state", "said", "remedy"),
    [
        (None, 3, "docker", "missing", "it is not on the PATH", "install Docker with buildx"),
        (NO_SERVER, 3, "daemon", "missing", "the docker daemon does not answer", "start it"),
        ('[ "$1" = buildx ] && exit 1', 3, "buildx", "missing", "docker has no `buildx`", "install buildx 0.10"),
        (
            '[ "$1 $2" = "buildx version" ] && echo github.com/docker/buildx v0.8.2 6224def && exit',
            *(3, "buildx", "missing", "buildx 0.8.2 is too old", "install buildx 0.10"),
        ),
        (OLD_FRONTEND, 1, "daemon", "wrong", "engine 20.10.24+dfsg1 is too old", "install Docker 23"),
        (OLD_FRONTEND, 1, "builder", "wrong", "lacks heredocs (the package lists", "install Docker 23"),
        (ASLEEP, 0, "builder", "note", "`far` (docker-container) is not running", "--bootstrap"),
        (NO_BUILDER, 3, "builder", "missing", "there is no builder `far`", "`docker buildx ls`"),
    ],
)
def test_docker_is_ill(  # noqa: PLR0913, PLR0917
    tmp_path: Path, docker: str | None, code: int, about: str, state: str, said: str, remedy: str
) -> None:
    done = doctor(tmp_path, "--format", "json", docker=docker)
    row = found(done)[about]
    assert (done.returncode, row["state"]) == (code, state), row
    assert ("disk" in found(done)) is (docker not in {None, NO_SERVER})
    assert said in row["message"]
    assert remedy in row["remedy"]


def test_what_an_old_builder_lacks_is_named_alone(tmp_path: Path) -> None:
    row = found(doctor(tmp_path, "--format", "json", docker=OLD_FRONTEND))["builder"]
    assert "COPY --link (layers that do not depend on one another): docker failed" in row["message"]
    assert "named contexts" not in row["message"]


def project(folder: Path, runtime: str = "") -> Path:
    """A spec and its lock, with a CUDA runtime in it that nobody asked for."""
    shutil.copytree(FIXTURES / "compile" / "ml", folder, dirs_exist_ok=True)
    _, lock = parsed("ml")
    if runtime:
        pin = PipPackage("nvidia-cuda-runtime-cu12", runtime, f"x-{runtime}-py3-none-any.whl", "0" * 64, 3_000_000_000)
        rows = tuple(
            replace(each, pip=tuple(sorted([*each.pip, pin], key=lambda p: p.name))) for each in lock.platforms
        )
        lock = replace(lock, platforms=rows)
    (folder / "envcompile.lock").write_text(format_lock(lock), "utf-8")
    return folder


# As nvidia-smi 535 and 550 answer; and when the kernel's half and the library's are of different versions.
CARD = "echo '{}, NVIDIA A100-SXM4-40GB'; echo '{}, NVIDIA A100-SXM4-40GB'"
MISMATCH = "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18"


@pytest.mark.parametrize(
    ("nvidia", "runtime", "state", "said"),
    [
        (None, "", "fine", "no NVIDIA driver here, and none is needed"),
        (None, "12.8.90", "note", "with 525.60.13 or newer for CUDA 12.8.2 of the lock"),
        (CARD.format("535.104.05", "535.104.05"), "12.8.90", "fine", "525.60.13 is enough for CUDA 12.8.2"),
        (
            CARD.format("470.256.02", "470.256.02"),
            "12.8.90",
            "wrong",
            "470.256.02 (NVIDIA A100-SXM4-40GB) is too old",
        ),
        (CARD.format("470.256.02", "470.256.02"), "", "fine", "NVIDIA driver 470.256.02 (NVIDIA A100-SXM4-40GB)"),
        (MISMATCH, "", "wrong", "finds no working driver: Failed to initialize NVML"),
    ],
)
def test_the_driver(tmp_path: Path, nvidia: str | None, runtime: str, state: str, said: str) -> None:
    folder = project(tmp_path, runtime)
    done = doctor(folder, "--format", "json", docker="", nvidia=nvidia)
    row = found(done)["driver"]
    assert row["state"] == state, row
    assert said in row["message"]
    assert state != "wrong" or row["remedy"]


def test_the_driver_that_the_spec_wants_to_support(tmp_path: Path) -> None:
    text = 'name = "x"\n[cuda]\ndriver = "535"\n'
    spec, _ = decode_spec(TomlSource("x", text), TomlSource("x", text).value)
    assert spec
    (floor,) = _find_minimum_drivers(spec, None, load_default_catalogue())
    assert floor == ("535", "`driver` under `[cuda]`")
    script = tmp_path / "nvidia-smi"
    for version, state in (("525.60.13", "wrong"), ("535.54.03", "fine"), ("550.1", "fine")):
        script.write_text(f"#!/bin/sh\necho '{version}, NVIDIA T4'\n", "utf-8")
        script.chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
            assert check_driver((floor,), os.environ).state == state


def test_a_newer_catalogue_moves_the_floor(tmp_path: Path) -> None:
    """Whose facts they were is said, with their digest."""
    folder = project(tmp_path, "12.8.90")
    text = (FIXTURES.parent / "envcompile/base_image/data/catalogue.json").read_text("utf-8")
    newer = text.replace('"525.60.13", "13"', '"550.54.14", "13"').replace('"date": "2026-', '"date": "2027-')
    assert newer != text
    (folder / "newer.json").write_text(newer, "utf-8")
    card = CARD.format("535.104.05", "535.104.05")
    rows = found(doctor(folder, "--format", "json", "--catalogue", "newer.json", docker="", nvidia=card))
    assert (rows["driver"]["state"], "needs 550.54.14" in rows["driver"]["message"]) == ("wrong", True)
    assert rows["catalogue"]["message"].startswith("facts of 2027-")
    # The settings name one for good.
    (folder / ".config" / "envcompile").mkdir(parents=True)
    (folder / ".config" / "envcompile" / "config.toml").write_text('catalogue = "~/newer.json"\n', "utf-8")
    assert found(doctor(folder, "--format", "json", docker="", nvidia=card))["driver"]["state"] == "wrong"


def test_room(tmp_path: Path) -> None:
    """Of a build that takes more than any disk has. A disk that is full: tests/engine/test_doctor.py."""
    folder = project(tmp_path, "12.8.90")
    _, lock = parsed("ml")
    pin = PipPackage("huge", "1", "huge-1-py3-none-any.whl", "0" * 64, 10**14)
    rows = tuple(replace(each, pip=tuple(sorted([*each.pip, pin], key=lambda p: p.name))) for each in lock.platforms)
    (folder / "envcompile.lock").write_text(format_lock(replace(lock, platforms=rows)), "utf-8")
    done = doctor(folder, "--format", "json", docker="")
    row = found(done)["disk"]
    assert (done.returncode, row["state"]) == (1, "wrong")
    assert "building the image needs" in row["message"]
    far = '[ "$1" = context ] && echo ssh://far.example.invalid && exit'
    row = found(doctor(folder, "--format", "json", docker=far))["disk"]
    assert (row["state"], "on another machine" in row["message"]) == ("note", True)


def test_a_spec_that_is_broken_or_not_locked(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "envcompile.lock").unlink()
    rows = found(doctor(folder, "--format", "json", docker=""))
    assert (rows["lock"]["state"], rows["lock"]["remedy"]) == ("note", "run `envcompile lock`")
    (folder / "envcompile.toml").write_text('name = "x"\nxyz = 4\n[pip]\npackages = ["a b"]\n', "utf-8")
    done = doctor(folder, "--format", "json", docker="")
    row = found(done)["spec"]
    assert (done.returncode, row["state"], row["message"]) == (1, "wrong", "`envcompile.toml` has 3 mistakes")
    assert found(done)["docker"]["state"] == "fine"
    done = doctor(folder, "-f", "none.toml", docker="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: `none.toml` does not exist")


def test_a_lock_that_is_broken(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "envcompile.lock").write_text("format = 1\n", "utf-8")
    done = doctor(folder, "--format", "json", docker="")
    row = found(done)["lock"]
    assert (done.returncode, row["state"]) == (1, "wrong")
    assert "envcompile lock" in row["remedy"]


def test_a_resolver_that_the_spec_asks_for_is_missing(tmp_path: Path) -> None:
    """An interpreter without our extras: only what this one has of the light base is on its path."""
    folder = project(tmp_path)
    light = tmp_path / "light"
    light.mkdir()
    site = Path(str(tomli.__file__)).parents[1]
    for each in (FIXTURES.parent / "envcompile", *map(site.joinpath, LIGHT), *site.glob("*__mypyc*.so")):
        (light / each.name).symlink_to(each)
    bare = str(getattr(sys, "_base_executable", sys.executable))
    environment = {"PATH": str(folder / "path"), "HOME": str(folder), "PYTHONPATH": str(light)}
    doctor(folder, docker="")  # writes the stand-in
    done = subprocess.run(
        [bare, "-S", "-m", "envcompile", "doctor", "--format", "json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    rows = found(done)
    assert (done.returncode, rows["uv"]["state"]) == (3, "missing")
    assert rows["uv"]["remedy"] == "run `pip install 'envcompile[lock]'`"
    assert rows["conda-lock"]["state"] == "note"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    web = start(server)
    yield server
    server.stopped.set()
    web.shutdown()
    web.server_close()


def test_registries_are_asked_only_when_told_to(tmp_path: Path, server: Server) -> None:
    (tmp_path / ".config" / "envcompile").mkdir(parents=True)
    settings = f'[mirrors]\n"docker.io" = "{server.host}"\n"ghcr.io" = "{server.host}"\n'
    (tmp_path / ".config" / "envcompile" / "config.toml").write_text(settings, "utf-8")
    assert doctor(tmp_path, docker="").returncode == 0
    assert server.seen == []
    server.document("library/debian", "bookworm-slim", INDEX, {"manifests": []})
    done = doctor(tmp_path, "--network", docker="")
    assert done.returncode == 3
    lines = [line for line in done.stdout.splitlines() if "registry" in line[:20]]
    assert lines[0] == "fine     registry    `debian:bookworm-slim` is there"
    assert lines[1].startswith("missing  registry    the registry has no `ghcr.io/astral-sh/uv:")
    assert {each.method for each in server.seen} == {"HEAD"}
