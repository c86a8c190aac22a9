"""Where each key and each value of a TOML text stands.

The scanner judges nothing: it may assume that tomli accepts the text, and where tomli would not, it stops.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tomli

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.source import KeyPath, SourceText, TextSpan

# tomli's time grows with the square of a key's parts: its own limit (1,000) allows 9 seconds for 1 MiB. The longest
# key of the 57,132 in real files had 5.
MAX_KEY_PARTS = 16
MAX_NESTING_DEPTH = 401  # tomli's own limit

_STRING_PATTERN = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_LONG_STRING_PATTERN = (
    r"""(?:\"{3}(?:[^"\\]|\\.|"(?!""))*"{3,5}|'{3}(?:[^']|'(?!''))*'{3,5})"""  # two quotes may be its own
)
SCALAR_PATTERN = (
    rf"""{_LONG_STRING_PATTERN}|(?!\"{{3}}|'{{3}}){_STRING_PATTERN}|\d{{4}}-\d\d-\d\d\ \d\d:[\w.:+-]+|[\w.:+-]+"""
)
_KEY_PART_PATTERN = rf"[ \t]*({_STRING_PATTERN}|[A-Za-z0-9_-]+)[ \t]*(\.?)"
_BLANK_PATTERN = r"[ \t\r\n]*"


class TomlNode:
    """One key or array item: where it stands (an item: where its value does), its value's place, and what is inside."""

    __slots__ = ("children", "key", "value")

    def __init__(self, key: tuple[int, int] | None, value: tuple[int, int]) -> None:
        self.key = key
        self.value = value
        self.children: dict[str | int, TomlNode] = {}

    def open_table(self, name: str, key: tuple[int, int], value: tuple[int, int]) -> TomlNode:
        """The table `name` in this one, made at `key` and `value` if it is new; of an array of tables, its last."""
        node = self.children.get(name)
        if node is None:
            node = self.children[name] = TomlNode(key, value)
        return node.children.get(len(node.children) - 1, node)

    def add_item(self, value: tuple[int, int]) -> TomlNode:
        """A new item at the end of this array."""
        node = self.children[len(self.children)] = TomlNode(None, value)
        return node


class TomlScanner:
    """The places in a text, as far as it is TOML. No recursion, and linear time whatever the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        # compiled here: a good file is never scanned, and should not wait for it
        self.scalar, self.key_part, self.blank = (
            re.compile(p, re.DOTALL) for p in (SCALAR_PATTERN, _KEY_PART_PATTERN, _BLANK_PATTERN)
        )
        self.root = TomlNode((0, 0), (0, 0))
        self.long_key: tuple[int, int] | None = None  # the first key of too many parts, up to the one too many
        self.max_depth, self.deepest_position = 0, 0  # the most brackets open at once, and where the innermost stands
        table = self.root
        try:
            while mark := self._skip_blanks():
                if mark == "[":
                    table = self._read_header()
                else:
                    self._read_value(self._read_key(table))
        except ValueError:  # not TOML from here on, and tomli says so; what was found is still true
            pass

    def find_node(self, path: tuple[str | int, ...]) -> TomlNode | None:
        """The node at the end of a path of keys and array positions."""
        node: TomlNode | None = self.root
        for part in path:
            node = node.children.get(part) if node else None
        return node

    def _skip_blanks(self) -> str:
        """Step over blanks, line ends and comments. The character after them; empty at the end."""
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
        """Step over the dotted key here. Its parts, decoded, each with where it stands."""
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
        """Step over `a.b =`. The new node of `b`."""
        *parents, (name, key) = self._read_key_parts()
        self._expect_text("=")
        for parent, place in parents:
            table = table.open_table(parent, place, place)
        node = table.children[name] = TomlNode(key, key)
        return node

    def _read_header(self) -> TomlNode:
        """Step over `[a.b]` or `[[a.b]]`. The table it opens."""
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
        table.key, table.value = key, header  # also when a longer header came first
        return table

    def _read_value(self, node: TomlNode) -> None:
        """Step over the value of `node`, and place all that is inside it."""
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
        """Step over a comma; and over a closing bracket, if there is one."""
        mark = self._skip_blanks()
        if mark == ",":
            self.position += 1
            mark = self._skip_blanks()
        self.position += mark in ("]", "}")
        return mark in ("]", "}")


SAFE_INTEGER_DIGITS = 640  # Python parses any integer with at most this many digits


@dataclass(frozen=True)
class TomlSource(SourceText):
    """A TOML text. Key paths start at the table `root`.

    tomli alone decides whether a text is TOML and what its value is. `TomlScanner` only finds positions, and runs only
    if a position is needed: a valid file costs nothing beyond tomli.
    """

    root: KeyPath = ()

    @cached_property
    def value(self) -> dict[str, Any]:
        """The value of the text, parsed once; not to be changed. Raises `DiagnosticsError` if it is not TOML."""
        long_key = self._find_long_key()
        try:
            value = tomli.loads(self.text if long_key is None else self.text[: long_key.end])
        except tomli.TOMLDecodeError as error:
            # tomli may point one past the end of a text that ends in the middle of an escape.
            offset = min(_restore_carriage_returns(self.text, error.pos), len(self.text))
            if long_key is None or offset < long_key.end:
                raise self._create_error(_format_tomli_message(error.msg), offset) from None
        except RecursionError:
            raise self._create_error("nested too deeply", self._scanner.deepest_position) from None
        except ValueError:  # Python refuses to read more than 4,300 decimal digits
            raise self._create_error("a number of too many digits", _find_long_number(self.text)) from None
        if long_key is not None:
            raise self._create_error(f"a key of more than {MAX_KEY_PARTS} parts", long_key.start)
        return value

    def find_key(self, path: KeyPath) -> TextSpan | None:
        """Where the last part of `path` is written: a part of a key or header, or for a number the array's item."""
        node = self._scanner.find_node(self.root + path)
        return TextSpan(*(node.key or node.value)) if node and self.root + path else None

    def find_value(self, path: KeyPath) -> TextSpan | None:
        """Where the value of `path` is written.

        For a table that has no text of its own, what creates it: its header, or else the first longer header, or the
        part of a dotted key.
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
        """The first key of too many parts.

        A key stands on one line, so counting dots clears nearly every file; the scanner knows a key from a string or
        comment with many dots.
        """
        dotted = any(line.count(".") >= MAX_KEY_PARTS for line in self.text.split("\n"))
        return TextSpan(*self._scanner.long_key) if dotted and self._scanner.long_key else None


def _restore_carriage_returns(text: str, position: int) -> int:
    """The offset in `text` of a position in what tomli reads, where each CR LF has become LF."""
    for found in re.finditer("\r\n", text):
        if found.start() >= position:
            break
        position += 1
    return position


def _format_tomli_message(reason: str) -> str:
    """The reason tomli gives, with a key as people write it and not as a Python tuple."""
    reason = re.sub(r"\((['\"].*),?\)", lambda found: found[1].rstrip(",").replace("', '", "."), reason)
    reason = reason.replace(r"character '\n'", "end of line")
    return reason[:1].lower() + reason[1:]


def _find_long_number(text: str) -> int:
    """The offset of the first decimal integer that Python refuses to read."""
    for found in re.finditer(rf"#[^\n]*|{SCALAR_PATTERN}", text, re.DOTALL):
        if len(found[0]) > SAFE_INTEGER_DIGITS and found[0].lstrip("+-").replace("_", "").isdecimal():
            try:
                int(found[0])
            except ValueError:
                return found.start()
    return len(text)


# Hints by words of tomli's reason. The first row that matches counts.
_SYNTAX_HINTS = (
    ("after a statement", "one key and one value per line; a version or a text stands in quotes"),
    ("expected '='", "write `key = value`; a key with other characters than letters, digits, `-`, `_` in quotes"),
    ("invalid value", 'put texts and versions in quotes: `python = "3.12"`'),
    ("invalid statement", "write `key = value`, or the header of a table such as `[pip]`"),
    ("initial character", "a key starts with a letter, a digit, `-`, `_` or a quote"),
    ("unterminated string", "close the string with the quote that opened it, on the same line"),
    ("unclosed array", "close the array with `]`, and put a comma between its items"),
    ("unclosed inline table", "close the table with `}`, and put a comma between its keys"),
    ("at the end of", "close the header, such as `[pip]`"),
    ("escape", "write a backslash as `\\\\`, or the text in single quotes"),
    ("hex value", "write a backslash as `\\\\`, or the text in single quotes"),
    ("illegal character", "take the character out, or write it as an escape such as `\\t`"),
    ("date", "write a moment as 2026-11-01T00:00:00Z"),
    ("too deeply", "no value of a spec is nested more than three deep"),
    ("too many digits", "no number of a spec has more than five digits"),
    ("parts", "no key of a spec has more than three parts"),
)
_DUPLICATE_WORDS = ("overwrite", "twice", "duplicate", "namespace")


def _find_syntax_hint(reason: str) -> str:
    """What to do about a syntax error."""
    if any(word in reason for word in _DUPLICATE_WORDS):
        return "give each key and each table once"
    return next(
        (hint for words, hint in _SYNTAX_HINTS if words in reason), "see https://toml.io for how TOML is written"
    )
