"""Every regular expression of the package, and how its time grows with the text.

Foreign texts (of indexes, registries, archives, images, programs, specs and locks) are matched by these patterns. A
pattern whose time is not linear is listed here with the limit of its text.
"""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import envcompile
from envcompile.diagnostics.toml_source import _BLANK_PATTERN, _KEY_PART_PATTERN
from envcompile.lock.families import FAMILIES
from envcompile.spec.conda import _BRACKET_VALUE_PATTERNS
from tests.kit.effort import limit_processor_time
from tests.kit.growth import find_growth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PACKAGE = Path(envcompile.__file__).parent
METHODS = ("match", "fullmatch", "search", "sub", "split", "findall", "finditer")


class FoundPattern(NamedTuple):
    """A pattern in the source code, and the method of `re` that uses it. `text` is None if it is made at run time."""

    place: str
    source: str
    text: str | None
    flags: int
    method: str


def load_module(path: Path) -> ModuleType:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return importlib.import_module(".".join(part for part in parts if part != "__init__"))


def evaluate(node: ast.expr, module: ModuleType) -> object:
    try:
        return eval(compile(ast.Expression(node), "pattern", "eval"), vars(module))
    except NameError:
        return None


def find_methods(name: str) -> set[str]:
    """The methods that are called on a compiled pattern in any module."""
    calls = re.compile(rf"\b{name}(?:\[[^\]]*\])?\.({'|'.join(METHODS)})\(")
    return {found for text in read_lines_with_calls() for found in calls.findall(text)}


@cache
def read_lines_with_calls() -> list[str]:
    texts = (path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    return [line for text in texts for line in text.split("\n") if any(f".{method}(" in line for method in METHODS)]


@cache
def find_patterns() -> tuple[FoundPattern, ...]:
    return tuple(iter_patterns())


def iter_patterns() -> Iterator[FoundPattern]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        if "scripts" in path.parts or ("re." not in text and "make_pattern_reader" not in text):
            continue
        module = load_module(path)
        tree = ast.parse(text)
        targets = {
            id(node.value): node.targets[0].id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = ast.unparse(node.func)
            method = called.removeprefix("re.")
            if called == "make_pattern_reader":
                methods = {"fullmatch"}
            elif called == "re.compile":
                # A pattern in a table is used as the fields of a lock are: it must match the whole text.
                methods = find_methods(targets[id(node)]) if id(node) in targets else {"fullmatch"}
                methods = methods or {"fullmatch"}
            elif called.startswith("re.") and method in METHODS:
                methods = {method}
            else:
                continue
            pattern = evaluate(node.args[0], module)
            flags = [*(each.value for each in node.keywords if each.arg == "flags")]
            if called.startswith("re.") and method not in ("sub", "split"):
                flags += node.args[1 if method == "compile" else 2 :][:1]
            value: Any = evaluate(flags[0], module) if flags else 0
            place = f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}"
            for each in sorted(methods):
                known = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
                yield FoundPattern(
                    place,
                    ast.unparse(node.args[0]),
                    known if isinstance(known, str) else None,
                    int(value) if value else 0,
                    each,
                )


# Patterns that are made at run time, by module and source text, and examples of them. Those in a schema of ours match
# the values of a catalogue, which the user names.
MADE: dict[tuple[str, str], list[str]] = {
    ("base_image/catalogue_check.py", "pattern"): [],
    ("base_image/catalogue_check.py", "schema['pattern'].replace('$', '\\\\Z')"): [],
    ("base_image/needs.py", """f"-D(?:{'|'.join(need.when.split())}){_CMAKE_TRUE_PATTERN}\""""): [
        r"-D(?:GGML_CUDA|LLAMA_CUDA)=(?:on|true|yes|y|1)\b"
    ],
    ("diagnostics/toml_source.py", "p"): [_KEY_PART_PATTERN, _BLANK_PATTERN],  # and SCALAR_PATTERN, which is limited
    ("doctor/docker.py", r"f'^{name}:\\s+(\\S+)'"): [r"^Driver:\s+(\S+)"],
    ("engine/command.py", "row.pattern"): [],  # within a line, of which 2,000 characters are matched
    ("lock/families.py", "family.pip"): [family.pip for family in FAMILIES],
    ("lock/families.py", "family.conda"): [family.conda for family in FAMILIES],
    ("project/files.py", "re.escape(f'.{path.name}{TEMPORARY_MARK}') + _RANDOM_PART"): [r"\.a\.lock\.[a-z0-9_]{8}"],
    ("registry/image_contents.py", """f\"\"\"^{key}=([\\\\"\']?)([^\\\\"\'\\\\s]+)\\\\1[ \\\\t]*$\"\"\""""): [],
    ("resolve/conda/conda_lock_shim.py", r"f'(?<![\\w.-]){re.escape(name)}(?![\\w-])'"): [r"(?<![\w.-])numpy(?![\w-])"],
    ("resolve/environment.py", "f'you require {pattern}'"): ["you require ruamel[-_.]yaml(?![a-z0-9_-])"],
    ("resolve/environment.py", "f'(?<![a-z0-9_.-]){pattern}'"): ["(?<![a-z0-9_.-])ruamel[-_.]yaml(?![a-z0-9_-])"],
    ("spec/conda.py", "_BRACKET_VALUE_PATTERNS[key]"): [*_BRACKET_VALUE_PATTERNS.values()],
    ("spec/pip.py", r"f'[0-9]+(?:\\.[0-9]+)*{series}'"): [r"[0-9]+(?:\.[0-9]+)*(?:\.\*)?"],
    ("spec/pip.py", "parts"): [r"[0-9]+\.[0-9]+\.[0-9]+"],
    ("spec/values.py", "pattern"): [],  # the arguments of `make_pattern_reader` are found themselves
}
# Patterns whose time is not linear, by module and the beginning of the pattern, and the limit of the text.
LIMITED = {
    ("diagnostics/toml_source.py", "#[^"): "only the text in front of a number, which is valid TOML, is scanned",
    ("export/conda_lock.py", "(?:^|[, ])version="): "a dependency in a lock has at most 4,000 characters",
    ("spec/pip.py", r"[<>=!~]=?\s*"): "a requirement of a spec has at most 2,000 characters",
    ("spec/pip.py", r"([A-Za-z0-9](?:"): "a requirement of a spec has at most 2,000 characters",
}


def is_limited(found: FoundPattern) -> bool:
    module = found.place.partition(":")[0]
    return any(module == path and (found.text or "").startswith(start) for path, start in LIMITED)


def test_the_time_of_each_pattern_is_linear() -> None:
    """A text that matches nearly, such as thousands of blanks in a relation, costs as much as any other."""
    found = find_patterns()
    assert len(found) > 150
    slow = [
        f"{each.place}: {growth} {each.method}"
        for each in found
        if each.text is not None
        and not is_limited(each)
        and (growth := find_growth(each.text, each.flags, each.method)) != "linear"
    ]
    assert slow == []
    made = [
        (pattern, each.method)
        for each in found
        for pattern in MADE.get((each.place.partition(":")[0], each.source), ())
        if each.text is None
    ]
    assert [pattern for pattern, method in made if find_growth(pattern, re.MULTILINE, method) != "linear"] == []


def test_the_tables_of_patterns_are_current() -> None:
    found = find_patterns()
    assert {(each.place.partition(":")[0], each.source) for each in found if each.text is None} == set(MADE)
    limited = {(each.place.partition(":")[0], each.text) for each in found if is_limited(each)}
    assert len(limited) == len(LIMITED)
    assert all(find_growth(text or "", re.DOTALL, "search") != "linear" for _, text in limited)


@pytest.mark.parametrize(
    ("pattern", "method", "growth"),
    [
        ("a*b", "fullmatch", "linear"),
        ("a*a*b", "fullmatch", "polynomial"),
        ("a*a*", "match", "linear"),
        ("a*a*$", "match", "polynomial"),
        ("(?:a+)+b", "match", "exponential"),
        ("(?:a*)*b", "match", "exponential"),
        ("(?:a?b?)*c", "match", "exponential"),
        ("(?:ab|a.)*c", "match", "exponential"),
        ("(?:a=?=?,)*b", "match", "exponential"),
        ("(?:a={0,2},)*b", "match", "linear"),
        ("a{1,3}b", "search", "linear"),
        ("a{1,9999}b", "search", "polynomial"),
        ("a+", "search", "linear"),
        ("a+b", "search", "polynomial"),
        ("a+(?=b)", "search", "polynomial"),
        ("(?<!a)a+b", "search", "linear"),
        ("^a+b", "search", "linear"),
        ("x.*y.*z", "match", "polynomial"),
        ("(?:,|^) *(?:a|b) ", "split", "linear"),
        ("<([^>]*)>;", "search", "polynomial"),
        ("<([^<>]*)>;", "search", "linear"),
        (r" *(.*?) *\Z", "match", "polynomial"),
        ("[a-z]+(?:-[a-z]+)*", "findall", "linear"),
        # Those that red teams found: the relations of Debian packages, and versions in a lock.
        (r"\s*([a-z]+)\s*(?:\(\s*(=)\s*([^\s)]+)\s*\))?\s*", "fullmatch", "polynomial"),
        ("(?:[<>=!~]=?=?[a-z!]+,)*[a-z]", "fullmatch", "exponential"),
    ],
)
def test_the_growth_of_known_patterns(pattern: str, method: str, growth: str) -> None:
    assert find_growth(pattern, 0, method) == growth


@pytest.mark.parametrize(
    ("pattern", "method", "start", "item", "end"),
    [("(?:a+)+b", "match", "", "a", "c"), ("a*a*a*b", "fullmatch", "", "a", ""), ("<([^>]*)>;", "search", "", "<", "")],
)
def test_the_engine_is_as_slow_as_predicted(pattern: str, method: str, start: str, item: str, end: str) -> None:
    """Twenty characters take longer than the limit for the exponential pattern, and thousands for the others."""
    text = start + item * (40 if find_growth(pattern, 0, method) == "exponential" else 60_000) + end
    with pytest.raises(TimeoutError), limit_processor_time(1):
        getattr(re, method)(pattern, text)
