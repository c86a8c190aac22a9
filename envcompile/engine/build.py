"""Is the tag there, and whole? In the engine by docker's command line, in a registry by the registry client."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

from envcompile.diagnostics.errors import UnavailableError
from envcompile.engine.failure import error_from_output, parse_build_failure
from envcompile.engine.reproducibility import compare_archives
from envcompile.plan.apt import DISTRIBUTION_RELEASES
from envcompile.registry.reference import find_registry_url, locate_image

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from envcompile.engine.command import DockerClient, DockerRunner
    from envcompile.engine.reproducibility import BuildDifference
    from envcompile.net.process import ProcessResult


class EngineImage(NamedTuple):
    """An image of the engine: its id, and its platform as docker spells it."""

    id: str
    platform: str


class TagRegistry(Protocol):
    """What is asked of a registry; of the registry itself, never of a mirror."""

    def has_tag(self, reference: str) -> bool:
        """Whether the tag is there: one HEAD."""

    def list_platforms(self, reference: str) -> frozenset[str]:
        """The platforms of the tag; none when it is not there."""


def find_engine_platform(ask: DockerRunner) -> str:
    """The engine's own platform, `linux/amd64`. Raises `UnavailableError` when it does not answer."""
    answer = ask("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
    if answer.exit_code:
        raise error_from_output(answer.stderr)
    return answer.stdout.strip()


def find_image(ask: DockerRunner, tag: str) -> EngineImage | None:
    """What the engine knows under a tag, whole or not; None: nothing, or there is no engine.

    Of an index it is the image for the engine's own platform.
    """
    answer = ask("image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}}", tag)
    found = answer.stdout.split()
    return EngineImage(*found) if answer.exit_code == 0 and len(found) == len(EngineImage._fields) else None


def is_loaded(ask: DockerRunner, tag: str, platform: str) -> bool:
    """Whether the engine has the tag for a platform, and all of it. A tag with missing parts is removed.

    `docker image ls` leaves such a tag out, which `docker image inspect` still shows and which does not run (measured
    with Docker 26 and its containerd store, by taking a layer away).
    """
    image = find_image(ask, tag)
    if image is None:
        return False
    if not ask("image", "ls", "--quiet", tag).stdout.strip():
        remove_tags(ask, (tag,))
        return False
    return image.platform == platform


def remove_tags(ask: DockerRunner, tags: Collection[str]) -> None:
    """Take tags away; an image that has another one stays."""
    for tag in tags:
        ask("image", "rm", tag)


def is_pushed(registry: TagRegistry, tag: str, platforms: Collection[str], *, only: bool) -> bool:
    """Whether a registry has the tag for these platforms; whole it is: no registry takes a manifest without its parts.

    `only`: the Dockerfile is for one platform, so the tag alone tells. Raises `UnavailableError`, before an hour of
    building, when the registry cannot be reached.
    """
    try:
        if only:
            return registry.has_tag(tag)
        there = registry.list_platforms(tag)
    except UnavailableError as problem:
        raise UnavailableError(problem.message, "start it or check the name, or build without `--push`") from None
    return all(any(f"{each}/".startswith(f"{platform}/") for each in there) for platform in platforms)


# What a build takes from mirrors: the Dockerfile has the canonical names.
#
# BuildKit's named contexts say where images are, a secret where Debian packages are.


_FROM_INSTRUCTION = re.compile(r"^FROM (?:--platform=\S+ )?(\S+@sha256:[0-9a-f]{64}) AS ", re.MULTILINE)


def find_mirror_contexts(dockerfile: str, mirrors: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """For each image of a Dockerfile whose registry has a mirror: its name as FROM writes it, and the mirror's.

    The digest stays, so no mirror can give anything else. `mirrors` as `locate` takes them. Raises `InvalidInputError`.
    """
    found = []
    for image in dict.fromkeys(_FROM_INSTRUCTION.findall(dockerfile)):
        place, canonical = locate_image(image, mirrors), locate_image(image, {})
        if (place.base_url, place.repository) != (canonical.base_url, canonical.repository):
            host = urlsplit(place.base_url).netloc
            found.append((image, f"docker-image://{host}/{place.repository}@{place.tag_or_digest}"))
    return tuple(found)


def format_archive_mirrors(dockerfile: str, mirrors: Mapping[str, str]) -> str:
    """For each archive of Debian packages in a Dockerfile that has a mirror, a line `HOST URL`.

    Raises `InvalidInputError`.
    """
    hosts = sorted({archive.host for release in DISTRIBUTION_RELEASES.values() for archive in release.archives})
    return "".join(
        f"{host} {find_registry_url(host, mirrors)}\n"
        for host in hosts
        if host in mirrors and f" http://{host}/" in dockerfile
    )


# `docker buildx build` as we call it: every word of its command line, and whether it is there and new enough.


# The first that passes SOURCE_DATE_EPOCH on and lets attestations be turned off (January 2023).
_MIN_BUILDX_VERSION = (0, 10)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build. `platforms` as docker spells them; `output` the value of `--output`, see `exporter`.

    `secrets` are values of `--secret`, `contexts` images and what is taken instead (`docker-image://...`), `extra`
    words for buildx as the user gave them. Empty `builder`: the user's current one.
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
    """What follows `docker`: the Dockerfile comes from standard input, facts of the image go to the file `metadata`.

    Attestations hold times and the builder's name: with them no two builds have one digest.
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

    OCI media types, because docker's own have no name for zstd; so loaded, pushed and written, an image has one digest
    (measured with BuildKit 0.13).
    """
    parts = [f"type={kind}"]
    if kind != "tar":
        parts += [f"compression={compression}", "oci-mediatypes=true"]
    if dest is not None:
        parts.append(f"dest={dest}")
    # A row of CSV, as buildx reads it.
    return ",".join('"{}"'.format(part.replace('"', '""')) if re.search('[,"]', part) else part for part in parts)


def create_build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a build: BuildKit writes this time, not the clock's, into what it makes itself.

    The variable and not an ARG of the Dockerfile, which has no effect in BuildKit 0.13.
    """
    return {**environment, "SOURCE_DATE_EPOCH": "0"}


def check_buildx(ask: DockerRunner) -> str:
    """Its version, as far as it tells one. Raises `UnavailableError` when it is not there or too old."""
    answer = ask("buildx", "version")
    oldest = ".".join(map(str, _MIN_BUILDX_VERSION))
    hint = f"install buildx {oldest} or later (the package is `docker-buildx-plugin` or `docker-buildx`)"
    if answer.exit_code:
        raise UnavailableError("docker has no `buildx`, which does the building", hint)
    # A build from its sources says a commit instead of a version: who has one knows.
    found = re.search(r"\bv?([0-9]+)\.([0-9]+)\.[0-9]+", answer.stdout)
    if found and (int(found[1]), int(found[2])) < _MIN_BUILDX_VERSION:
        version = found[0].lstrip("v")
        raise UnavailableError(f"buildx {version} is too old: {oldest} is the first that builds reproducibly", hint)
    return found[0].lstrip("v") if found else "of no version"


# A bake file: one or many builds as JSON, for `docker buildx bake`. Its format: buildx's bake reference.


# What HCL reads as the start of a template, and the signs before it that would be read as its escape.
_HCL_TEMPLATE = re.compile(r"[$%]+(?=\{)")


def format_bake_file(
    targets: Mapping[str, tuple[BuildRequest, str]], compression: str, cache: str | None = None
) -> str:
    """The text of a bake file. `targets` by name: a build, and its Dockerfile; the group `default` is all of them.

    `cache` is a repository that keeps a cache for each target, under a tag that is its name.
    """
    group = {"default": {"targets": list(targets)}}
    rows = {name: _create_bake_target(name, build, text, compression, cache) for name, (build, text) in targets.items()}
    return json.dumps(_escape_templates({"group": group, "target": rows}), indent=2, ensure_ascii=False) + "\n"


def _create_bake_target(
    name: str, build: BuildRequest, dockerfile: str, compression: str, cache: str | None
) -> dict[str, Any]:
    """The same as `buildx.words` says. The context is not read: nothing in the Dockerfile copies from it."""
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
        # Layers are kept as the image has them: from a cache with another compression comes another digest.
        kept = format_exporter("registry", compression)
        target["cache-from"] = [f"type=registry,ref={cache}:{name}"]
        target["cache-to"] = [f"{kept},ref={cache}:{name},mode=max"]
    return target


def _escape_templates(value: Any) -> Any:
    """Every string of a bake file is an HCL template; a sign in a quoted string inside of one is only a sign."""
    if isinstance(value, dict):
        return {key: _escape_templates(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_escape_templates(each) for each in value]
    return _HCL_TEMPLATE.sub(lambda found: f'${{"{found[0]}"}}', value)


# One build from beginning to end: nothing of a failed one stays.


class BuildTarget(NamedTuple):
    """Where a build is done and seen: buildx's progress goes to `screen`.

    Without one, `last` gets the last lines of a step that fails.
    """

    docker: DockerClient
    progress_stream: BinaryIO | None
    show_last_lines: Callable[[tuple[str, ...]], None]


def build_image(site: BuildTarget, order: BuildRequest, dockerfile: str) -> str | None:
    """Build; the digest of the image, or of the index over several platforms, if the builder tells it.

    A tag that a failed or interrupted build has left behind is removed: the exporter gives it before it has unpacked
    or pushed. Raises `CheckFailedError`, `UnavailableError` or `InvalidInputError`, see `explain`.
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
    """Build twice from nothing with the same exporter options; the first digest, and the first difference if any.

    From nothing: no step is taken from the builder's cache. Downloads may be: they are checked against their hashes.
    Both images stand in the folder for temporary files meanwhile.
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
