"""Events: progress and warnings on the way to a result. Only the command line prints them.

A function that reports events has a parameter `on_event`. No event means that the work failed: failures are exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.diagnostics.source import SourceText


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step that can take a while, such as `resolving 3 requirements for linux-64`. The next event ends it."""

    message: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A fact that the user should know and that is not a problem."""

    message: str


@dataclass(frozen=True, slots=True)
class WarningIssued:
    """A problem that does not stop the work.

    A warning about a line of the spec has its `diagnostic` and the `source` with that line.
    """

    message: str
    hint: str | None = None
    diagnostic: Diagnostic | None = field(default=None, repr=False)
    source: SourceText | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BuildLog:
    """The last lines of a build step that failed, in a build without a progress display."""

    lines: tuple[str, ...]


Event = StepStarted | Notice | WarningIssued | BuildLog


def ignore_event(event: Event) -> None:
    """The default for `on_event`."""
    del event
