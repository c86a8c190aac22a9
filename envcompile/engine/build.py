"""Builds with docker buildx: command lines, bake files, mirrors, and checks whether an image already exists.

The Dockerfile has canonical image names. For a build, named contexts replace images with those of a mirror, and a
secret contains the mirrors of Debian archives and of standalone Pythons.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

from envcompile.diagnostics.errors import UnavailableError
from envcompile.engine.command import error_from_output, parse_build_failure
from envcompile.engine.reproducibility import compare_archives
from envcompile.project.files import temporary_folder
from envcompile.project.generated_files import DOCKERFILE_HEADER
from envcompile.registry.reference import find_registry_url, locate_image

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from envcompile.engine.command import DockerClient, DockerRunner
    from envcompile.engine.reproducibility import BuildDifference
    from envcompile.net.process import ProcessResult

# The first version that passes SOURCE_DATE_EPOCH on and can turn attestations off (January 2023).
_MIN_BUILDX_VERSION = (0, 10)
# In a list of Debian archives, in the table of standalone Pythons, and in the list of conda packages.
_ARCHIVE_URL_STARTS = (" http", '"https', "\nhttps")
# A Dockerfile has at most some hundred kilobytes.
_MAX_BAKE_BYTES = 256 << 20
_FROM_INSTRUCTION = re.compile(r"^FROM (?:--platform=\S+ )?(\S+@sha256:[0-9a-f]{64}) AS ", re.MULTILINE)
# The `$` or `%` before the `{` that starts a template in HCL. All repetitions are matched, because HCL reads a repeated
# one as an escape (`$${`).
_HCL_TEMPLATE = re.compile(r"(?<![$%])[$%]+(?=\{)")


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build. `platforms` are in docker's notation, and `output` is a value of `--output`, see `format_exporter`.

    `secrets` are values of `--secret`; `contexts` are pairs of an image and its replacement
    (`docker-image://...`). The builder "" is the current one of the user. `extra_options` are further options for
    buildx.
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
    """Return the arguments of `docker` for a build whose Dockerfile is on standard input.

    `metadata` is the path of the metadata file that buildx writes. Attestations are turned off: they contain times and
    the name of the builder, so digests would differ.
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
    """Return a value of `--output`: `docker` loads into the engine, `registry` pushes, others write `dest`.

    It selects OCI media types, because docker's own have no name for zstd. So an image has the same digest
    whether it is loaded, pushed or written (measured with BuildKit 0.13).

    A builder reuses layers that it has packed with another compression, unless `force-compression` is set. That would
    also pack the layers of the base image again, which almost always have gzip: with zstd they would be pushed anew.
    """
    parts = [f"type={kind}"]
    if kind not in {"tar", "local"}:
        parts += [f"compression={compression}", "oci-mediatypes=true"]
        parts += ["force-compression=true"] if compression == "gzip" else []
    if dest is not None:
        parts.append(f"dest={dest}")
    # A row of CSV, as buildx reads it.
    return ",".join('"{}"'.format(part.replace('"', '""')) if re.search('[,"]', part) else part for part in parts)


def create_build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a build, with the variable that makes BuildKit write a fixed time into the metadata.

    An ARG of the same name in the Dockerfile has no effect in BuildKit 0.13.
    """
    return {**environment, "SOURCE_DATE_EPOCH": "0"}


def check_buildx(ask: DockerRunner) -> str:
    """Return the version of buildx, or `of unknown version` if it reports none.

    Raises `UnavailableError` if buildx is missing or too old.
    """
    answer = ask("buildx", "version")
    oldest = ".".join(map(str, _MIN_BUILDX_VERSION))
    hint = f"install buildx {oldest} or later (the package is `docker-buildx-plugin` or `docker-buildx`)"
    if answer.exit_code:
        raise UnavailableError("docker has no `buildx`, which does the building", hint)
    # A buildx that was built from its sources reports a commit. It is accepted.
    found = re.search(r"\bv?([0-9]{1,9})\.([0-9]{1,9})\.[0-9]{1,9}", answer.stdout)
    if found and (int(found[1]), int(found[2])) < _MIN_BUILDX_VERSION:
        version = found[0].lstrip("v")
        raise UnavailableError(f"buildx {version} is too old: {oldest} is the first that builds reproducibly", hint)
    return found[0].lstrip("v") if found else "of unknown version"


def find_mirror_contexts(dockerfile: str, mirrors: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the named contexts for the images that have a mirror: the name in FROM -> the image at the mirror.

    The digest stays the same, so a mirror cannot supply another image. `locate_image` describes `mirrors`. Raises
    `InvalidInputError` if a mirror is invalid.
    """
    found = []
    for image in dict.fromkeys(_FROM_INSTRUCTION.findall(dockerfile)):
        place, canonical = locate_image(image, mirrors), locate_image(image, {})
        if (place.base_url, place.repository) != (canonical.base_url, canonical.repository):
            host = urlsplit(place.base_url).netloc
            found.append((image, f"docker-image://{host}/{place.repository}@{place.tag_or_digest}"))
    return tuple(found)


def format_archive_mirrors(dockerfile: str, mirrors: Mapping[str, str]) -> str:
    """Return a line `HOST URL` for each host of Debian archives, standalone Pythons and conda channels with a mirror.

    Hosts that are not in the Dockerfile are left out. Raises `InvalidInputError` if a mirror is invalid.
    """
    return "".join(
        f"{host} {find_registry_url(host, mirrors)}\n"
        for host in sorted(mirrors)
        if any(f"{start}://{host}/" in dockerfile for start in _ARCHIVE_URL_STARTS)
    )


def format_bake_file(
    targets: Mapping[str, tuple[BuildRequest, str]], compression: str, cache: str | None = None
) -> str:
    """Return the text of a bake file. `targets` maps the name of each target to its build and its Dockerfile.

    The group `default` has all targets. `cache` is a repository for the caches of the targets; the tag of each cache is
    the name of its target.
    """
    group = {"default": {"targets": list(targets)}}
    rows = {name: _create_bake_target(name, build, text, compression, cache) for name, (build, text) in targets.items()}
    return json.dumps(_escape_templates({"group": group, "target": rows}), indent=2, ensure_ascii=False) + "\n"


def is_bake_file(path: str) -> bool:
    """Whether envcompile wrote a bake file: JSON whose targets all contain a generated Dockerfile.

    JSON has no comments for a header. Raises OSError if the file cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - `verify` gives plain paths
        data = file.read(_MAX_BAKE_BYTES)
    try:
        value = json.loads(data)
        targets = value["target"].values()
        texts = [target["dockerfile-inline"] for target in targets]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    return set(value) == {"group", "target"} and all(
        isinstance(text, str) and text.startswith(DOCKERFILE_HEADER) for text in texts
    )


def _create_bake_target(
    name: str, build: BuildRequest, dockerfile: str, compression: str, cache: str | None
) -> dict[str, Any]:
    """Return the bake target for the image that `command_line` builds. The Dockerfile reads no build context."""
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
        # Cached layers with another compression would change the digest of the image.
        kept = format_exporter("registry", compression)
        target["cache-from"] = [f"type=registry,ref={cache}:{name}"]
        target["cache-to"] = [f"{kept},ref={cache}:{name},mode=max"]
    return target


def _escape_templates(value: Any) -> Any:
    """Return a value of a bake file with its strings escaped, because HCL reads every string as a template."""
    if isinstance(value, dict):
        return {key: _escape_templates(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_escape_templates(each) for each in value]
    return _HCL_TEMPLATE.sub(lambda found: f'${{"{found[0]}"}}', value)


# Checks for existing images, and builds.


class EngineImage(NamedTuple):
    """An image in the engine: its id, and its platform in docker's notation."""

    id: str
    platform: str


class TagRegistry(Protocol):
    """A client for the registry itself, not for a mirror."""

    def has_tag(self, reference: str) -> bool:
        """Return whether the tag exists. Sends one HEAD request."""

    def list_platforms(self, reference: str) -> frozenset[str]:
        """Return the platforms of the tag; an empty set if it does not exist."""


def find_engine_platform(ask: DockerRunner) -> str:
    """Return the platform of the engine, such as `linux/amd64`. Raises `UnavailableError` if it does not answer."""
    answer = ask("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
    if answer.exit_code:
        raise error_from_output(answer.stderr)
    return answer.stdout.strip()


def find_image(ask: DockerRunner, tag: str) -> EngineImage | None:
    """Return the image of a tag in the engine, complete or not; None if there is no such tag or no engine.

    If the tag refers to an index, the image is that for the platform of the engine.
    """
    answer = ask("image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}}", tag)
    found = answer.stdout.split()
    return EngineImage(*found) if answer.exit_code == 0 and len(found) == len(EngineImage._fields) else None


def is_loaded(ask: DockerRunner, tag: str, platform: str) -> bool:
    """Whether the engine has all layers of a tagged image for a platform. If layers are missing, this removes the tag.

    `docker image ls` omits a tag with a missing layer. `docker image inspect` still shows it, but the image does
    not run (measured with Docker 26 and its containerd store).
    """
    image = find_image(ask, tag)
    if image is None:
        return False
    if not ask("image", "ls", "--quiet", tag).stdout.strip():
        remove_tags(ask, (tag,))
        return False
    return image.platform == platform


def remove_tags(ask: DockerRunner, tags: Collection[str]) -> None:
    """Remove tags from the engine. An image that has another tag is kept."""
    for tag in tags:
        ask("image", "rm", tag)


def is_pushed(registry: TagRegistry, tag: str, platforms: Collection[str], *, only: bool) -> bool:
    """Whether a registry has the tag for all these platforms. The image is complete: registries accept no other.

    `only` states that the Dockerfile is for one platform, so the existence of the tag is sufficient. Raises
    `UnavailableError` if the registry cannot be reached, so that this is known before a long build.
    """
    try:
        if only:
            return registry.has_tag(tag)
        pushed = registry.list_platforms(tag)
    except UnavailableError as problem:
        raise UnavailableError(problem.message, "start it or check the name, or build without `--push`") from None
    return all(any(f"{each}/".startswith(f"{platform}/") for each in pushed) for platform in platforms)


# The instructions of the last stage. Each of them is one step in the history of the image.
_INSTRUCTION = re.compile(
    r"^(?:CMD|COPY|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|RUN|STOPSIGNAL|USER|WORKDIR) ", re.MULTILINE
)


def find_other_compression(
    dockerfile: str, compression: str, types: Sequence[str], config: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the media types of those layers that the build has added with another compression.

    `types` are the media types of all layers of the image, from the lowest one up, and `config` is its configuration.
    """
    last_stage = dockerfile.rpartition("\nFROM ")[2]
    steps = config.get("history", ())[-len(_INSTRUCTION.findall(last_stage)) :]
    count = sum(not each.get("empty_layer") for each in steps)
    return tuple(each for each in types[len(types) - count :] if not each.endswith(f"+{compression}"))


class BuildTarget(NamedTuple):
    """The docker client that builds, and the stream to which its progress is copied.

    If the stream is None, `show_last_lines` receives the last lines of a failed step.
    """

    docker: DockerClient
    progress_stream: BinaryIO | None
    show_last_lines: Callable[[tuple[str, ...]], None]


def build_image(site: BuildTarget, order: BuildRequest, dockerfile: str) -> str | None:
    """Build an image. Return its digest (of the index, for several platforms), or None if the builder reports none.

    The exporter sets the tags before it unpacks or pushes. So if the build fails or is interrupted, the tags that it
    has set are removed. Raises the error of `error_from_output` if the build fails, and `UnavailableError` if docker or
    buildx is missing or too old.
    """
    ask = site.docker.run_command
    check_buildx(ask)
    before = {tag: find_image(ask, tag) for tag in order.tags}
    with temporary_folder() as folder:
        metadata = folder / "metadata.json"
        try:
            answer = site.docker.run_build(command_line(order, str(metadata)), dockerfile, site.progress_stream)
            _check_result(site, answer)
        except BaseException:
            remove_tags(ask, [tag for tag, image in before.items() if find_image(ask, tag) not in (None, image)])
            raise
        result = json.loads(metadata.read_text("utf-8")) if metadata.exists() else {}
    digest = result.get("containerimage.digest")
    return str(digest) if digest else None


def _check_result(site: BuildTarget, answer: ProcessResult) -> None:
    if answer.exit_code and site.progress_stream is None:
        site.show_last_lines(parse_build_failure(answer.stderr).lines)
    if answer.exit_code:
        raise error_from_output(answer.stderr)


def build_and_compare(
    site: BuildTarget, order: BuildRequest, dockerfile: str, compression: str, say: Callable[[str], None]
) -> tuple[str, BuildDifference | None]:
    """Build twice, and return the digest of the first image, and the first difference or None.

    Both builds have the same exporter options. No step comes from the cache of the builder. Downloads may come from it,
    because they are checked against their hashes. Both images are temporary files.
    """
    with temporary_folder() as folder:
        archives = folder / "first.tar", folder / "second.tar"
        for archive in archives:
            say(f"the {archive.stem} build of two, from nothing")
            output = format_exporter("oci", compression, str(archive))
            build_image(
                site,
                replace(order, output=output, tags=(), extra_options=(*order.extra_options, "--no-cache")),
                dockerfile,
            )
        return compare_archives(*archives)
