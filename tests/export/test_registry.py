"""One row of `EXPORTERS` is all that an export format needs beside its module: everything else follows from the table.

After a change of the table, `pytest --rewrite-goldens tests/export/test_registry.py` updates the schema, the pattern of
the hook's files and the documentation.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import pytest

from envcompile.cli.main import main
from envcompile.platforms import PLATFORMS
from envcompile.project.discovery import PYPROJECT_FILE_NAME, SPEC_FILE_NAME, lock_path_from_spec
from envcompile.project.generated_files import (
    EXPORT_FILES,
    EXPORTERS,
    PLATFORM_NAMES,
    format_export_name,
    parse_spec_stem,
)

if TYPE_CHECKING:
    from tests.conftest import Golden

TOP = Path(__file__).parents[2]
FILE_NAMES = tuple(EXPORT_FILES)


def test_each_exporter_has_a_module_and_each_module_a_row() -> None:
    package = import_module("envcompile.export")
    modules = {each.name: import_module(f"envcompile.export.{each.name}") for each in iter_modules(package.__path__)}
    exporters = {name for name, module in modules.items() if hasattr(module, "render_export")}
    assert exporters == {row.module for row in EXPORTERS.values()}


def test_rows_are_sorted_and_files_are_unique() -> None:
    assert list(EXPORTERS) == sorted(EXPORTERS)
    assert len({row.file_name for row in EXPORTERS.values()}) == len(EXPORTERS)


def test_platform_names_are_those_of_the_platforms() -> None:
    assert list(PLATFORM_NAMES) == list(PLATFORMS)


def test_the_schema_lists_the_files(golden: Golden) -> None:
    path = TOP / "schemas" / "spec.v1.json"
    schema = json.loads(path.read_text("utf-8"))
    schema["properties"]["lock"]["properties"]["exports"]["items"]["enum"] = list(FILE_NAMES)
    golden(path, json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


def test_the_hook_receives_the_files(golden: Golden) -> None:
    names = (SPEC_FILE_NAME, lock_path_from_spec(SPEC_FILE_NAME), PYPROJECT_FILE_NAME, "Dockerfile", *FILE_NAMES)
    pattern = f"(^|/)({'|'.join(names)})$".replace(".", r"\.")
    path = TOP / ".pre-commit-hooks.yaml"
    text, count = re.subn(
        r"^  files: .*$", lambda _: f"  files: {pattern}", path.read_text("utf-8"), flags=re.MULTILINE
    )
    assert count == 1
    golden(path, text)


def test_the_documentation_lists_the_formats(golden: Golden) -> None:
    path = TOP / "docs" / "exports.md"
    rows = [
        ("format", "file", "used by", "contents"),
        *((f"`{row.name}`", f"`{row.file_name}`", row.used_by, row.contents) for row in EXPORTERS.values()),
    ]
    heading, *lines = (f"| {' | '.join(row)} |\n" for row in rows)
    table = "".join((heading, "|---|---|---|---|\n", *lines))
    text, count = re.subn(
        r"^\| format \|(?:.*\n)(?:\|.*\n)+", lambda _: table, path.read_text("utf-8"), flags=re.MULTILINE
    )
    assert count == 1
    golden(path, text)


def test_the_help_lists_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for row in EXPORTERS.values():
        assert f"{row.name} {row.file_name}: {row.contents}; for {row.used_by}" in text


@pytest.mark.parametrize("file", FILE_NAMES)
@pytest.mark.parametrize("stem", ["cpu", "a.b", "requirements"])
def test_the_name_of_a_file_leads_back_to_its_spec(file: str, stem: str) -> None:
    assert parse_spec_stem(file) == ""
    assert parse_spec_stem(format_export_name(file, stem)) == stem


@pytest.mark.parametrize("name", ["requirements.in", "poetry.lock", "pylock", "explicit-osx-64.txt", "notes.txt"])
def test_other_names_are_no_exports(name: str) -> None:
    assert parse_spec_stem(name) is None
