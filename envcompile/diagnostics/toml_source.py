"""Parses TOML texts with tomli, and finds the positions of keys and values for diagnostics.

`TomlSource` has the value and reports syntax errors with a hint. `TomlScanner` finds the positions: it does not
validate, and stops where the text is not TOML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tomli

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.source import CONFLICT_MARKER, KeyPath, SourceText, TextSpan

# tomli needs quadratic time for a dotted key: with its own limit of 1,000 parts, 1 MiB takes up to 9 seconds. Of 57,132
# keys in real files, none had more than 5 parts.
MAX_KEY_PARTS = 16
MAX_NESTING_DEPTH = 401  # tomli's own limit

_STRING_PATTERN = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
# The text of a multi-line string may end with two quotes, so up to five quotes close it.
_LONG_STRING_PATTERN = r"""(?:\"{3}(?:[^"\\]|\\.|"(?!""))*"{3,5}|'{3}(?:[^']|'(?!''))*'{3,5})"""
SCALAR_PATTERN = (
    rf"""{_LONG_STRING_PATTERN}|(?!\"{{3}}|'{{3}}){_STRING_PATTERN}|\d{{4}}-\d\d-\d\d\ \d\d:[\w.:+-]+|[\w.:+-]+"""
)
_KEY_PART_PATTERN = rf"[ \t]*({_STRING_PATTERN}|[A-Za-z0-9_-]+)[ \t]*(\.?)"
_BLANK_PATTERN = r"[ \t\r\n]*"


class TomlNode:
    """A key or array item: the span of the key (None for an item), the span of its value, and its children."""

    __slots__ = ("children", "key", "value")

    def __init__(self, key: tuple[int, int] | None, value: tuple[int, int]) -> None:
        self.key = key
        self.value = value
        self.children: dict[str | int, TomlNode] = {}

    def open_table(self, name: str, key: tuple[int, int], value: tuple[int, int]) -> TomlNode:
        """Find the child table `name`, or the last item if it is an array of tables; or create it with these spans."""
        node = self.children.get(name)
        if node is None:
            node = self.children[name] = TomlNode(key, value)
        return node.children.get(len(node.children) - 1, node)

    def add_item(self, value: tuple[int, int]) -> TomlNode:
        """Append an item to this array."""
        node = self.children[len(self.children)] = TomlNode(None, value)
        return node


class TomlScanner:
    """Finds the spans of all keys and values, up to the first syntax error. It needs linear time and no recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        # Compiled here and not at import: a valid file is never scanned.
        self.scalar, self.key_part, self.blank = (
            re.compile(p, re.DOTALL) for p in (SCALAR_PATTERN, _KEY_PART_PATTERN, _BLANK_PATTERN)
        )
        self.root = TomlNode((0, 0), (0, 0))
        self.long_key: tuple[int, int] | None = None  # the first key with too many parts, up to the first excess part
        self.max_depth, self.deepest_position = 0, 0  # the deepest nesting of brackets, and its offset
        table = self.root
        try:
            while mark := self._skip_blanks():
                if mark == "[":
                    table = self._read_header()
                else:
                    self._read_value(self._read_key(table))
        except ValueError:  # a syntax error, which tomli reports; the spans before it stay valid
            pass

    def find_node(self, path: tuple[str | int, ...]) -> TomlNode | None:
        """The node at the end of a path of keys and array positions."""
        node: TomlNode | None = self.root
        for part in path:
            node = node.children.get(part) if node else None
        return node

    def _skip_blanks(self) -> str:
        """Skip whitespace and comments. Returns the next character; empty at the end of the text."""
        while True:
            mark = self.text[self.position : self.position + 1]
            if mark == "#":
                self.position = (self.text.find("\n", self.position) + 1) or len(self.text)
            elif mark and mark in " \t\r\n" and (found := self.blank.match(self.text, self.position)):
                self.position = found.end()
            else:
                return mark

    def _expect_text(self, expected: str) -> None:
        if not self.text.startswith(expected, self.position):
            raise ValueError(expected)
        self.position += len(expected)

    def _read_key_parts(self) -> list[tuple[str, tuple[int, int]]]:
        """Read a dotted key. Returns its decoded parts with their spans."""
        parts: list[tuple[str, tuple[int, int]]] = []
        dot = "."
        while dot:
            found = self.key_part.match(self.text, self.position)
            if not found:
                raise ValueError("key")
            name, dot = found.groups()
            if name[0] in "'\"":
                name = tomli.loads("x=" + name)["x"] if "\\" in name else name[1:-1]
            parts.append((name, found.span(1)))
            self.position = found.end()
            if len(parts) > MAX_KEY_PARTS:
                self.long_key = (parts[0][1][0], found.end(1))
                raise ValueError("long key")
        return parts

    def _read_key(self, table: TomlNode) -> TomlNode:
        """Read `a.b =`. Returns the new node of `b`."""
        *parents, (name, key) = self._read_key_parts()
        self._expect_text("=")
        for parent, place in parents:
            table = table.open_table(parent, place, place)
        node = table.children[name] = TomlNode(key, key)
        return node

    def _read_header(self) -> TomlNode:
        """Read `[a.b]` or `[[a.b]]`. Returns the table that the header opens."""
        start = self.position
        mark = "[[" if self.text.startswith("[[", start) else "["
        self.position += len(mark)
        *parents, (name, key) = self._read_key_parts()
        self._expect_text("]" * len(mark))
        header = (start, self.position)
        table = self.root
        for parent, place in parents:
            table = table.open_table(parent, place, header)
        if mark == "[[":
            return table.children.setdefault(name, TomlNode(key, header)).add_item(header)
        table = table.open_table(name, key, header)
        table.key, table.value = key, header  # also if a header such as `[a.b.c]` has created the table
        return table

    def _read_value(self, node: TomlNode) -> None:
        """Read the value of `node`, and add the nodes inside it."""
        unclosed: list[tuple[TomlNode, str, int]] = []
        while True:
            mark = self._skip_blanks()
            if mark in ("[", "{"):
                unclosed.append((node, mark, self.position))
                if len(unclosed) > self.max_depth:
                    self.max_depth, self.deepest_position = len(unclosed), self.position
                if self.max_depth > MAX_NESTING_DEPTH:
                    raise ValueError("nested")
                self.position += 1
            elif found := self.scalar.match(self.text, self.position):
                node.value = found.span()
                self.position = found.end()
            else:
                raise ValueError("value")
            while unclosed and self._skip_closing_bracket():
                closed, _, start = unclosed.pop()
                closed.value = (start, self.position)
            if not unclosed:
                return
            around, mark, _ = unclosed[-1]
            node = self._read_key(around) if mark == "{" else around.add_item((self.position, self.position))

    def _skip_closing_bracket(self) -> bool:
        """Skip a comma and a closing bracket, if present. Returns whether there was a bracket."""
        mark = self._skip_blanks()
        if mark == ",":
            self.position += 1
            mark = self._skip_blanks()
        self.position += mark in ("]", "}")
        return mark in ("]", "}")


SAFE_INTEGER_DIGITS = 640  # Python parses any integer with at most this many digits
# Python reads hexadecimal, octal and binary numbers of any length, but cannot format them as decimal numbers.
_LONG_PREFIXED_NUMBER = re.compile(rf"0[xob][0-9A-Fa-f_]{{{SAFE_INTEGER_DIGITS}}}")


@dataclass(frozen=True)
class TomlSource(SourceText):
    """A TOML text. Key paths start at the table `root`.

    tomli parses and validates the text. `TomlScanner` finds positions, and runs only if one is needed.
    """

    root: KeyPath = ()

    @cached_property
    def value(self) -> dict[str, Any]:
        """The parsed value, which callers must not change. Raises `DiagnosticsError` if the text is not valid TOML."""
        long_key = self._find_long_key()
        try:
            value = tomli.loads(self.text if long_key is None else self.text[: long_key.end])
        except tomli.TOMLDecodeError as error:
            # If the text ends within an escape, the position in tomli's error may be behind the end.
            offset = min(_restore_carriage_returns(self.text, error.pos), len(self.text))
            if long_key is None or offset < long_key.end:
                # The error of the parser may be at any marker, or behind the first one.
                if conflict := CONFLICT_MARKER.search(self.text):
                    raise self._create_error("the file contains merge conflict markers", conflict.start()) from None
                raise self._create_error(_format_tomli_message(error.msg), offset) from None
        except RecursionError:
            raise self._create_error("the value is nested too deeply", self._scanner.deepest_position) from None
        except ValueError:  # Python refuses to read more than 4,300 decimal digits
            raise self._create_error("a number has too many digits", _find_long_number(self.text)) from None
        if _LONG_PREFIXED_NUMBER.search(self.text) and (offset := _find_long_number(self.text)) < len(self.text):
            raise self._create_error("a number has too many digits", offset)
        if long_key is not None:
            raise self._create_error(f"the key has more than {MAX_KEY_PARTS} parts", long_key.start)
        return value

    def find_key(self, path: KeyPath) -> TextSpan | None:
        """The span of the last part of `path`, in a key or header; for an array index, the span of the item."""
        node = self._scanner.find_node(self.root + path)
        return TextSpan(*(node.key or node.value)) if node and self.root + path else None

    def find_value(self, path: KeyPath) -> TextSpan | None:
        """The span of the value at `path`.

        For a table, this is its header. A table without a header has the span of what creates it: the first header of a
        table inside it, or the part of a dotted key.
        """
        node = self._scanner.find_node(self.root + path)
        return TextSpan(*node.value) if node and self.root + path else None

    @cached_property
    def _scanner(self) -> TomlScanner:
        return TomlScanner(self.text)

    def _create_error(self, reason: str, offset: int) -> DiagnosticsError:
        found = Diagnostic("toml-syntax", reason, hint=_find_syntax_hint(reason), offset=offset)
        return DiagnosticsError(self, [found])

    def _find_long_key(self) -> TextSpan | None:
        """The first key with more than `MAX_KEY_PARTS` parts.

        The scanner runs only if a line has that many dots, because a key is on one line. In most such lines, the dots
        are in strings, so the scanner finds no long key.
        """
        has_many_dots = any(line.count(".") >= MAX_KEY_PARTS for line in self.text.split("\n"))
        return TextSpan(*self._scanner.long_key) if has_many_dots and self._scanner.long_key else None


def _restore_carriage_returns(text: str, position: int) -> int:
    """Convert a position of tomli, which replaces CR LF by LF, to an offset in `text`."""
    for found in re.finditer("\r\n", text):
        if found.start() >= position:
            break
        position += 1
    return position


def _format_tomli_message(reason: str) -> str:
    """Rewrite an error message of tomli: dotted keys instead of Python tuples, and a lower-case first letter."""
    start, end = reason.find("("), reason.rfind(")")
    if 0 <= start < end and reason[start + 1] in "'\"":
        names = reason[start + 1 : end].rstrip(",").replace("', '", ".")
        reason = f"{reason[:start]}{names}{reason[end + 1 :]}"
    reason = reason.replace(r"character '\n'", "end of line")
    return reason[:1].lower() + reason[1:]


def _find_long_number(text: str) -> int:
    """The offset of the first integer that Python refuses to read or to format, or the end of the text."""
    for found in re.finditer(rf"#[^\n]*|{SCALAR_PATTERN}", text, re.DOTALL):
        if len(found[0]) <= SAFE_INTEGER_DIGITS:
            continue
        if _LONG_PREFIXED_NUMBER.match(found[0]):
            return found.start()
        if found[0].lstrip("+-").replace("_", "").isdecimal():
            try:
                int(found[0])
            except ValueError:
                return found.start()
    return len(text)


# Hints by words in the error message. The first row that matches is used.
_SYNTAX_HINTS = (
    ("merge conflict", "keep one side of the conflict, remove the lines of git, then run `envcompile lock`"),
    ("after a statement", "write one `key = value` on each line, with strings and versions in quotes"),
    (
        "expected '='",
        "write `key = value`; a key with characters other than letters, digits, `-`, `_` needs quotes",
    ),
    ("invalid value", 'put strings and versions in quotes: `python = "3.12"`'),
    ("invalid statement", "write `key = value`, or the header of a table such as `[pip]`"),
    ("initial character", "a key starts with a letter, a digit, `-`, `_` or a quote"),
    ("unterminated string", "close the string with the quote that opened it, on the same line"),
    ("unclosed array", "close the array with `]`, and put a comma between its items"),
    ("unclosed inline table", "close the table with `}`, and put a comma between its keys"),
    ("at the end of", "close the header, such as `[pip]`"),
    ("escape", "write a backslash as `\\\\`, or put the string in single quotes"),
    ("hex value", "write a backslash as `\\\\`, or put the string in single quotes"),
    ("illegal character", "remove the character, or write it as an escape such as `\\t`"),
    ("date", "write a timestamp such as 2026-11-01T00:00:00Z"),
    ("too deeply", "remove brackets: no value of a spec needs more than three levels"),
    ("too many digits", "shorten the number: no number of a spec has more than five digits"),
    ("parts", "shorten the key: no key of a spec has more than three parts"),
)
_DUPLICATE_WORDS = ("overwrite", "twice", "duplicate", "namespace")


def _find_syntax_hint(reason: str) -> str:
    """The hint for the error message of a syntax error."""
    if any(word in reason for word in _DUPLICATE_WORDS):
        return "define each key and each table only once"
    return next(
        (hint for words, hint in _SYNTAX_HINTS if words in reason), "see https://toml.io for the syntax of TOML"
    )
