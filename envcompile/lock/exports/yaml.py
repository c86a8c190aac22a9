"""YAML of one spelling: what we export is made of strings, numbers, lists and mappings, and needs no library."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Value: TypeAlias = "str | int | bool | Sequence[Value] | Mapping[str, Value]"

# A plain word is a string, but for those that YAML 1.1 takes for something else.
_WORD = re.compile(r"[a-z][a-z0-9_-]*")
_NO_STRINGS = frozenset("y n yes no on off true false null".split())


def dumps(value: Mapping[str, Value]) -> str:
    """The text of a mapping, keys in their order."""
    return "".join(f"{line}\n" for line in _mapping(value))


def _mapping(value: Mapping[str, Value]) -> Iterator[str]:
    for key, each in value.items():
        yield from _item(f"{_scalar(key)}:", each)


def _item(head: str, value: Value) -> Iterator[str]:
    if isinstance(value, str | int) or not value:
        yield f"{head} {_scalar(value)}"
        return
    yield head
    if isinstance(value, Mapping):
        yield from (f"  {line}" for line in _mapping(value))
        return
    for each in value:
        lines = _mapping(each) if isinstance(each, Mapping) and each else iter((_scalar(each),))
        yield f"  - {next(lines)}"
        yield from (f"    {line}" for line in lines)


def _scalar(value: Value) -> str:
    if isinstance(value, str) and _WORD.fullmatch(value) and value not in _NO_STRINGS:
        return value
    # JSON is YAML in its flow style.
    return json.dumps(value, ensure_ascii=False)
