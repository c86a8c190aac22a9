"""Command lines, failures and mirrors of builds: what needs no engine to be seen."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from envcompile.diagnostics.errors import CheckFailedError, EnvcompileError, InvalidInputError, UnavailableError
from envcompile.engine.build import (
    BuildRequest,
    check_buildx,
    command_line,
    create_build_environment,
    find_mirror_contexts,
    find_other_compression,
    format_archive_mirrors,
    format_exporter,
)
from envcompile.engine.command import DockerClient, error_from_output, parse_build_failure
from envcompile.net.process import ProcessResult
from tests.kit.project import dockerfile_of

if TYPE_CHECKING:
    from pathlib import Path

DAEMON = "Cannot connect to the Docker daemon at unix:///nope.sock. Is the docker daemon running?"
# Of buildx 0.13.1, as it came, but for the middle of the step's lines.
STEP = r"""#5 0.057 line 30
#5 ERROR: process "/bin/sh -c echo a" did not complete successfully: exit code: 3
------
 > [2/2] RUN echo a; echo "the sentence" >&2; exit 3:
0.057 line 29
0.057 the sentence
------
Dockerfile:2
--------------------
   1 |     FROM 127.0.0.1:53461/python@sha256:14c1
   2 | >>> RUN echo a; echo "the sentence" >&2; exit 3
   3 |
--------------------
ERROR: failed to solve: process "/bin/sh -c echo a" did not complete successfully: exit code: 3
"""
REFUSED = """#6 ERROR: failed to push 127.0.0.1:9/p:4: failed to do request: Head "https://127.0.0.1:9/v2/p/": refused
------
 > exporting to image:
------
ERROR: failed to solve: failed to push 127.0.0.1:9/p:4: failed to do request: Head "https://127.0.0.1:9/v2/p/": refused
"""
ESCAPED = STEP.replace("\n", "\r\n").replace("------\r\n >", "\x1b[0m------\r\n >")


def test_the_command_line_of_a_build() -> None:
    build = BuildRequest(
        platforms=("linux/amd64", "linux/arm64"),
        output=format_exporter("registry", "zstd"),
        tags=("a:1", "b:2"),
        secrets=("id=ca,src=/ca",),
        contexts=(("debian@sha256:0", "docker-image://mirror/debian@sha256:0"),),
        builder="far",
        extra_options=("--network=host",),
    )
    assert command_line(build, "facts.json") == (
        *("buildx", "build", "--builder", "far", "--provenance=false", "--sbom=false", "--progress", "auto"),
        *("--platform", "linux/amd64,linux/arm64"),
        *("--output", "type=registry,compression=zstd,oci-mediatypes=true", "--metadata-file", "facts.json"),
        *("--tag", "a:1", "--tag", "b:2", "--secret", "id=ca,src=/ca"),
        *("--build-context", "debian@sha256:0=docker-image://mirror/debian@sha256:0", "--network=host", "-"),
    )
    assert format_exporter("tar", "zstd", 'a,"b') == 'type=tar,"dest=a,""b"'
    assert create_build_environment({"SOURCE_DATE_EPOCH": "1", "A": "b"}) == {"SOURCE_DATE_EPOCH": "0", "A": "b"}


@pytest.mark.parametrize(
    ("code", "said", "problem"),
    [
        (0, "github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3\n", ""),
        (0, "github.com/docker/buildx v0.10.0 876462897612d36679153c3414f7689626251501\n", ""),
        (0, "github.com/docker/buildx  9f2c7a4d\n", ""),
        (0, "github.com/docker/buildx v0.9.1 ed00243a0ce2a0aee75311b06e32d33b44729689\n", "buildx 0.9.1 is too old"),
        (1, "", "docker has no `buildx`"),
    ],
)
def test_buildx_is_there_and_new_enough(code: int, said: str, problem: str) -> None:
    def ask(*words: str) -> ProcessResult:
        assert words == ("buildx", "version")
        return ProcessResult(code, "", said.encode())

    if problem:
        with pytest.raises(UnavailableError, match=problem):
            check_buildx(ask)
    else:
        check_buildx(ask)


@pytest.mark.parametrize("text", [STEP, ESCAPED], ids=["plain", "terminal"])
def test_the_failing_step_is_found(text: str) -> None:
    failed = parse_build_failure(text)
    assert failed.step == '[2/2] RUN echo a; echo "the sentence" >&2; exit 3'
    assert failed.lines == ("line 29", "the sentence")
    problem = error_from_output(text)
    assert problem.message == "the build failed in `[2/2]`, line 2 of the Dockerfile: the sentence"


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (f"ERROR: {DAEMON}", UnavailableError, "the docker daemon does not answer"),
        ('ERROR: no builder "nope" found', UnavailableError, "no builder `nope`"),
        ("unknown flag: --nope\nSee 'docker buildx build --help'.", InvalidInputError, "no option --nope"),
        ("ERROR: failed to solve: write /x: no space left on device", CheckFailedError, "a disk is full"),
        (STEP.replace("the sentence", "x: No space left on device (os error 28)"), CheckFailedError, "a disk is full"),
        (REFUSED, UnavailableError, "`127.0.0.1:9/p:4` cannot be pushed: failed to do request"),
        # A digest may hold such a number: it is no status.
        (
            'ERROR: failed to push 127.0.0.1:9/p:4: failed to do request: Head "https://127.0.0.1:9/sha256:a401f"',
            UnavailableError,
            "`127.0.0.1:9/p:4` cannot be pushed: failed to do request",
        ),
        (
            "ERROR: failed to solve: failed to push a.b:5/p:4: denied: no",
            UnavailableError,
            "not let `a.b:5/p:4` be pushed",
        ),
        (
            "ERROR: failed to build: failed to solve: failed to push a.b/p: push access denied, repository",
            UnavailableError,
            "not let `a.b/p` be pushed",
        ),
        ("ERROR: OCI exporter is not supported for the docker driver.", UnavailableError, "cannot make that output"),
        (
            STEP.replace("the sentence", "invalid peer certificate: UnknownIssuer"),
            CheckFailedError,
            "certificate is not trusted",
        ),
        (STEP.replace("the sentence", "dns error: failed to lookup address"), CheckFailedError, "it has no network"),
        (
            STEP.replace("the sentence", "exec /bin/sh: exec format error"),
            CheckFailedError,
            "cannot run programs of that platform",
        ),
        (
            "ERROR: failed to solve: process x did not complete: network bridge not found",
            CheckFailedError,
            "it has no network",
        ),
        (
            "ERROR: failed to solve: failed to resolve source metadata for a.b/c:1@sha256:0: no such host",
            UnavailableError,
            "`a.b/c:1@sha256:0` cannot be fetched: no such host",
        ),
        ("", CheckFailedError, "it does not say why"),
    ],
)
def test_what_a_build_says_becomes_a_sentence_and_a_hint(said: str, kind: type[EnvcompileError], words: str) -> None:
    problem = error_from_output(said)
    assert type(problem) is kind
    assert words in problem.message
    assert problem.hint or not said


def test_images_of_a_mirrored_registry_are_named_by_context() -> None:
    """The Dockerfile keeps the canonical names; the digest stays, so a mirror can give nothing else."""
    dockerfile = dockerfile_of("several")
    assert find_mirror_contexts(dockerfile, {}) == ()
    found = dict(find_mirror_contexts(dockerfile, {"docker.io": "https://mirror.example.invalid/hub"}))
    assert found
    for name, source in found.items():
        assert f" {name} AS " in dockerfile
        assert source.startswith("docker-image://mirror.example.invalid/hub/library/python@sha256:")
        assert source.partition("@")[2] == name.partition("@")[2]
    assert not [name for name in found if name.startswith("ghcr.io")]


def test_archives_of_debian_packages_have_mirrors_too() -> None:
    dockerfile = dockerfile_of("apt")
    mirrors = {"snapshot.debian.org": "mirror.example.invalid/debian/", "snapshot.ubuntu.com": "mirror.example.invalid"}
    assert format_archive_mirrors(dockerfile, mirrors) == "snapshot.debian.org https://mirror.example.invalid/debian\n"
    host = {"github.com": "http://127.0.0.1:8000/github"}
    assert format_archive_mirrors(dockerfile_of("standalone"), host) == "github.com http://127.0.0.1:8000/github\n"
    assert format_archive_mirrors(dockerfile, host) == ""
    assert format_archive_mirrors(dockerfile, {}) == format_archive_mirrors(dockerfile_of("several"), mirrors) == ""


def test_an_interrupt_is_passed_on_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for docker that, like buildx, takes its time to end when it is interrupted."""
    docker = tmp_path / "docker"
    docker.write_text(
        f"#!/bin/sh\ntrap 'sleep 0.2; cat > {tmp_path}/ended; exit 1' INT\necho begun >&2\n"
        "while :; do sleep 0.05; done\n"
    )
    docker.chmod(0o755)

    class Screen:
        """Interrupts us as soon as anything is shown on it."""

        def isatty(self) -> bool:
            return False

        def write(self, data: bytes) -> None:
            if b"begun" in data:
                raise KeyboardInterrupt

        def flush(self) -> None:
            pass

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(KeyboardInterrupt):
        DockerClient(os.environ).run_build(("buildx", "build"), "FROM scratch\n", Screen())  # type: ignore[arg-type]
    assert (tmp_path / "ended").read_text("utf-8") == "FROM scratch\n"


def test_layers_with_another_compression_are_those_that_the_build_added() -> None:
    text = dockerfile_of("ml")
    steps = len(re.findall(r"^[A-Z]+ ", text.rpartition("\nFROM ")[2], re.MULTILINE))
    base = [{"created_by": "base"}, {"created_by": "base", "empty_layer": True}]
    config = {"history": [*base, *({"empty_layer": number < 2} for number in range(steps))]}
    types = ["tar+gzip", *["tar+zstd"] * (steps - 2)]
    assert find_other_compression(text, "zstd", types, config) == ()
    assert find_other_compression(text, "zstd", [*types[:-1], "tar+gzip"], config) == ("tar+gzip",)
    assert len(find_other_compression(text, "gzip", types, config)) == steps - 2
