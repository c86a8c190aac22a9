"""What `doctor` finds: one thing looked at, how it is, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, UnavailableError

if TYPE_CHECKING:
    from envcompile.diagnostics.errors import EnvcompileError

# How a thing can be, and the exit code that it stands for. A note is worth knowing and stops nothing.
STATES = {"fine": EXIT_OK, "note": EXIT_OK, "wrong": EXIT_FAILED, "missing": EXIT_UNAVAILABLE}


_GIGA = 1e9


class Finding(NamedTuple):
    """One thing (`about`, a word), its state of `STATES`, a sentence, and what mends it if it is not fine."""

    about: str
    state: str
    message: str
    remedy: str | None = None


def failed(about: str, problem: EnvcompileError) -> Finding:
    """What an error says, as a finding."""
    state = "missing" if isinstance(problem, UnavailableError) else "wrong"
    return Finding(about, state, problem.message, problem.hint)


def in_words(count: float) -> str:
    """Bytes as people count them: `1.2 GB`."""
    return f"{count / _GIGA:.1f} GB" if count >= _GIGA / 10 else f"{count / _GIGA * 1000:.0f} MB"
