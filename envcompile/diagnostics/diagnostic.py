"""Diagnostics: their data class, the errors that carry them, their format on a terminal, and the events of a command.

A check names a rule and a key path. The position in the text is found only when the diagnostic is formatted.
`redact_secrets` masks credentials, and `escape_unprintable` escapes what a terminal would not show as it is.
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

# The password in a URL without `https://`. `image:tag@sha256:` has none.
_BARE_PASSWORD = re.compile(r"""(?<=[\w.-]:)[^\s/@:"']+(?=@(?!sha256:))""")
# The token of a conda channel without `https://`: the text before it is the name of a host.
_BARE_TOKEN = re.compile(r"(?<![\w./-])(?:[\w-]+\.)+[A-Za-z]{2,}(?::[0-9]+)?/t/([^/\s\"'`]+)")
# The words of the check `SecretsUsedInArgOrEnv` of BuildKit (frontend/dockerfile/linter, release 0.17). A name with a
# word of the second list is not the name of a secret.
_SECRET_WORDS = frozenset(
    {"apikey", "auth", "credential", "credentials", "key", "passwd", "password", "pword", "secret", "token"}
)
_PUBLIC_WORDS = frozenset({"public"})
# A key and the part of its value that is on the same line.
_TOML_PAIR = re.compile(
    r"""(?<![\w.-])(?P<key>[\w.-]+)["']?[ \t]*=[ \t]*["']{0,3}"""
    r"""(?P<value>(?<=\"{3}).*|(?<='{3}).*|(?<=")(?:[^"\\]|\\.)*|(?<=')[^']*|[^\s"',}]*)"""
)
_PORT_AND_PATH = re.compile(r"[0-9]+/")
_QUERY_VALUE = re.compile(r"[^&;]+")
# Closing quotes, brackets and punctuation behind a URL in a sentence or a TOML text do not belong to its query.
_CLOSING_CHARACTERS = "\"'`.,:;)]}>"
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
    """Replace each character of the credentials in URLs by `*`, so that columns stay the same.

    Credentials are a user name and a password, the values of a query, and the token of a conda channel (`/t/TOKEN/`).
    Texts that are not URLs, such as the paths of files, do not change.
    """
    return _redact(text, with_queries=True)


def contains_credentials(text: str) -> bool:
    """Whether a text contains a URL with a user name, a password or a token. Queries do not count."""
    return _redact(text, with_queries=False) != text


def _redact(text: str, *, with_queries: bool) -> str:
    if "//" not in text and "@" not in text and "/t/" not in text:
        return text
    first, *others = text.split("//")
    parts = [first]
    for before, part in zip((first, *others), others, strict=False):
        end = next((index for index, char in enumerate(part) if char.isspace()), len(part))
        is_web = before.endswith(("http:", "https:"))
        parts.append(_redact_url(part[:end], is_web=is_web, with_query=with_queries) + part[end:])
    text = _BARE_PASSWORD.sub(_mask_match, "//".join(parts))
    return _BARE_TOKEN.sub(lambda found: found[0].removesuffix(found[1]) + _mask(found[1]), text)


def _redact_url(url: str, *, is_web: bool, with_query: bool) -> str:
    """Redact a URL without its scheme. It ends before the next blank. `is_web` is true for the scheme http or https."""
    authority = url.partition("/")[0]
    user, colon, _ = authority.partition(":")
    end = authority.rfind("@")
    # A password may contain a slash, but `host:8080/path@v1` has no password.
    if colon and "@" not in user and not _PORT_AND_PATH.match(url, len(user) + 1) and url.rfind("@") > len(user) + 1:
        end = url.rfind("@")
    if end > 0:
        url = _mask(url[:end]) + url[end:]
    marks = [index for index in (url.find("?"), url.find("#")) if index >= 0]
    if marks and with_query:
        start, closing = min(marks) + 1, len(url.rstrip(_CLOSING_CHARACTERS))
        url = url[:start] + _QUERY_VALUE.sub(_mask_query_value, url[start:closing]) + url[max(start, closing) :]
    folder, mark, token = url.partition("/t/")
    if is_web and mark:
        length = next((index for index, char in enumerate(token) if char in "/\"'`"), len(token))
        url = f"{folder}{mark}{_mask(token[:length])}{token[length:]}"
    return url


def _mask(text: str) -> str:
    return "*" * len(text)


def _mask_match(found: re.Match[str]) -> str:
    return _mask(found[0])


def _mask_query_value(found: re.Match[str]) -> str:
    """Mask `key=value` behind the `=`, and a value without a key completely. The hash of a file is no secret."""
    key, equals, value = found[0].partition("=")
    if key in ("sha256", "md5"):
        return found[0]
    return f"{key}={_mask(value)}" if equals else _mask(key)


def is_secret_name(name: str) -> bool:
    """Whether a word of a name is one that BuildKit takes for the name of a secret: `AWS_SECRET_ACCESS_KEY`."""
    words = set(re.split("[^a-z0-9]+", name.lower()))
    return bool(words & _SECRET_WORDS) and not words & _PUBLIC_WORDS


def mask_secret_values(line: str) -> str:
    """Replace each character of the values of secret names in a line of TOML by `*`: `API_TOKEN = "***"`."""

    def mask(found: re.Match[str]) -> str:
        value = found["value"]
        return found[0].removesuffix(value) + _mask(value) if is_secret_name(found["key"]) else found[0]

    return _TOML_PAIR.sub(mask, line)


def escape_unprintable(text: str, keeps: str = "\t\n") -> str:
    """Escape everything that a terminal does not show as one character, except the characters in `keeps`.

    These are control characters, which start the commands of a terminal, and invisible characters, such as those that
    change the direction of a text. All text for people goes through this function where it is written.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keeps else c.encode("unicode_escape").decode("ascii") for c in text)


def clean_message(text: str) -> str:
    """Redact the secrets in a text for people, and escape its unprintable characters."""
    return escape_unprintable(redact_secrets(text))


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
    rule = escape_unprintable(diagnostic.rule)
    lines = [f"{colors.error}{diagnostic.severity}[{rule}]{colors.end}: {clean_message(diagnostic.message)}"]
    gutter = " " * len(str(place.line))
    name = escape_unprintable(source.name)
    lines.append(f"{gutter}{colors.location}-->{colors.end} {name}:{place.line}:{place.column}")
    lines.extend(_format_excerpt(source, span, place, colors))
    if diagnostic.hint:
        lines.append(f"{gutter} {colors.hint}= hint:{colors.end} {clean_message(diagnostic.hint)}")
    return "\n".join(lines) + "\n"


def _format_excerpt(source: SourceText, span: TextSpan, place: TextPosition, colors: ColorScheme) -> Sequence[str]:
    text = source.get_line(place.line)
    if not text.strip():
        return ()
    number, bar = str(place.line), f"{colors.location}|{colors.end}"
    gutter = " " * len(number)
    # Of a very long line, only the part around the mistake is shown.
    first = max(0, place.column - 1 - _MAX_LINE_WIDTH // 2) if len(text) > _MAX_LINE_WIDTH else 0
    part = redact_secrets(mask_secret_values(text))[first : first + _MAX_LINE_WIDTH]
    start = place.column - 1 - first
    shown, marked = escape_unprintable(part), escape_unprintable(part[start : start + span.end - span.start])
    before = "".join("\t" if c == "\t" else " " for c in escape_unprintable(part[:start]))
    width = max(1, len(marked))
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
