"""The TOML writer: tomli reads back every value, and each value has one text."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from envcompile.project.toml_writer import (
    format_toml_header,
    format_toml_pair,
    format_toml_rows,
    format_toml_tables,
    format_toml_value,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = texts | st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
values = st.recursive(
    texts | st.booleans() | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
tables = st.dictionaries(keys, values, max_size=4)


@given(keys, values)
def test_tomli_reads_a_pair_back(key: str, value: Any) -> None:
    line = format_toml_pair(key, value)
    assert tomli.loads(line) == {key: value}
    assert line.count("\n") == 1


@given(keys, st.lists(tables, max_size=4))
def test_tomli_reads_rows_back(key: str, rows: list[dict[str, Any]]) -> None:
    text = "".join(format_toml_rows(key, rows))
    assert tomli.loads(text) == {key: rows}
    assert len(text.splitlines(keepends=True)) >= 2 + len(rows)
    assert text.count("\n    {") == len(rows)


@given(keys, st.lists(tables, min_size=1, max_size=4))
def test_tomli_reads_tables_back(key: str, rows: list[dict[str, Any]]) -> None:
    assert tomli.loads("".join(format_toml_tables(key, rows))) == {key: rows}


@given(st.lists(keys, min_size=1, max_size=4))
def test_tomli_reads_a_header_back(path: list[str]) -> None:
    value: Any = {}
    for key in reversed(path):
        value = {key: value}
    assert tomli.loads(format_toml_header(*path)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        ('"\\\x00\x7f\n', r'"\"\\\u0000\u007f\n"'),
        ("é\u2028", '"é\u2028"'),
        (True, "true"),
        (-1, "-1"),
        ([], "[]"),
        (("a", 1), '["a", 1]'),
        ({}, "{}"),
        ({"a": None}, "{}"),
        ({"a b": {"c": 1}, "d": None}, '{ "a b" = { c = 1 } }'),
    ],
)
def test_each_value_has_one_text(value: Any, text: str) -> None:
    assert format_toml_value(value) == text
