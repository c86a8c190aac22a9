"""Manifests, indexes and configurations of images, as a registry sends them: parsed, and checked against their digests.

Specifications: OCI image 1.1 and docker's own media types. A registry is not trusted: every error here says what is
wrong with its answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.net.http import Response
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
    """The digest of some bytes."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def check_body(image: ImageReference, response: Response[bytes], digest: str | None, limit: int) -> bytes:
    """The body of a successful response that is not longer than `limit` and has this digest."""
    if response.value is None:
        raise create_status_error(image, response.status)
    if len(response.value) > limit:
        raise image.create_protocol_error(f"a document of more than {limit >> 20} MiB")
    actual = compute_digest(response.value)
    if digest is not None and DIGEST_PATTERN.fullmatch(digest) and actual != digest:
        raise create_mismatch_error(image, digest, actual)
    return response.value


def create_status_error(image: ImageReference, status: int) -> UnavailableError:
    """The error for a response without content."""
    if status == HTTPStatus.NOT_FOUND:
        message = f"`{image.host}` has no image `{image.reference}`, or has lost a part of it (HTTP 404)"
        return UnavailableError(message, "check its name, tag and digest")
    return image.create_protocol_error(f"HTTP {status}")


def create_mismatch_error(image: ImageReference, expected: str, actual: str) -> UnavailableError:
    """The error for content that does not have its digest."""
    message = f"the content that `{image.host}` sent for `{image.reference}` has the digest `{actual}`"
    return UnavailableError(f"{message} instead of `{expected}`", "a proxy or a mirror may have changed it")


def create_platform_error(image: ImageReference, platform: str, names: Iterable[str]) -> UnavailableError:
    """The error for an image that exists for the platforms `names` only."""
    known = ", ".join(f"`{name}`" for name in sorted(names) if PLATFORM_PATTERN.fullmatch(name))
    message = f"`{image.reference}` does not exist for `{platform}`, only for {known or 'no platform at all'}"
    return UnavailableError(message, "choose another image, or other `platforms`")


def parse_json_object(image: ImageReference, body: bytes) -> dict[str, Any]:
    """The JSON object in a body."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise image.create_protocol_error("not a JSON object")
    return value


def parse_manifest(image: ImageReference, body: bytes, digest: str | None) -> dict[str, Any]:
    """A manifest or an index. The schema version is checked because a login page of a network has a digest too."""
    manifest = parse_json_object(image, body)
    if manifest.get("schemaVersion") != _SCHEMA_VERSION:
        name = digest or image.tag_or_digest
        raise image.create_protocol_error(f"`{name}` is not a manifest of schema version {_SCHEMA_VERSION}")
    return manifest


def is_index(manifest: Mapping[str, Any]) -> bool:
    """Whether a parsed manifest is an index over several platforms."""
    return "manifests" in manifest or manifest.get("mediaType") in INDEX_MEDIA_TYPES


def check_objects(image: ImageReference, value: object) -> list[dict[str, Any]]:
    """A value of a manifest that must be a list of objects."""
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
    """The entries of an index by platform; the first if a platform has several."""
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
    """The time an image was created (RFC 3339), None if its configuration has none."""
    created = config.get("created")
    return created if isinstance(created, str) and _TIMESTAMP.fullmatch(created) else None
