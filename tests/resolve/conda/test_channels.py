"""The distributions that a conda package provides."""

from __future__ import annotations

import pytest

from envcompile.lock.model import CondaPackage
from envcompile.resolve.conda.channels import _load_name_table, _parse_row_name, add_distributions

CONDA_FORGE, OTHER = "https://conda.example/mirror/conda-forge", "https://conda.example/channel"


def find(name: str, url: str = CONDA_FORGE, depends: tuple[str, ...] = ("python >=3.8",), **stated: str) -> str:
    """The distributions of a package of the channel at `url`, separated by blanks."""
    package = CondaPackage(name, "1.0", "0", "c", "noarch", f"{name}-1.0-0.conda", "0" * 64, depends=depends)
    (found,) = add_distributions((package,), {"c": url}, {key: tuple(value.split()) for key, value in stated.items()})
    return " ".join(found.provides)


def test_the_rows_are_sorted_by_name_each_name_once() -> None:
    """The search relies on it."""
    names = [_parse_row_name(row) for row in _load_name_table()]
    assert names == sorted(set(names))


def test_every_row_is_found() -> None:
    for row in _load_name_table()[::37]:
        name, _, distributions = row.partition("=")
        expected = distributions.removeprefix("*") if "=" in row else name
        assert find(name) == expected.replace(",", " ")
    for name in ("libgdal", "zzzz", "numpy-"):
        assert not find(name)


@pytest.mark.parametrize(
    ("name", "distributions"),
    [
        # The mapping found more in some old archive of these names.
        ("py", "py"),
        ("gym", "gym"),
        ("bleach", "bleach"),
        ("debugpy", "debugpy"),
        ("docutils", "docutils"),
        ("ansible", "ansible"),
        ("flit-core", "flit-core"),
        ("arm_pyart", "arm-pyart"),
        ("ray-core", "ray"),
        ("docker-py", "docker"),
        ("inkscape", ""),
        ("qgis", ""),
        ("nsight-compute", ""),
        ("vscode-python", ""),
        # Other names of the same distribution.
        ("pytorch", "torch"),
        ("matplotlib-base", "matplotlib"),
        ("dask-core", "dask"),
        ("python-duckdb", "duckdb"),
        ("pytables", "tables"),
        ("typing_extensions", "typing-extensions"),
        ("backports.zoneinfo", "backports-zoneinfo"),
        ("py-opencv", "opencv-python opencv-python-headless"),
        ("libopencv", ""),
        ("pyside6", "pyside6 shiboken6"),
    ],
)
def test_a_package_provides_what_every_archive_of_it_contains(name: str, distributions: str) -> None:
    """Promise 9: CUDA libraries are never shipped twice; promise 12: each dependency is in the lock."""
    assert find(name) == distributions


def test_the_table_covers_conda_forge() -> None:
    """In another channel only curated rows hold, and the own name of a package that depends on Python."""
    assert find("pytables", OTHER) == "pytables"
    assert find("python-duckdb", OTHER) == "python-duckdb"
    assert find("pytorch", OTHER) == "torch"
    assert find("numpy-base", OTHER) == "numpy"
    assert find("Acme_Tools".lower(), OTHER) == "acme-tools"
    assert not find("libacme", OTHER, depends=("libstdcxx >=12",))
    assert not find("_acme", OTHER)


def test_the_spec_corrects_the_table() -> None:
    assert find("py", py="py iniconfig") == "py iniconfig"
    assert not find("numpy", numpy="")
