"""A file's text, and where each key sits in it.

tomli alone decides whether a text is TOML and what it says. The scanner (places.py) only finds where things stand, and
runs only when a place is asked for: a good file costs nothing beyond tomli.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import tomli

from envcompile.places import MOST_KEY_PARTS, SCALAR, Scan

KeyPath = tuple[str | int, ...]

FEWEST_DIGITS = 640  # Python never refuses an integer as short as this


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text: offsets in characters, `end` exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """A point in a text as people count it: line and column from 1, the column in characters."""

    line: int
    column: int


class SyntaxProblem(Exception):  # noqa: N818 -- a problem of the text, not of the program
    """The text is not TOML: why, in plain words, and the offset in characters where tomli stopped."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True)
class Source:
    """A text and the name it is shown under. Key paths start at the table `root`."""

    name: str
    text: str = field(repr=False)
    root: KeyPath = ()

    def parse(self) -> dict[str, Any]:
        """The value of the text. Raises SyntaxProblem when it is not TOML."""
        long_key = self._long_key()
        try:
            value = tomli.loads(self.text if long_key is None else self.text[: long_key.end])
        except tomli.TOMLDecodeError as error:
            # tomli may point one past the end of a text that ends in the middle of an escape.
            offset = min(_with_carriage_returns(self.text, error.pos), len(self.text))
            if long_key is None or offset < long_key.end:
                raise SyntaxProblem(_plain(error.msg), offset) from None
        except RecursionError:
            raise SyntaxProblem("nested too deeply", self._scan.deepest) from None
        except ValueError:  # Python refuses to read more than 4,300 decimal digits
            raise SyntaxProblem("a number of too many digits", _long_number(self.text)) from None
        if long_key is not None:
            raise SyntaxProblem(f"a key of more than {MOST_KEY_PARTS} parts", long_key.start)
        return value

    def key(self, path: KeyPath) -> Span | None:
        """Where the last part of `path` is written: a part of a key or header, or for a number the array's item."""
        node = self._scan.find(self.root + path)
        return Span(*(node.key or node.value)) if node and self.root + path else None

    def value(self, path: KeyPath) -> Span | None:
        """Where the value of `path` is written.

        For a table that has no text of its own, what creates it: its header, or else the first longer header, or the
        part of a dotted key.
        """
        node = self._scan.find(self.root + path)
        return Span(*node.value) if node and self.root + path else None

    def nearest(self, path: KeyPath) -> Span | None:
        """`value(path)`, or that of the longest beginning of `path` that has a place."""
        prefixes = (path[:length] for length in range(len(path), -1, -1))
        return next((span for prefix in prefixes if (span := self.value(prefix))), None)

    def place(self, offset: int) -> Place:
        """The line and column of an offset."""
        line = bisect_right(self._line_starts, offset)
        return Place(line, offset - self._line_starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its end; empty outside the text."""
        if not 1 <= number <= len(self._line_starts):
            return ""
        start = self._line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end].removesuffix("\r")

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(found.end() for found in re.finditer("\n", self.text))]

    @cached_property
    def _scan(self) -> Scan:
        return Scan(self.text)

    def _long_key(self) -> Span | None:
        """The first key of too many parts.

        A key stands on one line, so counting dots clears nearly every file; the scanner knows a key from a string or
        comment with many dots.
        """
        dotted = any(line.count(".") >= MOST_KEY_PARTS for line in self.text.split("\n"))
        return Span(*self._scan.long_key) if dotted and self._scan.long_key else None


def _with_carriage_returns(text: str, position: int) -> int:
    """The offset in `text` of a position in what tomli reads, where each CR LF has become LF."""
    for found in re.finditer("\r\n", text):
        if found.start() >= position:
            break
        position += 1
    return position


def _plain(reason: str) -> str:
    """The reason tomli gives, with a key as people write it and not as a Python tuple."""
    reason = re.sub(r"\((['\"].*),?\)", lambda found: found[1].rstrip(",").replace("', '", "."), reason)
    reason = reason.replace(r"character '\n'", "end of line")
    return reason[:1].lower() + reason[1:]


def _long_number(text: str) -> int:
    """The offset of the first decimal integer that Python refuses to read."""
    for found in re.finditer(rf"#[^\n]*|{SCALAR}", text, re.DOTALL):
        if len(found[0]) > FEWEST_DIGITS and found[0].lstrip("+-").replace("_", "").isdecimal():
            try:
                int(found[0])
            except ValueError:
                return found.start()
    return len(text)
