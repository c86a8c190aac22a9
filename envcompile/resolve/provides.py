"""Which Python distributions a conda package brings: what pip must then neither take again nor replace."""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envcompile.lock.model import CondaPackage


@cache
def _names() -> dict[str, tuple[str, ...]]:
    text = files("envcompile.resolve").joinpath("data/conda_pypi.txt").read_text("utf-8")
    rows = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: tuple(distributions.split(",")) if distributions else (name,) for name, _, distributions in rows}


def provides(name: str) -> tuple[str, ...]:
    """The normalised names (PEP 503) of the distributions in a conda package, sorted; () when it is none or unknown."""
    return _names().get(name, ())


def with_distributions(packages: tuple[CondaPackage, ...]) -> tuple[CondaPackage, ...]:
    """The packages, each with the distributions it brings."""
    return tuple(dataclasses.replace(package, provides=provides(package.name)) for package in packages)
