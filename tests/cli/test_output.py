"""Mistakes for machines."""

from __future__ import annotations

import json

from envcompile.cli.output import format_error_lines, format_warning_line
from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.errors import CheckFailedError
from envcompile.diagnostics.toml_source import TomlSource

SOURCE = TomlSource("a,b:c.toml", 'x = 1\nurl = "https://u:canary@h/"\n')
PROBLEMS = DiagnosticsError(
    SOURCE,
    [
        Diagnostic("userinfo", "`https://u:canary@h/` is 100%\nwrong", ("url",), "mend"),
        Diagnostic("unknown-key", "no", ("x",), target="key"),
    ],
)


def test_json_is_a_line_per_mistake() -> None:
    rows = [json.loads(line) for line in format_error_lines(PROBLEMS, "json")]
    assert [(row["code"], row["line"], row["column"], row["end_column"]) for row in rows] == [
        ("unknown-key", 1, 1, 2),
        ("userinfo", 2, 7, 28),
    ]
    assert rows[0]["hint"] is None
    assert "canary" not in json.dumps(rows)
    (row,) = (json.loads(line) for line in format_error_lines(CheckFailedError("stale", "lock"), "json"))
    assert row == {
        "level": "error",
        "code": None,
        "message": "stale",
        "hint": "lock",
        **dict.fromkeys(row.keys() - {"level", "code", "message", "hint"}),
    }


def test_annotations_are_escaped() -> None:
    first, second = format_error_lines(PROBLEMS, "github")
    assert first == "::error file=a%2Cb%3Ac.toml,line=1,col=1,endLine=1,endColumn=2,title=envcompile unknown-key::no\n"
    assert second.endswith("::`https://********@h/` is 100%25%0Awrong%0Amend\n")
    assert list(format_error_lines(CheckFailedError("stale"), "github")) == ["::error title=envcompile error::stale\n"]


def test_a_warning_is_no_error() -> None:
    assert json.loads(format_warning_line("w", "h", "json")) == {
        "level": "warning",
        "code": None,
        "message": "w",
        "hint": "h",
    }
    assert format_warning_line("w", None, "github") == "::warning title=envcompile warning::w\n"
