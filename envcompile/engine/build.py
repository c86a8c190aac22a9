"""A build in the words of docker buildx: its command line, its bake file, and the mirrors that it uses.

The Dockerfile has canonical names. For a build, named contexts replace images by those of a mirror, and a secret holds
the mirrors of Debian archives.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

from envcompile.diagnostics.errors import UnavailableError
from envcompile.engine.command import error_from_output, parse_build_failure
from envcompile.engine.reproducibility import compare_archives
from envcompile.plan.apt import DISTRIBUTION_RELEASES
from envcompile.registry.reference import find_registry_url, locate_image

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from envcompile.engine.command import DockerClient, DockerRunner
    from envcompile.engine.reproducibility import BuildDifference
    from envcompile.net.process import ProcessResult

# The first version that passes SOURCE_DATE_EPOCH on and can turn attestations off (January 2023).
_MIN_BUILDX_VERSION = (0, 10)
_FROM_INSTRUCTION = re.compile(r"^FROM (?:--platform=\S+ )?(\S+@sha256:[0-9a-f]{64}) AS ", re.MULTILINE)
# The start of a template in HCL, with the characters before it that HCL would read as its escape.
_HCL_TEMPLATE = re.compile(r"[$%]+(?=\{)")


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build, for platforms in docker's notation; `output` is the value of `--output`, see `format_exporter`.

    `secrets` are values of `--secret`; `contexts` are pairs of an image and its replacement (`docker-image://...`).
    An empty `builder` is the user's current one. `extra_options` are the user's own options for buildx.
    """

    platforms: tuple[str, ...]
    output: str
    tags: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    contexts: tuple[tuple[str, str], ...] = ()
    builder: str = ""
    progress: str = "auto"
    extra_options: tuple[str, ...] = ()


def command_line(build: BuildRequest, metadata: str) -> tuple[str, ...]:
    """The arguments of `docker` for a build. It reads the Dockerfile from standard input and writes `metadata`.

    Attestations are turned off: they hold times and the builder's name, so no two builds would have the same digest.
    """
    return (
        *("buildx", "build"),
        *(("--builder", build.builder) if build.builder else ()),
        *("--provenance=false", "--sbom=false"),
        *("--progress", build.progress),
        *("--platform", ",".join(build.platforms)),
        *("--output", build.output),
        *("--metadata-file", metadata),
        *(word for tag in build.tags for word in ("--tag", tag)),
        *(word for secret in build.secrets for word in ("--secret", secret)),
        *(word for name, source in build.contexts for word in ("--build-context", f"{name}={source}")),
        *build.extra_options,
        "-",
    )


def format_exporter(kind: str, compression: str, dest: str | None = None) -> str:
    """The value of `--output`: `docker` loads into the engine, `registry` pushes, `oci` and others write `dest`.

    With OCI media types, since docker's own have no name for zstd. Whether loaded, pushed or written, an image then has
    the same digest (measured with BuildKit 0.13).
    """
    parts = [f"type={kind}"]
    if kind != "tar":
        parts += [f"compression={compression}", "oci-mediatypes=true"]
    if dest is not None:
        parts.append(f"dest={dest}")
    # A row of CSV, as buildx reads it.
    return ",".join('"{}"'.format(part.replace('"', '""')) if re.search('[,"]', part) else part for part in parts)


def create_build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a build. With this variable BuildKit writes a fixed time into the image's metadata.

    An ARG of the same name in the Dockerfile has no effect in BuildKit 0.13.
    """
    return {**environment, "SOURCE_DATE_EPOCH": "0"}


def check_buildx(ask: DockerRunner) -> str:
    """The version of buildx, if it reports one. Raises `UnavailableError` if it is missing or too old."""
    answer = ask("buildx", "version")
    oldest = ".".join(map(str, _MIN_BUILDX_VERSION))
    hint = f"install buildx {oldest} or later (the package is `docker-buildx-plugin` or `docker-buildx`)"
    if answer.exit_code:
        raise UnavailableError("docker has no `buildx`, which does the building", hint)
    # A buildx that was built from its sources reports a commit. It is accepted.
    found = re.search(r"\bv?([0-9]+)\.([0-9]+)\.[0-9]+", answer.stdout)
    if found and (int(found[1]), int(found[2])) < _MIN_BUILDX_VERSION:
        version = found[0].lstrip("v")
        raise UnavailableError(f"buildx {version} is too old: {oldest} is the first that builds reproducibly", hint)
    return found[0].lstrip("v") if found else "of no version"


def find_mirror_contexts(dockerfile: str, mirrors: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The named contexts for a Dockerfile's images: the name as in FROM, and the image at the mirror of its registry.

    The digest stays the same, so a mirror cannot supply another image. For `mirrors` see `locate_image`. Raises
    `InvalidInputError`.
    """
    found = []
    for image in dict.fromkeys(_FROM_INSTRUCTION.findall(dockerfile)):
        place, canonical = locate_image(image, mirrors), locate_image(image, {})
        if (place.base_url, place.repository) != (canonical.base_url, canonical.repository):
            host = urlsplit(place.base_url).netloc
            found.append((image, f"docker-image://{host}/{place.repository}@{place.tag_or_digest}"))
    return tuple(found)


def format_archive_mirrors(dockerfile: str, mirrors: Mapping[str, str]) -> str:
    """A line `HOST URL` for each archive of Debian packages in a Dockerfile that has a mirror.

    Raises `InvalidInputError`.
    """
    hosts = sorted({archive.host for release in DISTRIBUTION_RELEASES.values() for archive in release.archives})
    return "".join(
        f"{host} {find_registry_url(host, mirrors)}\n"
        for host in hosts
        if host in mirrors and f" http://{host}/" in dockerfile
    )


def format_bake_file(
    targets: Mapping[str, tuple[BuildRequest, str]], compression: str, cache: str | None = None
) -> str:
    """A bake file with these targets, each a build and its Dockerfile; the group `default` has all of them.

    `cache` is a repository for the caches of the targets, each under the target's name as tag.
    """
    group = {"default": {"targets": list(targets)}}
    rows = {name: _create_bake_target(name, build, text, compression, cache) for name, (build, text) in targets.items()}
    return json.dumps(_escape_templates({"group": group, "target": rows}), indent=2, ensure_ascii=False) + "\n"


def _create_bake_target(
    name: str, build: BuildRequest, dockerfile: str, compression: str, cache: str | None
) -> dict[str, Any]:
    """The same build as in `command_line`. It has a build context that is not read: the Dockerfile copies nothing."""
    target: dict[str, Any] = {
        "dockerfile-inline": dockerfile,
        "args": {"SOURCE_DATE_EPOCH": "0"},
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
        "platforms": list(build.platforms),
        "tags": list(build.tags),
        "output": [build.output],
    }
    if build.contexts:
        target["contexts"] = dict(build.contexts)
    if build.secrets:
        target["secret"] = list(build.secrets)
    if cache:
        # With the image's compression: layers from a cache with another one give another digest.
        kept = format_exporter("registry", compression)
        target["cache-from"] = [f"type=registry,ref={cache}:{name}"]
        target["cache-to"] = [f"{kept},ref={cache}:{name},mode=max"]
    return target


def _escape_templates(value: Any) -> Any:
    """Escape the strings of a bake file, which are HCL templates: in a quoted string inside of one, `$` is literal."""
    if isinstance(value, dict):
        return {key: _escape_templates(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_escape_templates(each) for each in value]
    return _HCL_TEMPLATE.sub(lambda found: f'${{"{found[0]}"}}', value)


# Builds: whether the engine or a registry already has an image, and one build from its start to its end.


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
