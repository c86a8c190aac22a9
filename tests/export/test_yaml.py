"""Our YAML is read by others as what it was made of."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envcompile.export.common import YamlValue, format_yaml

# As a spec and a lock have it: no control characters, which are refused when they are read.
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn", "Co"]), max_size=8)
WORDS = st.sampled_from("y n yes no on off null true false ~ a numpy 1.0 1e5 0x1f 2026-11-01 - -- : <<".split())
SCALARS = TEXTS | WORDS | st.integers() | st.booleans()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | WORDS, inner, max_size=3),
    max_leaves=8,
)


def flat(value: YamlValue) -> bool:
    """Whether no list stands directly in a list: nothing that we write has one."""
    if isinstance(value, dict):
        return all(flat(each) for each in value.values())
    if isinstance(value, list):
        return all(flat(each) and (not each or not isinstance(each, list)) for each in value)
    return True


@given(st.dictionaries(TEXTS | WORDS, VALUES.filter(flat), max_size=4))
@example({"a": [{"b": ["c", {"d": {}}]}, {}, []], "no": "off", "1": "#"})
def test_what_is_written_is_read(value: dict[str, YamlValue]) -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(format_yaml(value) or "{}") == value
