"""Which layer a package belongs to: a question about the package alone, whatever else is installed.

So another package never moves it, and a change of one package changes one layer. What is large is kept apart from what
is small, because a layer is fetched, packed and installed as a whole: a small package that changes, and of these there
are the most, then costs a small layer. Of packages of one kind the name's hash decides, because nothing else about a
package is as lasting.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Kind(NamedTuple):
    """Packages whose archive is of `least` bytes or more, in at most `layers` layers."""

    name: str
    least: int
    layers: int


# Bounds and numbers are part of the Dockerfile's layout: another one moves packages of every lock.
KINDS = (
    Kind("large", 64 << 20, 4),
    Kind("medium", 8 << 20, 3),
    Kind("small", 1 << 20, 2),
    Kind("tiny", 0, 3),
)


def group(name: str, size: int | None, *, several: bool = True) -> str:
    """The group of a package with this canonical name and size in bytes, such as `medium-2`.

    A size that nobody knows counts as the smallest. Without `several` a kind is one group, such as `medium`.
    """
    kind = next(kind for kind in KINDS if (size or 0) >= kind.least)
    if not several:
        return kind.name
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % kind.layers + 1
    return f"{kind.name}-{number}"


# Every group there can be, the largest packages first.
GROUPS = tuple(f"{kind.name}-{number}" for kind in KINDS for number in range(1, kind.layers + 1))
