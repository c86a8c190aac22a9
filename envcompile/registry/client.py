"""What a registry tells of an image."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urljoin

from envcompile.base_image.default import PYTHON_PATH
from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.http import (
    HttpClient,
    ReadableBody,
    Request,
    Response,
    RetryPolicy,
    create_body_reader,
)
from envcompile.net.urls import is_web_url, parse_origin
from envcompile.registry.auth import RegistrySession, create_helper_runner
from envcompile.registry.image_contents import (
    DebianFiles,
    DebianSystem,
    HashingReader,
    ImageFacts,
    LayerVisitor,
    read_layer,
)
from envcompile.registry.reference import RegistryAccessError, locate_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from envcompile.registry.reference import ImageReference

_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2})")


class TagContents(NamedTuple):
    """What is under a tag: its platforms as docker spells them, sorted, and the variables that the first one sets."""

    platforms: tuple[str, ...]
    variables: dict[str, str]


@dataclass(frozen=True, slots=True)
class ImageProperties:
    """What an image says of itself; None is not known.

    `os` is os-release's ID-VERSION_ID (`debian-12`), `glibc` X.Y, `python` X.Y.Z, `python_path` where that one is (both
    or neither), `created` RFC 3339.
    """

    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    python_path: str | None = None
    created: str | None = None


def read_creation_time(config: Mapping[str, Any]) -> str | None:
    """When an image was made, as its configuration says: RFC 3339, None where it says nothing."""
    said = config.get("created")
    return said if isinstance(said, str) and _TIMESTAMP.fullmatch(said) else None


# What registries send, read with suspicion: manifests, indexes, configurations; and the errors for what is amiss.


DIGEST_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")
INDEX_MEDIA_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_SCHEMA_VERSION = 2  # a manifest of version 1 is signed: its digest is not that of its bytes
PLATFORM_PATTERN = re.compile(
    r"(?!unknown)[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?"
)  # attestations stand under unknown/unknown


def compute_digest(body: bytes) -> str:
    """The digest of bytes."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def check_body(place: ImageReference, answer: Response[bytes], digest: str | None, cap: int) -> bytes:
    """The body of an answer that is there, not too long and what its digest says."""
    if answer.value is None:
        raise create_status_error(place, answer.status)
    if len(answer.value) > cap:
        raise place.create_protocol_error(f"more than {cap >> 20} MiB where a page of text is due")
    actual = compute_digest(answer.value)
    if digest is not None and DIGEST_PATTERN.fullmatch(digest) and actual != digest:
        raise create_mismatch_error(place, digest, actual)
    return answer.value


def create_status_error(place: ImageReference, status: int) -> UnavailableError:
    """The error for a status that gives nothing."""
    if status == HTTPStatus.NOT_FOUND:
        message = f"`{place.host}` has no image `{place.reference}`, or no longer all of it (HTTP 404)"
        return UnavailableError(message, "check its name, tag and digest")
    return place.create_protocol_error(f"HTTP {status}")


def create_mismatch_error(place: ImageReference, expected: str, actual: str) -> UnavailableError:
    """The error for bytes that do not have their digest."""
    message = f"what `{place.host}` sends for `{place.reference}` is not what was asked for: its digest is `{actual}`"
    return UnavailableError(f"{message} instead of `{expected}`", "something between here and there changes answers")


def create_platform_error(place: ImageReference, platform: str, names: Iterable[str]) -> UnavailableError:
    """The error for an image that is there for these platforms only."""
    known = ", ".join(f"`{name}`" for name in sorted(names) if PLATFORM_PATTERN.fullmatch(name))
    message = f"`{place.reference}` is not there for `{platform}`, only for {known or 'no platform at all'}"
    return UnavailableError(message, "choose another image, or other `platforms`")


def parse_json_object(place: ImageReference, body: bytes) -> dict[str, Any]:
    """A JSON object."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise place.create_protocol_error("not a JSON object")
    return found


def parse_manifest(place: ImageReference, body: bytes, digest: str | None) -> dict[str, Any]:
    """A manifest or index; a page of a hotel's login is none, though its digest would do."""
    found = parse_json_object(place, body)
    if found.get("schemaVersion") != _SCHEMA_VERSION:
        raise place.create_protocol_error(
            f"`{digest or place.tag_or_digest}` is no manifest of schema version {_SCHEMA_VERSION}"
        )
    return found


def check_objects(place: ImageReference, value: object) -> list[dict[str, Any]]:
    """A list of objects."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise place.create_protocol_error("a manifest whose list is none")
    return value


def parse_descriptor(place: ImageReference, value: object) -> tuple[str, int]:
    """Digest and size in bytes of what a manifest refers to."""
    row = value if isinstance(value, dict) else {}
    digest, size = row.get("digest"), row.get("size")
    if not isinstance(digest, str) or not DIGEST_PATTERN.fullmatch(digest) or not isinstance(size, int) or size < 0:
        raise place.create_protocol_error("a manifest without the digest and size of a part")
    return digest, size


def find_platform_entries(place: ImageReference, index: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of an index, by platform; of two for one the first."""
    entries = check_objects(place, index.get("manifests"))
    return {format_platform(entry.get("platform")): entry for entry in reversed(entries)}


def format_platform(value: object) -> str:
    """`linux/arm64/v8` of an index's entry or a configuration; nothing when it says none."""
    row = value if isinstance(value, dict) else {}
    return "/".join(str(row[key]) for key in ("os", "architecture", "variant") if row.get(key))


def read_image_environment(config: Mapping[str, Any]) -> dict[str, str]:
    """The variables that the image sets."""
    inner = config.get("config")
    lines = inner.get("Env") if isinstance(inner, dict) else None
    pairs = [line.partition("=") for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    return {key: value for key, _, value in pairs}


# The tags of a repository (OCI distribution 1.1, "Listing tags"), page by page.


_PAGE_SIZE = 1000  # what we ask for; a registry may give fewer
_MAX_PAGES = 1000
_MAX_PAGE_BYTES = 8 << 20
_NEXT_LINK = re.compile(r"<([^>]*)>[^,]*;\s*rel=\"?next\"?")


def list_tags(session: RegistrySession, place: ImageReference) -> tuple[str, ...]:
    """Every tag, sorted. Raises `UnavailableError`, when the pages come to no end too."""
    found: set[str] = set()
    url: str | None = f"{place.base_url}/v2/{place.repository}/tags/list?n={_PAGE_SIZE}"
    for _ in range(_MAX_PAGES):
        if url is None:
            return tuple(sorted(found))
        answer = session.send(place, Request(url, {}, hint=place.hint), create_body_reader(_MAX_PAGE_BYTES))
        if answer.value is None:
            raise create_status_error(place, answer.status)
        rows = parse_json_object(place, answer.value).get("tags") or []
        if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
            raise place.create_protocol_error("a list of tags that is none")
        found.update(rows)
        url = _find_next_page(place, url, answer.headers)
    raise place.create_protocol_error("a list of tags without end")


def _find_next_page(place: ImageReference, url: str, headers: Mapping[str, str]) -> str | None:
    """The address of the page after this one, which only the same registry may have."""
    link = _NEXT_LINK.search(headers.get("Link", ""))
    if link is None:
        return None
    target = str(urljoin(url, link[1]))
    if not is_web_url(target) or parse_origin(target) != parse_origin(place.base_url):
        raise place.create_protocol_error("the next page of its tags is somewhere else")
    return target


# An OCI distribution API client for the time of locking: tag to digest, and what is inside an image.
#
# Specification: OCI distribution 1.1 ("Pulling manifests", "Pulling blobs") and docker's own media types. Nothing is
# believed that does not match its digest.


VisitorT = TypeVar("VisitorT", bound=LayerVisitor)

_MANIFEST_MEDIA_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT_HEADERS = {"Accept": ", ".join((*INDEX_MEDIA_TYPES, *_MANIFEST_MEDIA_TYPES))}
_MAX_MANIFEST_BYTES = 4 << 20  # the distribution specification lets registries refuse more
_MAX_CONFIG_BYTES = 8 << 20
_MAX_LAYERS_BYTES = 512 << 20  # of all layers of one image that are read, compressed
_EXACT_PYTHON_VERSION = re.compile(r"3\.[0-9]{1,2}\.[0-9]{1,2}")


class RegistryClient:
    """Registries, as one docker configuration and one set of mirrors see them.

    `docker_config` is the folder of docker's config.json. `mirrors` says for a registry's host (`docker.io` for the
    hub) which other is asked instead, and never it: `"127.0.0.1:5001"`, `"https://mirror.example.invalid/hub"`.
    `run` runs a credential helper: argv and standard input to standard output, whatever its exit code.
    """

    def __init__(
        self,
        docker_config: Path,
        mirrors: Mapping[str, str] | None = None,
        policy: RetryPolicy | None = None,
        run: Callable[[tuple[str, ...], str], str] | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._mirrors = dict(mirrors or {})
        self._policy = policy or RetryPolicy()
        http = HttpClient(self._policy, environment)
        self._session = RegistrySession(docker_config, http, run or create_helper_runner(environment))

    def resolve_digest(self, reference: str) -> str:
        """The digest (`sha256:...`) of the index or manifest that a `name[:tag][@digest]` means now.

        It is the digest of bytes that were received. Raises `UnavailableError`.
        """
        place = locate_image(reference, self._mirrors)
        digest = place.digest or self._fetch_announced_digest(place)
        body = self._fetch_manifest(place, digest or place.tag_or_digest)
        parse_manifest(place, body, digest)
        return compute_digest(body)

    def read_image(self, reference: str, platform: str) -> ImageProperties:
        """What is in a `name[:tag]@sha256:...` for a platform as docker spells it (`linux/amd64`).

        Reads the base layer, up to 512 MB of layers if Python has to be searched. Raises `UnavailableError`.
        """
        place = locate_image(reference, self._mirrors)
        if place.digest is None:
            raise InvalidInputError(
                f"`{reference}` has no digest", 'write it as `"python:3.12-slim-bookworm@sha256:..."`'
            )
        manifest = self._fetch_platform_manifest(place, place.digest, platform)
        config = self._fetch_platform_config(place, manifest, platform)
        python = read_image_environment(config).get("PYTHON_VERSION") or None
        clues = self._read_layers(place, manifest, whole=python is None)
        found = clues.python
        if python is not None:  # said by the image: a Debian python3 that is there too is not the one meant
            found = (python, PYTHON_PATH) if _EXACT_PYTHON_VERSION.fullmatch(python) else None
        return ImageProperties(
            os=clues.os,
            glibc=clues.glibc,
            python=found[0] if found else None,
            python_path=found[1] if found else None,
            created=read_creation_time(config),
        )

    def read_debian_system(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        """What apt would find in a `name[:tag]@sha256:...`: dpkg's status, and the keyring of that path.

        Reads from the uppermost layer down, up to 512 MB. Raises `UnavailableError`.
        """
        place = locate_image(reference, self._mirrors)
        manifest = self._fetch_platform_manifest(place, place.tag_or_digest, platform)
        config = self._fetch_platform_config(place, manifest, platform)
        files, budget = DebianFiles(keyring.lstrip("/")), _MAX_LAYERS_BYTES
        for layer in reversed(check_objects(place, manifest.get("layers"))):
            digest, size = parse_descriptor(place, layer)
            if files.is_complete or size > budget or str(layer.get("mediaType", "")).endswith("zstd"):
                break
            budget -= size
            files = self._read_layer(place, digest, size, files)
            if files.has_skipped_layer:
                break
        return files.create_debian_system(read_creation_time(config))

    def has_tag(self, reference: str) -> bool:
        """Whether there is a `name:tag` that may be read: one HEAD. Raises `UnavailableError`."""
        place = locate_image(reference, self._mirrors)
        try:
            answer = self._send_head(place)
        except (
            RegistryAccessError
        ):  # so registries speak of what is not there yet; the push will tell who may not write it
            return False
        if answer.status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            raise create_status_error(place, answer.status)
        return answer.value is not None

    def list_platforms(self, reference: str) -> frozenset[str]:
        """The platforms of a `name:tag` as docker spells them; none when it is not there, as for `holds`."""
        if not self.has_tag(reference):
            return frozenset()
        place = locate_image(reference, self._mirrors)
        found = parse_manifest(place, self._fetch_manifest(place, place.tag_or_digest), None)
        index = "manifests" in found or found.get("mediaType") in INDEX_MEDIA_TYPES
        return frozenset(
            find_platform_entries(place, found) if index else {format_platform(self._fetch_config(place, found))}
        )

    def list_tags(self, repository: str) -> tuple[str, ...]:
        """Every tag of a repository, sorted. Raises `UnavailableError`."""
        return list_tags(self._session, locate_image(repository, self._mirrors))

    def read_tag(self, reference: str) -> TagContents:
        """The platforms of a `name:tag`, and the variables that its first one sets. Raises `UnavailableError`."""
        place = locate_image(reference, self._mirrors)
        found = parse_manifest(place, self._fetch_manifest(place, place.tag_or_digest), None)
        index = "manifests" in found or found.get("mediaType") in INDEX_MEDIA_TYPES
        names = tuple(sorted(filter(PLATFORM_PATTERN.fullmatch, find_platform_entries(place, found)))) if index else ()
        manifest = self._fetch_platform_manifest(place, place.tag_or_digest, names[0]) if names else found
        config = self._fetch_config(place, manifest)
        return TagContents(names or (format_platform(config),), read_image_environment(config))

    def _send_head(self, place: ImageReference) -> Response[bytes]:
        question = Request(
            place.format_api_url("manifests", place.tag_or_digest), _ACCEPT_HEADERS, "HEAD", hint=place.hint
        )
        return self._session.send(place, question, create_body_reader(0))

    def _fetch_announced_digest(self, place: ImageReference) -> str | None:
        """The digest that the registry tells for a tag, if it does; asking so does not count against a rate limit."""
        answer = self._send_head(place)
        told = answer.headers.get("Docker-Content-Digest", "") if answer.value is not None else ""
        return told if DIGEST_PATTERN.fullmatch(told) else None

    def _fetch_platform_manifest(self, place: ImageReference, digest: str, platform: str) -> dict[str, Any]:
        """The manifest for a platform: of an index, the entry for it."""
        found = parse_manifest(place, self._fetch_manifest(place, digest), digest)
        if "manifests" not in found and found.get("mediaType") not in INDEX_MEDIA_TYPES:
            return found
        entries = find_platform_entries(place, found)
        names = [name for name in entries if f"{name}/".startswith(f"{platform}/")]
        if not names:
            raise create_platform_error(place, platform, entries)
        entry = entries[min(names, key=len)]  # `linux/arm64` itself before `linux/arm64/v8`
        chosen, _ = parse_descriptor(place, entry)
        return parse_manifest(place, self._fetch_manifest(place, chosen), chosen)

    def _fetch_manifest(self, place: ImageReference, version: str) -> bytes:
        """A manifest's bytes, by tag or digest; a digest is checked."""
        url = place.format_api_url("manifests", version)
        answer = self._session.send(
            place, Request(url, _ACCEPT_HEADERS, hint=place.hint), create_body_reader(_MAX_MANIFEST_BYTES)
        )
        expected = version if DIGEST_PATTERN.fullmatch(version) else answer.headers.get("Docker-Content-Digest")
        return check_body(place, answer, expected, _MAX_MANIFEST_BYTES)

    def _fetch_platform_config(
        self, place: ImageReference, manifest: Mapping[str, Any], platform: str
    ) -> dict[str, Any]:
        """The image's configuration, which has to be for this platform where it says one."""
        config = self._fetch_config(place, manifest)
        said = format_platform(config)
        if said and not f"{said}/".startswith(f"{platform}/") and not f"{platform}/".startswith(f"{said}/"):
            raise create_platform_error(place, platform, (said,))
        return config

    def _fetch_config(self, place: ImageReference, manifest: Mapping[str, Any]) -> dict[str, Any]:
        digest, _ = parse_descriptor(place, manifest.get("config"))
        answer = self._session.send(
            place,
            Request(place.format_api_url("blobs", digest), {}, hint=place.hint),
            create_body_reader(_MAX_CONFIG_BYTES),
        )
        return parse_json_object(place, check_body(place, answer, digest, _MAX_CONFIG_BYTES))

    def _read_layers(self, place: ImageReference, manifest: Mapping[str, Any], *, whole: bool) -> ImageFacts:
        """What the layers tell. `whole`: the packages too, so from the uppermost down to a list of packages.

        Else from the lowest up, and nearly always that one alone: it is the operating system.
        """
        clues, budget = ImageFacts(), _MAX_LAYERS_BYTES
        layers = check_objects(place, manifest.get("layers"))
        for layer in reversed(layers) if whole else layers:
            if clues.os and clues.glibc and (clues.has_status or not whole):
                break
            digest, size = parse_descriptor(place, layer)
            if size > budget or str(layer.get("mediaType", "")).endswith("zstd"):
                clues.skip_layer()
                continue
            budget -= size
            clues = self._read_layer(place, digest, size, clues)
        return clues

    def _read_layer(self, place: ImageReference, digest: str, size: int, clues: VisitorT) -> VisitorT:
        """Read one layer and check it: what does not match its digest is an error, whatever was seen in it."""

        def consume(body: ReadableBody) -> tuple[VisitorT, str]:
            blob, found = HashingReader(body, size), copy.copy(clues)  # a broken attempt leaves nothing behind
            read_layer(blob, found)
            return found, blob.read_digest()

        url = place.format_api_url("blobs", digest)
        answer = self._session.send(
            place, Request(url, {}, total_timeout=self._policy.download_timeout, hint=place.hint), consume
        )
        if answer.value is None:
            raise create_status_error(place, answer.status)
        found, actual = answer.value
        if actual != digest:
            raise create_mismatch_error(place, digest, actual)
        return found
