"""A JSON value against a JSON Schema: every mistake, with its path. Of draft-07 as much as our catalogue's schema uses.

Its own few lines instead of a library: the one there is takes 60 ms to import, and its sentences are for programmers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.diagnostics.diagnostic import did_you_mean, format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envcompile.diagnostics.toml_source import KeyPath

_TYPES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}
_LONGEST = 40


class Mistake(NamedTuple):
    """What is wrong with the value, or with `key` the key, at a path; `hint` is what mends it."""

    path: KeyPath
    message: str
    hint: str | None = None
    key: bool = False


def mistakes(value: Any, schema: Mapping[str, Any], path: KeyPath = ()) -> Iterator[Mistake]:
    """Everything in which a value is not of the schema's shape, in the order of the text.

    What is of another type than expected is not looked into.
    """
    wanted = schema.get("type")
    if wanted and kind(value) != wanted:
        yield Mistake(path, f"{shown(path)} must be {_article(wanted)}, and is {_article(kind(value))}")
        return
    for keyword in schema:
        if check := _CHECKS.get(keyword):
            yield from check(value, schema, path)


def kind(value: Any) -> str:
    """JSON's word for the type of a value."""
    return _TYPES[type(value)]


def shown(path: KeyPath) -> str:
    """`images.rows[3][1]`, in backticks; of the empty path, the whole."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"`{words.lstrip('.')}`" if path else "the catalogue"


def _article(word: str) -> str:
    return word if word == "null" else f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _said(value: Any) -> str:
    text = str(value)
    return f"`{text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}`"


def _required(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    for name in schema["required"]:
        if name not in value:
            yield Mistake(path, f"{shown(path)} has no `{name}`")


def _object(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    """`properties` and `additionalProperties`, key by key in the order of the text."""
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, each in value.items():
        if name in known:
            yield from mistakes(each, known[name], (*path, name))
        elif others is False:
            message = f"{shown(path)} knows no `{_said(name).strip('`')}`"
            yield Mistake((*path, name), message, did_you_mean(name, known), key=True)
        else:
            yield from mistakes(each, others, (*path, name))


def _others(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    """Of an object whose keys have no names, which `_object` is not asked for."""
    return iter(()) if "properties" in schema else _object(value, schema, path)


def _names(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    pattern = schema["propertyNames"]["pattern"]
    for name in value:
        if not re.search(pattern, name):
            yield Mistake((*path, name), f"{_said(name)} in {shown(path)} does not match `{pattern}`", key=True)


def _items(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    """Of an array each entry; where the schema has a list, one schema for each place."""
    items = schema["items"]
    if not isinstance(items, list):
        for number, each in enumerate(value):
            yield from mistakes(each, items, (*path, number))
        return
    if len(value) != len(items):
        yield Mistake(path, f"{shown(path)} has {format_count(len(value), 'value')}, and {len(items)} belong there")
        return
    for number, (each, item) in enumerate(zip(value, items, strict=True)):
        yield from mistakes(each, item, (*path, number))


def _few(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    if not isinstance(schema.get("items"), list) and len(value) < schema["minItems"]:
        yield Mistake(path, f"{shown(path)} has fewer than {format_count(schema['minItems'], 'value')}")


def _short(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    if len(value) < schema["minLength"]:
        yield Mistake(path, f"{shown(path)} is empty")


def _pattern(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    # `$` of a schema is the end of the text, and not a line's before it.
    if not re.search(schema["pattern"].replace("$", r"\Z"), value):
        yield Mistake(path, f"{shown(path)} is {_said(value)}, which does not match `{schema['pattern']}`")


def _enum(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    if value not in schema["enum"]:
        known = ", ".join(f"`{each}`" if each else "nothing" for each in schema["enum"])
        yield Mistake(
            path, f"{shown(path)} is {_said(value)}, and may be {known}", did_you_mean(str(value), schema["enum"])
        )


def _const(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Mistake]:
    if value != schema["const"]:
        yield Mistake(path, f"{shown(path)} is {_said(value)}, and must be {_said(schema['const'])}")


_CHECKS: dict[str, Callable[[Any, Mapping[str, Any], KeyPath], Iterator[Mistake]]] = {
    "required": _required,
    "propertyNames": _names,
    "properties": _object,
    "additionalProperties": _others,
    "items": _items,
    "minItems": _few,
    "minLength": _short,
    "pattern": _pattern,
    "enum": _enum,
    "const": _const,
}
