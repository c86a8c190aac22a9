"""What a registry tells of an image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2})")


class Contents(NamedTuple):
    """What is under a tag: its platforms as docker spells them, sorted, and the variables that the first one sets."""

    platforms: tuple[str, ...]
    variables: dict[str, str]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image says of itself; None is not known.

    `os` is os-release's ID-VERSION_ID (`debian-12`), `glibc` X.Y, `python` X.Y.Z, `python_path` where that one is (both
    or neither), `created` RFC 3339.
    """

    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    python_path: str | None = None
    created: str | None = None


def created(config: Mapping[str, Any]) -> str | None:
    """When an image was made, as its configuration says: RFC 3339, None where it says nothing."""
    said = config.get("created")
    return said if isinstance(said, str) and _CREATED.fullmatch(said) else None
