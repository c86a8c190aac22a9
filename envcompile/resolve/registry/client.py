"""An OCI distribution API client for the time of locking: tag to digest, and what is inside an image.

Specification: OCI distribution 1.1 ("Pulling manifests", "Pulling blobs") and docker's own media types. Nothing is
believed that does not match its digest.
"""

from __future__ import annotations

import copy
import os
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from envcompile.errors import Unusable
from envcompile.plan.catalogue import PYTHON_PATH
from envcompile.resolve.registry.debian import DebianSystem, Files
from envcompile.resolve.registry.document import (
    DIGEST,
    INDEXES,
    PLATFORM,
    checked,
    descriptor,
    document,
    environment,
    mismatch,
    no_platform,
    parsed,
    platform_name,
    platforms,
    refused,
    rows,
    sha256,
)
from envcompile.resolve.registry.facts import Contents, ImageFacts, created
from envcompile.resolve.registry.helper import helper_runner
from envcompile.resolve.registry.http import Answer, Patience, Question, Readable, whole
from envcompile.resolve.registry.image import Blob, Clues, Collector, look
from envcompile.resolve.registry.listing import tags
from envcompile.resolve.registry.place import Denied, locate
from envcompile.resolve.registry.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envcompile.resolve.registry.place import Place

C = TypeVar("C", bound=Collector)

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = {"Accept": ", ".join((*INDEXES, *_MANIFESTS))}
_MANIFEST_CAP = 4 << 20  # the distribution specification lets registries refuse more
_CONFIG_CAP = 8 << 20
_LAYERS_CAP = 512 << 20  # of all layers of one image that are read, compressed
_EXACT_PYTHON = re.compile(r"3\.[0-9]{1,2}\.[0-9]{1,2}")


class Registry:
    """Registries, as one docker configuration and one set of mirrors see them.

    `docker_config` is the folder of docker's config.json. `mirrors` says for a registry's host (`docker.io` for the
    hub) which other is asked instead, and never it: `"127.0.0.1:5001"`, `"https://mirror.example.invalid/hub"`.
    `run` runs a credential helper: argv and standard input to standard output, whatever its exit code.
    """

    def __init__(
        self,
        docker_config: Path,
        mirrors: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        run: Callable[[tuple[str, ...], str], str] | None = None,
    ) -> None:
        self._mirrors = dict(mirrors or {})
        self._patience = patience or Patience()
        self._session = Session(docker_config, self._patience, run or helper_runner(os.environ))

    def digest(self, reference: str) -> str:
        """The digest (`sha256:...`) of the index or manifest that a `name[:tag][@digest]` means now.

        It is the digest of bytes that were received. Raises `MissingOutside`.
        """
        place = locate(reference, self._mirrors)
        digest = place.digest or self._told(place)
        body = self._manifest(place, digest or place.version)
        document(place, body, digest)
        return sha256(body)

    def facts(self, reference: str, platform: str) -> ImageFacts:
        """What is in a `name[:tag]@sha256:...` for a platform as docker spells it (`linux/amd64`).

        Reads the base layer, up to 512 MB of layers if Python has to be searched. Raises `MissingOutside`.
        """
        place = locate(reference, self._mirrors)
        if place.digest is None:
            raise Unusable(f"`{reference}` has no digest", 'write it as `"python:3.12-slim-bookworm@sha256:..."`')
        manifest = self._chosen(place, place.digest, platform)
        config = self._config(place, manifest, platform)
        python = environment(config).get("PYTHON_VERSION") or None
        clues = self._clues(place, manifest, whole=python is None)
        found = clues.python
        if python is not None:  # said by the image: a Debian python3 that is there too is not the one meant
            found = (python, PYTHON_PATH) if _EXACT_PYTHON.fullmatch(python) else None
        return ImageFacts(
            os=clues.os,
            glibc=clues.glibc,
            python=found[0] if found else None,
            python_path=found[1] if found else None,
            created=created(config),
        )

    def debian(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        """What apt would find in a `name[:tag]@sha256:...`: dpkg's status, and the keyring of that path.

        Reads from the uppermost layer down, up to 512 MB. Raises `MissingOutside`.
        """
        place = locate(reference, self._mirrors)
        manifest = self._chosen(place, place.version, platform)
        config = self._config(place, manifest, platform)
        files, budget = Files(keyring.lstrip("/")), _LAYERS_CAP
        for layer in reversed(rows(place, manifest.get("layers"))):
            digest, size = descriptor(place, layer)
            if files.complete or size > budget or str(layer.get("mediaType", "")).endswith("zstd"):
                break
            budget -= size
            files = self._layer(place, digest, size, files)
            if files.skipped:
                break
        return files.system(created(config))

    def holds(self, reference: str) -> bool:
        """Whether there is a `name:tag` that may be read: one HEAD. Raises `MissingOutside`."""
        place = locate(reference, self._mirrors)
        try:
            answer = self._head(place)
        except Denied:  # so registries speak of what is not there yet; the push will tell who may not write it
            return False
        if answer.status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            raise refused(place, answer.status)
        return answer.value is not None

    def platforms(self, reference: str) -> frozenset[str]:
        """The platforms of a `name:tag` as docker spells them; none when it is not there, as for `holds`."""
        if not self.holds(reference):
            return frozenset()
        place = locate(reference, self._mirrors)
        found = document(place, self._manifest(place, place.version), None)
        index = "manifests" in found or found.get("mediaType") in INDEXES
        return frozenset(platforms(place, found) if index else {platform_name(self._configuration(place, found))})

    def tags(self, repository: str) -> tuple[str, ...]:
        """Every tag of a repository, sorted. Raises `MissingOutside`."""
        return tags(self._session, locate(repository, self._mirrors))

    def contents(self, reference: str) -> Contents:
        """The platforms of a `name:tag`, and the variables that its first one sets. Raises `MissingOutside`."""
        place = locate(reference, self._mirrors)
        found = document(place, self._manifest(place, place.version), None)
        index = "manifests" in found or found.get("mediaType") in INDEXES
        names = tuple(sorted(filter(PLATFORM.fullmatch, platforms(place, found)))) if index else ()
        manifest = self._chosen(place, place.version, names[0]) if names else found
        config = self._configuration(place, manifest)
        return Contents(names or (platform_name(config),), environment(config))

    def _head(self, place: Place) -> Answer[bytes]:
        question = Question(place.api("manifests", place.version), _ACCEPT, "HEAD", hint=place.hint)
        return self._session.ask(place, question, whole(0))

    def _told(self, place: Place) -> str | None:
        """The digest that the registry tells for a tag, if it does; asking so does not count against a rate limit."""
        answer = self._head(place)
        told = answer.headers.get("Docker-Content-Digest", "") if answer.value is not None else ""
        return told if DIGEST.fullmatch(told) else None

    def _chosen(self, place: Place, digest: str, platform: str) -> dict[str, Any]:
        """The manifest for a platform: of an index, the entry for it."""
        found = document(place, self._manifest(place, digest), digest)
        if "manifests" not in found and found.get("mediaType") not in INDEXES:
            return found
        entries = platforms(place, found)
        names = [name for name in entries if f"{name}/".startswith(f"{platform}/")]
        if not names:
            raise no_platform(place, platform, entries)
        entry = entries[min(names, key=len)]  # `linux/arm64` itself before `linux/arm64/v8`
        chosen, _ = descriptor(place, entry)
        return document(place, self._manifest(place, chosen), chosen)

    def _manifest(self, place: Place, version: str) -> bytes:
        """A manifest's bytes, by tag or digest; a digest is checked."""
        url = place.api("manifests", version)
        answer = self._session.ask(place, Question(url, _ACCEPT, hint=place.hint), whole(_MANIFEST_CAP))
        expected = version if DIGEST.fullmatch(version) else answer.headers.get("Docker-Content-Digest")
        return checked(place, answer, expected, _MANIFEST_CAP)

    def _config(self, place: Place, manifest: Mapping[str, Any], platform: str) -> dict[str, Any]:
        """The image's configuration, which has to be for this platform where it says one."""
        config = self._configuration(place, manifest)
        said = platform_name(config)
        if said and not f"{said}/".startswith(f"{platform}/") and not f"{platform}/".startswith(f"{said}/"):
            raise no_platform(place, platform, (said,))
        return config

    def _configuration(self, place: Place, manifest: Mapping[str, Any]) -> dict[str, Any]:
        digest, _ = descriptor(place, manifest.get("config"))
        answer = self._session.ask(place, Question(place.api("blobs", digest), {}, hint=place.hint), whole(_CONFIG_CAP))
        return parsed(place, checked(place, answer, digest, _CONFIG_CAP))

    def _clues(self, place: Place, manifest: Mapping[str, Any], *, whole: bool) -> Clues:
        """What the layers tell. `whole`: the packages too, so from the uppermost down to a list of packages.

        Else from the lowest up, and nearly always that one alone: it is the operating system.
        """
        clues, budget = Clues(), _LAYERS_CAP
        layers = rows(place, manifest.get("layers"))
        for layer in reversed(layers) if whole else layers:
            if clues.os and clues.glibc and (clues.has_status or not whole):
                break
            digest, size = descriptor(place, layer)
            if size > budget or str(layer.get("mediaType", "")).endswith("zstd"):
                clues.skip()
                continue
            budget -= size
            clues = self._layer(place, digest, size, clues)
        return clues

    def _layer(self, place: Place, digest: str, size: int, clues: C) -> C:
        """Read one layer and check it: what does not match its digest is an error, whatever was seen in it."""

        def consume(body: Readable) -> tuple[C, str]:
            blob, found = Blob(body, size), copy.copy(clues)  # a broken attempt leaves nothing behind
            look(blob, found)
            return found, blob.digest()

        url = place.api("blobs", digest)
        answer = self._session.ask(place, Question(url, {}, total=self._patience.layer_limit, hint=place.hint), consume)
        if answer.value is None:
            raise refused(place, answer.status)
        found, actual = answer.value
        if actual != digest:
            raise mismatch(place, digest, actual)
        return found
