"""What `doctor` finds: one thing looked at, how it is, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.errors import FINE, NOT_FINE, OUTSIDE, MissingOutside

if TYPE_CHECKING:
    from envcompile.errors import EnvcompileError

# How a thing can be, and the exit code that it stands for. A note is worth knowing and stops nothing.
STATES = {"fine": FINE, "note": FINE, "wrong": NOT_FINE, "missing": OUTSIDE}


_GIGA = 1e9


class Finding(NamedTuple):
    """One thing (`about`, a word), its state of `STATES`, a sentence, and what mends it if it is not fine."""

    about: str
    state: str
    message: str
    remedy: str | None = None


def failed(about: str, problem: EnvcompileError) -> Finding:
    """What an error says, as a finding."""
    state = "missing" if isinstance(problem, MissingOutside) else "wrong"
    return Finding(about, state, problem.message, problem.hint)


def in_words(count: float) -> str:
    """Bytes as people count them: `1.2 GB`."""
    return f"{count / _GIGA:.1f} GB" if count >= _GIGA / 10 else f"{count / _GIGA * 1000:.0f} MB"
