"""Reads images from registries: manifests, indexes, configurations and layers, all checked against their digests.

Specifications: OCI image 1.1 and docker's own media types. Responses are not trusted: each is checked, and the error
states what is wrong with it.
"""

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
from envcompile.net.http import HttpClient, ReadableBody, Request, Response, RetryPolicy, create_body_reader
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
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from envcompile.registry.auth import CredentialHelper
    from envcompile.registry.reference import ImageReference

DIGEST_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")
# Indexes list attestations under the platform unknown/unknown.
PLATFORM_PATTERN = re.compile(r"(?!unknown)[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?")
INDEX_MEDIA_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_MEDIA_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_SCHEMA_VERSION = 2  # a manifest of version 1 contains its signature, so its digest is not that of its bytes
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2})")


def compute_digest(body: bytes) -> str:
    """The digest of a body in the form of OCI, `sha256:...`."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def check_body(image: ImageReference, response: Response[bytes], digest: str | None, limit: int) -> bytes:
    """The body of a response. Raises `UnavailableError` without success, above `limit` bytes, or for another digest."""
    if response.value is None:
        raise create_status_error(image, response.status)
    if len(response.value) > limit:
        raise image.create_protocol_error(f"a document of more than {limit >> 20} MiB")
    actual = compute_digest(response.value)
    if digest is not None and DIGEST_PATTERN.fullmatch(digest) and actual != digest:
        raise create_mismatch_error(image, digest, actual)
    return response.value


def create_status_error(image: ImageReference, status: int) -> UnavailableError:
    """The error for a response whose status is not success."""
    if status == HTTPStatus.NOT_FOUND:
        message = f"`{image.host}` has no image `{image.reference}`, or has lost a part of it (HTTP 404)"
        return UnavailableError(message, "check its name, tag and digest")
    return image.create_protocol_error(f"HTTP {status}")


def create_mismatch_error(image: ImageReference, expected: str, actual: str) -> UnavailableError:
    """The error for content whose digest is not the expected one."""
    message = f"the content that `{image.host}` sent for `{image.reference}` has the digest `{actual}`"
    return UnavailableError(f"{message} instead of `{expected}`", "a proxy or a mirror may have changed it")


def create_platform_error(image: ImageReference, platform: str, names: Iterable[str]) -> UnavailableError:
    """The error for an image that does not exist for `platform`, but only for the platforms `names`."""
    known = ", ".join(f"`{name}`" for name in sorted(names) if PLATFORM_PATTERN.fullmatch(name))
    message = f"`{image.reference}` does not exist for `{platform}`, only for {known or 'no platform at all'}"
    return UnavailableError(message, "choose another image, or other `platforms`")


def parse_json_object(image: ImageReference, body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises `UnavailableError` if the body is not a JSON object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise image.create_protocol_error("not a JSON object")
    return value


def parse_manifest(image: ImageReference, body: bytes, digest: str | None) -> dict[str, Any]:
    """The manifest or index in a body. Raises `UnavailableError` if it is neither.

    The schema version is checked because a digest can be computed of any response, such as the login page of a network.
    """
    manifest = parse_json_object(image, body)
    if manifest.get("schemaVersion") != _SCHEMA_VERSION:
        name = digest or image.tag_or_digest
        raise image.create_protocol_error(f"`{name}` is not a manifest of schema version {_SCHEMA_VERSION}")
    return manifest


def is_index(manifest: Mapping[str, Any]) -> bool:
    """Whether a parsed manifest is an index over several platforms."""
    return "manifests" in manifest or manifest.get("mediaType") in INDEX_MEDIA_TYPES


def check_objects(image: ImageReference, value: object) -> list[dict[str, Any]]:
    """The value of a manifest's key, as a list of JSON objects. Raises `UnavailableError` if it is anything else."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise image.create_protocol_error("a manifest without its list of parts")
    return value


def parse_descriptor(image: ImageReference, value: object) -> tuple[str, int]:
    """The digest and the size in bytes of a part of a manifest."""
    row = value if isinstance(value, dict) else {}
    digest, size = row.get("digest"), row.get("size")
    if not isinstance(digest, str) or not DIGEST_PATTERN.fullmatch(digest) or not isinstance(size, int) or size < 0:
        raise image.create_protocol_error("a manifest without the digest and size of a part")
    return digest, size


def find_platform_entries(image: ImageReference, index: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Platform -> its entry in an index. If a platform has several entries, it is the first one."""
    entries = check_objects(image, index.get("manifests"))
    return {format_platform(entry.get("platform")): entry for entry in reversed(entries)}


def format_platform(value: object) -> str:
    """The platform of an index's entry or of a configuration, such as `linux/arm64/v8`; "" if there is none."""
    row = value if isinstance(value, dict) else {}
    return "/".join(str(row[key]) for key in ("os", "architecture", "variant") if row.get(key))


def read_image_environment(config: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of an image."""
    inner = config.get("config")
    lines = inner.get("Env") if isinstance(inner, dict) else None
    pairs = [line.partition("=") for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    return {key: value for key, _, value in pairs}


def read_creation_time(config: Mapping[str, Any]) -> str | None:
    """The time at which an image was created (RFC 3339), None if its configuration has no valid time."""
    created = config.get("created")
    return created if isinstance(created, str) and _TIMESTAMP.fullmatch(created) else None


# A client of the OCI distribution API: resolves tags to digests and reads images.
#
# Specification: OCI distribution 1.1 ("Pulling manifests", "Pulling blobs", "Listing tags"). Content is accepted
# only if it has the expected digest.


VisitorT = TypeVar("VisitorT", bound=LayerVisitor)

_ACCEPT_HEADERS = {"Accept": ", ".join((*INDEX_MEDIA_TYPES, *MANIFEST_MEDIA_TYPES))}
_MAX_MANIFEST_BYTES = 4 << 20  # the distribution specification lets registries refuse larger ones
_MAX_CONFIG_BYTES = 8 << 20
_MAX_LAYERS_BYTES = 512 << 20  # the compressed size of all layers that are read of one image
_EXACT_PYTHON_VERSION = re.compile(r"3\.[0-9]{1,2}\.[0-9]{1,2}")
_TAGS_PER_PAGE = 1000  # a registry may send fewer
_MAX_PAGES = 1000
_MAX_PAGE_BYTES = 8 << 20
_NEXT_LINK = re.compile(r"<([^<>]*)>[^,<]*;\s*rel=\"?next\"?")


class TagContents(NamedTuple):
    """The contents of a tag: its platforms in docker's notation, sorted, and the variables of the first one's image."""

    platforms: tuple[str, ...]
    variables: dict[str, str]


@dataclass(frozen=True, slots=True)
class ImageProperties:
    """The properties of an image, from its configuration and its files; None if unknown.

    `os` is ID-VERSION_ID of os-release (`debian-12`), `glibc` is X.Y, `python` is X.Y.Z, `python_path` is the path of
    that Python (both are known, or neither), and `created` is a time in RFC 3339.
    """

    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    python_path: str | None = None
    created: str | None = None


class RegistryClient:
    """A client for all registries, with one docker configuration and one set of mirrors.

    `docker_config` is the folder of docker's config.json. `mirrors` maps a registry's host (`docker.io` for
    Docker Hub) to the mirror that is used instead, such as `"127.0.0.1:5001"` or
    `"https://mirror.example.invalid/hub"`.
    Proxies and certificates come from `environment`. `run_helper` runs docker's credential helpers.
    """

    def __init__(
        self,
        docker_config: Path,
        mirrors: Mapping[str, str] | None = None,
        policy: RetryPolicy | None = None,
        run_helper: CredentialHelper | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._mirrors = dict(mirrors or {})
        self._policy = policy or RetryPolicy()
        http = HttpClient(self._policy, environment)
        self._session = RegistrySession(docker_config, http, run_helper or create_helper_runner(environment))

    def resolve_digest(self, reference: str) -> str:
        """The digest (`sha256:...`) of the index or manifest to which a `name[:tag][@digest]` refers now.

        It is computed from the received content. Raises `InvalidInputError` if the reference is invalid, and
        `UnavailableError` if the image cannot be read.
        """
        image = locate_image(reference, self._mirrors)
        digest = image.digest or self._fetch_announced_digest(image)
        body = self._fetch_manifest(image, digest or image.tag_or_digest)
        parse_manifest(image, body, digest)
        return compute_digest(body)

    def read_image(self, reference: str, platform: str) -> ImageProperties:
        """The properties of a `name[:tag]@sha256:...` for a platform in docker's notation (`linux/amd64`).

        Reads the layers from the lowest one up, until they show the operating system and glibc: usually that is one
        layer. If no variable of the image states its Python, reads up to 512 MiB of layers to find it. Raises
        `InvalidInputError` if the reference is invalid or has no digest, and `UnavailableError` if the image cannot be
        read.
        """
        image = locate_image(reference, self._mirrors)
        if image.digest is None:
            raise InvalidInputError(
                f"`{reference}` has no digest", 'write it as `"python:3.12-slim-bookworm@sha256:..."`'
            )
        manifest = self._fetch_platform_manifest(image, image.digest, platform)
        config = self._fetch_platform_config(image, manifest, platform)
        python = read_image_environment(config).get("PYTHON_VERSION") or None
        facts = self._read_layers(image, manifest, with_packages=python is None)
        found = facts.python
        if python is not None:  # the variables of the image state its Python; Debian's python3 is another one
            found = (python, PYTHON_PATH) if _EXACT_PYTHON_VERSION.fullmatch(python) else None
        return ImageProperties(
            os=facts.os,
            glibc=facts.glibc,
            python=found[0] if found else None,
            python_path=found[1] if found else None,
            created=read_creation_time(config),
        )

    def read_creation_time(self, reference: str, platform: str) -> str | None:
        """The time (RFC 3339) at which a `name[:tag]@sha256:...` was created, None if the image states none.

        Reads no layer. Raises `UnavailableError` if the image cannot be read.
        """
        image = locate_image(reference, self._mirrors)
        manifest = self._fetch_platform_manifest(image, image.tag_or_digest, platform)
        return read_creation_time(self._fetch_platform_config(image, manifest, platform))

    def read_debian_system(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        """The state that apt would find in a `name[:tag]@sha256:...`: dpkg's status, and the keyring at that path.

        Reads from the uppermost layer down, up to 512 MiB. Raises `UnavailableError` if the image cannot be read.
        """
        image = locate_image(reference, self._mirrors)
        manifest = self._fetch_platform_manifest(image, image.tag_or_digest, platform)
        config = self._fetch_platform_config(image, manifest, platform)
        files, budget = DebianFiles(keyring.lstrip("/")), _MAX_LAYERS_BYTES
        for layer in reversed(check_objects(image, manifest.get("layers"))):
            digest, size = parse_descriptor(image, layer)
            if files.is_complete or size > budget or str(layer.get("mediaType", "")).endswith("zstd"):
                break
            budget -= size
            files = self._read_layer(image, digest, size, files)
            if files.has_skipped_layer:
                break
        return files.create_debian_system(read_creation_time(config))

    def has_tag(self, reference: str) -> bool:
        """Whether `name:tag` exists and may be read. Sends one HEAD request.

        Raises `UnavailableError` if the registry does not answer correctly.
        """
        image = locate_image(reference, self._mirrors)
        try:
            response = self._send_head(image)
        except RegistryAccessError:
            # Registries return the same status for a repository that does not exist yet. If the user really has no
            # access, the push will fail.
            return False
        if response.status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            raise create_status_error(image, response.status)
        return response.value is not None

    def list_platforms(self, reference: str) -> frozenset[str]:
        """The platforms of a `name:tag` or `name@digest` in docker's notation; an empty set if `has_tag` is False.

        Entries without a platform, such as attestations, are left out.
        """
        if not self.has_tag(reference):
            return frozenset()
        image = locate_image(reference, self._mirrors)
        manifest = parse_manifest(image, self._fetch_manifest(image, image.tag_or_digest), None)
        if is_index(manifest):
            found = list(find_platform_entries(image, manifest))
        else:
            found = [format_platform(self._fetch_config(image, manifest))]
        return frozenset(filter(PLATFORM_PATTERN.fullmatch, found))

    def read_layer_types(self, reference: str, platform: str) -> tuple[tuple[str, ...], dict[str, Any]]:
        """The media types of the layers of an image, from the lowest one up, and its configuration.

        Raises `UnavailableError` if the image cannot be read.
        """
        image = locate_image(reference, self._mirrors)
        manifest = self._fetch_platform_manifest(image, image.tag_or_digest, platform)
        layers = check_objects(image, manifest.get("layers"))
        types = tuple(str(each.get("mediaType", "")) for each in layers)
        return types, self._fetch_platform_config(image, manifest, platform)

    def list_tags(self, repository: str) -> tuple[str, ...]:
        """All tags of a repository, sorted. Raises `UnavailableError` if they cannot be read or have too many pages."""
        image = locate_image(repository, self._mirrors)
        tags: set[str] = set()
        url: str | None = f"{image.base_url}/v2/{image.repository}/tags/list?n={_TAGS_PER_PAGE}"
        for _ in range(_MAX_PAGES):
            if url is None:
                return tuple(sorted(tags))
            request = Request(url, {}, hint=image.hint)
            response = self._session.send(image, request, create_body_reader(_MAX_PAGE_BYTES))
            if response.value is None:
                raise create_status_error(image, response.status)
            rows = parse_json_object(image, response.value).get("tags") or []
            if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
                raise image.create_protocol_error("an invalid list of tags")
            tags.update(rows)
            url = _find_next_page(image, url, response.headers)
        raise image.create_protocol_error("a list of tags without end")

    def read_tag(self, reference: str) -> TagContents:
        """The contents of a `name:tag`. Raises `UnavailableError` if they cannot be read."""
        image = locate_image(reference, self._mirrors)
        manifest = parse_manifest(image, self._fetch_manifest(image, image.tag_or_digest), None)
        names: tuple[str, ...] = ()
        if is_index(manifest):
            names = tuple(sorted(filter(PLATFORM_PATTERN.fullmatch, find_platform_entries(image, manifest))))
        if names:
            manifest = self._fetch_platform_manifest(image, image.tag_or_digest, names[0])
        config = self._fetch_config(image, manifest)
        return TagContents(names or (format_platform(config),), read_image_environment(config))

    def _send_head(self, image: ImageReference) -> Response[bytes]:
        url = image.format_api_url("manifests", image.tag_or_digest)
        return self._session.send(image, Request(url, _ACCEPT_HEADERS, "HEAD", hint=image.hint), create_body_reader(0))

    def _fetch_announced_digest(self, image: ImageReference) -> str | None:
        """The digest in the response to a HEAD request for a tag, or None.

        HEAD requests do not count against rate limits.
        """
        response = self._send_head(image)
        digest = response.headers.get("Docker-Content-Digest", "") if response.value is not None else ""
        return digest if DIGEST_PATTERN.fullmatch(digest) else None

    def _fetch_platform_manifest(self, image: ImageReference, version: str, platform: str) -> dict[str, Any]:
        """The manifest of one platform. If `version` is that of an index, it is looked up there."""
        manifest = parse_manifest(image, self._fetch_manifest(image, version), version)
        if not is_index(manifest):
            return manifest
        entries = find_platform_entries(image, manifest)
        names = [name for name in entries if f"{name}/".startswith(f"{platform}/")]
        if not names:
            raise create_platform_error(image, platform, entries)
        digest, _ = parse_descriptor(image, entries[min(names, key=len)])  # `linux/arm64` before `linux/arm64/v8`
        return parse_manifest(image, self._fetch_manifest(image, digest), digest)

    def _fetch_manifest(self, image: ImageReference, version: str) -> bytes:
        """The bytes of the manifest with a tag or digest, checked against that digest or the one in the response."""
        request = Request(image.format_api_url("manifests", version), _ACCEPT_HEADERS, hint=image.hint)
        response = self._session.send(image, request, create_body_reader(_MAX_MANIFEST_BYTES))
        expected = version if DIGEST_PATTERN.fullmatch(version) else response.headers.get("Docker-Content-Digest")
        return check_body(image, response, expected, _MAX_MANIFEST_BYTES)

    def _fetch_platform_config(
        self, image: ImageReference, manifest: Mapping[str, Any], platform: str
    ) -> dict[str, Any]:
        """The configuration of an image. Raises `UnavailableError` if it states another platform than `platform`."""
        config = self._fetch_config(image, manifest)
        stated = format_platform(config)
        if stated and not f"{stated}/".startswith(f"{platform}/") and not f"{platform}/".startswith(f"{stated}/"):
            raise create_platform_error(image, platform, (stated,))
        return config

    def _fetch_config(self, image: ImageReference, manifest: Mapping[str, Any]) -> dict[str, Any]:
        digest, _ = parse_descriptor(image, manifest.get("config"))
        request = Request(image.format_api_url("blobs", digest), {}, hint=image.hint)
        response = self._session.send(image, request, create_body_reader(_MAX_CONFIG_BYTES))
        return parse_json_object(image, check_body(image, response, digest, _MAX_CONFIG_BYTES))

    def _read_layers(self, image: ImageReference, manifest: Mapping[str, Any], *, with_packages: bool) -> ImageFacts:
        """The facts in the layers of an image.

        The layers are read from the lowest one up, which is nearly always sufficient, because it has the operating
        system. With `with_packages` the installed packages are needed too, so the layers are read from the uppermost
        one down to the first list of packages.
        """
        facts, budget = ImageFacts(), _MAX_LAYERS_BYTES
        layers = check_objects(image, manifest.get("layers"))
        for layer in reversed(layers) if with_packages else layers:
            if facts.os and facts.glibc and (facts.has_status or not with_packages):
                break
            digest, size = parse_descriptor(image, layer)
            if size > budget or str(layer.get("mediaType", "")).endswith("zstd"):
                facts.skip_layer()
                continue
            budget -= size
            facts = self._read_layer(image, digest, size, facts)
        return facts

    def _read_layer(self, image: ImageReference, digest: str, size: int, visitor: VisitorT) -> VisitorT:
        """A copy of the visitor that has read one more layer. Raises `UnavailableError` if the digest is wrong."""

        def consume(body: ReadableBody) -> tuple[VisitorT, str]:
            blob, copied = HashingReader(body, size), copy.copy(visitor)  # a copy for each attempt
            read_layer(blob, copied)
            return copied, blob.read_digest()

        url = image.format_api_url("blobs", digest)
        request = Request(url, {}, total_timeout=self._policy.download_timeout, hint=image.hint)
        response = self._session.send(image, request, consume)
        if response.value is None:
            raise create_status_error(image, response.status)
        visited, actual = response.value
        if actual != digest:
            raise create_mismatch_error(image, digest, actual)
        return visited


def _find_next_page(image: ImageReference, url: str, headers: Mapping[str, str]) -> str | None:
    """The URL of the next page of tags, None on the last page.

    Raises `UnavailableError` if the page is at another server.
    """
    link = _NEXT_LINK.search(headers.get("Link", ""))
    if link is None:
        return None
    target = str(urljoin(url, link[1]))
    if not is_web_url(target) or parse_origin(target) != parse_origin(image.base_url):
        raise image.create_protocol_error("the next page of its tags is at another server")
    return target
