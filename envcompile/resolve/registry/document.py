"""What registries send, read with suspicion: manifests, indexes, configurations; and the errors for what is amiss."""

from __future__ import annotations

import hashlib
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from envcompile.errors import MissingOutside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.resolve.registry.http import Answer
    from envcompile.resolve.registry.place import Place

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_SCHEMA = 2  # a manifest of version 1 is signed: its digest is not that of its bytes
PLATFORM = re.compile(r"(?!unknown)[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?")  # attestations stand under unknown/unknown


def sha256(body: bytes) -> str:
    """The digest of bytes."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def checked(place: Place, answer: Answer[bytes], digest: str | None, cap: int) -> bytes:
    """The body of an answer that is there, not too long and what its digest says."""
    if answer.value is None:
        raise refused(place, answer.status)
    if len(answer.value) > cap:
        raise place.strange(f"more than {cap >> 20} MiB where a page of text is due")
    actual = sha256(answer.value)
    if digest is not None and DIGEST.fullmatch(digest) and actual != digest:
        raise mismatch(place, digest, actual)
    return answer.value


def refused(place: Place, status: int) -> MissingOutside:
    """The error for a status that gives nothing."""
    if status == HTTPStatus.NOT_FOUND:
        message = f"`{place.host}` has no image `{place.reference}`, or no longer all of it (HTTP 404)"
        return MissingOutside(message, "check its name, tag and digest")
    return place.strange(f"HTTP {status}")


def mismatch(place: Place, expected: str, actual: str) -> MissingOutside:
    """The error for bytes that do not have their digest."""
    message = f"what `{place.host}` sends for `{place.reference}` is not what was asked for: its digest is `{actual}`"
    return MissingOutside(f"{message} instead of `{expected}`", "something between here and there changes answers")


def no_platform(place: Place, platform: str, names: Iterable[str]) -> MissingOutside:
    """The error for an image that is there for these platforms only."""
    known = ", ".join(f"`{name}`" for name in sorted(names) if PLATFORM.fullmatch(name))
    message = f"`{place.reference}` is not there for `{platform}`, only for {known or 'no platform at all'}"
    return MissingOutside(message, "choose another image, or other `platforms`")


def parsed(place: Place, body: bytes) -> dict[str, Any]:
    """A JSON object."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise place.strange("not a JSON object")
    return found


def document(place: Place, body: bytes, digest: str | None) -> dict[str, Any]:
    """A manifest or index; a page of a hotel's login is none, though its digest would do."""
    found = parsed(place, body)
    if found.get("schemaVersion") != _SCHEMA:
        raise place.strange(f"`{digest or place.version}` is no manifest of schema version {_SCHEMA}")
    return found


def rows(place: Place, value: object) -> list[dict[str, Any]]:
    """A list of objects."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise place.strange("a manifest whose list is none")
    return value


def descriptor(place: Place, value: object) -> tuple[str, int]:
    """Digest and size in bytes of what a manifest refers to."""
    row = value if isinstance(value, dict) else {}
    digest, size = row.get("digest"), row.get("size")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest) or not isinstance(size, int) or size < 0:
        raise place.strange("a manifest without the digest and size of a part")
    return digest, size


def platforms(place: Place, index: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of an index, by platform; of two for one the first."""
    entries = rows(place, index.get("manifests"))
    return {platform_name(entry.get("platform")): entry for entry in reversed(entries)}


def platform_name(value: object) -> str:
    """`linux/arm64/v8` of an index's entry or a configuration; nothing when it says none."""
    row = value if isinstance(value, dict) else {}
    return "/".join(str(row[key]) for key in ("os", "architecture", "variant") if row.get(key))


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    """The variables that the image sets."""
    inner = config.get("config")
    lines = inner.get("Env") if isinstance(inner, dict) else None
    pairs = [line.partition("=") for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    return {key: value for key, _, value in pairs}
