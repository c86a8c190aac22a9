"""Texts in which diagnostics mark positions: spans, lines and columns, and the keys and values of JSON texts.

`SourceText` is the interface; `JsonSource` is here, and `TomlSource` in `toml_source`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from json import JSONDecoder

KeyPath = tuple[str | int, ...]

# A line that git writes around the two sides of a merge conflict.
CONFLICT_MARKER = re.compile(r"^(?:<{7}|={7}|>{7}|\|{7})(?: |\r?$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A range of a text, as offsets in characters; `end` is exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TextPosition:
    """A line and a column, both counted from 1, the column in characters."""

    line: int
    column: int


@dataclass(frozen=True)
class SourceText:
    """A text and the file name that messages show for it. Subclasses find keys and values in one file format."""

    name: str
    text: str = field(repr=False)

    def find_key(self, path: KeyPath) -> TextSpan | None:
        """The span of the last key of `path`; for an array index, the span of the item."""
        raise NotImplementedError

    def find_value(self, path: KeyPath) -> TextSpan | None:
        """The span of the value at `path`."""
        raise NotImplementedError

    def find_nearest_value(self, path: KeyPath) -> TextSpan | None:
        """The span of the value at `path`, or at the longest prefix of `path` that the text contains."""
        prefixes = (path[:length] for length in range(len(path), -1, -1))
        return next((span for prefix in prefixes if (span := self.find_value(prefix))), None)

    def locate_offset(self, offset: int) -> TextPosition:
        """The line and column of an offset in characters."""
        line = bisect_right(self._line_starts, offset)
        return TextPosition(line, offset - self._line_starts[line - 1] + 1)

    def get_line(self, number: int) -> str:
        """The text of a line, counted from 1, without its line ending; empty outside the text."""
        if not 1 <= number <= len(self._line_starts):
            return ""
        start = self._line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end].removesuffix("\r")

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(found.end() for found in re.finditer("\n", self.text))]


# Positions of keys and values in a JSON text.


_WHITESPACE = re.compile(r"[ \t\r\n]*")


class _JsonEntry(NamedTuple):
    """An entry of an object or array: its key or index, and the spans of the key and of the value."""

    name: str | int
    key: TextSpan
    value: TextSpan


class JsonSource(SourceText):
    """A JSON text, which must be valid to look up positions. If a key is repeated, its last occurrence is used."""

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
        """Iterate over the entries of the object or array at `start`; other values have none."""
        if self.text[start] not in "{[":
            return
        is_object, index = self.text[start] == "{", 0
        start = self._skip_whitespace(start + 1)
        while self.text[start] not in "}]":
            name: str | int = index
            key = None
            if is_object:
                name, end = _json_decoder().raw_decode(self.text, start)
                key = TextSpan(start, end)
                start = self._skip_whitespace(self._skip_whitespace(end) + 1)
            value = TextSpan(start, self._find_value_end(start))
            yield _JsonEntry(name, key or value, value)
            start = self._skip_whitespace(value.end)
            if self.text[start] == ",":
                start = self._skip_whitespace(start + 1)
            index += 1

    def _find_value_end(self, start: int) -> int:
        _, end = _json_decoder().raw_decode(self.text, start)
        return end

    def _skip_whitespace(self, start: int) -> int:
        found = _WHITESPACE.match(self.text, start)
        return found.end() if found else start


@cache
def _json_decoder() -> JSONDecoder:
    from json import JSONDecoder  # noqa: PLC0415 - used for CUDA catalogues only, but every command imports this module

    return JSONDecoder()
