"""Readers: from one TOML value to one typed value, or a diagnostic and nothing.

A reader is a function of (problems, key path, value). It never raises: it adds what is wrong to `problems` and
answers None, so that all mistakes of a file are found at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from envcompile.diagnostics import Diagnostic, did_you_mean, redact, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envcompile.source import KeyPath

    Found = list[Diagnostic]
    Value = TypeVar("Value")
    Reader = Callable[[Found, KeyPath, Any], Value | None]

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_LINE_END = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]")
# What mends a value of a wrong type: by what is expected and, where that tells more, by what is there.
_MENDING = {
    ("a string", "an array"): "write one string in quotes",
    ("a string", "a table"): "write one string in quotes",
    "a string": "put it in quotes",
    "an array": "put it in brackets: `[...]`",
    ("an array", "a table"): "write a list in brackets: `[...]`",
    "an integer": "write the bare number, without quotes",
    "a boolean": "write `true` or `false`, without quotes",
    "a table": "write keys with values, such as `{ key = ... }`",
}


def kind(value: object) -> str:
    """What TOML calls the value's type."""
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}
    return names.get(type(value), "a date or a time")


def wrong_type(found: Found, path: KeyPath, expected: str, value: object) -> None:
    """Note that the value at `path` is of another type than the one expected (an article and a noun)."""
    last = path[-1]
    named = f"`{shown(last)}`" if isinstance(last, str) else f"entry {last + 1} of `{path[-2]}`"
    hint = _MENDING.get((expected, kind(value))) or _MENDING.get(expected) or f"write {expected}"
    found.append(Diagnostic("wrong-type", f"{named} must be {expected}, not {kind(value)}", path, hint))


def text(found: Found, path: KeyPath, value: Any) -> str | None:
    """A string without control characters (tabs are allowed)."""
    if not isinstance(value, str):
        wrong_type(found, path, "a string", value)
        return None
    return value if clean(found, path, value) else None


def clean(found: Found, path: KeyPath, value: str, of: str = "value") -> bool:
    """Whether a string holds no control character; notes it if it does."""
    control = CONTROL.search(value)
    if control:
        message = f"a control character (U+{ord(control.group()):04X}) stands in this {of}"
        hint = "write the text on one line" if _LINE_END.search(value) else "take it out"
        found.append(Diagnostic("control-character", message, path, hint, of))
    return not control


def matching(pattern: str, rule: str, expected: str, hint: str | None = None) -> Reader[str]:
    """A reader of strings that match the whole pattern. `expected` completes "`x` is not ..."."""
    compiled = re.compile(pattern)

    def read(found: Found, path: KeyPath, value: Any) -> str | None:
        string = text(found, path, value)
        if string is not None and not compiled.fullmatch(string):
            found.append(Diagnostic(rule, f"`{shown(string)}` is not {expected}", path, hint))
            return None
        return string

    return read


def shown(string: str) -> str:
    """A string fit for a sentence: secrets starred out before it is shortened, nothing that a terminal would obey."""
    safe = visible(redact(string)) or '""'
    return safe if len(safe) <= 80 else safe[:77] + "..."  # noqa: PLR2004 - a line of a terminal


def array(item: Reader[Value]) -> Reader[tuple[Value, ...]]:
    """A reader of arrays; wrong items are noted and left out."""

    def read(found: Found, path: KeyPath, value: Any) -> tuple[Value, ...] | None:
        if not isinstance(value, list):
            wrong_type(found, path, "an array", value)
            return None
        items = (item(found, (*path, index), each) for index, each in enumerate(value))
        return tuple(each for each in items if each is not None)

    return read


def mapping(key: Callable[[Found, KeyPath, str], bool], item: Reader[str]) -> Reader[tuple[tuple[str, str], ...]]:
    """A reader of tables with free keys, as pairs sorted by key."""

    def read(found: Found, path: KeyPath, value: Any) -> tuple[tuple[str, str], ...] | None:
        if not isinstance(value, dict):
            wrong_type(found, path, "a table", value)
            return None
        pairs = [
            (name, string)
            for name, each in value.items()
            if key(found, (*path, name), name) and (string := item(found, (*path, name), each)) is not None
        ]
        return tuple(sorted(pairs))

    return read


def boolean(found: Found, path: KeyPath, value: Any) -> bool | None:
    """True or false."""
    if isinstance(value, bool):
        return value
    wrong_type(found, path, "a boolean", value)
    return None


def table(found: Found, path: KeyPath, value: Any, readers: Mapping[str, Reader[Any]]) -> dict[str, Any]:
    """The keys of one table, read by their readers; unknown keys are noted."""
    if not isinstance(value, dict):
        wrong_type(found, path, "a table", value)
        return {}
    where = f"`{'.'.join(part for part in path if isinstance(part, str))}`" if path else "the top level of a spec"
    values: dict[str, Any] = {}
    for name, each in value.items():
        here = (*path, name)
        if name in readers:
            values[name] = readers[name](found, here, each)
        elif clean(found, here, name, "key"):
            hint = did_you_mean(name, readers) or f"known are {', '.join(f'`{key}`' for key in readers)}"
            message = f"`{shown(name)}` is not a key of {where}"
            found.append(Diagnostic("unknown-key", message, here, hint, "key"))
    return {name: each for name, each in values.items() if each is not None}
