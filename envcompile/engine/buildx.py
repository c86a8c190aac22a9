"""`docker buildx build` as we call it: every word of its command line, and whether it is there and new enough."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.engine.command import Ask

# The first that passes SOURCE_DATE_EPOCH on and lets attestations be turned off (January 2023).
_OLDEST = (0, 10)


@dataclass(frozen=True, slots=True)
class Build:
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
    extra: tuple[str, ...] = ()


def words(build: Build, metadata: str) -> tuple[str, ...]:
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
        *build.extra,
        "-",
    )


def exporter(kind: str, compression: str, dest: str | None = None) -> str:
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


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a build: BuildKit writes this time, not the clock's, into what it makes itself.

    The variable and not an ARG of the Dockerfile, which has no effect in BuildKit 0.13.
    """
    return {**environment, "SOURCE_DATE_EPOCH": "0"}


def check(ask: Ask) -> str:
    """Its version, as far as it tells one. Raises `MissingOutside` when it is not there or too old."""
    answer = ask("buildx", "version")
    oldest = ".".join(map(str, _OLDEST))
    hint = f"install buildx {oldest} or later (the package is `docker-buildx-plugin` or `docker-buildx`)"
    if answer.code:
        raise UnavailableError("docker has no `buildx`, which does the building", hint)
    # A build from its sources says a commit instead of a version: who has one knows.
    found = re.search(r"\bv?([0-9]+)\.([0-9]+)\.[0-9]+", answer.output)
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        version = found[0].lstrip("v")
        raise UnavailableError(f"buildx {version} is too old: {oldest} is the first that builds reproducibly", hint)
    return found[0].lstrip("v") if found else "of no version"
