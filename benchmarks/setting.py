"""Where commands run and what they see of the environment: the same for both sides of a comparison."""

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
    """What a comparison is given.

    `scratch` is a folder that is removed afterwards, `cache` one that stays; `runs` counts per command, None means
    each comparison's own number.
    """

    scratch: Path
    cache: Path
    runs: int | None

    def folder(self, name: str) -> Path:
        """A folder inside the scratch folder, made when it is not there."""
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def environment(self, **more: str | Path) -> Mapping[str, str]:
        """What is passed on of the environment: proxies and certificates, nothing that changes answers or speed."""
        kept = {key: value for key, value in os.environ.items() if key in _KEPT or not key.startswith(_DROPPED)}
        # Compiled modules have a place to be found in, though the project's folder may be read-only.
        own = {"PYTHONPYCACHEPREFIX": self.folder("bytecode"), "TMPDIR": self.folder("temporary")}
        return {**kept, **{key: str(value) for key, value in {**own, **more}.items()}}
