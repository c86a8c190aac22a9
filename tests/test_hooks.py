"""The hooks, run by pre-commit and by prek themselves, on repositories made here, with the network and without."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import tomli

from tests.kit.index import Index, Wheel, served
from tests.kit.mutations import MUTATIONS, Mutation
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.index,  # the hooks' environment is installed from it, once for each program
    pytest.mark.skipif(not shutil.which("git"), reason="needs git"),
]

TOP = Path(__file__).parents[1]
CASE = FIXTURES / "compile" / "conda"
CUT = ("unshare", "--net")


class Program(NamedTuple):
    """pre-commit or prek with its environments installed, and the hooks' repository."""

    name: str
    environment: dict[str, str]
    hooks: Path

    def run(self, *words: str | Path, folder: Path, cut: bool = False) -> subprocess.CompletedProcess[str]:
        argv = (*(CUT if cut else ()), *map(str, words))
        return subprocess.run(
            argv, cwd=folder, env=self.environment, capture_output=True, text=True, check=False, encoding="utf-8"
        )

    def git(self, *words: str | Path, folder: Path) -> None:
        done = self.run("git", *words, folder=folder)
        assert done.returncode == 0, done.stderr

    def repository(self, folder: Path, *ids: str) -> Path:
        """A repository whose commits are looked at by the hooks of these ids."""
        folder.mkdir()
        rows = "".join(f"      - id: {each}\n" for each in ids)
        config = f"repos:\n  - repo: file://{self.hooks}\n    rev: v1\n    hooks:\n{rows}"
        (folder / ".pre-commit-config.yaml").write_text(config, "utf-8")
        self.git("init", "-q", "-b", "main", folder=folder)
        self.git("add", "-A", folder=folder)
        self.git("commit", "-q", "-m", "the beginning", folder=folder)
        done = self.run(self.name, "install", folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder

    def commit(self, folder: Path, *, cut: bool) -> str | None:
        """Commit everything; what the hooks said when they did not let it pass."""
        self.git("add", "-A", folder=folder)
        done = self.run("git", "commit", "-q", "-m", "a change", folder=folder, cut=cut)
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        return said if done.returncode else None


@pytest.fixture(scope="session")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree as a repository of hooks: what a tag of it would hold."""
    folder = tmp_path_factory.mktemp("hooks") / "envcompile"
    folder.mkdir()
    for name in ("envcompile", "schemas"):
        shutil.copytree(TOP / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", ".pre-commit-hooks.yaml"):
        shutil.copy(TOP / name, folder)
    return folder


@pytest.fixture(scope="session", params=["pre-commit", "prek"])
def program(request: pytest.FixtureRequest, hooks: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    home = tmp_path_factory.mktemp(request.param)
    person = {
        f"GIT_{who}_{what}": "test@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    own = {"PRE_COMMIT_HOME": home, "PREK_HOME": home, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    dropped = ("GIT_", "PRE_COMMIT", "PREK", "SKIP", "ENVCOMPILE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    environment = {**kept, **person, **{key: str(value) for key, value in own.items()}, "PATH": path}
    program = Program(request.param, environment, hooks)
    if not (hooks / ".git").exists():
        for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "all"), ("tag", "v1")):
            program.git(*words, folder=hooks)
    first = program.repository(home.parent / f"{request.param}-first", "envcompile-verify", "envcompile-dockerfile")
    done = program.run(request.param, "install-hooks", folder=first)
    assert done.returncode == 0, done.stdout + done.stderr
    return program


@pytest.fixture(params=["online", "cut off"])
def cut(request: pytest.FixtureRequest) -> bool:
    if request.param == "cut off" and (os.name != "posix" or subprocess.run([*CUT, "true"], check=False).returncode):
        pytest.skip("cutting the network off needs root on Linux")
    return bool(request.param == "cut off")


@pytest.fixture
def repository(program: Program, tmp_path: Path, cut: bool) -> Path:
    """A repository with a fresh lock in it."""
    del cut
    folder = program.repository(tmp_path / "repository", "envcompile-verify")
    add(CASE, folder)
    program.git("add", "-A", folder=folder)
    program.git("commit", "-q", "-m", "an environment", folder=folder)
    return folder


def add(case: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("envcompile.toml", "envcompile.lock"):
        shutil.copy(case / name, folder)


def test_fresh_stale_and_loosened(program: Program, repository: Path, cut: bool) -> None:
    spec = repository / "envcompile.toml"
    text = spec.read_text("utf-8")
    for passes in (f"{text}# a comment\n", text.replace("numpy >=2", "numpy >=1"), text.replace('"pip"', '"pip *"')):
        spec.write_text(passes, "utf-8")
        assert program.commit(repository, cut=cut) is None
    spec.write_text(text.replace("numpy >=2", "numpy >=3"), "utf-8")
    said = program.commit(repository, cut=cut)
    assert said
    assert "the spec requires `numpy >=3` from conda, but the lock has numpy 2." in said
    assert " envcompile.toml:7:" in said
    assert "hint: run `envcompile lock`" in said
    assert not program.run("git", "status", "--porcelain", folder=repository).stdout.startswith(" M")


def test_a_lock_that_never_was(program: Program, repository: Path, cut: bool) -> None:
    add(CASE, repository / "b")
    (repository / "b" / "envcompile.lock").unlink()
    said = program.commit(repository, cut=cut)
    assert said
    assert "`b/envcompile.lock` does not exist" in said
    assert "hint: run `envcompile lock -f b/envcompile.toml`" in said


def test_a_lock_that_is_removed(program: Program, repository: Path, cut: bool) -> None:
    """Alone, in another folder than what else is committed, renamed; and with its spec, which is nobody's loss."""
    (repository / "envcompile.lock").unlink()
    assert "`envcompile.lock` does not exist" in (program.commit(repository, cut=cut) or "")
    add(CASE, repository / "b")
    assert "`envcompile.lock` does not exist" in (program.commit(repository, cut=cut) or "")
    shutil.copy(CASE / "envcompile.lock", repository / "renamed.lock")
    assert "`envcompile.lock` does not exist" in (program.commit(repository, cut=cut) or "")
    (repository / "envcompile.toml").unlink()
    assert program.commit(repository, cut=cut) is None


def test_a_spec_that_is_removed(program: Program, repository: Path, cut: bool) -> None:
    (repository / "envcompile.toml").unlink()
    said = program.commit(repository, cut=cut)
    assert "`envcompile.lock` is a lock, and its spec `envcompile.toml` does not exist" in (said or "")


def test_between_two_revisions(program: Program, repository: Path, cut: bool) -> None:
    """As it runs before a push, or for a pull request."""
    (repository / "envcompile.lock").unlink()
    program.git("add", "-A", folder=repository)
    program.git("commit", "-q", "--no-verify", "-m", "a change", folder=repository)
    done = program.run(program.name, "run", "--from-ref", "HEAD~", "--to-ref", "HEAD", folder=repository, cut=cut)
    assert "`envcompile.lock` does not exist" in done.stdout
    assert done.returncode == 1


def test_the_marks_of_a_merge_conflict(program: Program, repository: Path, cut: bool) -> None:
    lock = repository / "envcompile.lock"
    text = lock.read_text("utf-8")
    lock.write_text(text.replace("\n[plat", "\n<<<<<<< ours\n=======\n>>>>>>> theirs\n[plat", 1), "utf-8")
    said = program.commit(repository, cut=cut)
    assert "`envcompile.lock` contains merge conflict markers in line " in (said or "")


def test_two_specs_in_one_repository(program: Program, repository: Path, cut: bool) -> None:
    """Each name leads to its spec, which is looked at once; a pyproject.toml without our table is none."""
    below = repository / "services" / "b"
    below.parent.mkdir()
    add(FIXTURES / "compile" / "ml", below)
    (repository / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.ruff]\n", "utf-8")
    (repository / "poetry.lock").write_text("# nobody's business\n", "utf-8")
    (repository / "Dockerfile").write_text("FROM scratch\n", "utf-8")
    (repository / "elsewhere").mkdir()
    shutil.copy(CASE / "expected" / "Dockerfile", repository / "elsewhere")
    assert program.commit(repository, cut=cut) is None
    spec = below / "envcompile.toml"
    spec.write_text(spec.read_text("utf-8").replace('"gensim"', '"gensim <1"'), "utf-8")
    said = program.commit(repository, cut=cut)
    assert said
    assert said.count("error[stale]") == 1
    assert "services/b/envcompile.toml:" in said
    assert "hint: run `envcompile lock -f services/b/envcompile.toml`" in said
    done = program.run(program.name, "run", "--all-files", "-v", folder=repository, cut=cut)
    assert done.stdout.count("`envcompile.lock` is fresh") == 1
    (repository / "poetry.lock").unlink()
    spec.unlink()
    (below / "envcompile.lock").unlink()
    assert program.commit(repository, cut=cut) is None


def test_a_committed_dockerfile(program: Program, tmp_path: Path, cut: bool) -> None:
    folder = program.repository(tmp_path / "repository", "envcompile-verify", "envcompile-dockerfile")
    add(CASE, folder)
    assert "`Dockerfile` is not the Dockerfile of this spec and lock" in (program.commit(folder, cut=cut) or "")
    shutil.copy(CASE / "expected" / "Dockerfile", folder)
    assert program.commit(folder, cut=cut) is None
    with (folder / "Dockerfile").open("ab") as file:
        file.write(b"#\n")
    said = program.commit(folder, cut=cut)
    assert said
    assert said.count("`Dockerfile` is not the Dockerfile of this spec and lock") == 2
    assert "hint: run `envcompile dockerfile -o Dockerfile`" in said


@pytest.mark.parametrize("cut", ["cut off"], indirect=True)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation(program: Program, tmp_path: Path, mutation: Mutation, cut: bool) -> None:
    """A fresh lock passes, and each mutation of it or of its spec fails."""
    folder = program.repository(tmp_path / "repository", "envcompile-verify")
    spec, lock = (CASE / f"envcompile.{ending}" for ending in ("toml", "lock"))
    changed = mutation.change(spec.read_text("utf-8"), lock.read_text("utf-8"))
    for ending, text in zip(("toml", "lock"), changed, strict=True):
        (folder / f"envcompile.{ending}").write_bytes(text.encode())
    said = program.commit(folder, cut=cut)
    if mutation.names is None:
        assert said is None
    else:
        assert said
        assert mutation.names in said


@pytest.fixture
def index() -> Iterator[str]:
    with served(Index((Wheel("tiny", "1.0"), Wheel("tiny", "2.0")))) as index:
        yield index.url()


def test_lock(program: Program, tmp_path: Path, index: str) -> None:
    """At its own stage alone: it locks what is stale, and the next commit passes."""
    folder = program.repository(tmp_path / "repository", "envcompile-verify", "envcompile-lock")
    base = 'base = "python:3.12-slim-bookworm@sha256:' + 64 * "0" + '"'
    spec = f'name = "x"\npython = "3.12"\n[pip]\npackages = ["tiny >=2"]\n[image]\n{base}\n'
    (folder / "envcompile.toml").write_text(spec, "utf-8")
    assert "`envcompile.lock` does not exist" in (program.commit(folder, cut=False) or "")
    # Its environment first, from the real index.
    assert program.run(program.name, "install-hooks", folder=folder).returncode == 0
    settings = {"UV_DEFAULT_INDEX": index, "UV_CACHE_DIR": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}
    manual = program._replace(environment={**program.environment, **settings})
    words = (program.name, "run", "envcompile-lock", "--hook-stage", "manual", "--verbose")
    done = manual.run(*words, folder=folder)
    assert "wrote `envcompile.lock`: 1 package for linux-64" in done.stdout, done.stdout + done.stderr
    assert program.commit(folder, cut=False) is None


def test_the_lock_hook_brings_what_the_extra_brings() -> None:
    project = tomli.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    text = (TOP / ".pre-commit-hooks.yaml").read_text("utf-8")
    (row,) = re.findall(r"additional_dependencies: \[(.*)\]", text)
    assert [each.strip(' "') for each in row.split(",")] == project["optional-dependencies"]["lock"]
