"""The program that writes the table of the distributions in conda packages."""

from __future__ import annotations

import pytest

from catalogue.conda_names import _CURATED_ROWS, _TABLE, format_table, read_curated_rows, select_distributions

MAPPING = {
    "iniconfig": ["iniconfig"],
    "py": ["apipkg", "iniconfig", "py"],
    "matplotlib": ["matplotlib"],
    "matplotlib-base": ["matplotlib"],
    "lxml": ["lxml"],
    "inkscape": ["lxml"],
    "pytables": ["tables"],
    "Ruamel.Yaml": ["ruamel_yaml"],
    "bundle": ["one", "two"],
    "libgdal": None,
}


def test_what_every_archive_contains() -> None:
    assert select_distributions(MAPPING) == {
        "iniconfig": ("iniconfig",),
        "py": ("py",),
        "matplotlib": ("matplotlib",),
        "matplotlib-base": ("matplotlib",),
        "lxml": ("lxml",),
        "pytables": ("tables",),
        "Ruamel.Yaml": ("ruamel-yaml",),
    }


def test_the_text() -> None:
    rows = [row for row in format_table(MAPPING, {"py": (), "zz": ("a", "b")}).splitlines() if not row.startswith("#")]
    assert rows == sorted(rows, key=lambda row: row.partition("=")[0])
    assert {"py=*", "zz=*a,b", "pytables=tables", "iniconfig"} <= set(rows)


def test_the_shipped_table_has_the_curated_rows() -> None:
    shipped = _TABLE.read_text("utf-8").splitlines()
    curated = read_curated_rows(_CURATED_ROWS.read_text("utf-8"))
    assert len(curated) > 30
    for name, distributions in curated.items():
        assert f"{name}=*{','.join(distributions)}" in shipped


def test_a_curated_row_has_a_source() -> None:
    with pytest.raises(KeyError):
        read_curated_rows('[[row]]\nconda = ["a"]\ndistributions = []\nsource = ""\n')
