"""Image references: `name[:tag][@sha256:digest]`."""

from __future__ import annotations

import re
from typing import NamedTuple

_PATH_PART_PATTERN = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_PATTERN = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:[0-9]+/)|\[[0-9a-f:]+\])(?::[0-9]+)?/"
_REFERENCE_PATTERN = re.compile(
    rf"(?P<name>(?:{_HOST_PATTERN})?{_PATH_PART_PATTERN}(?:/{_PATH_PART_PATTERN})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class ImageReferenceParts(NamedTuple):
    """An image reference in its parts."""

    name: str
    tag: str | None
    digest: str | None


def split_image_reference(image: str) -> ImageReferenceParts | None:
    """The parts of an image reference, or None when it is not one.

    The grammar is that of the distribution project (OCI distribution specification, "Pulling manifests").
    """
    found = _REFERENCE_PATTERN.fullmatch(image)
    return ImageReferenceParts(found["name"], found["tag"], found["digest"]) if found else None
