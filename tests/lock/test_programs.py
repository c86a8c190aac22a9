"""The warning about a program that nothing seems to install: where it is right, and what it must not report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envcompile.lock.model import (
    AptPackage,
    BaseImage,
    CondaPackage,
    Lock,
    PipPackage,
    PlatformLock,
    PythonInterpreter,
)
from envcompile.lock.programs import check_programs
from tests.kit.project import CASES, parsed, spec_of

HEX = 64 * "0"
SLIM = f"python:3.12-slim-bookworm@sha256:{HEX}"
PYTHON = PythonInterpreter("3.12.4", "/usr/local/bin/python3", "spec")


def make_lock(*packages: str, image: str = SLIM, python: PythonInterpreter | None = PYTHON) -> Lock:
    """A lock with packages that are written `pip:NAME`, `conda:NAME` or `apt:NAME`."""
    names = {kind: [each.partition(":")[2] for each in packages if each.startswith(kind)] for kind in ("p", "c", "a")}
    base = BaseImage(image, "debian-12", "2.36")
    platform = PlatformLock(
        "linux-64",
        python,
        base,
        base,
        (),
        pip=tuple(PipPackage(name, "1.0", f"{name}-1.0-py3-none-any.whl", HEX) for name in names["p"]),
        conda=tuple(CondaPackage(name, "1.0", "0", "c", "noarch", f"{name}.conda", HEX) for name in names["c"]),
        apt=tuple(AptPackage(name, "1.0", "all", HEX, 1) for name in names["a"]),
    )
    return Lock("", "", (platform,))


def find(image: str, lock: Lock) -> list[tuple[object, ...]]:
    spec = spec_of(f'name = "x"\npython = "3.12"\n[pip]\npackages = ["six"]\n[image]\n{image}\n')
    found = check_programs(spec, lock)
    assert all((each.rule, each.severity) == ("missing-program", "warning") for each in found)
    return [each.path[1:] for each in found]


def is_missing(program: str, *packages: str) -> bool:
    return find(f'command = ["{program}"]', make_lock(*packages)) != []


@pytest.mark.parametrize(
    ("image", "paths"),
    [
        ('command = ["jupyter", "lab"]', [("command", 0)]),
        ('entrypoint = ["tini", "--"]', [("entrypoint", 0)]),
        ('entrypoint = ["tini", "--"]\ncommand = ["jupyter"]', [("entrypoint", 0), ("command", 0)]),
        ('entrypoint = ["/bin/tini", "-g", "--", "jupyter"]\ncommand = ["x"]', [("entrypoint", 0), ("entrypoint", 3)]),
        ('healthcheck = { command = ["curl", "-f", "http://localhost"] }', [("healthcheck", "command", 0)]),
        ('command = ["/env/bin/jupyter"]', [("command", 0)]),
        ('init = true\ncommand = ["jupyter"]', [("command", 0)]),
        # What follows another entrypoint may be its arguments.
        ('entrypoint = ["python"]\ncommand = ["train.py"]', []),
        ('command = ["bash", "-c", "jupyter lab"]', []),
    ],
)  # fmt: skip
def test_which_words_are_programs(image: str, paths: list[tuple[object, ...]]) -> None:
    assert find(image, make_lock("pip:six", "pip:dumb-init")) == paths


@pytest.mark.parametrize(
    ("program", "package"),
    [
        ("jupyter", "pip:jupyter-core"),
        ("jupyter-lab", "conda:jupyterlab"),
        ("uvicorn", "pip:uvicorn"),
        ("torchrun", "pip:torch"),
        ("accelerate-launch", "pip:accelerate"),
        ("huggingface-cli", "pip:huggingface-hub"),
        ("airflow", "pip:apache-airflow"),
        ("django-admin", "pip:django"),
        ("py.test", "pip:pytest"),
        ("Rscript", "conda:r-base"),
        ("mpirun", "apt:openmpi-bin"),
        ("java", "apt:openjdk-17-jre-headless"),
        ("ffprobe", "conda:ffmpeg"),
        ("gcc", "conda:gcc_linux-64"),
        ("node", "apt:nodejs"),
        ("tini", "apt:tini"),
        ("yolo", "pip:ultralytics"),
    ],
)
def test_a_package_with_a_similar_name_is_enough(program: str, package: str) -> None:
    assert not is_missing(program, "pip:six", package)
    assert is_missing(program, "pip:six")


@pytest.mark.parametrize(
    "program",
    ["python", "python3.12", "pip", "bash", "sh", "sleep", "env", "cat", "nvidia-smi", "/bin/sh", "/app/run", "./run"],
)
def test_what_is_there_without_a_package(program: str) -> None:
    assert not is_missing(program)


def test_what_is_not_there() -> None:
    assert is_missing("python3.11")
    assert is_missing("activated")
    assert is_missing("/env/bin/bash")
    assert not is_missing("/env/bin/bash", "conda:bash")
    # A Debian package is not in the environment, and a library has no programs.
    assert is_missing("/env/bin/git", "apt:git")
    assert is_missing("curl", "apt:git", "apt:libcurl3-gnutls")
    assert find('command = ["python"]', make_lock("apt:git", python=None)) == [("command", 0)]


@pytest.mark.parametrize(
    ("image", "is_known"),
    [
        (SLIM, True),
        ("debian:bookworm-slim", True),
        ("ubuntu:24.04", True),
        ("nvidia/cuda:12.8.1-base-ubuntu24.04", True),
        ("nvidia/cuda:12.8.1-devel-ubuntu24.04", False),
        ("python:3.12", False),
        (f"python@sha256:{HEX}", False),
        ("registry.example.com/python:3.12-slim", False),
        ("quay.io/jupyter/base-notebook:latest", False),
    ],
)
def test_only_images_whose_programs_are_known(image: str, is_known: bool) -> None:
    assert (find('command = ["jupyter"]', make_lock(image=image)) != []) is is_known


def test_a_platform_without_it_is_named() -> None:
    lock = make_lock("pip:jupyter-core")
    lock = replace(lock, platforms=(*lock.platforms, replace(lock.platforms[0], platform="linux-aarch64", pip=())))
    spec = spec_of('name = "x"\npython = "3.12"\n[pip]\npackages = ["six"]\n[image]\ncommand = ["jupyter"]\n')
    (found,) = check_programs(spec, lock)
    assert found.message.endswith("for `linux-aarch64`")


@pytest.mark.parametrize(
    ("program", "hint"),
    [("tini", "`init = true`"), ("curl", "`curl` to `packages` in `[apt]`"), ("jupytr", "did you mean `jupyter`?")],
)
def test_the_hint(program: str, hint: str) -> None:
    spec = spec_of(f'name = "x"\npython = "3.12"\n[pip]\npackages = ["six"]\n[image]\ncommand = ["{program}"]\n')
    (found,) = check_programs(spec, make_lock())
    assert hint in str(found.hint)


@pytest.mark.parametrize("name", CASES)
def test_the_compiled_cases_start(name: str) -> None:
    """Real specs, each with a command that works."""
    assert check_programs(*parsed(name)) == []
