"""The order of Debian versions (Debian policy, "Version"; deb-version(7)), as a key to sort by."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

Part: TypeAlias = "int | tuple[int, ...]"
Key: TypeAlias = "tuple[int, tuple[Part, ...], tuple[Part, ...]]"

_RUNS = re.compile(r"([^0-9]*)([0-9]*)")
_LETTERS_FIRST = 256


@lru_cache(maxsize=1 << 14)  # the same few versions are compared again and again
def key(version: str) -> Key:
    """What sorts as `dpkg --compare-versions` does: [epoch:]upstream[-revision]."""
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isdecimal()):
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (int(epoch), _runs(upstream if dash else rest), _runs(revision if dash else ""))


def _runs(text: str) -> tuple[Part, ...]:
    """Letters and numbers by turns, the last run of letters empty: an end is more than `~` and less than all else."""
    found: list[Part] = []
    # No revision is as good as revision 0.
    for letters, digits in _RUNS.findall(text or "0"):
        found += [(*map(_weight, letters), 0), int(digits or 0)]
    # The regular expression's last match is empty.
    return tuple(found[:-1])


def _weight(letter: str) -> int:
    return -1 if letter == "~" else ord(letter) + (0 if letter.isalpha() else _LETTERS_FIRST)
