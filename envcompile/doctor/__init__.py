"""What `doctor` finds: one thing looked at, how it is, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, UnavailableError

if TYPE_CHECKING:
    from envcompile.diagnostics.errors import EnvcompileError

# How a thing can be, and the exit code that it stands for. A note is worth knowing and stops nothing.
EXIT_CODE_BY_STATE = {"fine": EXIT_OK, "note": EXIT_OK, "wrong": EXIT_FAILED, "missing": EXIT_UNAVAILABLE}


_BYTES_PER_GB = 1e9


class CheckResult(NamedTuple):
    """One check: its subject (`about`, a word), its state (`EXIT_CODE_BY_STATE`), a sentence, and a remedy."""

    about: str
    state: str
    message: str
    remedy: str | None = None


def result_from_error(about: str, problem: EnvcompileError) -> CheckResult:
    """What an error says, as a finding."""
    state = "missing" if isinstance(problem, UnavailableError) else "wrong"
    return CheckResult(about, state, problem.message, problem.hint)


def format_bytes(count: float) -> str:
    """Bytes as people count them: `1.2 GB`."""
    return (
        f"{count / _BYTES_PER_GB:.1f} GB" if count >= _BYTES_PER_GB / 10 else f"{count / _BYTES_PER_GB * 1000:.0f} MB"
    )
