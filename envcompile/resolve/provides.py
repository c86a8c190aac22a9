"""Which Python distributions a conda package brings: what pip must then neither take again nor replace."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envcompile.lock.model import CondaPackage


@cache
def _rows() -> list[str]:
    # Beside this file, as in every installation; `importlib.resources` would bring `zipfile` for it, 4 ms of each lock.
    text = Path(__file__).with_name("data").joinpath("conda_pypi.txt").read_text("utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def provides(name: str) -> tuple[str, ...]:
    """The normalised names (PEP 503) of the distributions in a conda package, sorted; () when it is none or unknown."""
    # Looked for in the sorted rows: reading all 20,000 into a table took a tenth of the time of a small lock.
    rows = _rows()
    index = bisect_left(rows, name, key=_name)
    if index == len(rows) or _name(rows[index]) != name:
        return ()
    _, _, distributions = rows[index].partition("=")
    return tuple(distributions.split(",")) if distributions else (name,)


def _name(row: str) -> str:
    return row.partition("=")[0]


def with_distributions(packages: tuple[CondaPackage, ...]) -> tuple[CondaPackage, ...]:
    """The packages, each with the distributions it brings."""
    return tuple(dataclasses.replace(package, provides=provides(package.name)) for package in packages)
