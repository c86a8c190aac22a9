"""The image of a locked project: built into the engine, a registry or a file, unless it is already there."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import BuildLog, format_count
from envcompile.diagnostics.errors import CheckFailedError, InvalidInputError
from envcompile.engine.build import (
    BuildRequest,
    BuildTarget,
    build_and_compare,
    build_image,
    create_build_environment,
    find_engine_platform,
    find_mirror_contexts,
    find_other_compression,
    format_archive_mirrors,
    format_bake_file,
    format_exporter,
    is_loaded,
    is_pushed,
)
from envcompile.engine.command import DockerClient, error_from_output
from envcompile.oci.archive import OciArchive
from envcompile.platforms import PLATFORM_ALIASES, PLATFORMS
from envcompile.project.files import atomic_replacement
from envcompile.project.settings import read_mirrors
from envcompile.registry import create_unmirrored_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any, BinaryIO

    from envcompile.diagnostics.diagnostic import Event
    from envcompile.engine.reproducibility import BuildDifference
    from envcompile.spec.model import Spec

# The secret that contains the mirrors of Debian and Python archives, and the variable that buildx reads it from.
_MIRRORS_SECRET, _MIRRORS_VARIABLE = "mirrors", "ENVCOMPILE_MIRRORS"


class ImageFile(NamedTuple):
    """A file to write an image to. `kind` is `oci`, `docker` or `tar`, as in `docker buildx build --output`."""

    kind: str
    path: Path


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options of a build.

    The image is loaded into the engine, pushed if `push` is set, or written to `output`. `platforms` are locked
    platforms (`linux-64` or `linux/amd64`). Without any, all locked platforms are built if the image is pushed or
    written as `oci`; otherwise only the platform of the engine. `tags` are more names for the image, `secrets` values
    of buildx's `--secret`, `builder` the name of a buildx builder, and `extra_options` more options of
    `docker buildx build`.
    """

    push: bool = False
    output: ImageFile | None = None
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    compression: str = "zstd"
    secrets: tuple[str, ...] = ()
    builder: str = ""
    extra_options: tuple[str, ...] = ()

    @property
    def exporter(self) -> str:
        """The kind of buildx exporter."""
        if self.output:
            return self.output.kind
        return "registry" if self.push else "docker"


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """A build that is ready to run: the Dockerfile, the options, and the values that are derived from them."""

    dockerfile: str
    options: BuildOptions
    environment: Mapping[str, str]
    target: BuildTarget
    request: BuildRequest
    locked_platforms: tuple[str, ...]

    @property
    def tag(self) -> str:
        """The name of the image, with its tag."""
        return self.request.tags[0]


def prepare_build(  # noqa: PLR0913 - the Dockerfile, its tag, and every effect as an argument
    spec: Spec,
    dockerfile: str,
    tag: str,
    options: BuildOptions,
    environment: Mapping[str, str],
    *,
    progress: BinaryIO | None,
    on_event: Callable[[Event], None],
) -> ImageBuild:
    """Check the options and select the platforms.

    Raises `InvalidInputError` for a push without a repository, a platform that is not locked or an invalid mirror, and
    `UnavailableError` if the platform of the engine is needed and docker does not answer.
    """
    if options.push and spec.image.repository is None:
        raise InvalidInputError("`--push` needs a repository", 'add `repository = "..."` to `[image]`')
    mirrors = read_mirrors(environment)
    secrets, variables = _add_mirrors_secret(options.secrets, format_archive_mirrors(dockerfile, mirrors))
    docker = DockerClient({**create_build_environment(environment), **variables})
    locked = tuple(PLATFORMS[name].docker_platform for name in spec.platforms)
    request = BuildRequest(
        platforms=_select_platforms(options, locked, docker),
        output=format_exporter(options.exporter, options.compression),
        tags=(tag, *options.tags),
        secrets=secrets,
        contexts=find_mirror_contexts(dockerfile, mirrors),
        builder=options.builder,
        progress="auto" if progress else "plain",
        extra_options=options.extra_options,
    )
    target = BuildTarget(docker, progress, lambda lines: on_event(BuildLog(lines)))
    return ImageBuild(dockerfile, options, environment, target, request, locked)


def find_existing_image(build: ImageBuild) -> bool:
    """Whether the image already exists in the engine or registry. If so, it also gets the other tags of the request."""
    run, request = build.target.docker.run_command, build.request
    others = request.tags[1:]
    if build.options.push:
        registry = create_unmirrored_registry(build.environment)
        found = is_pushed(registry, build.tag, request.platforms, only=len(build.locked_platforms) == 1)
        # The other tags get an index that contains the same image, unless the image is an index itself.
        words = (word for other in others for word in ("--tag", other))
        commands = [("buildx", "imagetools", "create", *words, build.tag)] if others else []
    else:
        # An engine shows only one platform of an image, so an image for several platforms is always built again. That
        # takes little time with the cache of the builder.
        found = len(request.platforms) == 1 and is_loaded(run, build.tag, request.platforms[0])
        commands = [("image", "tag", build.tag, other) for other in others]
    for command in commands if found else ():
        if (result := run(*command)).exit_code:
            raise error_from_output(result.stderr)
    return found


def run_build(build: ImageBuild) -> str | None:
    """Build the image. Returns its digest (of the index, for several platforms), or None if the builder reports none.

    A failed build leaves neither a tag nor a partial file. Raises `CheckFailedError` if a step fails, the file cannot
    be written or layers do not have the requested compression, `UnavailableError` if docker, the builder or a registry
    is not available, and `InvalidInputError` for an unknown option.
    """
    output = build.options.output
    if output is None:
        digest = build_image(build.target, build.request, build.dockerfile)
        if build.options.push:
            registry = create_unmirrored_registry(build.environment)
            for platform in build.request.platforms:
                _check_compression(build, *registry.read_layer_types(build.tag, platform))
        return digest
    with atomic_replacement(output.path) as new:
        exporter = format_exporter(output.kind, build.options.compression, str(new))
        digest = build_image(build.target, replace(build.request, output=exporter), build.dockerfile)
        if output.kind == "oci":
            with OciArchive(new) as archive:
                for image in archive.read_images():
                    _check_compression(build, [kind for _, kind in image.layers], image.config)
    return digest


def _check_compression(build: ImageBuild, types: Sequence[str], config: Mapping[str, Any]) -> None:
    """Raise `CheckFailedError` if another build on the same builder has packed some of the layers of the image."""
    other = find_other_compression(build.dockerfile, build.options.compression, types, config)
    if other:
        count = format_count(len(other), "layer")
        message = f"the builder has {count} of this image with another compression, so its digest is another one"
        hint = "build with `--force -- --no-cache`, or on a builder whose other builds have the same `--compression`"
        raise CheckFailedError(message, hint)


def compare_builds(build: ImageBuild, notify: Callable[[str], None]) -> tuple[str, BuildDifference | None]:
    """Build twice without the cache. Returns the digest of the first image, and the first difference or None."""
    return build_and_compare(build.target, build.request, build.dockerfile, build.options.compression, notify)


def _add_mirrors_secret(given: tuple[str, ...], mirrors: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The secrets of a build with that of the mirrors, and the environment variable that buildx reads it from.

    If the user's secrets already have one with this id, none is added.
    """
    if not mirrors or any(f"id={_MIRRORS_SECRET}" in each.split(",") for each in given):
        return given, {}
    return (*given, f"id={_MIRRORS_SECRET},env={_MIRRORS_VARIABLE}"), {_MIRRORS_VARIABLE: mirrors}


def _select_platforms(options: BuildOptions, locked: tuple[str, ...], docker: DockerClient) -> tuple[str, ...]:
    """The platforms to build for, in docker's notation.

    Raises `InvalidInputError` if the lock does not have a requested platform, or that of the engine.
    """
    if options.platforms:
        names = [_find_docker_platform(name) for name in options.platforms]
        if missing := [name for name in names if name not in locked]:
            hint = f"the lock has {_join_names(locked)}; add the platform to `platforms`, and lock again"
            raise InvalidInputError(f"the lock does not have the platform `{missing[0]}`", hint)
        return tuple(name for name in locked if name in names)
    if options.exporter in {"registry", "oci"} or len(locked) == 1:
        return locked
    own = find_engine_platform(docker.run_command)
    if own not in locked:
        message = f"the engine runs on `{own}`, which the lock does not have"
        raise InvalidInputError(message, f"add `--platform {locked[0]}`")
    return (own,)


def _find_docker_platform(name: str) -> str:
    platform = PLATFORMS.get(PLATFORM_ALIASES.get(name, name))
    return platform.docker_platform if platform else name


def _join_names(names: Iterable[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


class BakeTarget(NamedTuple):
    """An image of a bake file: its spec, its Dockerfile, and its name, which includes the tag."""

    spec: Spec
    dockerfile: str
    tag: str


def make_bake_file(
    images: Iterable[BakeTarget],
    options: BuildOptions,
    environment: Mapping[str, str],
    *,
    cache: str | None = None,
    shard: tuple[int, int] = (1, 1),
) -> tuple[str, tuple[str, ...]]:
    """The text of a file for `docker buildx bake`, and the names of its targets.

    `shard` is `(I, N)`: the file has only the I-th of N parts of the images. `cache` is a repository for the cache of
    the builders. Raises `InvalidInputError` for a push of a spec without a repository, two specs with the same target
    name, or an invalid mirror.
    """
    mirrors = read_mirrors(environment)
    targets: dict[str, tuple[BuildRequest, str]] = {}
    for spec, dockerfile, tag in images:
        if options.push and spec.image.repository is None:
            message = f"`--push` needs a repository, and the spec `{spec.name}` has none"
            raise InvalidInputError(message, 'add `repository = "..."` to `[image]`')
        name = re.sub(r"[^A-Za-z0-9_-]", "_", spec.name)
        if name in targets:
            raise InvalidInputError(f"two specs have the target `{name}`", "give each spec a `name` of its own")
        request = BuildRequest(
            platforms=tuple(PLATFORMS[name].docker_platform for name in spec.platforms),
            output=format_exporter(options.exporter, options.compression),
            tags=(tag,),
            secrets=options.secrets,
            contexts=find_mirror_contexts(dockerfile, mirrors),
        )
        targets[name] = request, dockerfile
    part, parts = shard
    chosen = dict(list(targets.items())[part - 1 :: parts])
    return format_bake_file(chosen, options.compression, cache), tuple(chosen)
