"""Writes TOML: the lock, `pylock.toml`, and the settings files that uv is run with.

The functions return the lines of a document, in one spelling for each value. A table inside a value is an inline table,
and a key whose value is None is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TomlValue: TypeAlias = "str | int | bool | Sequence[TomlValue] | Mapping[str, TomlValue | None]"
TomlTable: TypeAlias = Mapping[str, "TomlValue | None"]

_BARE_KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]+")


def format_toml_pair(key: str, value: TomlValue) -> str:
    """A line `key = value`."""
    return f"{_format_key(key)} = {format_toml_value(value)}\n"


def format_toml_rows(key: str, rows: Iterable[TomlTable]) -> Iterator[str]:
    """An array of inline tables, one line for each, so that a diff shows whole rows."""
    yield f"{_format_key(key)} = [\n"
    for row in rows:
        yield f"    {format_toml_value(row)},\n"
    yield "]\n"


def format_toml_tables(key: str, tables: Iterable[TomlTable]) -> Iterator[str]:
    """An array of tables, each below its header `[[key]]`."""
    for table in tables:
        yield format_toml_header(key, is_array_item=True)
        yield from (format_toml_pair(name, value) for name, value in table.items() if value is not None)


def format_toml_header(*keys: str, is_array_item: bool = False) -> str:
    """A line `[key.key]`, or `[[key.key]]` for an item of an array of tables."""
    path = ".".join(map(_format_key, keys))
    return f"[[{path}]]\n" if is_array_item else f"[{path}]\n"


def format_toml_value(value: TomlValue) -> str:
    """A value on one line."""
    if isinstance(value, str):
        return _format_string(value)
    if isinstance(value, Mapping):
        pairs = (f"{_format_key(key)} = {format_toml_value(each)}" for key, each in value.items() if each is not None)
        return f"{{ {text} }}" if (text := ", ".join(pairs)) else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(format_toml_value, value))}]"
    return json.dumps(value)


def _format_string(text: str) -> str:
    # A JSON string is a TOML basic string, except that TOML requires an escape for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _format_key(key: str) -> str:
    return key if _BARE_KEY_PATTERN.fullmatch(key) else _format_string(key)
