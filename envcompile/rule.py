"""One row of the table of rules."""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One kind of mistake: `slug` is stable, `summary` one line, `explanation` what to know and to do."""

    slug: str
    summary: str
    explanation: str
