"""The tree of errors and the one table of exit codes."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INVALID_INPUT = 2
EXIT_UNAVAILABLE = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

EXIT_CODES = {
    EXIT_OK: "fine",
    EXIT_FAILED: "checked and not fine: stale, unsolvable, a build failed",
    EXIT_INVALID_INPUT: "usage, or the spec or the lock cannot be read",
    EXIT_UNAVAILABLE: "something outside is missing: no docker, no network and one is needed",
    EXIT_BUG: "a bug of envcompile",
    EXIT_INTERRUPTED: "interrupted",
}


class EnvcompileError(Exception):
    """A mistake or a lack that the user is told of: one sentence, and a hint that mends it.

    `message` is one sentence with names in backticks; `hint`, if any, names the command or the text that mends it.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CheckFailedError(EnvcompileError):
    """Checked, and the answer is no: stale, unsolvable."""


class InvalidInputError(EnvcompileError):
    """The command, the spec or the lock cannot be used as given."""

    exit_code = EXIT_INVALID_INPUT


class UnavailableError(EnvcompileError):
    """Something outside is missing: a program, a registry, the network."""

    exit_code = EXIT_UNAVAILABLE
