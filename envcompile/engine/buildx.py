"""A build in the words of docker buildx: its command line, its bake file, and the mirrors that it uses.

The Dockerfile has canonical names. For a build, named contexts replace images by those of a mirror, and a secret holds
the mirrors of Debian archives.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from envcompile.diagnostics.errors import UnavailableError
from envcompile.plan.apt import DISTRIBUTION_RELEASES
from envcompile.registry.reference import find_registry_url, locate_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.engine.command import DockerRunner

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
