"""Where in a JSON text a value stands: looked for only when there is something to say of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.base_image.catalogue import CATALOGUE_FORMAT, Catalogue
from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError, did_you_mean, format_count
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envcompile.diagnostics.source import KeyPath

_WHITESPACE = re.compile(r"[ \t\r\n]*")
_JSON_DECODER = json.JSONDecoder()


def find_offset(text: str, path: KeyPath, *, key: bool = False) -> int:
    """The offset in characters of the value at `path`, or of its key; of the nearest value around it if it is none.

    The text must be JSON. Of a key that stands twice, the last is meant, as for whoever reads the text.
    """
    at = _skip_whitespace(text, 0)
    for number, part in enumerate(path, 1):
        found = [each for each in _iter_entries(text, at) if each[0] == part]
        if not found:
            break
        _, start, value = found[-1]
        at = start if key and number == len(path) else value
    return at


def _iter_entries(text: str, at: int) -> Iterator[tuple[str | int, int, int]]:
    """Key or index of each entry of the object or array at `at`, where it starts, and where its value does."""
    if text[at] not in "{[":
        return
    named, number = text[at] == "{", 0
    at = _skip_whitespace(text, at + 1)
    while text[at] not in "}]":
        start, name = at, number
        if named:
            name, at = _JSON_DECODER.raw_decode(text, at)
            at = _skip_whitespace(text, _skip_whitespace(text, at) + 1)
        yield name, start, at
        _, at = _JSON_DECODER.raw_decode(text, at)
        at = _skip_whitespace(text, at)
        at = _skip_whitespace(text, at + 1) if text[at] == "," else at
        number += 1


def _skip_whitespace(text: str, at: int) -> int:
    found = _WHITESPACE.match(text, at)
    return found.end() if found else at


# A JSON value against a JSON Schema: every mistake, with its path. Of draft-07 as much as our catalogue's schema uses.
#
# Its own few lines instead of a library: the one there is takes 60 ms to import, and its sentences are for programmers.


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


class SchemaViolation(NamedTuple):
    """What is wrong with the value, or with `key` the key, at a path; `hint` is what mends it."""

    path: KeyPath
    message: str
    hint: str | None = None
    is_key: bool = False


def iter_violations(value: Any, schema: Mapping[str, Any], path: KeyPath = ()) -> Iterator[SchemaViolation]:
    """Everything in which a value is not of the schema's shape, in the order of the text.

    What is of another type than expected is not looked into.
    """
    wanted = schema.get("type")
    if wanted and find_json_type(value) != wanted:
        yield SchemaViolation(
            path,
            f"{format_json_path(path)} must be {_add_article(wanted)}, and is {_add_article(find_json_type(value))}",
        )
        return
    for keyword in schema:
        if check := _KEYWORD_CHECKS.get(keyword):
            yield from check(value, schema, path)


def find_json_type(value: Any) -> str:
    """JSON's word for the type of a value."""
    return _JSON_TYPES[type(value)]


def format_json_path(path: KeyPath) -> str:
    """`images.rows[3][1]`, in backticks; of the empty path, the whole."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"`{words.lstrip('.')}`" if path else "the catalogue"


def _add_article(word: str) -> str:
    return word if word == "null" else f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _quote_value(value: Any) -> str:
    text = str(value)
    return f"`{text if len(text) <= _MAX_QUOTED_LENGTH else text[:_MAX_QUOTED_LENGTH] + '…'}`"


def _check_required(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    for name in schema["required"]:
        if name not in value:
            yield SchemaViolation(path, f"{format_json_path(path)} has no `{name}`")


def _check_properties(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    """`properties` and `additionalProperties`, key by key in the order of the text."""
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, each in value.items():
        if name in known:
            yield from iter_violations(each, known[name], (*path, name))
        elif others is False:
            message = f"{format_json_path(path)} knows no `{_quote_value(name).strip('`')}`"
            yield SchemaViolation((*path, name), message, did_you_mean(name, known), is_key=True)
        else:
            yield from iter_violations(each, others, (*path, name))


def _check_additional_properties(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    """Of an object whose keys have no names, which `_object` is not asked for."""
    return iter(()) if "properties" in schema else _check_properties(value, schema, path)


def _check_property_names(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    pattern = schema["propertyNames"]["pattern"]
    for name in value:
        if not re.search(pattern, name):
            yield SchemaViolation(
                (*path, name),
                f"{_quote_value(name)} in {format_json_path(path)} does not match `{pattern}`",
                is_key=True,
            )


def _check_items(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    """Of an array each entry; where the schema has a list, one schema for each place."""
    items = schema["items"]
    if not isinstance(items, list):
        for number, each in enumerate(value):
            yield from iter_violations(each, items, (*path, number))
        return
    if len(value) != len(items):
        yield SchemaViolation(
            path, f"{format_json_path(path)} has {format_count(len(value), 'value')}, and {len(items)} belong there"
        )
        return
    for number, (each, item) in enumerate(zip(value, items, strict=True)):
        yield from iter_violations(each, item, (*path, number))


def _check_min_items(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    if not isinstance(schema.get("items"), list) and len(value) < schema["minItems"]:
        yield SchemaViolation(
            path, f"{format_json_path(path)} has fewer than {format_count(schema['minItems'], 'value')}"
        )


def _check_min_length(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    if len(value) < schema["minLength"]:
        yield SchemaViolation(path, f"{format_json_path(path)} is empty")


def _check_pattern(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    # `$` of a schema is the end of the text, and not a line's before it.
    if not re.search(schema["pattern"].replace("$", r"\Z"), value):
        yield SchemaViolation(
            path, f"{format_json_path(path)} is {_quote_value(value)}, which does not match `{schema['pattern']}`"
        )


def _check_enum(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    if value not in schema["enum"]:
        known = ", ".join(f"`{each}`" if each else "nothing" for each in schema["enum"])
        yield SchemaViolation(
            path,
            f"{format_json_path(path)} is {_quote_value(value)}, and may be {known}",
            did_you_mean(str(value), schema["enum"]),
        )


def _check_const(value: Any, schema: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaViolation]:
    # In Python `True == 1`; in JSON Schema they differ.
    if value != schema["const"] or isinstance(value, bool) is not isinstance(schema["const"], bool):
        yield SchemaViolation(
            path, f"{format_json_path(path)} is {_quote_value(value)}, and must be {_quote_value(schema['const'])}"
        )


_KEYWORD_CHECKS: dict[str, Callable[[Any, Mapping[str, Any], KeyPath], Iterator[SchemaViolation]]] = {
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


# A catalogue that somebody hands in: all that is wrong with it at once, each with its place in the file.


CATALOGUE_RULE = "catalogue"
_SCHEMA_HINT = "`envcompile schema catalogue` prints the form, which editors check while one writes"


def parse_checked_catalogue(name: str, text: str, schema: Mapping[str, Any]) -> Catalogue:
    """The catalogue of a text that is shown as `name`. `schema` is that of `schemas/catalogue.v1.json`.

    Raises `DiagnosticsError` with every mistake and its place.
    """
    source = TomlSource(name, text)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"`{name}` is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise DiagnosticsError(
            source, [Diagnostic(CATALOGUE_RULE, message, hint=_SCHEMA_HINT, offset=error.pos)]
        ) from None
    except RecursionError:
        raise DiagnosticsError(
            source, [Diagnostic(CATALOGUE_RULE, f"`{name}` is nested too deeply", hint=_SCHEMA_HINT, offset=0)]
        ) from None
    if isinstance(data, dict) and data.get("format") != CATALOGUE_FORMAT and "format" in data:
        message = f"the catalogue is of format {data['format']!r}, and this release reads format {CATALOGUE_FORMAT}"
        where = find_offset(text, ("format",))
        raise DiagnosticsError(
            source, [Diagnostic(CATALOGUE_RULE, message, hint="take one for this release", offset=where)]
        )
    found = list(iter_violations(data, schema)) or list(_iter_contradictions(data))
    if found:
        rows = [
            Diagnostic(
                CATALOGUE_RULE,
                each.message,
                hint=each.hint or _SCHEMA_HINT,
                offset=find_offset(text, each.path, key=each.is_key),
            )
            for each in found
        ]
        raise DiagnosticsError(source, rows)
    return Catalogue(data, text)


def _iter_contradictions(data: Mapping[str, Any]) -> Iterator[SchemaViolation]:
    """What no schema can say: names that must be elsewhere in the catalogue, and rows that stand twice."""
    yield from _iter_image_contradictions(data)
    systems, libraries = {row[0] for row in data["systems"]["rows"]}, data["libraries"]
    named = [(("policy", "systems", at), each) for at, each in enumerate(data["policy"]["systems"])]
    named += [(("systems", "debian", word), each) for word, each in data["systems"]["debian"].items()]
    for path, each in named:
        if each not in systems:
            yield SchemaViolation(path, f"`{each}` is no system of the table `systems`", did_you_mean(each, systems))
    for row, need in enumerate(data["needs"]):
        for key in ("libraries", "path"):
            for at, each in enumerate(need.get(key, ())):
                if each not in libraries:
                    message = f"`{each}` is no part of CUDA in the table `libraries`"
                    yield SchemaViolation(("needs", row, key, at), message, did_you_mean(each, libraries))
    releases = {minor_release(row[0]) for row in data["images"]["rows"]}
    for word, each in data["policy"]["minors"].items():
        if each not in releases:
            yield SchemaViolation(
                ("policy", "minors", word), f"there is no image of CUDA `{each}` in the table `images`"
            )


def _iter_image_contradictions(data: Mapping[str, Any]) -> Iterator[SchemaViolation]:
    rows, systems = data["images"]["rows"], {row[0] for row in data["systems"]["rows"]}
    if not rows:
        yield SchemaViolation(("images", "rows"), "there is no image in the table `images`")
    seen: set[tuple[str, str]] = set()
    for number, (cuda, system, *_) in enumerate(rows):
        if system not in systems:
            hint = did_you_mean(system, systems)
            yield SchemaViolation(
                ("images", "rows", number, 1), f"`{system}` is no system of the table `systems`", hint
            )
        if (cuda, system) in seen:
            yield SchemaViolation(
                ("images", "rows", number), f"CUDA `{cuda}` on `{system}` stands twice in the table `images`"
            )
        seen.add((cuda, system))
    if data["images"]["cudnn-words"][:1] != [] and data["images"]["cudnn-words"][0][0] == "0":
        return
    yield SchemaViolation(("images", "cudnn-words"), "`images.cudnn-words` does not begin with the word from `0` on")
