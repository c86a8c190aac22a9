"""Every way in which a string of the user or of the lock enters the Dockerfile.

No such string stands in a RUN. Words are quoted for the Dockerfile's own lexer; lists are JSON; data are the lines of a
quoted heredoc, none of which can be its end.
"""

from __future__ import annotations

import json
import re

from envcompile.spec.read import CONTROL

HEREDOC_END = "EOF"
_BARE = re.compile(r"[A-Za-z0-9._/:@+=-]+")


class Unquotable(ValueError):  # noqa: N818 - a bug of ours if it is ever seen: the front end refuses such values
    """A string that no Dockerfile can carry."""


def word(value: str) -> str:
    """One word of ENV, LABEL or WORKDIR that BuildKit's lexer reads back as `value`.

    Inside double quotes the lexer gives meaning to the backslash, the quote and the dollar; a newline cannot be
    expressed. Raises `Unquotable` for control characters other than tab.
    """
    if CONTROL.search(value):
        raise Unquotable(value)
    if _BARE.fullmatch(value):
        return value
    return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'


def exec_form(values: tuple[str, ...]) -> str:
    """The JSON form of CMD and ENTRYPOINT: anything that is not JSON would silently become a shell command."""
    if any(CONTROL.search(value) for value in values):
        raise Unquotable(repr(values))
    return json.dumps(list(values), ensure_ascii=False)


def line(value: str) -> str:
    """A line of a heredoc whose end is quoted, so that nothing in it is expanded."""
    if CONTROL.search(value) or value == HEREDOC_END:
        raise Unquotable(value)
    return value
