"""Promise 10, in part: nothing injects."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcompile.emit.quoting import check_heredoc_line, format_exec_form, quote_word

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.text("\"'\\$ `{}#=\t\n<|&;()", max_size=12)


def read_word(text: str) -> str:
    """What BuildKit's lexer makes of one word, written from its documentation of quoting (Dockerfile reference, ENV).

    Outside quotes a backslash takes the next character as it is; inside double quotes only before `"`, `$` and itself;
    an unescaped dollar starts a variable, which none of ours may.
    """
    out: list[str] = []
    rest = iter(text)
    quoted = False
    for character in rest:
        if character == '"':
            quoted = not quoted
        elif character == "\\":
            following = next(rest)
            out.append(following if not quoted or following in '"$\\' else f"\\{following}")
        else:
            assert character != "$", "a variable would be expanded"
            assert quoted or character not in " \t'#", "the word would end or change its meaning"
            out.append(character)
    assert not quoted
    return "".join(out)


@given(texts)
def test_a_word_is_read_back_as_it_was(value: str) -> None:
    if CONTROL.search(value):
        with pytest.raises(ValueError, match="a Dockerfile cannot contain"):
            quote_word(value)
    else:
        written = quote_word(value)
        assert "\n" not in written
        assert read_word(written) == value


@given(st.lists(texts, max_size=5).map(tuple))
def test_a_command_is_json_on_one_line(values: tuple[str, ...]) -> None:
    """Anything that is not JSON would silently become a shell command."""
    if any(CONTROL.search(value) for value in values):
        with pytest.raises(ValueError, match="a Dockerfile cannot contain"):
            format_exec_form(values)
    else:
        written = format_exec_form(values)
        assert tuple(json.loads(written)) == values
        assert len(written.splitlines()) == 1


@given(texts | st.just("EOF"))
def test_no_line_of_data_ends_its_heredoc(value: str) -> None:
    if CONTROL.search(value) or value == "EOF":
        with pytest.raises(ValueError, match="a Dockerfile cannot contain"):
            check_heredoc_line(value, "EOF")
    else:
        assert check_heredoc_line(value, "EOF") == value
