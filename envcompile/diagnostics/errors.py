"""The base classes of all errors that users see, and the exit codes of the command line.

Callers distinguish errors by these classes. A subclass elsewhere exists only if a caller catches it.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INVALID_INPUT = 2
EXIT_UNAVAILABLE = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

EXIT_CODES = {
    EXIT_OK: "success",
    EXIT_FAILED: "a check failed: the lock is stale, the requirements are unsolvable, or a build failed",
    EXIT_INVALID_INPUT: "usage error, or the spec or the lock cannot be read",
    EXIT_UNAVAILABLE: "docker, a registry or the network is not available",
    EXIT_BUG: "a bug in envcompile",
    EXIT_INTERRUPTED: "interrupted by Ctrl-C",
    EXIT_TERMINATED: "terminated by SIGTERM or SIGHUP",
}


class EnvcompileError(Exception):
    """An error that ends a command. `message` is one sentence with names in backticks, `hint` says how to fix it."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CheckFailedError(EnvcompileError):
    """The input is valid, but a check failed: for example, the lock is stale or the requirements are unsolvable."""


class InvalidInputError(EnvcompileError):
    """The command line, the spec or the lock is not valid."""

    exit_code = EXIT_INVALID_INPUT


class UnavailableError(EnvcompileError):
    """A program, a service or the network is not available."""

    exit_code = EXIT_UNAVAILABLE
