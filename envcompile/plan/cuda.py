"""Which CUDA the locked packages bring or are built for: read off their versions, never off what was asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import CondaPackage, PipPackage

# Packages whose own version is that of the CUDA runtime they hold or stand for.
_PIP_RUNTIME = re.compile(r"nvidia-cuda-runtime(?:-cu[0-9]+)?|cuda-toolkit")
_CONDA_RUNTIME = frozenset({"cuda-cudart", "cudatoolkit", "cuda-version"})
_LOCAL = re.compile(r"\+cu([0-9]{2})([0-9])$")


def releases(conda: Iterable[CondaPackage], pip: Iterable[PipPackage]) -> dict[str, str]:
    """Package name to the release of CUDA (X.Y) that it says, of the packages that say one."""
    found = {each.name: _release(each.version) for each in conda if each.name in _CONDA_RUNTIME}
    for each in pip:
        if _PIP_RUNTIME.fullmatch(each.name):
            found[each.name] = _release(each.version)
        elif local := _LOCAL.search(each.version):
            found[each.name] = f"{local[1]}.{local[2]}"
    return found


def _release(version: str) -> str:
    return ".".join(version.split(".")[:2])
