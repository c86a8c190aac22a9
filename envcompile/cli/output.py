"""The output of commands: artifacts, and messages as text, JSON lines or annotations of a GitHub workflow.

An artifact goes to standard output or to a file; messages go to standard error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from envcompile.diagnostics.diagnostic import (
    NO_COLORS,
    TERMINAL_COLORS,
    BuildLog,
    DiagnosticsError,
    Notice,
    StepStarted,
    clean_message,
    escape_unprintable,
    find_span,
    format_count,
    format_diagnostic,
    redact_secrets,
)
from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError, InvalidInputError
from envcompile.project.discovery import is_generated_file
from envcompile.project.files import remove_leftovers, write_text
from envcompile.project.generated_files import format_mismatch_message
from envcompile.project.outputs import check_output_file, format_own_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from envcompile.diagnostics.diagnostic import Diagnostic, Event
    from envcompile.diagnostics.errors import EnvcompileError
    from envcompile.diagnostics.source import SourceText

    _Row = dict[str, str | int | None]

_CLEAR_LINE = "\r\x1b[K"
# Maps each key of a location in our JSON output to the matching property of a GitHub annotation.
_LOCATION_KEYS = {
    "file": "file",
    "line": "line",
    "column": "col",
    "end_line": "endLine",
    "end_column": "endColumn",
}


class OutputArtifact(NamedTuple):
    """What a command writes: its name for messages, the command itself, and the usual name of the file.

    `is_own` recognizes the files that envcompile wrote in this format, by their path.
    """

    name: str
    command: str
    file_name: str
    is_own: Callable[[str], bool] = is_generated_file


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the destination of an artifact."""
    add_output_file_options(parser)
    parser.add_argument(
        "--check", action="store_true", help="With -o: change nothing, and exit with 1 if FILE would change"
    )


def add_output_file_options(parser: argparse.ArgumentParser) -> None:
    """Add `-o`, and the option that lets it replace any file."""
    parser.add_argument("-o", "--output", metavar="FILE", help="Write to FILE atomically (default: standard output)")
    parser.add_argument(
        "--force", action="store_true", help="With -o: replace FILE even if envcompile did not write it"
    )


def add_catalogue_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a catalogue."""
    parser.add_argument(
        "--catalogue",
        metavar="FILE",
        help="Facts about CUDA images, instead of those of this release (default: `catalogue` in the settings)",
    )


def write_artifact(
    arguments: argparse.Namespace, reporter: Reporter, artifact: OutputArtifact, make_text: Callable[[], str]
) -> int:
    """Make an artifact, and write it or compare it with a file, as the options say. Returns the exit code.

    Raises `CheckFailedError` if the file differs and `--check` is set, and `InvalidInputError` for `--check` without a
    file and for a file that must not be replaced.
    """
    output = arguments.output
    if arguments.check and output is None:
        raise InvalidInputError("`--check` needs the name of a file", f"add `-o {artifact.file_name}`")
    if output is None or output == "-":
        write_stdout(make_text())
        return EXIT_OK
    path = Path(output)
    try:
        prepare_artifact_file(arguments, artifact)
    except InvalidInputError as problem:
        if arguments.check:
            raise CheckFailedError(problem.message, problem.hint) from None
        raise
    text = make_text()
    current = path.read_bytes() if path.is_file() else None
    if current == text.encode():
        reporter.show_result(f"`{output}` is current")
    elif arguments.check:
        command = f"{artifact.command}{_format_spec_option(arguments)} -o {output}"
        raise CheckFailedError(format_mismatch_message(output, artifact.name), f"run `{command}`")
    else:
        write_text(path, text)
        reporter.show_result(f"wrote `{output}`")
    return EXIT_OK


def prepare_artifact_file(arguments: argparse.Namespace, artifact: OutputArtifact) -> None:
    """Check that the file of `-o` may be written, and remove what a killed run has left beside it.

    Raises `InvalidInputError`, with a command that writes another file as the hint.
    The hint never names `--force`: people run the commands of hints without reading the message.
    """
    stem = Path(arguments.file).stem if arguments.file and Path(arguments.file).suffix == ".toml" else ""
    stem = "envcompile" if stem in {"", "pyproject"} else stem
    own = format_own_name(arguments.output, artifact.file_name, stem)
    command = f"{artifact.command}{_format_spec_option(arguments)}"
    hint = f"write another file: `{command} -o {own}`" if own else "name another file with `-o`"
    check_output_file(Path(arguments.output), artifact.is_own, hint, force=arguments.force)
    remove_leftovers(Path(arguments.output))


def _format_spec_option(arguments: argparse.Namespace) -> str:
    return f" -f {arguments.file}" if arguments.file else ""


def write_stdout(text: str) -> None:
    """Write to standard output as UTF-8 with LF line ends, whatever the locale and the system.

    Raises `CheckFailedError` if it cannot be written, for example because it is a file on a full disk.
    """
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise CheckFailedError(f"standard output cannot be written: {problem.strerror}") from None


def write_lines(lines: Iterable[str]) -> None:
    """Write text for people to standard output, with unprintable characters escaped."""
    write_stdout(escape_unprintable("".join(f"{line}\n" for line in lines)))


class Reporter:
    """Shows messages on a stream: text for people, or warnings and errors only, in a format for programs.

    `--color auto` means no colors if the stream is not a terminal or the variable NO_COLOR is set.
    """

    def __init__(self, stream: TextIO, environment: Mapping[str, str], options: argparse.Namespace) -> None:
        self._stream = stream
        self._quiet, self._verbose, self._format = options.quiet, options.verbose, options.format
        is_text = self._format == "text"
        self._is_terminal = is_text and stream.isatty() and environment.get("TERM") != "dumb"
        auto = self._is_terminal and not environment.get("NO_COLOR")
        has_colors = is_text and (options.color == "always" or (options.color == "auto" and auto))
        self._colors = TERMINAL_COLORS if has_colors else NO_COLORS
        self._has_step = False

    @property
    def shows_progress(self) -> bool:
        """Whether results and the progress of a build are shown."""
        return not self._quiet and self._format == "text"

    def show_step(self, text: str) -> None:
        """Show what the command is doing, in a line that the next message replaces. Only on a terminal."""
        if self._is_terminal and not self._quiet:
            self._write(f"{_CLEAR_LINE}{clean_message(text)} ...")
            self._has_step = True

    def clear_step(self) -> None:
        """Remove the line of `show_step`."""
        if self._has_step:
            self._write(_CLEAR_LINE)
            self._has_step = False

    def show_result(self, text: str) -> None:
        """Show a result, unless `--quiet` is set."""
        if self.shows_progress:
            self.clear_step()
            self._write(f"{clean_message(text)}\n")

    def show_detail(self, text: str) -> None:
        """Show a message if `--verbose` is set."""
        if self._verbose:
            self.show_result(text)

    def show_event(self, event: Event) -> None:
        """Show an event of the API."""
        if isinstance(event, StepStarted):
            self.show_step(event.message)
        elif isinstance(event, Notice):
            self.show_result(event.message)
        elif isinstance(event, BuildLog):
            if self._format == "text":
                self._write("".join(f"{clean_message(line)}\n" for line in event.lines))
        elif event.diagnostic and event.source:
            self._show_diagnostic(event.diagnostic, event.source)
        elif self._format == "text":
            self._show_message("warning", event.message, event.hint)
        else:
            self._write(format_warning_line(event.message, event.hint, self._format))

    def show_error(self, error: EnvcompileError) -> None:
        """Show an error, or each diagnostic of a `DiagnosticsError`."""
        if self._format != "text":
            self._write("".join(format_error_lines(error, self._format)))
        elif not isinstance(error, DiagnosticsError):
            self._show_message("error", error.message, error.hint)
        else:
            for index, diagnostic in enumerate(error.diagnostics):
                self._write("\n" if index else "")
                self._show_diagnostic(diagnostic, error.source)
            shown = len(error.diagnostics)
            if error.total > 1:
                first = f", the first {shown} are shown" if error.total > shown else ""
                name = escape_unprintable(error.source.name)
                self._write(f"\n{format_count(error.total, 'mistake')} in `{name}`{first}\n")

    def _show_diagnostic(self, diagnostic: Diagnostic, source: SourceText) -> None:
        self.clear_step()
        if self._format == "text":
            self._write(format_diagnostic(diagnostic, source, self._colors))
        else:
            self._write(_format_line(_make_diagnostic_row(diagnostic, source), self._format))

    def _show_message(self, level: str, text: str, hint: str | None) -> None:
        self.clear_step()
        colors = self._colors
        self._write(f"{colors.error}{level}{colors.end}: {clean_message(text)}\n")
        if hint:
            self._write(f"  {colors.hint}= hint:{colors.end} {clean_message(hint)}\n")

    def _write(self, text: str) -> None:
        # Characters that the encoding of the stream lacks are escaped.
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()


def format_error_lines(error: EnvcompileError, form: str) -> Iterator[str]:
    """A line for each error. `form` is `json` or `github`.

    The keys of a JSON object are: level; code (the slug of a rule, or null); message; hint; file; line, column,
    end_line and end_column, which count from 1. The end is exclusive. Without a location, the last five are null.
    """
    if isinstance(error, DiagnosticsError):
        rows = [_make_diagnostic_row(each, error.source) for each in error.diagnostics]
    else:
        rows = [_make_row("error", error.message, error.hint) | dict.fromkeys(_LOCATION_KEYS)]
    yield from (_format_line(row, form) for row in rows)


def format_warning_line(message: str, hint: str | None, form: str) -> str:
    """A line for a warning without a location, in the format of `format_error_lines` without the last five keys."""
    return _format_line(_make_row("warning", message, hint), form)


def _make_row(level: str, message: str, hint: str | None, rule: str | None = None) -> _Row:
    hint = redact_secrets(hint) if hint else None
    return {"level": level, "code": rule, "message": redact_secrets(message), "hint": hint}


def _make_diagnostic_row(diagnostic: Diagnostic, source: SourceText) -> _Row:
    span = find_span(diagnostic, source)
    start, end = source.locate_offset(span.start), source.locate_offset(span.end)
    location = (source.name, start.line, start.column, end.line, end.column)
    return {
        **_make_row(diagnostic.severity, diagnostic.message, diagnostic.hint, diagnostic.rule),
        **dict(zip(_LOCATION_KEYS, location, strict=True)),
    }


def _format_line(row: _Row, form: str) -> str:
    return f"{json.dumps(row)}\n" if form == "json" else _format_annotation(row)


def _format_annotation(row: _Row) -> str:
    """A workflow command, as the runner of GitHub Actions reads it."""
    title = f"envcompile {row['code'] or row['level']}"
    keys = [
        f"{name}={_escape_property(str(row[key]))}" for key, name in _LOCATION_KEYS.items() if row.get(key) is not None
    ]
    message = f"{row['message']}\n{row['hint']}" if row["hint"] else str(row["message"])
    return f"::{row['level']} {','.join([*keys, f'title={_escape_property(title)}'])}::{_escape_data(message)}\n"


def _escape_data(text: str) -> str:
    """Escape the message of a workflow command."""
    return escape_unprintable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    """Escape a property of a workflow command."""
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
