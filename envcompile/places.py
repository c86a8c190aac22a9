"""Where each key and each value of a TOML text stands.

The scanner judges nothing: it may assume that tomli accepts the text, and where tomli would not, it stops.
"""

from __future__ import annotations

import re

import tomli

# tomli's time grows with the square of a key's parts: its own limit (1,000) allows 9 seconds for 1 MiB. The longest
# key of the 57,132 in real files had 5.
MOST_KEY_PARTS = 16
MOST_BRACKETS = 401  # tomli's own limit

_STRING = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_LONG_STRING = r"""(?:\"{3}(?:[^"\\]|\\.|"(?!""))*"{3,5}|'{3}(?:[^']|'(?!''))*'{3,5})"""  # two quotes may be its own
SCALAR = rf"""{_LONG_STRING}|(?!\"{{3}}|'{{3}}){_STRING}|\d{{4}}-\d\d-\d\d\ \d\d:[\w.:+-]+|[\w.:+-]+"""
_KEY_PART = rf"[ \t]*({_STRING}|[A-Za-z0-9_-]+)[ \t]*(\.?)"
_BLANK = r"[ \t\r\n]*"


class Node:
    """One key or array item: where it stands (an item: where its value does), its value's place, and what is inside."""

    __slots__ = ("children", "key", "value")

    def __init__(self, key: tuple[int, int] | None, value: tuple[int, int]) -> None:
        self.key = key
        self.value = value
        self.children: dict[str | int, Node] = {}

    def table(self, name: str, key: tuple[int, int], value: tuple[int, int]) -> Node:
        """The table `name` in this one, made at `key` and `value` if it is new; of an array of tables, its last."""
        node = self.children.get(name)
        if node is None:
            node = self.children[name] = Node(key, value)
        return node.children.get(len(node.children) - 1, node)

    def item(self, value: tuple[int, int]) -> Node:
        """A new item at the end of this array."""
        node = self.children[len(self.children)] = Node(None, value)
        return node


class Scan:
    """The places in a text, as far as it is TOML. No recursion, and linear time whatever the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        # compiled here: a good file is never scanned, and should not wait for it
        self.scalar, self.key_part, self.blank = (re.compile(p, re.DOTALL) for p in (SCALAR, _KEY_PART, _BLANK))
        self.root = Node((0, 0), (0, 0))
        self.long_key: tuple[int, int] | None = None  # the first key of too many parts, up to the one too many
        self.depth, self.deepest = 0, 0  # the most brackets open at once, and where the innermost stands
        table = self.root
        try:
            while mark := self._skip():
                if mark == "[":
                    table = self._header()
                else:
                    self._value(self._key(table))
        except ValueError:  # not TOML from here on, and tomli says so; what was found is still true
            pass

    def find(self, path: tuple[str | int, ...]) -> Node | None:
        """The node at the end of a path of keys and array positions."""
        node: Node | None = self.root
        for part in path:
            node = node.children.get(part) if node else None
        return node

    def _skip(self) -> str:
        """Step over blanks, line ends and comments. The character after them; empty at the end."""
        while True:
            mark = self.text[self.at : self.at + 1]
            if mark == "#":
                self.at = (self.text.find("\n", self.at) + 1) or len(self.text)
            elif mark and mark in " \t\r\n" and (found := self.blank.match(self.text, self.at)):
                self.at = found.end()
            else:
                return mark

    def _step(self, expected: str) -> None:
        if not self.text.startswith(expected, self.at):
            raise ValueError(expected)
        self.at += len(expected)

    def _key_parts(self) -> list[tuple[str, tuple[int, int]]]:
        """Step over the dotted key here. Its parts, decoded, each with where it stands."""
        parts: list[tuple[str, tuple[int, int]]] = []
        dot = "."
        while dot:
            found = self.key_part.match(self.text, self.at)
            if not found:
                raise ValueError("key")
            name, dot = found.groups()
            if name[0] in "'\"":
                name = tomli.loads("x=" + name)["x"] if "\\" in name else name[1:-1]
            parts.append((name, found.span(1)))
            self.at = found.end()
            if len(parts) > MOST_KEY_PARTS:
                self.long_key = (parts[0][1][0], found.end(1))
                raise ValueError("long key")
        return parts

    def _key(self, table: Node) -> Node:
        """Step over `a.b =`. The new node of `b`."""
        *parents, (name, key) = self._key_parts()
        self._step("=")
        for parent, place in parents:
            table = table.table(parent, place, place)
        node = table.children[name] = Node(key, key)
        return node

    def _header(self) -> Node:
        """Step over `[a.b]` or `[[a.b]]`. The table it opens."""
        start = self.at
        mark = "[[" if self.text.startswith("[[", start) else "["
        self.at += len(mark)
        *parents, (name, key) = self._key_parts()
        self._step("]" * len(mark))
        header = (start, self.at)
        table = self.root
        for parent, place in parents:
            table = table.table(parent, place, header)
        if mark == "[[":
            return table.children.setdefault(name, Node(key, header)).item(header)
        table = table.table(name, key, header)
        table.key, table.value = key, header  # also when a longer header came first
        return table

    def _value(self, node: Node) -> None:
        """Step over the value of `node`, and place all that is inside it."""
        unclosed: list[tuple[Node, str, int]] = []
        while True:
            mark = self._skip()
            if mark in ("[", "{"):
                unclosed.append((node, mark, self.at))
                if len(unclosed) > self.depth:
                    self.depth, self.deepest = len(unclosed), self.at
                if self.depth > MOST_BRACKETS:
                    raise ValueError("nested")
                self.at += 1
            elif found := self.scalar.match(self.text, self.at):
                node.value = found.span()
                self.at = found.end()
            else:
                raise ValueError("value")
            while unclosed and self._closed():
                closed, _, start = unclosed.pop()
                closed.value = (start, self.at)
            if not unclosed:
                return
            around, mark, _ = unclosed[-1]
            node = self._key(around) if mark == "{" else around.item((self.at, self.at))

    def _closed(self) -> bool:
        """Step over a comma; and over a closing bracket, if there is one."""
        mark = self._skip()
        if mark == ",":
            self.at += 1
            mark = self._skip()
        self.at += mark in ("]", "}")
        return mark in ("]", "}")
