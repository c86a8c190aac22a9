"""Which CUDA the locked packages bring or are built for: read off their versions, never off what was asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import CondaPackage, PipPackage

# Packages whose own version is that of the CUDA runtime they hold or stand for, the surest first.
PIP_RUNTIME = (re.compile(r"nvidia-cuda-runtime(?:-cu[0-9]+)?"), re.compile(r"cuda-toolkit"))
CONDA_RUNTIME = ("cuda-cudart", "cudatoolkit", "cuda-version")
_LOCAL = re.compile(r"\+cu([0-9]{2})([0-9]+)$")


def releases(conda: Iterable[CondaPackage], pip: Iterable[PipPackage]) -> dict[str, str]:
    """Package name to the release of CUDA (X.Y) that it says, of the packages that say one."""
    found = {each.name: _release(each.version) for each in conda if each.name in CONDA_RUNTIME}
    for each in pip:
        if any(pattern.fullmatch(each.name) for pattern in PIP_RUNTIME):
            found[each.name] = _release(each.version)
        elif release := local_release(each.version):
            found[each.name] = release
    return found


def local_release(version: str) -> str | None:
    """The release of CUDA (X.Y) in a local version such as `2.6.0+cu124`."""
    found = _LOCAL.search(version)
    return f"{found[1]}.{found[2]}" if found else None


def _release(version: str) -> str:
    return ".".join(version.split(".")[:2])
