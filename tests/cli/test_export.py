"""`envcompile export` in a process of its own: streams, exit codes, files, and what a hurried user gets wrong."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_commands import run
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("--files", "https://files.example.invalid/packages")


@pytest.fixture(params=["conda", "conda-several"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shutil.copytree(FIXTURES / "compile" / request.param, tmp_path / "project")
    return tmp_path / "project"


def expected(project: Path, name: str) -> str:
    return (project / "expected" / name).read_text("utf-8")


def test_standard_output_carries_the_artefact_only(project: Path) -> None:
    done = run("export", "--format", "environment", folder=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected(project, "environment.yml"), "")
    done = run("export", "--format", "conda-lock", *FILES, folder=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected(project, "conda-lock.yml"), "")
    done = run("export", "--format", "explicit", "--platform", "linux-64", folder=project)
    assert (done.returncode, done.stdout) == (0, expected(project, "explicit-linux-64.txt"))
    said = "warning: `explicit` omits the 14 pip packages of the lock\n"
    said += "  = hint: `--format conda-lock` lists both kinds\n"
    assert done.stderr == (said if "pip:" in expected(project, "environment.yml") else "")


def test_output_to_a_file_and_check(project: Path) -> None:
    command = ("export", "--format", "conda-lock", *FILES)
    assert run(*command, "-o", "conda-lock.yml", "--check", folder=project).returncode == 1
    assert not (project / "conda-lock.yml").exists()
    done = run(*command, "-o", "conda-lock.yml", folder=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "wrote `conda-lock.yml`\n")
    text = (project / "conda-lock.yml").read_bytes()
    assert text.decode() == expected(project, "conda-lock.yml")
    done = run(*command, "-o", "conda-lock.yml", "--check", folder=project)
    assert (done.returncode, done.stderr) == (0, "`conda-lock.yml` is current\n")
    (project / "conda-lock.yml").write_bytes(text + b"#\n")
    done = run(*command, "-o", "conda-lock.yml", "--check", folder=project)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"hint: run `envcompile {' '.join(command)} -o conda-lock.yml`" in done.stderr
    done = run(*command, "--check", folder=project)
    assert (done.returncode, "add `-o conda-lock.yml`" in done.stderr) == (2, True)


def test_one_platform_of_several(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "compile" / "conda-several", tmp_path / "project")
    project = tmp_path / "project"
    done = run("export", "--format", "explicit", folder=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a format for one platform, and the lock has `linux-64`, `linux-aarch64`" in done.stderr
    done = run("export", "--format", "explicit", "--platform", "linux-aarch64", folder=project)
    assert done.stdout == expected(project, "explicit-linux-aarch64.txt")
    done = run("export", "--format", "environment", "--platform", "linux-aarch64", folder=project)
    assert done.stdout == expected(project, "environment.yml").replace("  - linux-64\n", "")
    # The hash of a platform does not depend on the others.
    done = run("export", "--format", "conda-lock", "--platform", "linux-aarch64", folder=project)
    whole = expected(project, "conda-lock.yml").splitlines()
    assert "platform: linux-64" not in done.stdout
    assert set(done.stdout.splitlines()) <= set(whole)
    done = run("export", "--format", "environment", "--platform", "osx-64", folder=project)
    assert (done.returncode, "it has `linux-64`, `linux-aarch64`" in done.stderr) == (2, True)


def test_a_stale_lock(project: Path) -> None:
    path = project / "envcompile.toml"
    path.write_text(path.read_text("utf-8").replace("numpy >=2", "numpy >=99"), "utf-8")
    done = run("export", "--format", "environment", folder=project)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[stale]: the spec requires `numpy >=99" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "the following arguments are required: --format"),
        (["--format", "conda-lok"], "`conda-lok` is not a value of `--format`\n  = hint: did you mean `conda-lock`?"),
        (["--format", "environment", *FILES], "`environment` contains no URLs of files"),
        (["--format", "requirements", *FILES], "`requirements` contains no URLs of files"),
        (["--format", "conda-lock", "--files", "https://u:secret@example.invalid"], "a user name, a password"),
        (["--format", "conda-lock", "--files", "https://example.invalid/?x=1"], "write `https://host/path`"),
        (["--format", "conda-lock", "--files", "/srv/files"], "write `https://host/path`"),
    ],
)
def test_what_a_hurried_user_gets_wrong(options: list[str], said: str) -> None:
    done = run("export", *options, folder=FIXTURES / "compile" / "conda")
    assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True), done.stderr
    assert "secret" not in done.stderr


def test_a_lock_without_conda_packages() -> None:
    done = run("export", "--format", "environment", folder=FIXTURES / "compile" / "ml")
    assert (done.returncode, done.stdout, "lists conda packages, and the lock has none" in done.stderr) == (2, "", True)


def test_pip_packages_without_a_pip_to_install_them(tmp_path: Path) -> None:
    """conda-lock installs with the environment's own pip."""
    from dataclasses import replace

    from envcompile.lock.writer import format_lock
    from tests.kit.project import parsed

    _, lock = parsed("conda")
    (one,) = lock.platforms
    conda = tuple(package for package in one.conda if package.name != "pip")
    shutil.copy(FIXTURES / "compile" / "conda" / "envcompile.toml", tmp_path)
    (tmp_path / "envcompile.lock").write_text(
        format_lock(replace(lock, platforms=(replace(one, conda=conda),))), "utf-8"
    )
    done = run("export", "--format", "conda-lock", *FILES, folder=tmp_path)
    assert (done.returncode, "needs the conda package `pip`" in done.stderr) == (0, True)


def test_how_mistakes_are_told_is_said_before_the_command() -> None:
    done = run("--format", "json", "export", "--format", "explicit", folder=FIXTURES / "compile" / "conda")
    assert done.returncode == 0
    assert "omits the 14 pip packages" in json.loads(done.stderr)["message"]
    assert "export " in run("--help", folder=FIXTURES).stdout
