"""The command line in a process of its own: streams, exit codes, and what a hurried user gets wrong."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import tomli

from envcompile import __version__
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "envcompile"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURES / "compile" / "everything", tmp_path / "project")
    return tmp_path / "project"


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, **environment},
    )


def expected(project: Path, name: str) -> str:
    return (project / "expected" / name).read_text("utf-8")


def test_standard_output_carries_the_artefact_only(project: Path) -> None:
    done = run("dockerfile", folder=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected(project, "Dockerfile"), "")
    done = run("tag", folder=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected(project, "tag"), "")


def test_output_to_a_file_check_and_a_second_run(project: Path) -> None:
    assert run("dockerfile", "-o", "Dockerfile", "--check", folder=project).returncode == 1
    assert not (project / "Dockerfile").exists()
    done = run("dockerfile", "-o", "Dockerfile", folder=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "wrote `Dockerfile`\n")
    text = (project / "Dockerfile").read_bytes()
    assert text.decode() == expected(project, "Dockerfile")
    assert expected(project, "tag").strip().rpartition(":")[2] in hashlib.sha256(text).hexdigest()
    before = (project / "Dockerfile").stat()
    assert run("dockerfile", "-o", "Dockerfile", folder=project).stderr == "`Dockerfile` is current\n"
    assert (project / "Dockerfile").stat() == before
    assert run("dockerfile", "--check", "-o", "Dockerfile", folder=project).returncode == 0
    (project / "Dockerfile").write_bytes(text + b"#\n")
    done = run("dockerfile", "--check", "-o", "Dockerfile", folder=project)
    assert (done.returncode, done.stdout) == (1, "")
    assert "hint: run `envcompile dockerfile -o Dockerfile`" in done.stderr
    done = run("dockerfile", "--check", folder=project)
    assert (done.returncode, "add `-o Dockerfile`" in done.stderr) == (2, True)
    done = run("dockerfile", "-o", "no/folder/Dockerfile", folder=project)
    assert (done.returncode, "cannot be written" in done.stderr) == (1, True)


def test_the_spec_is_found_from_below_and_by_its_options(project: Path, tmp_path: Path) -> None:
    below = project / "a" / "b"
    below.mkdir(parents=True)
    for folder, arguments in (
        (below, []),
        (tmp_path, ["-C", "project/a"]),
        (tmp_path, ["--file", "project/envcompile.toml"]),
        (project / "a", ["-C", "b"]),
    ):
        assert run(*arguments, "tag", folder=folder).stdout == expected(project, "tag")
        assert run("tag", *arguments, folder=folder).stdout == expected(project, "tag")


def test_a_table_in_pyproject(project: Path) -> None:
    """The same spec, with its keys one level down, and its lock beside it."""
    text = (project / "envcompile.toml").read_text("utf-8")
    head = text.replace("\n[", "\n[tool.envcompile.")
    (project / "pyproject.toml").write_text(f"[project]\nname = 'x'\n[tool.envcompile]\n{head}", "utf-8")
    (project / "envcompile.toml").unlink()
    done = run("dockerfile", folder=project)
    assert (done.stdout, done.stderr) == (expected(project, "Dockerfile"), "")
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n", "utf-8")
    assert "there is no `envcompile.toml`" in run("tag", folder=project).stderr
    done = run("tag", "-f", "pyproject.toml", folder=project)
    assert (done.returncode, "has no table `[tool.envcompile]`" in done.stderr) == (2, True)


def test_a_debian_package_is_not_upgraded_by_its_name(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "compile" / "apt", tmp_path / "project")
    done = run("lock", "-P", "libcurl3-gnutls", folder=tmp_path / "project")
    assert (done.returncode, done.stdout) == (2, "")
    assert "`libcurl3-gnutls` is a Debian package, and Debian packages can only be upgraded all together" in done.stderr
    assert "run `envcompile lock -P apt`, or write a later `snapshot` in `[apt]`" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "\n    lock "),
        (["lok"], 2, "`lok` is not a command of envcompile\n  = hint: did you mean `lock`?"),
        (["frobnicate"], 2, "run `envcompile --help`, which lists the commands"),
        (["tag", "--nonsense"], 2, "`envcompile tag` has no argument `--nonsense`"),
        (["lock", "cpu.toml"], 2, "name the spec with `-f cpu.toml`"),
        (["--format", "json", "lok"], 2, '"hint": "did you mean `lock`?"'),
        (["--color", "alway", "lock"], 2, "`alway` is not a value of `--color`\n  = hint: did you mean `always`?"),
        (["tag", "-f", "none.toml"], 2, "`none.toml` does not exist"),
        (["tag", "-f", "expected"], 2, "`expected` is a folder, not a file"),
        (["-C", "none", "tag"], 2, "cannot change to `none`"),
        (["explain", "unknow-key"], 2, "did you mean `unknown-key`?"),
        (["explain", "-f", "nowhere.toml"], 2, "`nowhere.lock` does not exist"),
        (["lock", "-P", "numpi"], 2, "`numpi` is not in the lock"),
        (["lock", "-P", "a b"], 2, "`a b` is not a package name"),
    ],
)
def test_usage(project: Path, arguments: list[str], code: int, said: str) -> None:
    done = run(*arguments, folder=project)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version(project: Path) -> None:
    assert run("--version", folder=project).stdout == f"envcompile {__version__}\n"
    page = run("--help", folder=project).stdout
    metadata = tomli.loads((FIXTURES.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"\n\n{metadata['description']}\n" in page
    assert all(f"\n    {name} " in page for name in ("lock", "dockerfile", "tag", "explain"))
    assert "130" in page
    assert "--upgrade-package NAME" in run("lock", "-h", folder=project).stdout
    assert "unknown-key" in run("explain", "--list", folder=project).stdout
    assert run("explain", "unknown-key", folder=project).stdout.startswith("unknown-key: the table has no such key")


def test_no_lock_a_stale_lock_a_broken_lock(project: Path) -> None:
    spec, lock = project / "envcompile.toml", project / "envcompile.lock"
    whole = lock.read_text("utf-8")
    spec.write_text(spec.read_text("utf-8").replace('"xgboost"', '"xgboost >=99"'), "utf-8")
    done = run("dockerfile", folder=project)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "error[stale]: the spec requires `xgboost >=99` from pip, but the lock has xgboost 3.4.1 for `linux-64`"
        in done.stderr
    )
    assert "hint: run `envcompile lock`" in done.stderr
    lock.write_text(whole[:-30], "utf-8")
    assert run("dockerfile", folder=project).returncode == 2
    lock.write_text(whole.replace("layout = ", "layout = 9"), "utf-8")
    assert "was edited by hand" in run("dockerfile", folder=project).stderr
    lock.unlink()
    done = run("tag", folder=project)
    assert (done.returncode, "`envcompile.lock` does not exist" in done.stderr) == (2, True)


def test_a_requirement_that_is_loosened_moves_no_tag(project: Path) -> None:
    """Promise 8: it asks whether the lock satisfies, not whether a digest matches."""
    spec = project / "envcompile.toml"
    spec.write_text(spec.read_text("utf-8").replace('"xgboost"', '"XGBoost >=1, !=2"'), "utf-8")
    done = run("tag", folder=project)
    assert (done.stdout, done.stderr) == (expected(project, "tag"), "")


def test_a_lock_that_is_no_text(project: Path) -> None:
    """Another program's file, or UTF-16: `lock` says so and goes on, it does not send the user in a circle."""
    lock = project / "envcompile.lock"
    intact = lock.read_bytes()
    lock.write_bytes(b"\xff\xfe\x00\x01")
    done = run("dockerfile", folder=project)
    assert (done.returncode, "hint: move the file away, and run `envcompile lock`" in done.stderr) == (2, True)
    done = run("lock", folder=project)
    assert (done.returncode, "`envcompile.lock` exists, and envcompile did not write it" in done.stderr) == (2, True)
    for data in (intact + b"\xff", intact.decode().encode("utf-16")):
        lock.write_bytes(data)
        done = run("dockerfile", folder=project)
        assert (done.returncode, "hint: run `envcompile lock`" in done.stderr) == (2, True), done.stderr
        done = run("lock", folder=project, UV_OFFLINE="1", UV_CACHE_DIR=str(project / "cache"))
        assert (done.returncode, done.stderr.startswith("warning: `envcompile.lock` ")) == (3, True), done.stderr
        assert "`--offline` or `UV_OFFLINE` is set" in done.stderr
        assert lock.read_bytes() == data


def test_a_folder_that_is_called_like_a_command(project: Path) -> None:
    shutil.move(project, project.with_name("lock"))
    done = run("-C", "lock", "dockerfile", "-o", "Dockerfile", folder=project.parent)
    assert (done.returncode, done.stderr) == (0, "wrote `Dockerfile`\n")


def test_a_newer_lock_is_left_alone(project: Path) -> None:
    lock = project / "envcompile.lock"
    newer = lock.read_text("utf-8").replace("format = 2", "format = 3")
    lock.write_text(newer, "utf-8")
    done = run("lock", folder=project)
    assert (done.returncode, lock.read_text("utf-8")) == (2, newer)
    assert "has format 3" in done.stderr
    assert "hint: upgrade envcompile" in done.stderr


def test_no_color_unless_asked(project: Path) -> None:
    (project / "envcompile.toml").write_text("x = 1\n", "utf-8")
    assert "\x1b" not in run("tag", folder=project).stderr
    assert "\x1b[" in run("tag", "--color", "always", folder=project).stderr
    assert "\x1b" not in run("tag", "--color", "never", folder=project).stderr


def test_the_reader_goes_away(project: Path) -> None:
    """`envcompile dockerfile | head -1` is not an error."""
    script = f"{sys.executable} -m envcompile dockerfile 2>errors | head -1; echo ${{PIPESTATUS[0]}}; cat errors"
    done = subprocess.run(["bash", "-c", script], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["0"]


def test_interrupted(project: Path, tmp_path: Path) -> None:
    """Ctrl-C while uv waits for an index that never answers: both end, the old lock stays, nothing else does."""
    (project / "envcompile.toml").write_text((project / "envcompile.toml").read_text("utf-8") + "\n", "utf-8")
    before = sorted(path.name for path in project.iterdir())
    whole = (project / "envcompile.lock").read_bytes()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {
            "UV_DEFAULT_INDEX": f"http://127.0.0.1:{silent.getsockname()[1]}/simple",
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            "TMPDIR": str(scratch),
            "NO_PROXY": "127.0.0.1",
        }
        with subprocess.Popen(
            [*COMMAND, "lock"], cwd=project, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}
        ) as process:
            silent.settimeout(30)
            asked, _ = silent.accept()
            os.kill(process.pid, signal.SIGINT)
            assert process.stderr
            said = process.stderr.read()
            asked.close()
    assert (process.returncode, said) == (130, "\ninterrupted\n")
    assert sorted(path.name for path in project.iterdir()) == before
    assert (project / "envcompile.lock").read_bytes() == whole
    assert not list(scratch.iterdir())
