"""A text in which a diagnostic can point at a place: offsets, lines and columns, and the interface of its formats."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A range of a text in characters; `end` is exclusive."""

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
        """The line and column of an offset."""
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
