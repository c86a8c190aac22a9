"""The mutants of a module."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from mutation.equivalents import EquivalentMutant, find_unused_equivalents, read_equivalents
from mutation.mutants import change_pattern, find_mutants
from mutation.targets import TARGETS, list_modules
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

ROOT = FIXTURES.parent


def changes(source: str) -> set[str]:
    """The changed lines of all mutants of a source."""
    return {mutant.after for mutant in find_mutants("m.py", source)}


@pytest.mark.parametrize(
    ("source", "mutants"),
    [
        ("a < b <= c", {"a <= b <= c", "a < b < c"}),
        ("a == b", {"a != b"}),
        ("a not  in b", {"a in b"}),
        ("a and b or c", {"a or b or c", "a and b and c"}),
        ("not a", {"a"}),
        ("a + b - c", {"a - b - c", "a + b + c"}),
        ("a = 1", {"a = 2"}),
        ("a = True", {"a = False"}),
        ("a = 'word'", {"a = 'wordX'"}),
        ("a = 'a sentence of a message'", set()),
        ("a = b'x'", {"a = b'xX'"}),
        ("a[1:b]", {"a[2:b]", "a[:b]", "a[1:]"}),
        ("sorted(a, key=b)", {"pass", "list(a, key=b)", "list(a)"}),
        ("a.b = all(c)", {"pass", "a.b = any(c)"}),
        ("a = b.startswith(c)", {"a = b.endswith(c)"}),
        ("a = b.strip()", {"a = b"}),
        ("a if b else c", {"a if (not (b)) else c"}),
        ("[a for a in b if c]", {"[a for a in b if (not (c))]", "[a for a in b if True]"}),
        ("raise a", {"pass"}),
        ("def f(a: 'x' = 1) -> 'y':\n    '''text'''\n    return a", {"def f(a: 'x' = 2) -> 'y':", "return None"}),
        ("if TYPE_CHECKING:\n    import a", set()),
        ("a: TypeAlias = 'b'", set()),
        ("a = f'{b + c}'", set()),
    ],
)
def test_the_mutants_of_a_source(source: str, mutants: set[str]) -> None:
    assert changes(source) == mutants


def test_the_quantifiers_of_a_pattern_are_changed() -> None:
    text = r"(?:a+|\+[+]*)?b{2,3}"
    found = {text[: edit.start] + edit.text + text[edit.end :] for edit in change_pattern(text)}
    assert found == {
        r"(?:a*|\+[+]*)?b{2,3}",
        r"(?:a+\+[+]*)?b{2,3}",
        r"(?:a+|\+[+]+)?b{2,3}",
        r"(?:a+|\+[+]*)b{2,3}",
        r"(?:a+|\+[+]*)?b{3,3}",
    }


def test_a_mutant_names_its_place() -> None:
    (mutant,) = find_mutants("m.py", "class A:\n    def f(self):\n        # ü\n        return  self.a\n")
    assert (mutant.module, mutant.function, mutant.line) == ("m.py", "A.f", 4)
    assert (mutant.before, mutant.after) == ("return self.a", "return None")


@pytest.mark.parametrize("module", [module for target in TARGETS for module in list_modules(target, ROOT)])
def test_every_mutant_of_the_package_is_another_program(module: str) -> None:
    source = (ROOT / module).read_text("utf-8")
    found = find_mutants(module, source)
    assert len({mutant.source for mutant in found}) == len(found)
    for mutant in found[::20]:
        assert ast.dump(ast.parse(mutant.source)) != ast.dump(ast.parse(source))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.path)
def test_the_tests_of_a_target_exist(target: object) -> None:
    assert all((ROOT / test).exists() for test in target.tests)  # type: ignore[attr-defined]


def test_an_equivalent_mutant_is_matched_by_its_source_line(tmp_path: Path) -> None:
    path = tmp_path / "equivalents.toml"
    path.write_text(
        '[[mutant]]\nmodule = "m.py"\nfunction = "f"\nbefore = "return  a < b"\nafter = "return a <= b"\nreason = "r"\n'
    )
    equivalents = read_equivalents(path)
    found = find_mutants("m.py", "x = 1\n\ndef f():\n    return a < b\n")
    assert [mutant.after for mutant in found if EquivalentMutant.from_mutant(mutant) in equivalents] == [
        "return a <= b"
    ]
    assert find_unused_equivalents(equivalents, found) == []
    assert find_unused_equivalents(equivalents, find_mutants("m.py", "def f():\n    return a > b\n")) == list(
        equivalents
    )
    path.write_text(path.read_text().replace('reason = "r"', 'reason = " "'))
    with pytest.raises(ValueError, match="no reason"):
        read_equivalents(path)
