"""The text of a catalogue: JSON with one row per line, so that diffs are readable. Each value has exactly one text."""

from __future__ import annotations

import json
from typing import Any

_WIDEST = 120


def dumps(data: dict[str, Any]) -> str:
    """Return the text of a catalogue, with a newline at the end."""
    return f"{_broken(data, 0)}\n"


def _value(value: Any, depth: int, before: int) -> str:
    """Return the text of a value that follows `before` characters on its line."""
    line = _line(value)
    if isinstance(value, dict):
        return line if before + len(line) < _WIDEST else _broken(value, depth)
    if isinstance(value, list) and any(isinstance(each, (list, dict)) for each in value):
        inner = " " * (depth + 1)
        rows = ",\n".join(f"{inner}{_line(each)}" for each in value)
        return f"[\n{rows}\n{' ' * depth}]"
    return line


def _broken(value: dict[str, Any], depth: int) -> str:
    inner = " " * (depth + 1)
    keys = {key: f"{inner}{_line(key)}: " for key in value}
    rows = ",\n".join(f"{start}{_value(value[key], depth + 1, len(start))}" for key, start in keys.items())
    return f"{{\n{rows}\n{' ' * depth}}}"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
