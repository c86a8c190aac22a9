"""Random TOML texts: the spans of keys and values are right, and syntax errors have an offset."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.toml_source import TomlSource
from tests.kit.effort import count_examples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from envcompile.diagnostics.source import KeyPath

Names = tuple[str, ...]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text("a'\"\\\n\r\t#]}=.,é\x1b ", max_size=9)
KEYS = st.sampled_from(["a", "b", "1", "true", "a.b", "", "1979-05-27", "é", "[a]"]) | TEXTS
MOMENTS = st.datetimes() | st.datetimes(timezones=st.just(dt.timezone(dt.timedelta(minutes=-90))))
SCALARS = (
    TEXTS | st.integers() | st.floats(allow_nan=False) | st.booleans() | MOMENTS | st.dates() | st.times()
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=16
)
TABLES = st.dictionaries(KEYS, VALUES | st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3), max_size=5)
SHORT = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r", "\x1b": "e", '"': '"', "\\": "\\"}


class Writer:
    """Writes a value as TOML in a random style."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.lines: list[str] = []
        self.without_text: set[KeyPath] = set()  # tables and arrays made by headers or dotted keys

    def any_of(self, *choices: str) -> str:
        return self.random.choice(choices)

    def blank(self) -> str:
        return self.any_of("", "", " ", "\t  ")

    def gap(self) -> str:
        """Whitespace and comments between the items of an array or an inline table."""
        return self.any_of("", "", " ", "\n", ' # ] } \' """ a.b = 1\n\t', "\n\n#\n")

    def end(self) -> str:
        return self.any_of("", "", "  ", ' # [a] = \' """ \\', "\n\n # '''", "\n \t")

    def escaped(self, character: str) -> str:
        forms = [f"\\U{ord(character):08X}"]
        forms += [f"\\u{ord(character):04x}"] if ord(character) < 0x10000 else []
        forms += [f"\\x{ord(character):02x}"] if ord(character) < 0x100 else []
        forms += [f"\\{SHORT[character]}"] * 3 if character in SHORT else []
        return self.any_of(*forms)

    def basic(self, text: str, raw: str = "") -> str:
        def written(character: str) -> str:
            plain = character in raw or character == "\t" or (character >= " " and character not in '"\\\x7f')
            return character if plain and self.random.random() < 0.9 else self.escaped(character)

        return "".join(map(written, text))

    def string(self, text: str) -> str:
        controls = {character for character in text if character < " " or character == "\x7f"} - {"\t"}
        forms = [f'"{self.basic(text)}"', self.long_basic(text)]
        if not controls and "'" not in text:
            forms.append(f"'{text}'")
        if controls <= {"\n"} and "'''" not in text:
            forms.append("'''" + ("\n" if text.startswith("\n") else self.any_of("", "\n")) + text + "'''")
        return self.any_of(*forms)

    def long_basic(self, text: str) -> str:
        parts = text.split('"')  # of quotes in a row, each third is escaped
        body = self.basic(parts[0], "\n")
        for part in parts[1:]:
            body += ('\\"' if body.endswith('""') else self.any_of('"', '"', '\\"')) + self.basic(part, "\n")
        start = "\n" if body.startswith("\n") else self.any_of("", "\n", "\\\n  ", "\\ \n\n")
        if start.startswith("\\") and body[:1] in (" ", "\t", "\n"):
            start = "\n"
        return f'"""{start}{body}"""'

    def name(self, name: str) -> str:
        forms = [f'"{self.basic(name)}"']
        if name.isascii() and name.replace("-", "a").replace("_", "a").isalnum():
            forms += [name] * 3
        if all(character >= " " and character not in "'\x7f" for character in name):
            forms.append(f"'{name}'")
        return self.any_of(*forms)

    def dotted(self, names: Names) -> str:
        return f"{self.blank()}.{self.blank()}".join(map(self.name, names))

    def scalar(self, value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (dt.datetime, dt.time)):
            text = value.isoformat(self.any_of("T", " ")) if isinstance(value, dt.datetime) else value.isoformat()
            return text.removesuffix(":00") if text.endswith(":00:00") else text
        return str(value)

    def value(self, value: object) -> str:
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, dict):
            items, brackets = [text for name, item in value.items() for text in self.inline(name, item)], "{}"
        elif isinstance(value, list):
            items, brackets = [self.value(item) for item in value], "[]"
        else:
            return self.scalar(value)
        comma = self.gap() + "," if items and self.any_of("", ",") else ""
        body = f"{self.gap()},{self.gap()}".join(items)
        return brackets[0] + self.gap() + body + comma + self.gap() + brackets[1]

    def inline(self, name: str, item: object) -> Iterator[str]:
        yield f"{self.name(name)}{self.blank()}={self.blank()}{self.value(item)}"

    def body(self, table: dict[str, Any], path: KeyPath, names: Names) -> dict[str, Any]:
        """Write the keys of a table that need no header. Returns the others."""
        left = {}
        for name, value in table.items():
            here = (*path, name)
            tables = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
            if not names and (isinstance(value, dict) or tables) and self.random.random() < 0.5:
                left[name] = value
            elif isinstance(value, dict) and value and self.random.random() < 0.5:
                self.without_text.add(here)
                self.body(value, here, (*names, name))
            else:
                key = self.dotted((*names, name))
                line = f"{self.blank()}{key}{self.blank()}={self.blank()}{self.value(value)}"
                self.lines.append(line + self.end())
        return left

    def header(self, brackets: str, names: Names) -> None:
        inner = f"{self.blank()}{self.dotted(names)}{self.blank()}"
        self.lines.append(self.blank() + brackets + inner + "]" * len(brackets) + self.end())

    def headed(self, table: dict[str, Any], path: KeyPath, names: Names) -> None:
        """Write the keys of a table that need a header."""
        for name, value in table.items():
            here, its = (*path, name), (*names, name)
            self.without_text.add(here)
            if isinstance(value, list):
                for index, item in enumerate(value):
                    self.without_text.add((*here, index))
                    self.header("[[", its)
                    self.headed(self.body(item, (*here, index), ()), (*here, index), its)
            elif value and all(isinstance(item, dict) for item in value.values()) and self.any_of("", "late"):
                self.headed(value, here, its)  # the header of a table after those of its subtables, or no header
                if self.any_of("", "late"):
                    self.header("[", its)
            else:
                self.header("[", its)
                self.headed(self.body(value, here, ()), here, its)

    def document(self, table: dict[str, Any]) -> str:
        self.lines.append(self.end().lstrip(" ") if self.any_of("", "comment") else "")
        self.headed(self.body(table, (), ()), (), ())
        text = "\n".join(self.lines) + self.any_of("", "\n")
        return text.replace("\n", "\r\n") if self.any_of("", "crlf") else text


def paths(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    if path:
        yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from paths(item, (*path, name))


def names_of(header: str) -> Names:
    """The names in a header."""
    names: Names = ()
    inner: Any = tomli.loads(header)
    while inner:
        name, inner = next(iter(inner.items()))
        names = (*names, name)
        inner = inner[0] if isinstance(inner, list) else inner
    return names


def problem_of(source: TomlSource) -> Diagnostic | None:
    try:
        _ = source.value
    except DiagnosticsError as problem:
        (found,) = problem.diagnostics
        return found
    return None


@settings(max_examples=count_examples(200))
@given(table=TABLES, random=st.randoms(use_true_random=False))
def test_spans_parse_to_key_and_value(table: dict[str, Any], random: Random) -> None:
    """The text at the span of a key parses to its name, and the text at the span of its value to the value."""
    writer = Writer(random)
    text = writer.document(table)
    source = TomlSource("s", text)
    parsed = source.value
    assert parsed == table
    for path, value in paths(parsed):
        key, place = source.find_key(path), source.find_value(path)
        assert key is not None
        assert place is not None
        key_text, value_text = text[key.start : key.end], text[place.start : place.end]
        if isinstance(path[-1], int):
            assert key == place
        else:
            assert tomli.loads(f"{key_text} = 1") == {path[-1]: 1}
        if path not in writer.without_text:
            assert repr(tomli.loads(f"x = {value_text}")["x"]) == repr(value)
        elif value_text != key_text or isinstance(path[-1], int):  # the header that creates the table; it may be longer
            names = tuple(part for part in path if isinstance(part, str))
            assert names_of(value_text)[: len(names)] == names


@settings(max_examples=count_examples(200))
@given(table=TABLES, random=st.randoms(use_true_random=False))
def test_broken_text_has_a_message_and_an_offset(table: dict[str, Any], random: Random) -> None:
    """A broken text gives a value, or a diagnostic with an offset in the text; no span is outside of the text."""
    text = Writer(random).document(table)
    cut = random.randint(0, len(text))
    source = TomlSource("s", text[:cut] + random.choice(["", *"'\"[]{}=.,#\\\r\n\0", "a.b", '"""']) + text[cut + 1 :])
    problem = problem_of(source)
    if problem:
        assert problem.message
        assert problem.offset is not None
        assert 0 <= problem.offset <= len(source.text)
        place = source.locate_offset(problem.offset)
        assert 0 < place.column <= len(source.get_line(place.line)) + 2
    for path, _ in paths(table):
        for span in (source.find_key(path), source.find_value(path), source.find_nearest_value(path)):
            assert span is None or 0 <= span.start <= span.end <= len(source.text)
