"""Small environments on the real engine: what the Dockerfile promises of users, values, times and platforms."""

from __future__ import annotations

import json
import os
import string
from typing import TYPE_CHECKING

import pytest

from tests.kit.engine import docker, envcompile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.index]

SPEC = """
name = "small"
python = "3.11"
[pip]
packages = ["six"]
[image]
base = ""
"""

# What a shell, a template, a Dockerfile or JSON would give a meaning to.
HOSTILE = [
    *string.punctuation,
    *("a b", " a", "a ", "\t", "$HOME", "${HOME}", "$(id)", "`id`", "{{ 7 * 7 }}", "{% raw %}", "a\\", "\\", '"', "'"),
    *(
        "a=b",
        "# comment",
        "\\n",
        "EOF",
        "<<EOF",
        '"; RUN id',
        "%{x}",
        "ünïcode ☃",
        "\\$x",
        '\\"',
        "\\\\",
        "$$",
        "a\\ b",
    ),
    *(f"{a}{b}" for a in "\\\"'$ `" for b in "\\\"'$ `"),
]


def lock(engine: Engine, folder: Path, spec: str) -> str:
    (folder / "envcompile.toml").write_text(engine.stand_ins(spec), "utf-8")
    envcompile("lock", "-q", folder=folder)
    return envcompile("dockerfile", folder=folder)


def test_every_value_arrives_as_written(engine: Engine, tmp_path: Path) -> None:
    """Promise 10: nothing injects."""
    env = {f"V{index}": value for index, value in enumerate(HOSTILE)}
    labels = {f"v.{index}": value for index, value in enumerate(HOSTILE)}
    command = ["printf", *HOSTILE]
    values = {"env": env, "labels": labels}
    tables = "".join(
        f"[image.{name}]\n" + "".join(f'"{key}" = {json.dumps(value)}\n' for key, value in each.items())
        for name, each in values.items()
    )
    # A JSON string without control characters is a TOML string, but for the tab.
    spec = f"{SPEC}command = {json.dumps(command)}\nworkdir = '/a \"b\" $c\\d'\n{tables}"
    dockerfile = lock(engine, tmp_path, spec)
    engine.build(dockerfile, "envcompile-test-hostile")
    config = json.loads(docker("image", "inspect", "envcompile-test-hostile"))[0]["Config"]
    assert {key: value for key, _, value in (each.partition("=") for each in config["Env"]) if key in env} == env
    assert config["Labels"] == labels
    assert config["Cmd"] == command
    assert config["WorkingDir"] == '/a "b" $c\\d'
    assert config["User"] == "1000:1000"
    assert not config.get("Entrypoint")


@pytest.mark.parametrize(("user", "name", "home"), [("0:0", "root", "/root"), ("1234:0", "app", "/home/app")])
def test_users(engine: Engine, tmp_path: Path, user: str, name: str, home: str) -> None:
    engine.build(lock(engine, tmp_path, f'{SPEC}user = "{user}"\nworkdir = "/work/deep"\n'), "envcompile-test-user")
    script = (
        "import getpass, os, pathlib, six; pathlib.Path.home().joinpath('x').touch(); pathlib.Path('y').touch();"
        "print(getpass.getuser(), pathlib.Path.home(), os.getcwd(), f'{os.getuid()}:{os.getgid()}')"
    )
    assert engine.run("envcompile-test-user", "python", "-c", script).split() == [name, home, "/work/deep", user]


def test_nothing_of_the_build_stays(engine: Engine, tmp_path: Path) -> None:
    """No tool, no lock, no cache, no certificate, and every time in the environment is the epoch."""
    engine.build(lock(engine, tmp_path, SPEC), "envcompile-test-clean")
    script = (
        "import json, os; "
        "new = [os.path.join(r, f) for r, d, fs in os.walk('/env') for f in d + fs"
        " if os.lstat(os.path.join(r, f)).st_mtime]; "
        "found = [p for p in ('/usr/local/bin/uv', '/run/ca.crt', '/run/requirements.txt', '/run/python', '/env/.lock',"
        " '/root/.cache', '/run/list', '/run/scripts', '/run/bundle') if os.path.lexists(p)]; "
        "times = [os.stat(p).st_mtime for p in ('/env', '/etc/passwd', '/home/app')]; "
        "print(json.dumps([new, found, times, os.listdir('/run')]))"
    )
    new, found, times, run = json.loads(engine.run("envcompile-test-clean", "python", "-c", script))
    assert (new, found, times) == ([], [], [0.0, 0.0, 0.0])
    assert set(run) <= {"lock", "secrets"}


def test_another_python_in_the_base_fails_with_a_sentence(engine: Engine, tmp_path: Path) -> None:
    spec = engine.stand_ins(SPEC).replace(f'python = "{engine.python}"', 'python = "3.11.99"')
    (tmp_path / "envcompile.toml").write_text(spec, "utf-8")
    envcompile("lock", "-q", folder=tmp_path)
    said = docker("buildx", "build", "--network=host", "-", text=envcompile("dockerfile", folder=tmp_path), check=False)
    assert (
        f"envcompile: the base image has Python {engine.python} x86_64, and the lock was made for 3.11.99 x86_64"
        in said
    )


def test_another_platform_fails_with_a_sentence_and_asks_no_registry(engine: Engine, tmp_path: Path) -> None:
    """Promise 3: it never asks a hub for a stage."""
    spec = SPEC.replace("[pip]", 'platforms = ["linux-64", "linux-aarch64"]\n[pip]')
    dockerfile = lock(engine, tmp_path, spec)
    for platform in ("linux/s390x", "linux/386", "linux/riscv64", "linux/arm/v7"):
        said = docker("buildx", "build", "--platform", platform, "-", text=dockerfile, check=False)
        assert "this Dockerfile is locked for linux/amd64 and linux/arm64 only" in said, said[-2000:]
        assert "docker.io" not in said
    engine.build(dockerfile, "envcompile-test-several")
    assert engine.run("envcompile-test-several", "python", "-c", "import six; print(six.__name__)").strip() == "six"


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_one_dockerfile_for_several_platforms(engine: Engine, tmp_path: Path, platform: str) -> None:
    """Each is built for real, arm64 by emulation, with the files that its lock names."""
    needs_arm64(platform)
    spec = SPEC.replace("[pip]", 'platforms = ["linux-64", "linux-aarch64"]\n[pip]').replace("six", "markupsafe")
    dockerfile = lock(engine, tmp_path, spec)
    from_nothing(engine, platform)
    engine.build(dockerfile, "envcompile-test-several", "--platform", platform)
    assert_runs_on(engine, "envcompile-test-several", platform)


def test_a_lock_for_another_platform_than_the_builders(engine: Engine, tmp_path: Path) -> None:
    """Promise 3: on a machine of another architecture it builds for the locked one.

    Here an arm64 lock on an amd64 machine; on Apple's machines it is the other way round.
    """
    needs_arm64("linux/arm64")
    spec = SPEC.replace("[pip]", 'platforms = ["linux-aarch64"]\n[pip]').replace("six", "markupsafe")
    from_nothing(engine, "linux/arm64")
    engine.build(lock(engine, tmp_path, spec), "envcompile-test-other")
    assert_runs_on(engine, "envcompile-test-other", "linux/arm64")


def from_nothing(engine: Engine, platform: str) -> None:
    """Without steps that `envcompile build` has left in the cache, packed with zstd.

    A plain build calls such a layer by a media type that containerd 1.7 does not know, and an image for another
    architecture, which the exporter has not unpacked, does not run: "mismatched image rootfs and manifest layers".
    """
    if platform == "linux/arm64":
        engine.forget()


def needs_arm64(platform: str) -> None:
    if platform == "linux/arm64" and not os.environ.get("ENVCOMPILE_TEST_ARM64"):
        pytest.skip("no emulator: the kernel has no binfmt_misc, so nothing can be built for arm64")


def assert_runs_on(engine: Engine, tag: str, platform: str) -> None:
    machine = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}[platform]
    assert docker("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", tag).strip() == platform
    script = "import platform, markupsafe._speedups as s; print(platform.machine(), s.__file__)"
    said = engine.run(tag, "python", "-c", script).split()[-2:]
    assert said[0] == machine
    assert machine in said[1]
