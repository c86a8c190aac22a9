"""Checks of docker: the command line, the daemon, buildx, the builder and its outputs.

The features of a builder are tested by builds, because its version does not show them: Debian's engine calls its
BuildKit `v0.0.0+unknown`, and other builders report a commit. The Dockerfiles here start from `scratch`, so they need
no image, no network, and only a few kilobytes of the builder's cache.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.diagnostics.errors import EnvcompileError, UnavailableError
from envcompile.doctor import CheckResult, result_from_error
from envcompile.engine.build import BuildRequest, check_buildx, command_line, find_engine_platform, format_exporter
from envcompile.engine.command import error_from_output
from envcompile.oci.archive import OciArchive
from envcompile.project.files import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from envcompile.engine.command import DockerClient, DockerRunner
    from envcompile.net.process import ProcessResult

_CONTEXT_NAME = "envcompile-context"
# The first engine whose own builder supports heredocs and that loads layers of zstd (release notes, February 2023).
_MIN_ENGINE_VERSION = 23
_IMAGE_STORE_REMEDY = (
    'write `{"features": {"containerd-snapshotter": true}}` into the daemon\'s configuration, or name another builder'
    " with `--builder`"
)


class RequiredFeature(NamedTuple):
    """A feature that a builder must have, what we use it for, and a Dockerfile that needs it."""

    name: str
    purpose: str
    dockerfile: str


REQUIRED_FEATURES = (
    RequiredFeature(
        "heredocs", "the package lists are inside the Dockerfile", "FROM scratch\nCOPY <<'EOF' /list\na\nEOF\n"
    ),
    RequiredFeature(
        "COPY --link",
        "layers that do not depend on one another",
        "FROM scratch AS made\nWORKDIR /made\nFROM scratch\nCOPY --link --from=made /made /made\n",
    ),
    RequiredFeature("named contexts", "images of a mirror", f"FROM scratch\nCOPY --from={_CONTEXT_NAME} . /given\n"),
)
# All features at once, so that a builder with all of them needs one build.
_ALL_FEATURES_DOCKERFILE = (
    "FROM scratch AS made\nWORKDIR /made\nCOPY <<'EOF' /made/list\na\nEOF\n"
    f"FROM scratch\nCOPY --link --from=made /made /made\nCOPY --from={_CONTEXT_NAME} . /given\n"
)


class BuilderFeatures(NamedTuple):
    """The features that a builder lacks, and whether it writes OCI archives and layers of zstd.

    `error_output` is the output of the first build that failed.
    """

    missing: tuple[RequiredFeature, ...]
    has_oci_archives: bool
    has_zstd: bool
    error_output: str = ""


def probe_builder(docker: DockerClient, builder: str, platform: str) -> BuilderFeatures:
    """Return the features of a builder, found by test builds for a platform in docker's notation.

    An empty name is the user's current builder.
    """
    with temporary_folder() as folder:
        (folder / "context").mkdir()
        (folder / "context" / "file").write_text("a", "utf-8")
        archive = folder / "image.tar"
        kind = format_exporter("oci", "zstd", str(archive))
        if _run_probe(docker, folder, builder, platform, kind, _ALL_FEATURES_DOCKERFILE).exit_code == 0:
            return BuilderFeatures((), has_oci_archives=True, has_zstd=_has_zstd_layers(archive))
        kind = format_exporter("local", "zstd", str(folder / "files"))
        answers = {
            each: _run_probe(docker, folder, builder, platform, kind, each.dockerfile) for each in REQUIRED_FEATURES
        }
        lacks = tuple(each for each, answer in answers.items() if answer.exit_code)
        return BuilderFeatures(
            lacks, has_oci_archives=False, has_zstd=False, error_output=answers[lacks[0]].stderr if lacks else ""
        )


def _run_probe(  # noqa: PLR0913, PLR0917 - the parts of a build
    docker: DockerClient, folder: Path, builder: str, platform: str, output: str, dockerfile: str
) -> ProcessResult:
    order = BuildRequest(
        platforms=(platform,),
        output=output,
        contexts=((_CONTEXT_NAME, str(folder / "context")),),
        builder=builder,
        progress="plain",
        # A layer that the cache holds as gzip would be written as gzip.
        extra_options=("--no-cache",),
    )
    return docker.run_build(command_line(order, str(folder / "metadata.json")), dockerfile, None)


def _has_zstd_layers(archive: Path) -> bool:
    with OciArchive(archive) as opened:
        return all(kind.endswith("zstd") for image in opened.read_images() for _, kind in image.layers)


def check_engine(docker: DockerClient, builder: str) -> Iterator[CheckResult]:
    """Check everything from the command line to the image store, and stop if a required part is missing."""
    try:
        versions = _read_json(docker.run_command, "version")
    except UnavailableError as problem:
        yield result_from_error("docker", problem)
        return
    yield CheckResult("docker", "fine", f"docker {_format_version(versions.get('Client'))}, the command line")
    daemon = _check_daemon(docker.run_command, versions)
    yield daemon
    try:
        yield CheckResult("buildx", "fine", f"buildx {check_buildx(docker.run_command)}")
    except UnavailableError as problem:
        yield result_from_error("buildx", problem)
        return
    if daemon.state == "missing":
        return
    try:
        yield from _check_builder(docker, builder)
    except EnvcompileError as problem:
        yield result_from_error("builder", problem)


def read_daemon_info(ask: DockerRunner) -> Mapping[str, Any]:
    """The output of `docker info`, empty if the daemon does not answer. Raises `UnavailableError` without docker."""
    return _read_json(ask, "info")


def uses_containerd_store(info: Mapping[str, Any]) -> bool:
    """Whether the daemon stores images in containerd's store."""
    return "io.containerd.snapshotter.v1" in str(info.get("DriverStatus"))


def _read_json(ask: DockerRunner, word: str) -> dict[str, Any]:
    answer = ask(word, "--format", "{{json .}}")
    try:
        value = json.loads(answer.stdout)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _format_version(part: object) -> str:
    return str(part.get("Version") or "of unknown version") if isinstance(part, dict) else "of unknown version"


def _check_daemon(ask: DockerRunner, versions: Mapping[str, Any]) -> CheckResult:
    if not isinstance(versions.get("Server"), dict):
        return result_from_error("daemon", error_from_output(ask("version").stderr))
    version = _format_version(versions["Server"])
    found = re.match(r"[0-9]{1,9}", version)
    if found and int(found[0]) < _MIN_ENGINE_VERSION:
        message = f"engine {version} is too old: envcompile needs {_MIN_ENGINE_VERSION} or later"
        return CheckResult("daemon", "wrong", message, f"install Docker {_MIN_ENGINE_VERSION} or later")
    return CheckResult("daemon", "fine", f"engine {version}")


def _check_builder(docker: DockerClient, builder: str) -> Iterator[CheckResult]:
    """Check the builder, its features and its outputs."""
    answer = docker.run_command("buildx", "inspect", *([builder] if builder else []))
    if answer.exit_code:
        raise error_from_output(answer.stderr)
    name, driver = _find_field(answer.stdout, "Name"), _find_field(answer.stdout, "Driver")
    called = f"builder `{name}` ({driver})"
    if not re.search(r"^Status:\s+running", answer.stdout, re.MULTILINE):
        message = f"{called} is not running, so its features cannot be checked; a build starts it"
        yield CheckResult("builder", "note", message, "run `docker buildx inspect --bootstrap`, and this command again")
        return
    can = probe_builder(docker, builder, find_engine_platform(docker.run_command))
    if can.missing:
        names = " and ".join(f"{each.name} ({each.purpose})" for each in can.missing)
        problem = error_from_output(can.error_output)
        remedy = f"install Docker {_MIN_ENGINE_VERSION} or later, or name another builder with `--builder`"
        yield CheckResult("builder", "wrong", f"{called} lacks {names}: {problem.message}", remedy)
        return
    yield CheckResult("builder", "fine", f"{called} knows heredocs, `COPY --link` and named contexts")
    yield _check_outputs(called, archives=can.has_oci_archives, zstd=can.has_zstd)


def _check_outputs(called: str, *, archives: bool, zstd: bool) -> CheckResult:
    if not archives:
        message = f"{called} writes no OCI archives, so `--repro-check`, and several platforms at once, do not work"
        return CheckResult("output", "note", message, _IMAGE_STORE_REMEDY)
    if not zstd:
        return CheckResult("output", "wrong", f"{called} does not write layers of zstd", "add `--compression gzip`")
    return CheckResult("output", "fine", "OCI archives and layers of zstd")


def _find_field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s+(\S+)", text, re.MULTILINE)
    return found[1] if found else "?"
