"""The checks of `doctor`. Each check returns or yields `CheckResult`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, UnavailableError

if TYPE_CHECKING:
    from envcompile.diagnostics.errors import EnvcompileError

# The states of a result and their exit codes. A note is only information, so `doctor` succeeds.
EXIT_CODE_BY_STATE = {"fine": EXIT_OK, "note": EXIT_OK, "wrong": EXIT_FAILED, "missing": EXIT_UNAVAILABLE}


class CheckResult(NamedTuple):
    """One check: its subject (`about`, a word), its state (a key of `EXIT_CODE_BY_STATE`), a sentence, and a remedy."""

    about: str
    state: str
    message: str
    remedy: str | None = None


def result_from_error(about: str, problem: EnvcompileError) -> CheckResult:
    """The result that describes an error."""
    state = "missing" if isinstance(problem, UnavailableError) else "wrong"
    return CheckResult(about, state, problem.message, problem.hint)
