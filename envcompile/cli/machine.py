"""Mistakes for machines: a JSON object per line, or the annotations of a GitHub workflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import DiagnosticsError, find_span, redact_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.diagnostics.errors import EnvcompileError
    from envcompile.diagnostics.toml_source import TomlSource


def lines(error: EnvcompileError, form: str) -> Iterator[str]:
    """One line per mistake. `form` is `json` or `github`.

    JSON keys: level, code (a rule's slug or null), message, hint, file, line, column, end_line, end_column (from 1, the
    end exclusive, null where there is no place).
    """
    for row in _rows(error):
        yield line(row, form)


def warning(message: str, hint: str | None, form: str) -> str:
    """One line for what is not as it should be, and does not stop the work."""
    row = {
        "level": "warning",
        "code": None,
        "message": redact_secrets(message),
        "hint": redact_secrets(hint) if hint else None,
    }
    return line(row, form)


def line(row: Mapping[str, str | int | None], form: str) -> str:
    """One row, as a line of its form."""
    return f"{json.dumps(row)}\n" if form == "json" else _annotation(row)


def _rows(error: EnvcompileError) -> Iterator[dict[str, str | int | None]]:
    if not isinstance(error, DiagnosticsError):
        where = dict.fromkeys(("file", "line", "column", "end_line", "end_column"))
        hint = redact_secrets(error.hint) if error.hint else None
        yield {"level": "error", "code": None, "message": redact_secrets(error.message), "hint": hint, **where}
        return
    yield from (_placed(found, error.source, "error") for found in error.diagnostics)


def diagnosed(found: Diagnostic, source: TomlSource, level: str, form: str) -> str:
    """One line for a mistake or a warning with its place; the keys are those of `lines`."""
    return line(_placed(found, source, level), form)


def _placed(found: Diagnostic, source: TomlSource, level: str) -> dict[str, str | int | None]:
    span = find_span(found, source)
    start, end = source.place(span.start), source.place(span.end)
    return {
        "level": level,
        "code": found.rule,
        "message": redact_secrets(found.message),
        "hint": redact_secrets(found.hint) if found.hint else None,
        "file": source.name,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
    }


def _annotation(row: Mapping[str, str | int | None]) -> str:
    keys = (("file", "file"), ("line", "line"), ("column", "col"), ("end_line", "endLine"), ("end_column", "endColumn"))
    title = f"envcompile {row['code'] or row['level']}"
    places = [f"{name}={_property(str(row[key]))}" for key, name in keys if row.get(key) is not None]
    message = f"{row['message']}\n{row['hint']}" if row["hint"] else str(row["message"])
    return f"::{row['level']} {','.join([*places, f'title={_property(title)}'])}::{_data(message)}\n"


def _data(text: str) -> str:
    """Escaped as the workflow commands of GitHub's runner read it back."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
