"""The tree of errors and the one table of exit codes."""

from __future__ import annotations

FINE = 0
NOT_FINE = 1
UNUSABLE = 2
OUTSIDE = 3
BUG = 70
INTERRUPTED = 130

EXIT_CODES = {
    FINE: "fine",
    NOT_FINE: "checked and not fine: stale, unsolvable, a build failed",
    UNUSABLE: "usage, or the spec or the lock cannot be read",
    OUTSIDE: "something outside is missing: no docker, no network and one is needed",
    BUG: "a bug of envcompile",
    INTERRUPTED: "interrupted",
}


class EnvcompileError(Exception):
    """A mistake or a lack that the user is told of: one sentence, and a hint that mends it.

    `message` is one sentence with names in backticks; `hint`, if any, names the command or the text that mends it.
    """

    exit_code = NOT_FINE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotFine(EnvcompileError):  # noqa: N818 - it names an answer, not a failure
    """Checked, and the answer is no: stale, unsolvable."""


class Unusable(EnvcompileError):  # noqa: N818
    """The command, the spec or the lock cannot be used as given."""

    exit_code = UNUSABLE


class MissingOutside(EnvcompileError):  # noqa: N818
    """Something outside is missing: a program, a registry, the network."""

    exit_code = OUTSIDE
