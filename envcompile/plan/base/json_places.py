"""Where in a JSON text a value stands: looked for only when there is something to say of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.toml_source import KeyPath

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def offset(text: str, path: KeyPath, *, key: bool = False) -> int:
    """The offset in characters of the value at `path`, or of its key; of the nearest value around it if it is none.

    The text must be JSON. Of a key that stands twice, the last is meant, as for whoever reads the text.
    """
    at = _skip(text, 0)
    for number, part in enumerate(path, 1):
        found = [each for each in _entries(text, at) if each[0] == part]
        if not found:
            break
        _, start, value = found[-1]
        at = start if key and number == len(path) else value
    return at


def _entries(text: str, at: int) -> Iterator[tuple[str | int, int, int]]:
    """Key or index of each entry of the object or array at `at`, where it starts, and where its value does."""
    if text[at] not in "{[":
        return
    named, number = text[at] == "{", 0
    at = _skip(text, at + 1)
    while text[at] not in "}]":
        start, name = at, number
        if named:
            name, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        yield name, start, at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
        number += 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
