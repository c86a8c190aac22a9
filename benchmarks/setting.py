"""The folder and the environment in which commands run: the same for both sides of a comparison."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Settings of the resolvers, which would change their answers, and of the interpreter, which would change its speed:
# PYTHONDONTWRITEBYTECODE alone makes every run compile our modules anew, but not the libraries of the other side.
_DROPPED = ("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV", "CONDA_")
_KEPT = frozenset({"PYTHONPATH", "PYTHONHOME"})

ENVCOMPILE = (sys.executable, "-m", "envcompile")


@dataclass(frozen=True, slots=True)
class Setting:
    """The input of a comparison.

    `scratch` is a folder that is removed afterwards, `cache` one that stays. `runs` is the number of runs per
    command; None means each comparison's own number.
    """

    scratch: Path
    cache: Path
    runs: int | None

    def folder(self, name: str) -> Path:
        """A folder inside the scratch folder, created if it does not exist."""
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def environment(self, **more: str | Path) -> Mapping[str, str]:
        """The environment of commands: proxies and certificates, and nothing that changes results or speed."""
        kept = {key: value for key, value in os.environ.items() if key in _KEPT or not key.startswith(_DROPPED)}
        # Compiled modules have a place to be found in, though the project's folder may be read-only.
        own = {"PYTHONPYCACHEPREFIX": self.folder("bytecode"), "TMPDIR": self.folder("temporary")}
        return {**kept, **{key: str(value) for key, value in {**own, **more}.items()}}
