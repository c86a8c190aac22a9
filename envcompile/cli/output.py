"""Where an artefact goes: standard output, or a file, which is written whole or not at all, or compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from envcompile.diagnostics.diagnostic import (
    NO_COLORS,
    TERMINAL_COLORS,
    DiagnosticsError,
    find_span,
    format_count,
    format_diagnostic,
    redact_secrets,
)
from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError, InvalidInputError
from envcompile.diagnostics.events import BuildLog, Notice, StepStarted
from envcompile.project.files import write_text
from envcompile.project.generated_files import format_mismatch_message

if TYPE_CHECKING:
    import argparse
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.diagnostics.errors import EnvcompileError
    from envcompile.diagnostics.events import Event
    from envcompile.diagnostics.source import SourceText


class OutputArtifact(NamedTuple):
    """What is written: its name for people, the command that writes it, and what its file is called by custom."""

    name: str
    command: str
    file_name: str


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the destination of an artifact."""
    parser.add_argument("-o", "--output", metavar="FILE", help="Write to FILE atomically (default: standard output)")
    parser.add_argument(
        "--check", action="store_true", help="With -o: change nothing, and exit with 1 if FILE would change"
    )


def write_artifact(
    arguments: argparse.Namespace, reporter: Reporter, artefact: OutputArtifact, make: Callable[[], str]
) -> int:
    """Make the text, and write or compare it; 0, or `CheckFailedError` when the compared file differs."""
    output = arguments.output
    if arguments.check and output is None:
        raise InvalidInputError("`--check` compares a file, and none is named", f"add `-o {artefact.file_name}`")
    text = make()
    if output is None or output == "-":
        # Bytes: the same on every terminal, in every locale, with LF line ends on every system.
        sys.stdout.buffer.write(text.encode())
        return EXIT_OK
    path = Path(output)
    current = path.read_bytes() if path.is_file() else None
    if current == text.encode():
        reporter.show_result(f"`{output}` is current")
    elif arguments.check:
        raise CheckFailedError(format_mismatch_message(output, artefact.name), f"run `{artefact.command} -o {output}`")
    else:
        write_text(path, text)
        reporter.show_result(f"wrote `{output}`")
    return EXIT_OK


def add_catalogue_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a catalogue."""
    parser.add_argument(
        "--catalogue",
        metavar="FILE",
        help="Facts about CUDA images, instead of those of this release (default: `catalogue` in the settings)",
    )


# Mistakes for machines: a JSON object per line, or the annotations of a GitHub workflow.


def format_error_lines(error: EnvcompileError, form: str) -> Iterator[str]:
    """One line per mistake. `form` is `json` or `github`.

    JSON keys: level, code (a rule's slug or null), message, hint, file, line, column, end_line, end_column (from 1, the
    end exclusive, null where there is no place).
    """
    for row in _create_error_rows(error):
        yield format_row(row, form)


def format_warning_line(message: str, hint: str | None, form: str) -> str:
    """One line for what is not as it should be, and does not stop the work."""
    row = {
        "level": "warning",
        "code": None,
        "message": redact_secrets(message),
        "hint": redact_secrets(hint) if hint else None,
    }
    return format_row(row, form)


def format_row(row: Mapping[str, str | int | None], form: str) -> str:
    """One row, as a line of its form."""
    return f"{json.dumps(row)}\n" if form == "json" else _format_annotation(row)


def _create_error_rows(error: EnvcompileError) -> Iterator[dict[str, str | int | None]]:
    if not isinstance(error, DiagnosticsError):
        where = dict.fromkeys(("file", "line", "column", "end_line", "end_column"))
        hint = redact_secrets(error.hint) if error.hint else None
        yield {"level": "error", "code": None, "message": redact_secrets(error.message), "hint": hint, **where}
        return
    yield from (_create_diagnostic_row(found, error.source) for found in error.diagnostics)


def format_diagnostic_line(found: Diagnostic, source: SourceText, form: str) -> str:
    """One line for a mistake or a warning with its place; the keys are those of `lines`."""
    return format_row(_create_diagnostic_row(found, source), form)


def _create_diagnostic_row(found: Diagnostic, source: SourceText) -> dict[str, str | int | None]:
    span = find_span(found, source)
    start, end = source.locate_offset(span.start), source.locate_offset(span.end)
    return {
        "level": found.severity,
        "code": found.rule,
        "message": redact_secrets(found.message),
        "hint": redact_secrets(found.hint) if found.hint else None,
        "file": source.name,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
    }


def _format_annotation(row: Mapping[str, str | int | None]) -> str:
    keys = (("file", "file"), ("line", "line"), ("column", "col"), ("end_line", "endLine"), ("end_column", "endColumn"))
    title = f"envcompile {row['code'] or row['level']}"
    places = [f"{name}={_escape_property(str(row[key]))}" for key, name in keys if row.get(key) is not None]
    message = f"{row['message']}\n{row['hint']}" if row["hint"] else str(row["message"])
    return f"::{row['level']} {','.join([*places, f'title={_escape_property(title)}'])}::{_escape_data(message)}\n"


def _escape_data(text: str) -> str:
    """Escaped as the workflow commands of GitHub's runner read it back."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")


# What is said to people, on standard error: progress, results, mistakes.


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

    def show_step(self, text: str) -> None:
        """What is being done now: one line that the next word replaces. On a terminal only."""
        if self._terminal and not self._quiet:
            self._write(f"\r\x1b[K{text} ...")
            self._step = text

    def show_result(self, text: str) -> None:
        """A result."""
        if not self._quiet and self._format == "text":
            self._clear_line()
            self._write(f"{text}\n")

    def clear_step(self) -> None:
        """No step is being done any more: its line is taken away."""
        self._clear_line()

    def show_detail(self, text: str) -> None:
        """What only `-v` wants to know."""
        if self._verbose:
            self.show_result(text)

    @property
    def shows_progress(self) -> bool:
        """Whether the output of a build is shown."""
        return not self._quiet and self._format == "text"

    def show_event(self, event: Event) -> None:
        """Show progress or a warning of the API."""
        if isinstance(event, StepStarted):
            self.show_step(event.message)
        elif isinstance(event, Notice):
            self.show_result(event.message)
        elif isinstance(event, BuildLog):
            if self._format == "text":
                self._write("".join(f"{line}\n" for line in event.lines))
        elif event.diagnostic and event.source:
            self.warn_of_diagnostics(event.source, [event.diagnostic])
        else:
            self.warn(event.message, event.hint)

    def warn(self, text: str, hint: str | None = None) -> None:
        """Something that is not as it should be, and does not stop the work."""
        if self._format == "text":
            self._write_message("warning", text, hint)
        else:
            self._write(format_warning_line(text, hint, self._format))

    def warn_of_diagnostics(self, source: SourceText, found: Iterable[Diagnostic]) -> None:
        """Warnings about the spec, with their places."""
        for each in found:
            if self._format == "text":
                self._clear_line()
                self._write(format_diagnostic(each, source, self._colors))
            else:
                self._write(format_diagnostic_line(each, source, self._format))

    def show_error(self, error: EnvcompileError) -> None:
        """What ended the work. Said even when quiet."""
        self._clear_line()
        if self._format != "text":
            self._write("".join(format_error_lines(error, self._format)))
        elif isinstance(error, DiagnosticsError):
            for index, diagnostic in enumerate(error.diagnostics):
                self._write(("\n" if index else "") + format_diagnostic(diagnostic, error.source, self._colors))
            if error.total > 1:
                first = (
                    f", the first {len(error.diagnostics)} are shown" if error.total > len(error.diagnostics) else ""
                )
                self._write(f"\n{format_count(error.total, 'mistake')} in `{error.source.name}`{first}\n")
        else:
            self._write_message("error", error.message, error.hint)

    def _write_message(self, level: str, text: str, hint: str | None) -> None:
        self._clear_line()
        colors = self._colors
        self._write(f"{colors.error}{level}{colors.end}: {redact_secrets(text)}\n")
        if hint:
            self._write(f"  {colors.hint}= hint:{colors.end} {redact_secrets(hint)}\n")

    def _clear_line(self) -> None:
        if self._step:
            self._write("\r\x1b[K")
            self._step = ""

    def _write(self, text: str) -> None:
        # A terminal of another encoding shows what it can.
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()
