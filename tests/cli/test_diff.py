"""`envcompile diff` with real git: revisions, files, forms, and git's own diff through the textconv of the docs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from envcompile.lock.writer import format_lock
from tests.cli.test_commands import COMMAND, run
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")

DOCS = Path(__file__).parents[2] / "docs" / "diff.md"
GIT = {
    **{f"GIT_{who}_{what}": "x@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def git(folder: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, check=False, encoding="utf-8", env={**os.environ, **GIT}
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the spec and its lock below its top, committed, and then idna moved."""
    folder = tmp_path / "repository" / "env"
    shutil.copytree(FIXTURES / "compile" / "several", folder)
    git(folder.parent, "init", "-q", "-b", "main")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "-q", "-m", "before")
    git(folder.parent, "tag", "before")
    move(folder / "envcompile.lock")
    return folder


def move(path: Path, version: str = "9999") -> None:
    """The first pip package of every platform gets another version: a sound lock."""
    lock = parse_lock(path.read_text("utf-8"), "x")
    (old,) = {each.pip[0].version for each in lock.platforms}
    name = lock.platforms[0].pip[0].name
    moved = format_lock(lock).replace(
        f'{{ name = "{name}", version = "{old}"', f'{{ name = "{name}", version = "{version}"'
    )
    body = moved.partition("\n")[2].partition("\n")[2].partition("\n")[2]
    import hashlib

    digest = hashlib.sha256(body.encode()).hexdigest()
    path.write_text(re.sub("sha256:[0-9a-f]{64}", f"sha256:{digest}", moved, count=1), "utf-8")


def test_against_revisions_and_files(project: Path, tmp_path: Path) -> None:
    done = run("diff", folder=project)
    line = done.stdout
    assert (done.returncode, line.startswith("  ~ "), done.stderr) == (0, True, "")
    change, cost = line.splitlines()
    assert change.endswith(" -> 9999")
    # The version is another one, but the file is the same.
    assert re.fullmatch(r"nothing to push, [0-9.]+ [kM]B unchanged", cost)
    for words in (["HEAD"], ["main"], ["before"], ["HEAD", "envcompile.lock"], ["HEAD^{commit}"]):
        assert run("diff", *words, folder=project).stdout == line
    assert run("diff", "-C", str(project), folder=tmp_path).stdout == line
    assert run("diff", "-f", "repository/env/envcompile.toml", folder=tmp_path).stdout == line
    assert run("diff", "--exit-code", folder=project).returncode == 1
    done = run("diff", "envcompile.lock", "--exit-code", folder=project)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "no pin changed from `envcompile.lock` to `envcompile.lock`\n"
    git(project, "commit", "-qam", "after")
    assert run("diff", folder=project).stdout == ""
    assert run("diff", "before", "main", folder=project).stdout == line
    back = run("diff", "main", "before", folder=project).stdout
    assert back.splitlines()[0].split() == [change.split()[0], change.split()[1], "9999", "->", change.split()[2]]


def test_a_revision_without_a_lock(project: Path) -> None:
    """A pull request that brings the first lock: everything in it is new."""
    git(project, "checkout", "-q", "--orphan", "empty")
    git(project, "rm", "-q", "-rf", "--cached", ".")
    git(project, "commit", "-q", "--allow-empty", "-m", "nothing")
    done = run("diff", "empty", "--as", "json", folder=project)
    assert {each["change"] for each in json.loads(done.stdout)["changes"]} == {"added"}
    assert run("diff", "empty", folder=project).stdout.startswith("  + platform linux-64 ")
    done = run("diff", "empty", "empty", folder=project)
    assert (done.returncode, "neither `empty:envcompile.lock` nor" in done.stderr) == (2, True)


def test_forms(project: Path) -> None:
    document = json.loads(run("diff", "--as", "json", folder=project).stdout)
    assert (document["before"], document["after"]) == ("HEAD:envcompile.lock", "envcompile.lock")
    (change,) = document["changes"]
    assert (change["change"], change["after"], change["kind"]) == ("changed", "9999", "pip")
    assert run("diff", "--as", "markdown", folder=project).stdout.startswith("### `envcompile.lock`: 1 changed\n")
    git(project, "checkout", "-q", ".")
    assert run("diff", "--as", "markdown", folder=project).stdout == "### `envcompile.lock`: nothing changed\n"
    assert json.loads(run("diff", "--as", "json", folder=project).stdout)["changes"] == []


def test_what_a_change_costs(project: Path) -> None:
    """Promise of `size`: the changed layer is pushed, in every form; the last line says so, and JSON by platform."""
    lock = parse_lock((project / "envcompile.lock").read_text("utf-8"), "x")
    first, *rest = lock.platforms
    numpy = next(each for each in first.pip if each.name == "numpy")
    pip = tuple(replace(each, sha256="0" * 64) if each is numpy else each for each in first.pip)
    changed = replace(lock, platforms=(replace(first, pip=pip), *rest))
    (project / "envcompile.lock").write_text(format_lock(changed), "utf-8")
    (text, markdown, document) = (
        run("diff", "--as", form, folder=project).stdout for form in ("text", "markdown", "json")
    )
    *_, last = text.splitlines()
    assert last.startswith("17 MB to push (linux-64 17 MB, linux-aarch64 nothing), ")
    assert markdown.endswith(f"|\n\n{last}\n")
    push = json.loads(document)["push"]
    total = sum(each.size or 0 for each in first.pip)
    assert push["linux-64"] == {
        "push": {"known": numpy.size, "unknown": []},
        "unchanged": {"known": total - (numpy.size or 0), "unknown": []},
        "new-images": [],
    }
    assert push["linux-aarch64"]["push"] == {"known": 0, "unknown": []}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["no-such-branch"], "`no-such-branch` is neither a git revision nor a file"),
        (["HEAD:envcompile.lock"], "is neither a git revision nor a file"),
        ([""], "`` is not a revision of git"),
        (["--", "--output=x"], "`--output=x` is not a revision of git"),
        (["HEAD", "--", "-x"], "`-x` is not a revision of git"),
        (["envcompile.toml"], "`envcompile.toml` is not a lock of envcompile"),
    ],
)
def test_no_such_thing(words: list[str], sentence: str, project: Path) -> None:
    done = run("diff", *words, folder=project)
    assert (done.returncode, done.stdout, sentence in done.stderr) == (2, "", True), done.stderr
    assert sorted(path.name for path in project.iterdir()) == ["envcompile.lock", "envcompile.toml", "expected"]


def test_no_git_no_repository_no_lock(project: Path, tmp_path: Path) -> None:
    done = run("diff", folder=project, PATH=str(tmp_path))
    assert (done.returncode, "`git` cannot be started: it is not on the PATH" in done.stderr) == (3, True)
    assert run("diff", "envcompile.lock", folder=project, PATH=str(tmp_path)).returncode == 0
    shutil.copytree(project, tmp_path / "alone")
    done = run("diff", folder=tmp_path / "alone", GIT_CEILING_DIRECTORIES=str(tmp_path))
    assert (done.returncode, "is not in a git repository, so it has no `HEAD`" in done.stderr) == (2, True)
    (project / "envcompile.lock").unlink()
    assert run("diff", "HEAD", "HEAD", folder=project).returncode == 0
    done = run("diff", folder=project)
    assert (done.returncode, "hint: run `envcompile lock`" in done.stderr) == (2, True)


def test_a_repository_that_git_does_not_read(project: Path) -> None:
    """It is not said of a revision whose lock is damaged that it had none."""
    blob = git(project, "rev-parse", "HEAD:./envcompile.lock").strip()
    (project.parent / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    done = run("diff", folder=project)
    assert (done.returncode, "git does not read the lock of `HEAD`" in done.stderr) == (3, True), done.stderr


def test_marks_of_a_conflict(project: Path) -> None:
    """The lock in between cannot be compared: its line is named, and what mends it. Both sides can be."""
    line = run("diff", folder=project).stdout
    git(project, "commit", "-qam", "one")
    git(project, "checkout", "-q", "-b", "other", "before")
    move(project / "envcompile.lock", "9998")
    git(project, "commit", "-qam", "two")
    git(project, "merge", "-q", "main", code=1)
    done = run("diff", folder=project)
    assert (done.returncode, "contains merge conflict markers in line" in done.stderr) == (2, True)
    assert "hint: run `envcompile lock`" in done.stderr
    assert run("diff", "HEAD", "MERGE_HEAD", folder=project).stdout.splitlines()[0].endswith(" 9998 -> 9999")
    assert run("diff", "before", "MERGE_HEAD", folder=project).stdout == line


def documented(fence: str) -> str:
    """A block of the docs."""
    found = re.search(rf"```{fence}\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def textconv(project: Path) -> Callable[..., str]:
    """git as the docs set it up, with the `envcompile` of this interpreter in its path."""
    (project / ".gitattributes").write_text(documented("gitattributes"), "utf-8")
    subprocess.run(["sh", "-e", "-c", documented("sh")], cwd=project, check=True, env={**os.environ, **GIT})
    programs = project.parent.parent / "bin"
    programs.mkdir()
    (programs / "envcompile").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n', "utf-8")
    (programs / "envcompile").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def asking(*words: str) -> str:
        done = subprocess.run(
            ["git", "--no-pager", *words],
            cwd=project,
            capture_output=True,
            check=False,
            encoding="utf-8",
            env={**os.environ, **GIT, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return asking


def test_git_diff_through_the_textconv_of_the_docs(project: Path, textconv: Callable[..., str]) -> None:
    said = textconv("diff", "HEAD", "-U0", "--", "envcompile.lock")
    moved = [line for line in said.splitlines() if re.match(r"[-+][^-+]", line)]
    assert [line[0] for line in moved] == ["-", "+"] * 2
    assert all(re.fullmatch(r"[-+]linux-(64|aarch64) pip [a-z0-9-]+ \S+ [0-9a-f]{12}", line) for line in moved)
    assert textconv("log", "-p", "--", "envcompile.lock").count("+linux-64 pip ") > 0
    # Ours do not pass through it.
    assert run("diff", folder=project).stdout.count("\n") == 2


def test_the_textconv_never_stops_git(project: Path, textconv: Callable[..., str]) -> None:
    """git gives up a whole diff, of all files, when one textconv fails: a broken lock is listed as far as it goes."""
    path = project / "envcompile.lock"
    whole = path.read_text("utf-8")
    for broken in (
        "",
        "\x00\xff",
        whole[: len(whole) // 2],
        f"<<<<<<< ours\n{whole}",
        whole.replace("format = 2", "format = 9"),
    ):
        path.write_text(broken, "utf-8")
        said = textconv("diff", "HEAD", "--", "envcompile.lock")
        assert "+# `" in said
        assert "Traceback" not in said
