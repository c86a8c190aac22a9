"""`envcompile verify` in a process of its own: what it imports, which files it takes, what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from envcompile.cli.main import main
from envcompile.emit.dockerfile import render_dockerfile
from envcompile.lock.graph import unrequired_packages
from envcompile.lock.header import LAYOUT_VERSION, read_header
from envcompile.lock.reader import parse_lock
from envcompile.lock.writer import format_lock
from envcompile.plan.planner import make_plan
from envcompile.project.discovery import find_dockerfiles
from tests.cli.test_commands import run
from tests.kit.project import CASES, FIXTURES, case, parsed, spec_of

if TYPE_CHECKING:
    from pathlib import Path

# As the console script starts, without `runpy`.
START = "from envcompile.cli.entry import run_command_line; run_command_line()"
# All that a look at a fresh lock may load beyond a bare interpreter: one digest, and our own.
FAST = {
    *("__future__", "gc", "_sha2", "_sha256", "envcompile.digests"),
    *("envcompile", "envcompile.cli", "envcompile.cli.entry", "envcompile.cli.interrupts", "envcompile.cli.fast_path"),
    *("envcompile.diagnostics", "envcompile.diagnostics.errors", "envcompile.lock", "envcompile.lock.header"),
    *("envcompile.project", "envcompile.project.discovery", "envcompile.project.generated_files"),
}
HEAVY = {
    "argparse",
    "dataclasses",
    "typing",
    "pathlib",
    "packaging",
    "jinja2",
    "inspect",
    "logging",
    "tempfile",
    "subprocess",
}
NETWORK = {
    *("socket", "_socket", "ssl", "_ssl", "http", "urllib.request", "asyncio", "ftplib"),
    *("envcompile.resolve", "rattler", "uv", "piptools", "pip", "requests", "urllib3"),
}


def loaded(*words: str, folder: Path) -> set[str]:
    """The modules that a process loads from its start to its end."""
    argv = [sys.executable, "-X", "importtime", "-c", *words]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    rows = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    return set(rows)


def among(names: set[str], modules: set[str]) -> set[str]:
    return {each for each in modules if any(each == name or each.startswith(f"{name}.") for name in names)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURES / "compile" / "conda", tmp_path / "project")
    return tmp_path / "project"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_a_glance_imports_next_to_nothing(project: Path) -> None:
    """Promise 7: offline and fast."""
    more = loaded(START, "verify", folder=project) - loaded("pass", folder=project)
    assert "envcompile.cli.fast_path" in more
    assert more - FAST == set()


def test_generated_files_are_compared_by_their_digests(project: Path) -> None:
    """A committed Dockerfile costs one more digest: no template engine, no parser."""
    shutil.copy(project / "expected" / "Dockerfile", project)
    more = loaded(START, "verify", folder=project) - loaded("pass", folder=project)
    assert "envcompile.cli.fast_path" in more
    assert more - FAST == set()
    (project / "Dockerfile").write_text(f"{(project / 'Dockerfile').read_text('utf-8')}#\n", "utf-8")
    done = run("verify", folder=project)
    assert done.returncode == 1
    assert "`Dockerfile` is not the Dockerfile of this spec and lock" in done.stderr


def test_an_edited_lock_with_a_correct_digest(project: Path) -> None:
    """Promise 7: `verify --full` catches it, and the hook does so for each lock that a commit changes."""
    path = project / "envcompile.lock"
    lock = parse_lock(path.read_text("utf-8"), "x")
    image = f"evil.example.com/debian@sha256:{64 * '0'}"
    platforms = tuple(replace(each, run=replace(each.run, image=image)) for each in lock.platforms)
    path.write_text(format_lock(replace(lock, platforms=platforms)), "utf-8")
    assert run("verify", folder=project).returncode == 0
    subprocess.run(("git", "init", "-q"), cwd=project, check=True)
    assert run("verify", "--hook", "envcompile.toml", folder=project).returncode == 0
    for words in (("--full",), ("--hook", "envcompile.lock")):
        done = run("verify", *words, folder=project)
        assert done.returncode == 1
        assert "the run image in the lock is `evil.example.com/debian@sha256:" in done.stderr
        assert "hint: restore the lock from version control" in done.stderr
    shutil.copy(FIXTURES / "compile" / "conda" / "envcompile.lock", path)
    done = run("verify", "--full", folder=project)
    assert (done.returncode, done.stderr) == (0, "`envcompile.lock` is fresh\n")


def test_after_a_comment_the_parser_and_no_more(project: Path) -> None:
    change(project / "envcompile.toml", "[pip]", "[pip]  # a comment")
    more = loaded(START, "verify", folder=project) - loaded("pass", folder=project)
    assert "tomli" in more
    assert {each for each in more if each.startswith("envcompile")} <= FAST
    assert among(HEAVY | NETWORK, more) == set()


@pytest.mark.parametrize("kind", ["stale", "loosened", "unreadable", "dockerfile", "usage"])
def test_no_way_through_it_loads_what_asks_a_network(project: Path, kind: str) -> None:
    """Promise 7: offline by construction."""
    if kind == "stale":
        change(project / "envcompile.toml", "numpy >=2", "numpy >=3")
    elif kind == "loosened":
        change(project / "envcompile.toml", '"accelerate"', '"Accelerate >=0"')
    elif kind == "unreadable":
        change(project / "envcompile.lock", "layout", "lay-out")
    elif kind == "dockerfile":
        (project / "Dockerfile").write_text(f"{(project / 'expected' / 'Dockerfile').read_text('utf-8')}#", "utf-8")
    words = ("--format=github", "--nonsense") if kind == "usage" else ()
    more = loaded(START, "verify", *words, folder=project) - loaded("pass", folder=project)
    assert "argparse" in more
    assert among(NETWORK, more) == set()


@pytest.mark.skipif(
    os.name != "posix"
    or bool(subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode),
    reason="cutting the network off needs root on Linux",
)
@pytest.mark.parametrize(("old", "new", "code"), [("", "", 0), ("numpy >=2", "numpy >=3", 1), ("[pip]", "[pip", 2)])
def test_without_a_single_interface(project: Path, old: str, new: str, code: int) -> None:
    """Promise 7: offline. In a namespace that has not even the loopback interface up."""
    change(project / "envcompile.toml", old, new)
    shutil.copy(project / "expected" / "Dockerfile", project)
    argv = ["unshare", "--net", sys.executable, "-m", "envcompile", "verify"]
    done = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr


def test_what_it_says(project: Path) -> None:
    done = run("verify", folder=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "`envcompile.lock` is fresh\n")
    assert run("verify", "-q", folder=project).stderr == ""
    assert run("verify", "-v", folder=project).stderr == "`envcompile.lock` is fresh\n"
    (project / "below").mkdir()
    assert run("verify", folder=project / "below").stderr == "`../envcompile.lock` is fresh\n"
    assert (
        run("verify", "-f", "../envcompile.toml", folder=project / "below").stderr == "`../envcompile.lock` is fresh\n"
    )
    change(project / "envcompile.toml", "numpy >=2", "numpy >=3")
    done = run("verify", folder=project)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[stale]: the spec requires `numpy >=3` from conda, but the lock has numpy 2." in done.stderr
    assert " --> envcompile.toml:7:24\n" in done.stderr
    assert "hint: run `envcompile lock`\n" in done.stderr


def test_for_machines(project: Path) -> None:
    change(project / "envcompile.toml", "numpy >=2", "numpy >=3")
    done = run("verify", "--format", "github", folder=project)
    assert done.returncode == 1
    start = (
        "::error file=envcompile.toml,line=7,col=24,endLine=7,endColumn=35,title=envcompile stale::"
        "the spec requires `numpy >=3` from conda, but the lock has numpy 2."
    )
    assert done.stderr.startswith(start)
    (row,) = map(json.loads, run("verify", "--format=json", folder=project).stderr.splitlines())
    assert (row["code"], row["file"], row["line"], row["hint"]) == (
        "stale",
        "envcompile.toml",
        7,
        "run `envcompile lock`",
    )
    (project / "envcompile.lock").unlink()
    (row,) = map(json.loads, run("verify", "--format=json", folder=project).stderr.splitlines())
    assert row["message"] == "`envcompile.lock` does not exist"


def test_files_lead_to_their_specs(project: Path, tmp_path: Path) -> None:
    """A spec, its lock and its Dockerfile are one question; another folder's are another."""
    other = tmp_path / "other"
    shutil.copytree(FIXTURES / "compile" / "ml", other)
    shutil.copy(project / "expected" / "Dockerfile", project)
    for old, new in (("envcompile.toml", "cpu.toml"), ("envcompile.lock", "cpu.lock")):
        shutil.copy(other / old, other / new)
    shutil.copy(other / "expected" / "Dockerfile", other / "cpu.Dockerfile")
    names = ["project/envcompile.lock", "project/envcompile.toml", "project/Dockerfile", "./project/envcompile.toml"]
    done = run("verify", *names, "other/cpu.Dockerfile", "other/cpu.lock", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "`project/envcompile.lock` is fresh\n`other/cpu.lock` is fresh\n")
    (other / "cpu.toml").write_text("x = 1\n", "utf-8")
    change(project / "envcompile.toml", '"accelerate"', '"accelerate <1"')
    done = run("verify", *names, "other/cpu.lock", "other/envcompile.lock", folder=tmp_path)
    assert done.returncode == 2
    assert "project/envcompile.toml:10:" in done.stderr
    assert "hint: run `envcompile lock -f project/envcompile.toml`" in done.stderr
    assert "error[unknown-key]" in done.stderr
    assert done.stderr.endswith("`other/envcompile.lock` is fresh\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["setup.py"], 2, "`setup.py` is none of the files that can be verified"),
        (["none.toml"], 2, "`none.toml` does not exist"),
        (["none.lock"], 2, "`none.toml` does not exist"),
        (["none.Dockerfile"], 2, "`none.Dockerfile` cannot be read: No such file or directory"),
        (["-f", "envcompile.toml", "envcompile.toml"], 2, "`-f` and FILE both name a spec"),
        (["--hook"], 3, "cannot find the removed files, because `git diff` failed"),
        (["elsewhere/Dockerfile"], 2, "`elsewhere/envcompile.toml` does not exist"),
        (["orphan.lock"], 2, "`orphan.lock` is a lock, and its spec `orphan.toml` does not exist"),
        (["expected"], 2, "`expected` is none of the files"),
        (["pyproject.toml"], 0, ""),
        (["project/pyproject.toml"], 0, ""),
        (["Dockerfile"], 0, ""),
        (["-f", "pyproject.toml"], 2, "has no table `[tool.envcompile]`"),
    ],
)
def test_other_files(project: Path, words: list[str], code: int, said: str) -> None:
    shutil.copy(project / "envcompile.lock", project / "orphan.lock")
    (project / "Dockerfile").write_text("FROM scratch\n", "utf-8")
    (project / "pyproject.toml").write_text("[project]\n", "utf-8")
    (project / "elsewhere").mkdir()
    shutil.copy(project / "expected" / "Dockerfile", project / "elsewhere")
    (project / "project").mkdir()
    (project / "project" / "pyproject.toml").write_text("# no [tool.envcompile] here\n[tool.x]\n", "utf-8")
    done = run("verify", *words, folder=project, GIT_CEILING_DIRECTORIES=str(project.parent))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr or code == 0
    assert "Traceback" not in done.stderr


def test_a_table_in_pyproject(project: Path) -> None:
    """Whatever else the file holds may change."""
    text = (project / "envcompile.toml").read_text("utf-8").replace("\n[", "\n[tool.envcompile.")
    path = project / "pyproject.toml"
    path.write_text(f"[project]\nname = 'x'\n[tool.envcompile]\n{text}", "utf-8")
    (project / "envcompile.toml").unlink()
    done = run("verify", folder=project)
    assert (done.returncode, done.stderr) == (0, "`envcompile.lock` is fresh\n")
    change(path, "numpy >=2", "numpy >=3")
    done = run("verify", "envcompile.lock", "pyproject.toml", folder=project)
    assert done.returncode == 1
    assert done.stderr.count("error[stale]") == 1
    assert " pyproject.toml:10:24\n" in done.stderr


def test_a_committed_dockerfile(project: Path) -> None:
    """One that says it is ours; another one is nobody's business."""
    shutil.copy(project / "expected" / "Dockerfile", project)
    assert run("verify", folder=project).returncode == 0
    change(project / "envcompile.toml", "[image]", '[image]\nworkdir = "/other"')
    done = run("verify", folder=project)
    assert done.returncode == 1
    assert "`Dockerfile` is not the Dockerfile of this spec and lock" in done.stderr
    assert "hint: run `envcompile dockerfile -o Dockerfile`" in done.stderr
    done = run("verify", "project/Dockerfile", folder=project.parent)
    assert "hint: run `envcompile dockerfile -o project/Dockerfile -f project/envcompile.toml`" in done.stderr
    (project / "Dockerfile").write_text("FROM scratch\n", "utf-8")
    assert run("verify", folder=project).returncode == 0


def test_our_dockerfiles_are_known_by_their_first_line(project: Path) -> None:
    (project / "Dockerfile").write_text(render_dockerfile(make_plan(*parsed("conda"))), "utf-8")
    assert find_dockerfiles(str(project / "envcompile.toml")) == [str(project / "Dockerfile")]
    assert find_dockerfiles(str(project / "cpu.toml")) == []


@pytest.mark.parametrize("name", CASES)
def test_the_fast_path_needs_an_intact_lock(name: str) -> None:
    _, lock = parsed(name)
    text = format_lock(lock)
    assert read_header(text.encode()) is not None
    for damaged in (text[:-1], f"\ufeff{text}", text.replace("layout = ", "layout = 9"), "", text[:200], f"{text}\n"):
        assert read_header(damaged.encode()) is None


def test_a_lock_that_was_made_before_anything_was_noted(project: Path) -> None:
    """It is read for ever, and stale where the Dockerfile has another layout by now.

    When its spec changes, it cannot tell what it was asked.
    """
    text = (FIXTURES / "locks" / "v1" / "ml.lock").read_text("utf-8")
    (project / "envcompile.lock").write_text(text, "utf-8")
    (project / "envcompile.toml").write_text(case("ml")[0], "utf-8")
    done = run("verify", folder=project)
    assert done.returncode == 1
    assert f"was made for layout 1 of the Dockerfile, and this release writes layout {LAYOUT_VERSION}" in done.stderr
    lock = replace(parse_lock(text, "x"), layout=LAYOUT_VERSION)
    (project / "envcompile.lock").write_text(format_lock(lock), "utf-8")
    assert run("verify", folder=project).returncode == 0
    (project / "envcompile.toml").write_text(f"# a comment\n{case('ml')[0]}", "utf-8")
    done = run("verify", folder=project)
    assert done.returncode == 1
    assert "the lock of an early release does not record what it was" in done.stderr


def test_surplus_names_those_who_need_the_rest() -> None:
    needs = {"a": ("b",), "b": ("c",), "c": (), "d": ("c",), "e": ("f",), "f": ("e", "c"), "g": ("g",)}
    assert unrequired_packages(needs, ["d", "none"]) == ["a", "e", "g"]
    assert unrequired_packages(needs, ["a", "d", "e", "g"]) == []
    assert unrequired_packages({}, ["a"]) == []


@pytest.mark.parametrize("command", ["verify", "tag", "explain", "lock"])
@pytest.mark.parametrize("lock", [None, "<<<<<<< HEAD\nformat = 2\n=======\n>>>>>>> other\n", "damaged"])
def test_a_mistake_in_the_spec_comes_before_a_missing_or_damaged_lock(
    command: str, lock: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise 11: all errors at once, also for a spec that has no lock yet."""
    spec = 'name = "x"\npytho = "3.12"\n[pip]\npackages = ["a b"]\n'
    (tmp_path / "envcompile.toml").write_text(spec, "utf-8")
    if lock is not None:
        (tmp_path / "envcompile.lock").write_text(lock, "utf-8")
    monkeypatch.chdir(tmp_path)
    assert main([command]) == 2
    errors = capsys.readouterr().err
    assert "error[unknown-key]: `pytho` is not a key" in errors
    assert "error[requirement]: `a b` is not a requirement" in errors
    assert "3 mistakes in `envcompile.toml`" in errors
    assert "run `envcompile lock`" not in errors


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("command", ["verify", "lock"])
def test_merge_conflict_markers_in_the_spec_are_named(
    command: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ['name = "x"', "<<<<<<< HEAD", 'python = "3.12"', "=======", 'python = "3.13"', ">>>>>>> other", ""]
    for name in ("envcompile.toml", "envcompile.lock"):
        (tmp_path / name).write_bytes(ending.join(lines).encode())
    monkeypatch.chdir(tmp_path)
    assert main([command]) == 2
    errors = capsys.readouterr().err
    assert "error[toml-syntax]: the file contains merge conflict markers\n --> envcompile.toml:2:1\n" in errors
    assert "quotes" not in errors


def test_nodefaults_is_not_a_channel() -> None:
    """envcompile's own `environment.yml` lists it, so it is copied from there into specs."""
    text = case("conda")[0]
    assert spec_of(text.replace('conda-forge"]', 'conda-forge", "nodefaults"]')) == spec_of(text)
