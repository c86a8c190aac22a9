"""Positions of keys and values in a JSON text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.source import SourceText, TextSpan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.source import KeyPath

_WHITESPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class _JsonEntry(NamedTuple):
    """An entry of an object or array: its key or index, and the spans of the key and of the value."""

    name: str | int
    key: TextSpan
    value: TextSpan


class JsonSource(SourceText):
    """A JSON text. Positions can be looked up only in valid JSON; of a repeated key, the last one counts."""

    def find_key(self, path: KeyPath) -> TextSpan | None:
        """The span of the last key of `path`; for an array index, the span of the item."""
        entry = self._find_entry(path)
        return entry.key if entry else None

    def find_value(self, path: KeyPath) -> TextSpan | None:
        """The span of the value at `path`."""
        entry = self._find_entry(path)
        return entry.value if entry else None

    def _find_entry(self, path: KeyPath) -> _JsonEntry | None:
        start = self._skip_whitespace(0)
        root = TextSpan(start, self._find_value_end(start))
        entry = _JsonEntry("", root, root)
        for part in path:
            found = [each for each in self._iter_entries(entry.value.start) if each.name == part]
            if not found:
                return None
            entry = found[-1]
        return entry

    def _iter_entries(self, start: int) -> Iterator[_JsonEntry]:
        """The entries of the object or array at `start`; nothing for other values."""
        if self.text[start] not in "{[":
            return
        is_object, index = self.text[start] == "{", 0
        start = self._skip_whitespace(start + 1)
        while self.text[start] not in "}]":
            name: str | int = index
            key = None
            if is_object:
                name, end = _DECODER.raw_decode(self.text, start)
                key = TextSpan(start, end)
                start = self._skip_whitespace(self._skip_whitespace(end) + 1)
            value = TextSpan(start, self._find_value_end(start))
            yield _JsonEntry(name, key or value, value)
            start = self._skip_whitespace(value.end)
            if self.text[start] == ",":
                start = self._skip_whitespace(start + 1)
            index += 1

    def _find_value_end(self, start: int) -> int:
        _, end = _DECODER.raw_decode(self.text, start)
        return end

    def _skip_whitespace(self, start: int) -> int:
        found = _WHITESPACE.match(self.text, start)
        return found.end() if found else start
