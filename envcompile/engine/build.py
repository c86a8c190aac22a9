"""Builds: whether the engine or a registry already has an image, and one build from its start to its end."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from envcompile.diagnostics.errors import UnavailableError
from envcompile.engine.buildx import BuildRequest, check_buildx, command_line, format_exporter
from envcompile.engine.command import error_from_output, parse_build_failure
from envcompile.engine.reproducibility import compare_archives

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from envcompile.engine.command import DockerClient, DockerRunner
    from envcompile.engine.reproducibility import BuildDifference
    from envcompile.net.process import ProcessResult


class EngineImage(NamedTuple):
    """An image of the engine: its id, and its platform in docker's notation."""

    id: str
    platform: str


class TagRegistry(Protocol):
    """A client of the registry itself, not of a mirror."""

    def has_tag(self, reference: str) -> bool:
        """Whether the tag exists: one HEAD request."""

    def list_platforms(self, reference: str) -> frozenset[str]:
        """The platforms of the tag; none if it does not exist."""


def find_engine_platform(ask: DockerRunner) -> str:
    """The engine's own platform, such as `linux/amd64`. Raises `UnavailableError` if it does not answer."""
    answer = ask("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
    if answer.exit_code:
        raise error_from_output(answer.stderr)
    return answer.stdout.strip()


def find_image(ask: DockerRunner, tag: str) -> EngineImage | None:
    """The engine's image of a tag, complete or not; None if there is no such tag, or no engine.

    Of an index it is the image for the engine's own platform.
    """
    answer = ask("image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}}", tag)
    found = answer.stdout.split()
    return EngineImage(*found) if answer.exit_code == 0 and len(found) == len(EngineImage._fields) else None


def is_loaded(ask: DockerRunner, tag: str, platform: str) -> bool:
    """Whether the engine has the complete image of a tag for a platform. The tag of an incomplete image is removed.

    `docker image ls` does not list a tag with a missing layer. `docker image inspect` still shows it, but it does not
    run (measured with Docker 26 and its containerd store).
    """
    image = find_image(ask, tag)
    if image is None:
        return False
    if not ask("image", "ls", "--quiet", tag).stdout.strip():
        remove_tags(ask, (tag,))
        return False
    return image.platform == platform


def remove_tags(ask: DockerRunner, tags: Collection[str]) -> None:
    """Remove tags. An image that has another tag stays."""
    for tag in tags:
        ask("image", "rm", tag)


def is_pushed(registry: TagRegistry, tag: str, platforms: Collection[str], *, only: bool) -> bool:
    """Whether a registry has the tag for these platforms. Its image is complete: registries check that at the push.

    `only`: the Dockerfile is for one platform, so the existence of the tag suffices. Raises `UnavailableError` if the
    registry cannot be reached, before an hour of building.
    """
    try:
        if only:
            return registry.has_tag(tag)
        there = registry.list_platforms(tag)
    except UnavailableError as problem:
        raise UnavailableError(problem.message, "start it or check the name, or build without `--push`") from None
    return all(any(f"{each}/".startswith(f"{platform}/") for each in there) for platform in platforms)


class BuildTarget(NamedTuple):
    """The docker that builds, and the stream for its progress.

    Without a stream, `show_last_lines` gets the last lines of a step that fails.
    """

    docker: DockerClient
    progress_stream: BinaryIO | None
    show_last_lines: Callable[[tuple[str, ...]], None]


def build_image(site: BuildTarget, order: BuildRequest, dockerfile: str) -> str | None:
    """Build an image; the digest of it, or of the index over several platforms, if the builder reports one.

    The tag of a failed or interrupted build is removed: the exporter sets it before it unpacks or pushes. Raises
    `CheckFailedError`, `UnavailableError` or `InvalidInputError`, see `error_from_output`.
    """
    ask = site.docker.run_command
    check_buildx(ask)
    before = {tag: find_image(ask, tag) for tag in order.tags}
    with tempfile.TemporaryDirectory(prefix="envcompile-") as folder:
        metadata = Path(folder, "metadata.json")
        try:
            answer = site.docker.run_build(command_line(order, str(metadata)), dockerfile, site.progress_stream)
            _check_result(site, answer)
        except BaseException:
            remove_tags(ask, [tag for tag, image in before.items() if find_image(ask, tag) not in (None, image)])
            raise
        told = json.loads(metadata.read_text("utf-8")) if metadata.exists() else {}
    digest = told.get("containerimage.digest")
    return str(digest) if digest else None


def _check_result(site: BuildTarget, answer: ProcessResult) -> None:
    if answer.exit_code and site.progress_stream is None:
        site.show_last_lines(parse_build_failure(answer.stderr).lines)
    if answer.exit_code:
        raise error_from_output(answer.stderr)


def build_and_compare(
    site: BuildTarget, order: BuildRequest, dockerfile: str, compression: str, say: Callable[[str], None]
) -> tuple[str, BuildDifference | None]:
    """Build twice with the same exporter options; the digest of the first build, and the first difference if any.

    No step comes from the builder's cache. Downloads may, since they are checked against their hashes. Both images are
    temporary files meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="envcompile-") as folder:
        archives = Path(folder, "first.tar"), Path(folder, "second.tar")
        for archive in archives:
            say(f"the {archive.stem} build of two, from nothing")
            output = format_exporter("oci", compression, str(archive))
            build_image(
                site,
                replace(order, output=output, tags=(), extra_options=(*order.extra_options, "--no-cache")),
                dockerfile,
            )
        return compare_archives(*archives)
