"""The validation of a catalogue that a user provides. It reports all mistakes at once, each at its place in the file.

A catalogue is JSON. First its shape is checked against `schemas/catalogue.v1.json`, then the references between its
tables, which no schema can express. The validator here implements the part of JSON Schema draft-07 that this schema
uses: the library `jsonschema` takes 60 ms to import, and its messages are written for programmers.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from envcompile.base_image.catalogue import CATALOGUE_FORMAT, Catalogue
from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError, did_you_mean, format_count
from envcompile.diagnostics.source import JsonSource
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envcompile.diagnostics.source import KeyPath

_JSON_TYPES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}
_MAX_QUOTED_LENGTH = 40
_SCHEMA_HINT = "check the file against the schema that `envcompile schema catalogue` prints"


def parse_checked_catalogue(name: str, text: str, schema: Mapping[str, Any]) -> Catalogue:
    """Return the catalogue in a text.

    `name` is the name of the file, and `schema` is the content of `schemas/catalogue.v1.json`. Raises
    `DiagnosticsError` with all mistakes if the text is not a valid catalogue.
    """
    source = JsonSource(name, text)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"`{name}` is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        found = Diagnostic("catalogue", message, hint=_SCHEMA_HINT, offset=error.pos)
        raise DiagnosticsError(source, [found]) from None
    except ValueError:  # Python refuses to read more than 4,300 decimal digits
        found = Diagnostic("catalogue", f"a number in `{name}` has too many digits", hint=_SCHEMA_HINT, offset=0)
        raise DiagnosticsError(source, [found]) from None
    except RecursionError:
        found = Diagnostic("catalogue", f"`{name}` is nested too deeply", hint=_SCHEMA_HINT, offset=0)
        raise DiagnosticsError(source, [found]) from None
    if isinstance(data, dict) and data.get("format") != CATALOGUE_FORMAT and "format" in data:
        message = f"the catalogue has format {data['format']!r}, but this release reads format {CATALOGUE_FORMAT}"
        hint = "use a catalogue for this release of envcompile"
        raise DiagnosticsError(source, [Diagnostic("catalogue", message, ("format",), hint)])
    if mistakes := list(iter_schema_violations(data, schema)) or list(_iter_contradictions(data)):
        raise DiagnosticsError(source, mistakes)
    return Catalogue(data, text)


def iter_schema_violations(value: Any, schema: Mapping[str, Any], path: KeyPath = ()) -> Iterator[Diagnostic]:
    """Yield the mistakes in the shape of a value, in the order of the text.

    The content of a value of the wrong type is not checked.
    """
    expected = schema.get("type")
    actual = _JSON_TYPES[type(value)]
    if expected and actual != expected:
        yield _mistake(path, f"{_format_path(path)} must be {_add_article(expected)}, not {_add_article(actual)}")
        return
    for keyword in schema:
        if check := _KEYWORD_CHECKS.get(keyword):
            yield from check(value, schema, path)


def _mistake(path: KeyPath, message: str, hint: str | None = None, target: str = "value") -> Diagnostic:
    return Diagnostic("catalogue", message, path, hint or _SCHEMA_HINT, target)


def _format_path(path: KeyPath) -> str:
    """Return a path for messages, in backticks: `images.rows[3][1]`."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"`{words.lstrip('.')}`" if path else "the catalogue"


def _add_article(word: str) -> str:
    return word if word == "null" else f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _quote_value(value: Any) -> str:
    text = str(value)
    return f"`{text if len(text) <= _MAX_QUOTED_LENGTH else text[:_MAX_QUOTED_LENGTH] + '…'}`"


def _check_required(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    for name in schema["required"]:
        if name not in value:
            yield _mistake(path, f"`{name}` is missing from {_format_path(path)}")


def _check_properties(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    """Check the keywords `properties` and `additionalProperties`, key by key in the order of the text."""
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, each in value.items():
        if name in known:
            yield from iter_schema_violations(each, known[name], (*path, name))
        elif others is False:
            message = f"unknown key {_quote_value(name)} in {_format_path(path)}"
            yield _mistake((*path, name), message, did_you_mean(name, known), "key")
        else:
            yield from iter_schema_violations(each, others, (*path, name))


def _check_additional_properties(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    """Check the keyword `additionalProperties` of a schema without `properties`."""
    return iter(()) if "properties" in schema else _check_properties(value, schema, path)


def _check_property_names(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    pattern = schema["propertyNames"]["pattern"]
    for name in value:
        if not re.search(pattern, name):
            message = f"the key {_quote_value(name)} in {_format_path(path)} does not match `{pattern}`"
            yield _mistake((*path, name), message, target="key")


def _check_items(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    """Check the items of an array. If `items` is a list of schemas, each position has its own schema."""
    items = schema["items"]
    if not isinstance(items, list):
        for index, each in enumerate(value):
            yield from iter_schema_violations(each, items, (*path, index))
        return
    if len(value) != len(items):
        yield _mistake(path, f"{_format_path(path)} must have {format_count(len(items), 'value')}, not {len(value)}")
        return
    for index, (each, item) in enumerate(zip(value, items, strict=True)):
        yield from iter_schema_violations(each, item, (*path, index))


def _check_min_items(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    if not isinstance(schema.get("items"), list) and len(value) < schema["minItems"]:
        yield _mistake(path, f"{_format_path(path)} must have at least {format_count(schema['minItems'], 'value')}")


def _check_min_length(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    if len(value) < schema["minLength"]:
        yield _mistake(path, f"{_format_path(path)} is empty")


def _check_pattern(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    # In JSON Schema, `$` matches only at the end of the text; in Python, it also matches before a final newline.
    if not re.search(schema["pattern"].replace("$", r"\Z"), value):
        message = f"{_format_path(path)} is {_quote_value(value)}, which does not match `{schema['pattern']}`"
        yield _mistake(path, message)


def _check_enum(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    if value not in schema["enum"]:
        choices = ", ".join(f"`{each}`" for each in schema["enum"] if each)
        empty = "empty or " if "" in schema["enum"] else ""
        message = f"{_format_path(path)} must be {empty}one of {choices}, not {_quote_value(value)}"
        yield _mistake(path, message, did_you_mean(str(value), schema["enum"]))


def _check_const(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[Diagnostic]:
    # In Python `True == 1`; in JSON Schema they differ.
    if value != schema["const"] or isinstance(value, bool) is not isinstance(schema["const"], bool):
        yield _mistake(path, f"{_format_path(path)} must be {_quote_value(schema['const'])}, not {_quote_value(value)}")


_KEYWORD_CHECKS: dict[str, Callable[[Any, Mapping[str, Any], KeyPath], Iterator[Diagnostic]]] = {
    "required": _check_required,
    "propertyNames": _check_property_names,
    "properties": _check_properties,
    "additionalProperties": _check_additional_properties,
    "items": _check_items,
    "minItems": _check_min_items,
    "minLength": _check_min_length,
    "pattern": _check_pattern,
    "enum": _check_enum,
    "const": _check_const,
}


def _iter_contradictions(data: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Yield the references to rows that do not exist, and the rows that occur twice."""
    yield from _iter_image_contradictions(data)
    systems, libraries = {row[0] for row in data["systems"]["rows"]}, data["libraries"]
    references = [(("policy", "systems", index), each) for index, each in enumerate(data["policy"]["systems"])]
    references += [(("systems", "debian", name), each) for name, each in data["systems"]["debian"].items()]
    for path, each in references:
        if each not in systems:
            yield _mistake(path, f"the table `systems` has no row for `{each}`", did_you_mean(each, systems))
    for row, need in enumerate(data["needs"]):
        for key in ("libraries", "path"):
            for index, each in enumerate(need.get(key, ())):
                if each not in libraries:
                    message = f"the table `libraries` has no row for `{each}`"
                    yield _mistake(("needs", row, key, index), message, did_you_mean(each, libraries))
    releases = {minor_release(row[0]) for row in data["images"]["rows"]}
    for major, each in data["policy"]["minors"].items():
        if each not in releases:
            yield _mistake(("policy", "minors", major), f"the table `images` has no image of CUDA `{each}`")


def _iter_image_contradictions(data: Mapping[str, Any]) -> Iterator[Diagnostic]:
    rows, systems = data["images"]["rows"], {row[0] for row in data["systems"]["rows"]}
    if not rows:
        yield _mistake(("images", "rows"), "the table `images` has no rows")
    seen: set[tuple[str, str]] = set()
    for index, (cuda, system, *_) in enumerate(rows):
        path: KeyPath = ("images", "rows", index)
        if system not in systems:
            message = f"the table `systems` has no row for `{system}`"
            yield _mistake((*path, 1), message, did_you_mean(system, systems))
        if (cuda, system) in seen:
            yield _mistake(path, f"the table `images` lists CUDA `{cuda}` on `{system}` twice")
        seen.add((cuda, system))
    first = data["images"]["cudnn-words"][:1]
    if not first or first[0][0] != "0":
        yield _mistake(("images", "cudnn-words"), "the first row of `images.cudnn-words` must be for version `0`")
