"""A catalogue that somebody hands in: every mistake, at its place."""

from __future__ import annotations

import copy
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.base_image.catalogue_check import iter_schema_violations, parse_checked_catalogue
from envcompile.diagnostics.diagnostic import DiagnosticsError, find_span
from envcompile.diagnostics.source import JsonSource, TextSpan
from tests.kit.effort import count_examples

TEXT = files("envcompile.base_image").joinpath("data/catalogue.json").read_text("utf-8")
DATA: dict[str, Any] = json.loads(TEXT)
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/catalogue.v1.json").read_text("utf-8"))


def problems(text: str) -> list[tuple[str, int, int]]:
    """The messages with their lines and columns."""
    with pytest.raises(DiagnosticsError) as caught:
        parse_checked_catalogue("c.json", text, SCHEMA)
    source = caught.value.source
    places = [(each.message, source.locate_offset(find_span(each, source).start)) for each in caught.value.diagnostics]
    return [(message, place.line, place.column) for message, place in places]


def changed(**tables: Any) -> str:
    return json.dumps({**DATA, **tables})


def test_the_shipped_one_is_valid() -> None:
    found = parse_checked_catalogue("c.json", TEXT, SCHEMA)
    assert found.digest == load_default_catalogue().digest == f"sha256:{hashlib.sha256(TEXT.encode()).hexdigest()}"
    assert (found.date, found.images) == (load_default_catalogue().date, load_default_catalogue().images)


@pytest.mark.parametrize(
    ("text", "said", "line", "column"),
    [
        ("", "`c.json` is not JSON: expecting value", 1, 1),
        ('{\n "format": 1,\n}', "`c.json` is not JSON: ", 3, 1),
        ("[" * 100_000, "`c.json` is nested too deeply", 1, 1),
        ("[]", "the catalogue must be an object, not an array", 1, 1),
        ('{\n "format": 2, "date": 3}', "the catalogue has format 2, but this release reads format 1", 2, 12),
    ],
)
def test_no_catalogue_at_all(text: str, said: str, line: int, column: int) -> None:
    (found,) = problems(text)
    assert found[0].startswith(said)
    assert found[1:] == (line, column) or "is not JSON" in said


def test_all_mistakes_at_once() -> None:
    data = copy.deepcopy(DATA)
    data["images"]["rows"][7][3] = "amd64, arm64"
    data["drivers"]["floors"]["12"] = 525
    data["deleted"].append("12.x")
    data["needs"][0]["names"] = []
    del data["sizes"]
    assert [message for message, _, _ in problems(json.dumps(data, indent=1))] == [
        "`sizes` is missing from the catalogue",
        "`images.rows[7][3]` is `amd64, arm64`, which does not match `^[a-z0-9]+( [a-z0-9]+)*$`",
        f"`deleted[{len(data['deleted']) - 1}]` is `12.x`, which does not match `^[0-9]+(\\.[0-9]+)*$`",
        "`drivers.floors.12` must be a string, not a number",
        "`needs[0].names` must have at least 1 value",
    ]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (
            {"images": {**DATA["images"], "rows": [[*DATA["images"]["rows"][0]]] * 2}},
            ("lists CUDA `11.0.3` on `centos7` twice", "`images` has no image of CUDA `11.8`"),
        ),
        ({"images": {**DATA["images"], "rows": []}}, ("the table `images` has no rows",)),
        (
            {"images": {**DATA["images"], "cudnn-words": [["12.3.2", "cudnn9"]]}},
            ("`images.cudnn-words` must be for version `0`",),
        ),
        (
            {"policy": {**DATA["policy"], "systems": ["ubuntu24.4"]}},
            ("`systems` has no row for `ubuntu24.4`",),
        ),
        ({"policy": {**DATA["policy"], "minors": {"12": "12.7"}}}, ("the table `images` has no image of CUDA `12.7`",)),
        (
            {"needs": [{"names": ["x"], "class": "system", "source": "s", "libraries": ["cudn"], "path": ["moon"]}]},
            ("`libraries` has no row for `cudn`", "`libraries` has no row for `moon`"),
        ),
    ],
)
def test_what_contradicts_itself(tables: dict[str, Any], said: tuple[str, ...]) -> None:
    found = [message for message, _, _ in problems(changed(**tables))]
    for each in said:
        assert any(each in message for message in found), found


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path of a value; of long arrays the first and the last entries."""
    found = [path]
    if isinstance(value, dict):
        found += [each for key, inner in value.items() for each in paths(inner, (*path, key))]
    if isinstance(value, list):
        numbers = sorted({*range(min(2, len(value))), *range(max(len(value) - 2, 0), len(value))})
        found += [each for number in numbers for each in paths(value[number], (*path, number))]
    return found


def few(value: Any) -> Any:
    """The same with few rows: the schema's library takes a tenth of a second for all of them."""
    if isinstance(value, dict):
        return {key: few(inner) for key, inner in value.items()}
    return [few(inner) for inner in value[:4]] if isinstance(value, list) and len(value) > 7 else value


FEW = few(DATA)
PATHS = paths(FEW)
VALUES = [None, True, 0, 1.5, "", "x", "12.8.1", [], {}, ["x"], {"x": 1}]


@settings(max_examples=count_examples(150))
@example([(("format",), True)])
@given(
    st.lists(st.tuples(st.sampled_from(PATHS[1:]), st.sampled_from([*VALUES, "gone", "more"])), min_size=1, max_size=3)
)
def test_we_and_the_schema_agree(edits: list[tuple[tuple[str | int, ...], Any]]) -> None:
    """Whatever is put in a place, left out or added: a mistake for us is one for the schema's own library."""
    data = copy.deepcopy(FEW)
    for path, value in edits:
        inner: Any = data
        try:
            for part in path[:-1]:
                inner = inner[part]
            if isinstance(inner, dict) and isinstance(path[-1], int):
                continue  # an earlier edit has put a table in the place of an array, and JSON has no such key
            if value == "gone":
                del inner[path[-1]]
            elif value == "more":
                inner[path[-1]]["more"] = 1
            else:
                inner[path[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue
    found, agreed = list(iter_schema_violations(data, SCHEMA)), jsonschema.Draft7Validator(SCHEMA).is_valid(data)
    assert bool(found) != agreed
    source = JsonSource("c.json", json.dumps(data, indent=1))
    for each in found:
        span, is_key = find_span(each, source), each.target == "key"
        inner = data
        for part in each.path[:-1] if is_key else each.path:
            inner = inner[part]
        assert json.loads(source.text[span.start : span.end]) == (each.path[-1] if is_key else inner)


def test_a_line_end_does_not_slip_through_a_pattern() -> None:
    """Where `$` is Python's, as it is for the library, a last line end may follow."""
    rows = [["12.8.90\n", "12.8.1"]]
    assert problems(changed(runtimes={**DATA["runtimes"], "rows": rows}))


def test_a_place_of_what_is_not_there_is_the_nearest_around_it() -> None:
    source = JsonSource("c.json", '{"a": [1, {"b": 2}]}')
    assert source.find_value(("a", 1, "c")) is None
    assert source.find_nearest_value(("a", 1, "c")) == TextSpan(10, 18)
    assert source.find_nearest_value(("a", 7)) == TextSpan(6, 19)
    assert source.find_key(("a", 1, "b")) == TextSpan(11, 14)
    assert source.find_key(("a", 0)) == source.find_value(("a", 0)) == TextSpan(7, 8)
    assert JsonSource("c.json", '{"a": 1, "a": 2}').find_value(("a",)) == TextSpan(14, 15)
