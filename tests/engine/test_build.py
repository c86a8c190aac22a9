"""`envcompile build` on the real engine: what it makes, what it skips, and what is left when it fails."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.test_dockerfile import needs_arm64
from tests.kit.engine import CA_BUNDLE, docker, envcompile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.index]

SPEC = """
name = "envcompile-test-build"
python = "3.11"
[pip]
packages = ["six"]
[image]
base = ""
"""
# No bridge in this engine, and a proxy's certificate on this machine.
HERE = ("--secret", f"id=ca,src={CA_BUNDLE}", "--", "--network=host")
COMMAND = [sys.executable, "-m", "envcompile", "build"]


@pytest.fixture
def folder(engine: Engine, tmp_path: Path) -> Iterator[Path]:
    """A locked spec; its tag is not there before, nor after."""
    yield lock(tmp_path, engine.stand_ins(SPEC))
    docker("image", "rm", "--force", tag(tmp_path), check=False)


def lock(folder: Path, spec: str) -> Path:
    (folder / "envcompile.toml").write_text(spec, "utf-8")
    envcompile("lock", "-q", folder=folder)
    docker("image", "rm", "--force", tag(folder), check=False)
    return folder


def tag(folder: Path) -> str:
    return envcompile("tag", folder=folder).strip()


def build(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words, *HERE],
        cwd=folder,
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, **environment},
    )


def there(name: str) -> str:
    """The id of an image of the engine, or nothing."""
    said = docker("image", "inspect", "--format", "{{.Id}}", name, check=False).split()
    return next((word for word in said if word.startswith("sha256:")), "")


def holdings() -> tuple[str, str, list[str]]:
    """What might be left: containers, builders, images."""
    images = docker("image", "ls", "--all", "--format", "{{.ID}} {{.Repository}} {{.Tag}}").splitlines()
    return docker("ps", "--all"), docker("buildx", "ls"), sorted(images)


def with_onbuild(engine: Engine, instruction: str) -> str:
    """A spec whose base runs something in every build from it: what no lock can see."""
    version = hashlib.sha256(instruction.encode()).hexdigest()
    name = f"{os.environ['ENVCOMPILE_TEST_REGISTRY']}/envcompile-test/onbuild:{version}"
    text = f"FROM {engine.base}\nONBUILD {instruction}\n"
    docker("buildx", "build", "--push", "--provenance=false", "--tag", name, "-", text=text)
    digest = next(
        line.split()[1]
        for line in docker("buildx", "imagetools", "inspect", name).splitlines()
        if line.startswith("Dig")
    )
    return engine.stand_ins(SPEC).replace(engine.base, f"{name}@{digest}")


def test_builds_from_nothing_have_one_digest_wherever_they_go(engine: Engine, folder: Path) -> None:
    """Promise 6: two builds from nothing by `envcompile build` give the same image digest, bit for bit."""
    engine.forget()
    done = build(folder)
    assert (done.returncode, done.stdout) == (0, f"{tag(folder)}\n"), done.stderr
    digest = there(tag(folder))
    assert f"({digest})" in done.stderr
    assert digest in build(folder, "--force").stderr
    # The same in a file, which keeps its content whenever a build fails; and by the check.
    (folder / "image.tar").write_text("old", "utf-8")
    assert build(folder, "--output", "type=oci,dest=image.tar", "--platform", "linux-64").returncode == 2
    assert build(folder, "--force", "--output", "type=oci,dest=image.tar", "--platform", "linux-64").returncode == 0
    index = subprocess.run(["tar", "-xOf", folder / "image.tar", "index.json"], capture_output=True, check=True).stdout
    assert digest.encode() in index
    done = build(folder, "--repro-check")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert f"gave the same image, bit for bit: {digest}" in done.stderr
    assert engine.run(tag(folder), "python", "-c", "import six; print(six.__name__)").strip() == "six"


def test_a_second_build_with_nothing_changed_builds_nothing(folder: Path, tmp_path: Path) -> None:
    """It finds the image and tags it. A stand-in for docker notes its words, and is docker."""
    assert build(folder).returncode == 0
    path = tmp_path / "path"
    path.mkdir()
    (path / "docker").write_text(f'#!/bin/sh\necho "$*" >>{path}/words\nexec {shutil.which("docker")} "$@"\n', "utf-8")
    (path / "docker").chmod(0o755)
    for _ in range(3):
        done = build(folder, "-t", "envcompile-test-build:other", PATH=f"{path}:{os.environ['PATH']}")
        assert (done.returncode, done.stdout) == (0, f"{tag(folder)}\n")
    words = (path / "words").read_text("utf-8")
    commands = [line.split()[:2] for line in words.splitlines()]
    assert commands == [["image", "inspect"], ["image", "ls"], ["image", "tag"]] * 3
    assert there("envcompile-test-build:other") == there(tag(folder))
    docker("image", "rm", "envcompile-test-build:other")


def test_a_tag_with_missing_parts_is_not_trusted(engine: Engine, folder: Path) -> None:
    """A layer is taken out of the engine's store behind its back, as a broken disk or a rude cleaner would."""
    assert build(folder).returncode == 0
    whole = there(tag(folder))
    engine.forget()
    run = os.environ["DOCKER_HOST"].removeprefix("unix://").rpartition("/")[0]
    store = ["ctr", "--address", f"{run}/exec/containerd/containerd.sock", "--namespace", "moby", "content"]
    manifest = subprocess.run([*store, "get", whole], capture_output=True, check=True, encoding="utf-8").stdout
    layer = manifest.rpartition('"digest"')[2].split('"')[1]
    subprocess.run([*store, "rm", layer], capture_output=True, check=True)
    assert there(tag(folder)) == whole
    done = build(folder)
    assert (done.returncode, f"built `{tag(folder)}`" in done.stderr) == (0, True), done.stderr
    assert engine.run(tag(folder), "python", "-c", "import six; print(six.__name__)").strip() == "six"


def test_a_push_and_a_push_again(engine: Engine, tmp_path: Path) -> None:
    name = f"{os.environ['ENVCOMPILE_TEST_REGISTRY']}/envcompile-test/pushed-{time.time_ns()}"
    spec = engine.stand_ins(SPEC).replace("[image]", f'[image]\nrepository = "{name}"')
    lock(tmp_path, spec)
    done = build(tmp_path, "--push", "-t", f"{name}:latest")
    assert (done.returncode, done.stdout) == (0, f"{tag(tmp_path)}\n"), done.stderr
    done = build(tmp_path, "--push", "-t", f"{name}:newest")
    assert done.stderr == f"`{tag(tmp_path)}` already exists\n"
    whole, latest, newest = (
        docker("buildx", "imagetools", "inspect", "--raw", each)
        for each in (tag(tmp_path), f"{name}:latest", f"{name}:newest")
    )
    assert whole == latest
    # Put beside the other without a build: an index over the same image.
    assert f"sha256:{hashlib.sha256(whole.encode()).hexdigest()}" in newest


def test_of_two_builds_at_once_each_has_its_digest_or_an_error(
    engine: Engine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """BuildKit shares packed layers between builds: a build with zstd may get layers of one with gzip."""
    names = {
        kind: f"{os.environ['ENVCOMPILE_TEST_REGISTRY']}/envcompile-test/{kind}-{time.time_ns()}"
        for kind in ("gzip", "zstd")
    }
    expected = {}
    for kind, name in names.items():
        folder = tmp_path / kind
        folder.mkdir()
        spec = engine.stand_ins(SPEC).replace("[image]", f'[image]\nrepository = "{name}"')
        lock(folder, spec.replace('"six"', '"six", "setuptools", "pip"'))
        engine.forget()
        done = build(folder, "--push", "-t", f"{name}:alone", "--compression", kind)
        assert done.returncode == 0, done.stderr
        expected[kind] = docker("buildx", "imagetools", "inspect", "--raw", f"{name}:alone")
    for _ in range(10 if request.config.getoption("--long") else 2):
        engine.forget()
        builds = {
            kind: subprocess.Popen(
                [*COMMAND, "--push", "--force", "-t", f"{name}:both", "--compression", kind, *HERE],
                cwd=tmp_path / kind,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            for kind, name in names.items()
        }
        said = {kind: process.communicate()[1] for kind, process in builds.items()}
        assert builds["gzip"].returncode == 0, said["gzip"]
        for kind, name in names.items():
            if builds[kind].returncode == 0:
                assert docker("buildx", "imagetools", "inspect", "--raw", f"{name}:both") == expected[kind]
        if builds["zstd"].returncode:
            assert "of this image with another compression, so its digest is another one" in said["zstd"]


def test_all_locked_platforms_are_pushed_and_the_engines_own_is_loaded(engine: Engine, tmp_path: Path) -> None:
    needs_arm64("linux/arm64")
    name = f"{os.environ['ENVCOMPILE_TEST_REGISTRY']}/envcompile-test/several-{time.time_ns()}"
    spec = engine.stand_ins(SPEC).replace("[pip]", 'platforms = ["linux-64", "linux-aarch64"]\n[pip]')
    lock(tmp_path, spec.replace("[image]", f'[image]\nrepository = "{name}"'))
    assert build(tmp_path, "--push", "--platform", "linux/arm64").returncode == 0
    done = build(tmp_path, "--push")
    assert (done.returncode, f"pushed `{tag(tmp_path)}`" in done.stderr) == (0, True), done.stderr
    assert "already exists" in build(tmp_path, "--push").stderr
    raw = docker("buildx", "imagetools", "inspect", "--raw", tag(tmp_path))
    assert [each["platform"]["architecture"] for each in json.loads(raw)["manifests"]] == ["amd64", "arm64"]
    docker("image", "rm", "--force", tag(tmp_path), check=False)
    done = build(tmp_path)
    assert "building only for linux/amd64, the platform of the engine" in done.stderr
    assert docker("image", "inspect", "--format", "{{.Architecture}}", tag(tmp_path)).strip() == "amd64"
    assert "already exists" in build(tmp_path).stderr
    # For another platform the same tag is not there.
    assert "already exists" not in build(tmp_path, "--platform", "linux/arm64").stderr
    docker("image", "rm", "--force", tag(tmp_path), check=False)


def test_a_push_that_is_refused_leaves_no_tag(engine: Engine, tmp_path: Path) -> None:
    """The exporter has named the image before it pushes."""
    repository = f"{os.environ['ENVCOMPILE_TEST_REGISTRY']}/envcompile-test/refused-{time.time_ns()}"
    lock(tmp_path, engine.stand_ins(SPEC).replace("[image]", f'[image]\nrepository = "{repository}"'))
    done = build(tmp_path, "--push", "-t", "127.0.0.1:9/x:1")
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert "`127.0.0.1:9/x:1` cannot be pushed" in done.stderr
    assert not there(tag(tmp_path))
    assert not there("127.0.0.1:9/x:1")
    # Now the first of them is pushed, and the other is to be put beside it.
    assert build(tmp_path, "--push").returncode == 0
    done = build(tmp_path, "--push", "-t", "127.0.0.1:9/x:1")
    assert (done.returncode, "a registry does not answer" in done.stderr) == (3, True), done.stderr


def test_a_step_that_fails_is_named_with_its_last_lines(engine: Engine, tmp_path: Path) -> None:
    spec = engine.stand_ins(SPEC).replace(f'python = "{engine.python}"', 'python = "3.11.99"')
    lock(tmp_path, spec)
    sentence = f"envcompile: the base image has Python {engine.python} x86_64, and the lock was made for 3.11.99 x86_64"
    for words in ([], ["-q"], ["--output", "type=oci,dest=image.tar"]):
        done = build(tmp_path, *words)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert sentence in done.stderr.partition("error: the build failed in `[prefix 2/2]`, line ")[0]
        assert sentence in done.stderr.partition("error: the build failed in `[prefix 2/2]`, line ")[2]
    assert not there(tag(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["envcompile.lock", "envcompile.toml"]


def test_a_tag_of_a_failed_build_is_removed(folder: Path, tmp_path: Path) -> None:
    """A stand-in for docker that is docker, and fails after a build: when the image has got its name already."""
    path = tmp_path / "path"
    path.mkdir()
    real = shutil.which("docker")
    text = f'#!/bin/sh\n{real} "$@" || exit\n[ "$2" != build ] || {{ {real} image inspect "$TAG" >&2; exit 1; }}\n'
    (path / "docker").write_text(text, "utf-8")
    (path / "docker").chmod(0o755)
    done = build(folder, PATH=f"{path}:{os.environ['PATH']}", TAG=tag(folder))
    assert (done.returncode, '"RepoTags"' in done.stderr) == (1, True), done.stderr
    assert not there(tag(folder))


@pytest.mark.parametrize("words", [[], ["--output", "type=oci,dest=image.tar"], ["--repro-check"]])
@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "kill"])
def test_an_interrupt_leaves_nothing(engine: Engine, words: list[str], tmp_path: Path, *, whole_group: bool) -> None:
    """As Ctrl-C does it, to the whole group of processes; and as `kill` does, to us alone."""
    lock(tmp_path, with_onbuild(engine, "RUN echo begun; sleep 300; echo ended"))
    before = holdings()
    command = [*COMMAND, *words, *HERE]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr
        seen = []
        for line in process.stderr:
            seen.append(line)
            if line.rstrip().endswith(" begun"):
                break
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        rest, _ = process.stderr.read(), process.wait(60)
        assert process.stdout
        assert process.stdout.read() == ""
    assert process.returncode == 130, "".join(seen) + rest
    assert rest.endswith("\ninterrupted\n")
    # The step itself ended early: its last command did not run.
    assert not re.search(r"^#\d+ [\d.]+ ended$", rest, re.MULTILINE)
    assert not there(tag(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["envcompile.lock", "envcompile.toml"]
    assert holdings() == before


def test_a_difference_of_two_builds_is_named(engine: Engine, tmp_path: Path) -> None:
    lock(tmp_path, with_onbuild(engine, "RUN date +%N > /etc/when"))
    done = build(tmp_path, "-q", "--repro-check")
    assert (done.returncode, done.stdout) == (1, "")
    assert "`/etc/when` has another content of the same size, in layer 2 of " in done.stderr
    assert "`RUN /bin/sh -c date +%N > /etc/when # buildkit` made" in done.stderr
    assert "the likely cause: a time, a number or chance" in done.stderr


def test_a_full_disk_is_told_and_no_half_file_stays(folder: Path) -> None:
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        done = build(folder, "--output", "type=oci,dest=small/image.tar")
        assert done.returncode == 1
        assert "a disk is full" in done.stderr
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_images_come_from_mirrors_and_the_tag_is_the_same(engine: Engine, tmp_path: Path) -> None:
    """The canonical names have no registry behind them: only the mirror can have answered."""
    registry = os.environ["ENVCOMPILE_TEST_REGISTRY"]
    spec = engine.stand_ins(SPEC).replace(f"{registry}/", "registry.example.invalid/")
    lock(tmp_path, spec)
    done = build(tmp_path)
    assert (done.returncode, "`registry.example.invalid/" in done.stderr.partition("error:")[2]) == (3, True)
    before = tag(tmp_path)
    config = tmp_path / "config" / "envcompile"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(f'[mirrors]\n"registry.example.invalid" = "{registry}"\n', "utf-8")
    done = build(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert (done.returncode, done.stdout) == (0, f"{before}\n"), done.stderr
    assert engine.run(before, "python", "-c", "import six; print(six.__name__)").strip() == "six"
    docker("image", "rm", before)


def test_a_daemon_that_is_down_and_a_builder_that_is_not_there(folder: Path) -> None:
    done = build(folder, DOCKER_HOST="unix:///nope.sock")
    assert (done.returncode, "the docker daemon does not answer" in done.stderr) == (3, True), done.stderr
    done = build(folder, "--builder", "nope")
    assert (done.returncode, "there is no builder `nope`" in done.stderr) == (3, True), done.stderr
    done = build(folder, DOCKER_CONTEXT="nope", DOCKER_HOST="")
    assert (done.returncode, "there is no docker context `nope`" in done.stderr) == (3, True), done.stderr


def test_on_a_terminal_buildx_draws_as_it_does_there(engine: Engine, tmp_path: Path) -> None:
    spec = engine.stand_ins(SPEC).replace(f'python = "{engine.python}"', 'python = "3.11.99"')
    lock(tmp_path, spec)
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *HERE], cwd=tmp_path, stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    seen = b""
    while chunk := _read(ours):
        seen += chunk
    os.close(ours)
    assert process.communicate()[0] == b""
    assert process.returncode == 1
    assert b"\x1b[1A" in seen  # the cursor moves up: lines are drawn again
    assert b"the build failed in `[prefix 2/2]`, line " in seen
    assert b"the lock was made for 3.11.99" in seen.rpartition(b"the build failed in")[2]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
