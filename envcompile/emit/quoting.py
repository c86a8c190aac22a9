"""The quoting of every string from the spec and the lock.

No such string appears in a RUN instruction. Words are quoted for BuildKit's lexer, lists are JSON, and data are lines
of a heredoc with a quoted end. No such line can end its heredoc.
"""

from __future__ import annotations

import json
import re

from envcompile.spec.values import CONTROL_CHARACTER

_BARE_WORD = re.compile(r"[A-Za-z0-9._/:@+=-]+")


def quote_word(value: str) -> str:
    """Quote one word of ENV, LABEL or WORKDIR, so that BuildKit's lexer reads it as `value`.

    Inside double quotes the backslash, the double quote and the dollar sign are special; a newline cannot be written.

    Raises `ValueError` for control characters other than tab, which the spec and the lock cannot contain.
    """
    if CONTROL_CHARACTER.search(value):
        raise ValueError(f"a Dockerfile cannot contain {value!r}")
    if _BARE_WORD.fullmatch(value):
        return value
    return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'


def format_exec_form(values: tuple[str, ...]) -> str:
    """The values of CMD or ENTRYPOINT as JSON. Docker runs invalid JSON as a shell command, without a warning.

    Raises `ValueError` for control characters other than tab.
    """
    if any(CONTROL_CHARACTER.search(value) for value in values):
        raise ValueError(f"a Dockerfile cannot contain {values!r}")
    return json.dumps(list(values), ensure_ascii=False)


def check_heredoc_line(value: str, end: str) -> str:
    """Return `value` if it can be a line of a heredoc with the quoted end `end`, in which nothing is expanded.

    Raises `ValueError` for control characters other than tab, and for the end of the heredoc.
    """
    if CONTROL_CHARACTER.search(value) or value == end:
        raise ValueError(f"a Dockerfile cannot contain {value!r}")
    return value
