"""Facts about common sdists that their static metadata do not state: `known_sdists.toml`, dated, with sources.

`[pip.metadata.NAME]` of a spec overrides them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import tomli

from envcompile.spec.pip import PipRequirement


class KnownSdist(NamedTuple):
    """What is known about every release of a package.

    - `is_declared`: whether the dependencies in the archive hold although they count as dynamic.
    - `build_requires`: build requirements beside those in pyproject.toml.
    - `build_env`, `cuda_env`: environment variables of the build, always and if CUDA is locked, sorted by name.
    """

    is_declared: bool
    build_requires: tuple[PipRequirement, ...]
    build_env: tuple[tuple[str, str], ...]
    cuda_env: tuple[tuple[str, str], ...]


@cache
def load_known_sdists() -> dict[str, KnownSdist]:
    """Return the facts by normalised name."""
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
