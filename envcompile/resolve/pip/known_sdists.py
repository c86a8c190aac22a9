"""Facts about common sdists that their static metadata do not state, read from `known_sdists.toml`.

The file states the sources of the facts and the date when they were checked. `[pip.metadata.NAME]` in a spec overrides
the facts about the package.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import tomli

from envcompile.spec.pip import PipRequirement


class KnownSdist(NamedTuple):
    """What is known about every release of a package.

    - `is_declared`: whether the dependencies in the archive are correct although they count as dynamic.
    - `build_requires`: build requirements in addition to those in pyproject.toml.
    - `build_env`: environment variables of the build, sorted by name.
    - `cuda_env`: further environment variables if CUDA is locked, sorted by name.
    """

    is_declared: bool
    build_requires: tuple[PipRequirement, ...]
    build_env: tuple[tuple[str, str], ...]
    cuda_env: tuple[tuple[str, str], ...]


@cache
def load_known_sdists() -> dict[str, KnownSdist]:
    """Return the facts about each known sdist, by the normalised name of the package."""
    tables = tomli.loads(Path(__file__).with_name("known_sdists.toml").read_text("utf-8"))
    return {
        name: KnownSdist(
            table.get("declared", False),
            tuple(map(PipRequirement, table.get("build-requires", ()))),
            tuple(sorted(table.get("build-env", {}).items())),
            tuple(sorted(table.get("cuda-env", {}).items())),
        )
        for name, table in tables.items()
    }
