"""What is said to people, on standard error: progress, results, mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from envcompile.diagnostics.diagnostic import (
    NO_COLORS,
    TERMINAL_COLORS,
    DiagnosticsError,
    format_count,
    format_diagnostic,
    redact_secrets,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Mapping

    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.diagnostics.errors import EnvcompileError
    from envcompile.diagnostics.toml_source import TomlSource


class Reporter:
    """Says things on one stream, as text for people, or mistakes as JSON lines or GitHub annotations.

    `color` is auto, always or never; NO_COLOR, and a stream that is no terminal, mean never.
    """

    def __init__(self, stream: TextIO, environment: Mapping[str, str], options: Namespace) -> None:
        self._stream = stream
        self._quiet, self._verbose, self._format = options.quiet, options.verbose, options.format
        self._terminal = stream.isatty() and environment.get("TERM") != "dumb" and self._format == "text"
        bright = options.color == "always" or (
            options.color == "auto" and self._terminal and not environment.get("NO_COLOR")
        )
        self._colors = TERMINAL_COLORS if bright and self._format == "text" else NO_COLORS
        self._step = ""

    def step(self, text: str) -> None:
        """What is being done now: one line that the next word replaces. On a terminal only."""
        if self._terminal and not self._quiet:
            self._write(f"\r\x1b[K{text} ...")
            self._step = text

    def say(self, text: str) -> None:
        """A result."""
        if not self._quiet and self._format == "text":
            self._clear()
            self._write(f"{text}\n")

    def done(self) -> None:
        """No step is being done any more: its line is taken away."""
        self._clear()

    def detail(self, text: str) -> None:
        """What only `-v` wants to know."""
        if self._verbose:
            self.say(text)

    def warn(self, text: str, hint: str | None = None) -> None:
        """Something that is not as it should be, and does not stop the work."""
        if self._format == "text":
            self._message("warning", text, hint)
        else:
            from envcompile.cli.machine import warning  # noqa: PLC0415 - only when a machine reads

            self._write(warning(text, hint, self._format))

    def warn_of(self, source: TomlSource, found: Iterable[Diagnostic]) -> None:
        """Warnings about the spec, with their places."""
        for each in found:
            if self._format == "text":
                self._clear()
                self._write(format_diagnostic(each, source, self._colors, "warning"))
            else:
                from envcompile.cli.machine import diagnosed  # noqa: PLC0415 - only when a machine reads

                self._write(diagnosed(each, source, "warning", self._format))

    def error(self, error: EnvcompileError) -> None:
        """What ended the work. Said even when quiet."""
        self._clear()
        if self._format != "text":
            from envcompile.cli.machine import lines  # noqa: PLC0415 - only when a machine reads

            self._write("".join(lines(error, self._format)))
        elif isinstance(error, DiagnosticsError):
            for index, diagnostic in enumerate(error.diagnostics):
                self._write(("\n" if index else "") + format_diagnostic(diagnostic, error.source, self._colors))
            if error.total > 1:
                first = (
                    f", the first {len(error.diagnostics)} are shown" if error.total > len(error.diagnostics) else ""
                )
                self._write(f"\n{format_count(error.total, 'mistake')} in `{error.source.name}`{first}\n")
        else:
            self._message("error", error.message, error.hint)

    def _message(self, level: str, text: str, hint: str | None) -> None:
        self._clear()
        colors = self._colors
        self._write(f"{colors.error}{level}{colors.end}: {redact_secrets(text)}\n")
        if hint:
            self._write(f"  {colors.hint}= hint:{colors.end} {redact_secrets(hint)}\n")

    def _clear(self) -> None:
        if self._step:
            self._write("\r\x1b[K")
            self._step = ""

    def _write(self, text: str) -> None:
        # A terminal of another encoding shows what it can.
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()
