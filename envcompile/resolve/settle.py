"""Which pins are held: all of them, unless something is free to become the newest, or no answer has them all.

To prefer a pin is not enough: a resolver that looks at a new package before those it needs takes the newest of it, and
moves them for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from envcompile.resolve.protocol import Unsolvable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Answer = TypeVar("Answer")

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def free(upgrade: frozenset[str] | bool, exact: Mapping[str, str]) -> bool:
    """Whether there is a name that may become the newest, so that others move for it."""
    return upgrade is True or bool(upgrade and upgrade - exact.keys())


def settle(solve: Callable[[Mapping[str, str]], Answer], pins: Mapping[str, str]) -> Answer:
    """The answer with the pins (name to version) held that the resolver's own reasons leave alone.

    Raises `Unsolvable` where there is none without any.
    """
    try:
        return solve(pins)
    except Unsolvable as answer:
        if not pins:
            raise
        named = set(_NAME.findall(re.sub(r"[-_.]+", "-", answer.reason).lower()))
    # None of them named: then what they require stands further back, and all must be free to move.
    fewer = {name: version for name, version in pins.items() if named & pins.keys() and name not in named}
    return settle(solve, fewer)
