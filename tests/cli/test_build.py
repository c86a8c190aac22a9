"""`envcompile build` without an engine: what it asks first, and what it says when docker is not there or not right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.kit.project import FIXTURES
from tests.kit.registry import INDEX, Server, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOWN = "Cannot connect to the Docker daemon at unix:///nope.sock. Is the docker daemon running?"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    web = start(server)
    yield server
    server.stopped.set()
    web.shutdown()
    web.server_close()


def project(folder: Path, case: str, repository: str | None = None) -> Path:
    shutil.copytree(FIXTURES / "compile" / case, folder / case)
    spec = folder / case / "envcompile.toml"
    if repository:
        spec.write_text(spec.read_text("utf-8").replace("[image]", f'[image]\nrepository = "{repository}"'), "utf-8")
    return folder / case


def build(folder: Path, *words: str, docker: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command with nothing on its PATH but a stand-in for docker: a shell script, if there is one."""
    path = folder / "path"
    path.mkdir(exist_ok=True)
    if docker is not None:
        (path / "docker").write_text(f"#!/bin/sh\n{docker}\n", "utf-8")
        (path / "docker").chmod(0o755)
    return subprocess.run(
        [sys.executable, "-m", "envcompile", "build", *words],
        cwd=folder,
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={"PATH": str(path), "HOME": str(folder), "NO_PROXY": "*", "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def tag(folder: Path) -> str:
    command = [sys.executable, "-m", "envcompile", "-C", str(folder), "tag"]
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.strip()


def test_docker_is_missing(tmp_path: Path) -> None:
    done = build(project(tmp_path, "ml"))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: `docker` cannot be started: it is not on the PATH\n  = hint: install Docker")


@pytest.mark.parametrize(
    ("docker", "said"),
    [
        # In their words: docker 26 whose daemon is down; docker without the plugin; a buildx of 2022.
        (f"echo '{DOWN}' >&2; exit 1", "docker has no `buildx`"),
        (
            f'[ "$2" = version ] && echo buildx v0.13.1 && exit; echo "ERROR: {DOWN}" >&2; exit 1',
            "daemon does not answer",
        ),
        ("""echo "docker: 'buildx' is not a docker command." >&2; exit 1""", "docker has no `buildx`"),
        ('[ "$1" = buildx ] && echo github.com/docker/buildx v0.8.2 6224def || exit 1', "buildx 0.8.2 is too old"),
    ],
    ids=["no daemon and no buildx", "no daemon", "no buildx", "old buildx"],
)
def test_docker_is_not_right(docker: str, said: str, tmp_path: Path) -> None:
    done = build(project(tmp_path, "ml"), "-q", docker=docker)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr
    assert "hint:" in done.stderr


def test_the_engines_platform_is_asked_where_several_are_locked(tmp_path: Path) -> None:
    folder = project(tmp_path, "several")
    done = build(folder, docker=f"echo '{DOWN}' >&2; exit 1")
    assert (done.returncode, "the docker daemon does not answer" in done.stderr) == (3, True)
    done = build(folder, docker='[ "$1" = version ] && echo linux/s390x')
    assert (done.returncode, "`linux/s390x`" in done.stderr, "--platform linux/amd64" in done.stderr) == (2, True, True)


def test_a_tag_that_is_pushed_is_found_by_one_head_and_without_docker(server: Server, tmp_path: Path) -> None:
    folder = project(tmp_path, "ml", f"{server.host}/team/ml")
    name = tag(folder)
    server.document("team/ml", name.rpartition(":")[2], INDEX, {"manifests": []})
    done = build(folder, "--push")
    assert (done.returncode, done.stdout) == (0, f"{name}\n")
    assert done.stderr == f"`{name}` already exists\n"
    assert [(each.method, each.path) for each in server.seen] == [
        ("HEAD", f"/v2/team/ml/manifests/{name.rpartition(':')[2]}")
    ]


def test_a_tag_for_some_platforms_is_not_there_for_all(server: Server, tmp_path: Path) -> None:
    folder = project(tmp_path, "several", f"{server.host}/team/several")
    digits = tag(folder).rpartition(":")[2]
    amd64, arm64 = ({"os": "linux", "architecture": each} for each in ("amd64", "arm64"))
    # Nothing; one platform's image; an index of one; an index of both.
    assert build(folder, "--push").returncode == 3
    server.image([], name="team/several")
    server.manifests["team/several", digits] = server.manifests["team/several", "1"]
    assert build(folder, "--push").returncode == 3
    assert build(folder, "--push", "--platform", "linux/amd64").returncode == 0
    assert build(folder, "--push", "--platform", "linux-aarch64").returncode == 3
    server.document("team/several", digits, INDEX, {"manifests": [{"platform": arm64}]})
    assert build(folder, "--push").returncode == 3
    server.document("team/several", digits, INDEX, {"manifests": [{"platform": amd64}, {"platform": arm64}]})
    assert build(folder, "--push").returncode == 0


def test_a_registry_that_lets_nobody_read_may_still_be_written_to(server: Server, tmp_path: Path) -> None:
    """As the hub says of a repository that is not there yet: only the push can tell."""
    server.auth = "login"
    done = build(project(tmp_path, "ml", f"{server.host}/team/ml"), "--push")
    assert (done.returncode, "`docker` cannot be started" in done.stderr) == (3, True)


def test_a_registry_that_is_not_there_is_told_before_anything_is_built(tmp_path: Path) -> None:
    done = build(project(tmp_path, "ml", "127.0.0.1:9/team/ml"), "--push")
    assert done.returncode == 3
    assert "`127.0.0.1:9` refused the connection" in done.stderr
    assert "or build without `--push`" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--push"], "`--push` needs a repository"),
        (["nonsense"], "`nonsense` is not an option"),
        (["--output", "type=local,dest=x"], "does not name a type and a file"),
        (["--output", "type=oci"], "does not name a type and a file"),
        (["--output", "type=oci,dest=-"], "does not name a type and a file"),
        (["--output", "type=oci,dest=."], "does not name a type and a file"),
        (["--output", ""], "does not name a type and a file"),
        (["--platform", "linux/s390x"], "the lock does not have the platform `linux/s390x`"),
        (["--push", "--load"], "not allowed with argument"),
    ],
)
def test_what_cannot_be_meant(words: list[str], said: str, tmp_path: Path) -> None:
    done = build(project(tmp_path, "ml"), *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_what_stands_after_two_dashes_goes_to_buildx(tmp_path: Path) -> None:
    """With a stand-in for docker that keeps the words and the Dockerfile it is given, and tells a digest."""
    folder = project(tmp_path, "ml")
    keeps = (
        '[ "$2" = version ] && echo buildx v0.13.1 && exit\n[ "$2" = build ] || exit 1\n'
        'printf "%s\\n" "$@" >words; /bin/cat >stdin\n'
        'while [ "$1" != --metadata-file ]; do shift; done\n'
        """echo '{"containerimage.digest": "sha256:0"}' >"$2" """
    )
    done = build(folder, "--secret", "id=ca,src=/ca", "--", "--network=host", "--add-host", "a:1.2.3.4", docker=keeps)
    assert (done.returncode, done.stdout) == (0, f"{tag(folder)}\n")
    assert done.stderr.startswith(f"built `{tag(folder)}` (sha256:0) in ")
    words = (folder / "words").read_text("utf-8").splitlines()
    assert words[-4:] == ["--network=host", "--add-host", "a:1.2.3.4", "-"]
    assert (folder / "stdin").read_text("utf-8") == (folder / "expected" / "Dockerfile").read_text("utf-8")


def test_a_failure_for_a_machine_is_one_line(tmp_path: Path) -> None:
    fails = '[ "$2" = version ] && echo buildx v0.13.1 && exit\necho "ERROR: no space left on device" >&2; exit 1'
    done = build(project(tmp_path, "ml"), "--format", "json", docker=fails)
    assert done.returncode == 1
    assert "a disk is full" in json.loads(done.stderr)["message"]
