"""Which distributions a conda package brings."""

from __future__ import annotations

from envcompile.resolve.conda.channels import _load_name_table, _parse_row_name, find_distributions


def test_the_rows_are_sorted_by_name_each_name_once() -> None:
    """It is what the search relies on."""
    names = [_parse_row_name(row) for row in _load_name_table()]
    assert names == sorted(set(names))


def test_every_row_is_found() -> None:
    for row in _load_name_table():
        name, _, distributions = row.partition("=")
        assert find_distributions(name) == (tuple(distributions.split(",")) if distributions else (name,))
    assert find_distributions("pytorch") == ("torch",)
    for name in ("", "libgdal", "zzzz", "numpy-"):
        assert find_distributions(name) == ()
