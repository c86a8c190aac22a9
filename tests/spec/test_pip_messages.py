"""Messages and hints for invalid pip requirements.

Promise 11: every mistake points at the text, with a hint.
"""

from __future__ import annotations

import pytest

from envcompile.diagnostics.diagnostic import RequirementError
from envcompile.spec.pip import parse_requirement
from envcompile.spec.values import MAX_REQUIREMENT_LENGTH


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("numpy 2.0", "write `numpy ==2.0`"),
        ("numpy=2.0 ", "write `numpy ==2.0`"),
        ("numpy[extra] 2", "write `numpy[extra] ==2`"),
        ("numpy 2.0 <3", "write it as pip does"),
        ("numpy >=2 <3", "put a comma between them"),
        ("numpy[extra", "write extras as"),
        ("numpy; python < 3", "write it as `; python_version < '3.13'`"),
        ("numpy 2.0 <3; python < 3", "write it as pip does"),
        ("", "write the name of a package"),
    ],
)
def test_the_hint_for_a_requirement_that_cannot_be_read(text: str, hint: str) -> None:
    with pytest.raises(RequirementError) as caught:
        parse_requirement(text)
    assert caught.value.rule == "requirement"
    assert hint in str(caught.value.hint)


def test_the_longest_requirement() -> None:
    prefix = "numpy >="
    longest = prefix + "1" * (MAX_REQUIREMENT_LENGTH - len(prefix))
    parse_requirement(longest)
    with pytest.raises(RequirementError, match="too long or has too many"):
        parse_requirement(longest + "1")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("--no-deps -e .", "requirement-option"),
        ("-r file.txt", "requirement-option"),
        ("-e .", "requirement-path"),
        ("--editable=.", "requirement-path"),
        ("./folder", "requirement-path"),
        ("~/folder", "requirement-path"),
        ("C:\\folder", "requirement-path"),
        ("file:folder", "requirement-path"),
        ("numpy @ file:///folder", "requirement-path"),
        ("numpy @ git+https://example.com/numpy", "requirement-path"),
        ("numpy-2.0-py3-none-any.whl", "requirement-path"),
        ("folder/numpy", "requirement-path"),
        ("numpy @ https://example.com/numpy.whl", "requirement-url"),
        ("numpy @ https://user:secret@example.com/numpy.whl", "userinfo"),
    ],
)
def test_what_pip_accepts_elsewhere_has_a_rule_of_its_own(text: str, rule: str) -> None:
    with pytest.raises(RequirementError) as caught:
        parse_requirement(text)
    assert caught.value.rule == rule
