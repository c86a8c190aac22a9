"""Image references: `name[:tag][@sha256:digest]`."""

from __future__ import annotations

import re
from typing import NamedTuple

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:[0-9]+/)|\[[0-9a-f:]+\])(?::[0-9]+)?/"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST})?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class Reference(NamedTuple):
    """An image reference in its parts."""

    name: str
    tag: str | None
    digest: str | None


def reference(image: str) -> Reference | None:
    """The parts of an image reference, or None when it is not one.

    The grammar is that of the distribution project (OCI distribution specification, "Pulling manifests").
    """
    found = _REFERENCE.fullmatch(image)
    return Reference(found["name"], found["tag"], found["digest"]) if found else None
