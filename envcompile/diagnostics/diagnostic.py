"""Diagnostics: their data class, the errors that carry them, their format on a terminal, and the events of a command.

A check names a rule and a key path. The position in the text is found only when the diagnostic is formatted.
`redact_secrets` masks credentials in messages, hints and excerpts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from envcompile.diagnostics.errors import EXIT_INVALID_INPUT, EnvcompileError, InvalidInputError
from envcompile.diagnostics.rules import RULES
from envcompile.diagnostics.source import TextSpan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envcompile.diagnostics.rules import Severity
    from envcompile.diagnostics.source import KeyPath, SourceText, TextPosition

# Possible secrets: `user:password` between `//` and `@` (the password may contain a slash, but `host:8080/path@v1` has
# no password); anything else between `//` and `@`; a password in a URL without `https://`; and a conda channel's token.
_SECRET_PATTERN = re.compile(
    r"""(?<=//)[^/\s:@]*:(?![0-9]+/)(?:(?!//)\S)+(?=@)"""
    r"""|(?<=//)[^/\s]+(?=@)"""
    r"""|(?<=[\w.-]:)[^\s/@:"']+(?=@(?!sha256:))"""
    r"""|(?<=/t/)[^/\s"']+"""
)
_MAX_LINE_WIDTH = 160
# The maximum for one file, because a broken file may contain thousands of mistakes.
_MAX_DIAGNOSTICS = 100


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A mistake: the slug of its rule, a message of one sentence, a location, a hint how to fix it, and a severity.

    The location is the `target` ("key" or "value") at `path`, or `offset` (in characters) if the text cannot be parsed.
    Without `severity`, the rule's severity applies.
    """

    rule: str
    message: str
    path: KeyPath = ()
    hint: str | None = None
    target: str = "value"
    offset: int | None = None
    severity: Severity | Literal[""] = ""

    def __post_init__(self) -> None:
        if not self.severity:
            object.__setattr__(self, "severity", RULES[self.rule].severity)

    @property
    def is_error(self) -> bool:
        """Whether the diagnostic stops the command."""
        return self.severity == "error"


class DiagnosticsError(EnvcompileError):
    """All mistakes of one file: `diagnostics` has the first hundred in the order of the text, `total` counts all."""

    exit_code = EXIT_INVALID_INPUT

    def __init__(
        self, source: SourceText, diagnostics: Iterable[Diagnostic], exit_code: int = EXIT_INVALID_INPUT
    ) -> None:
        self.source = source
        ordered = sorted(diagnostics, key=lambda diagnostic: (find_span(diagnostic, source).start, diagnostic.message))
        self.diagnostics, self.total = ordered[:_MAX_DIAGNOSTICS], len(ordered)
        self.exit_code = exit_code
        super().__init__(f"`{source.name}` has {format_count(self.total, 'mistake')}")


class RequirementError(InvalidInputError):
    """A string is not a valid requirement or package name. The caller adds the location with `make_diagnostic`."""

    def __init__(self, rule: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.rule = rule

    def make_diagnostic(self, path: KeyPath, target: str = "value") -> Diagnostic:
        """Create the diagnostic for a key path of the spec."""
        return Diagnostic(self.rule, self.message, path, self.hint, target)


def format_count(number: int, noun: str) -> str:
    """Format a number and a noun: `1 mistake`, `2 mistakes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint with the most similar of the known words, or None if no word is similar."""
    from difflib import get_close_matches  # noqa: PLC0415 - only when there is a mistake

    near = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else None


@lru_cache(maxsize=8)  # a line is redacted once for all of its mistakes
def redact_secrets(text: str) -> str:
    """Replace each character of user names, passwords and tokens in URLs by `*`, so that columns stay the same."""
    if "@" not in text and "/t/" not in text:
        return text
    return _SECRET_PATTERN.sub(lambda found: "*" * len(found.group()), text)


def replace_unprintable(text: str) -> str:
    """Replace control and invisible characters, except tabs and newlines, so that columns stay the same."""
    return "".join(c if c.isprintable() or c in "\t\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def find_span(diagnostic: Diagnostic, source: SourceText) -> TextSpan:
    """The span that the diagnostic marks: its target, or else its nearest parent in the text, or else the start."""
    if diagnostic.offset is not None:
        return TextSpan(diagnostic.offset, diagnostic.offset + 1)
    exact = source.find_key(diagnostic.path) if diagnostic.target == "key" else source.find_value(diagnostic.path)
    return exact or source.find_nearest_value(diagnostic.path) or TextSpan(0, 0)


@dataclass(frozen=True, slots=True)
class ColorScheme:
    """The escape sequences that color a diagnostic; empty strings if it is not colored."""

    error: str = ""
    location: str = ""
    hint: str = ""
    end: str = ""


NO_COLORS = ColorScheme()
TERMINAL_COLORS = ColorScheme(error="\x1b[1;31m", location="\x1b[1;34m", hint="\x1b[1;36m", end="\x1b[0m")


def format_diagnostic(diagnostic: Diagnostic, source: SourceText, colors: ColorScheme = NO_COLORS) -> str:
    """Format a diagnostic: message, file:line:column, the line with carets, and the hint. Ends with a newline."""
    span = find_span(diagnostic, source)
    place = source.locate_offset(span.start)
    message = replace_unprintable(redact_secrets(diagnostic.message))
    lines = [f"{colors.error}{diagnostic.severity}[{diagnostic.rule}]{colors.end}: {message}"]
    gutter = " " * len(str(place.line))
    lines.append(f"{gutter}{colors.location}-->{colors.end} {source.name}:{place.line}:{place.column}")
    lines.extend(_format_excerpt(source, span, place, colors))
    if diagnostic.hint:
        lines.append(
            f"{gutter} {colors.hint}= hint:{colors.end} {replace_unprintable(redact_secrets(diagnostic.hint))}"
        )
    return "\n".join(lines) + "\n"


def _format_excerpt(source: SourceText, span: TextSpan, place: TextPosition, colors: ColorScheme) -> Sequence[str]:
    text = source.get_line(place.line)
    if not text.strip():
        return ()
    number, bar = str(place.line), f"{colors.location}|{colors.end}"
    gutter = " " * len(number)
    # Of a very long line, only the part around the mistake is shown.
    first = max(0, place.column - 1 - _MAX_LINE_WIDTH // 2) if len(text) > _MAX_LINE_WIDTH else 0
    shown = replace_unprintable(redact_secrets(text)[first : first + _MAX_LINE_WIDTH])
    start = place.column - 1 - first
    before = "".join("\t" if c == "\t" else " " for c in shown[:start])
    width = max(1, min(span.end - span.start, len(shown) - start))
    return (
        f"{gutter} {bar}",
        f"{number} {bar} {shown}",
        f"{gutter} {bar} {before}{colors.error}{'^' * width}{colors.end}",
    )


# Events: progress and warnings, which functions report to their parameter `on_event`. Only the command line prints
# them. A failure is an exception, never an event.


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
    """The last lines of a failed build step. Reported only if no progress display has shown them."""

    lines: tuple[str, ...]


Event = StepStarted | Notice | WarningIssued | BuildLog


def ignore_event(event: Event) -> None:
    """Do nothing: the default for `on_event`."""
    del event
