"""What would come from NVIDIA's own apt archive, which has no snapshot: the wheels that hold the same, by hash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.lock.model import Step
from envcompile.plan.base.model import Locked, Said
from envcompile.plan.base.versions import minor, number

if TYPE_CHECKING:
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.model import Decision

_NAME = re.compile(r"(cuda-[a-z-]+)-([0-9]+)-([0-9]+)")
# The wheels of the runtime hold its headers; those of CUDA 13 and later hold an nvcc.
_HEADERS, _COMPILER = "cuda-cudart-dev", "cuda-nvcc"
_UNSUFFIXED = 13


def supplement(decision: Decision, catalogue: Catalogue) -> tuple[str, ...] | Said:
    """Requirements of pip in the place of NVIDIA's apt packages, sorted; a mistake where no wheel holds the same."""
    wheels: set[str] = set()
    for found in filter(None, map(_NAME.fullmatch, decision.apt_run)):
        name, major, release = found[1], int(found[2]), f"{found[2]}.{found[3]}"
        if name == _HEADERS:
            wheel = "nvidia-cuda-runtime" if major >= _UNSUFFIXED else f"nvidia-cuda-runtime-cu{major}"
            wheels.add(f"{wheel} =={release}.*")
        elif name == _COMPILER and major >= _UNSUFFIXED:
            wheels |= {f"{each} =={release}.*" for each in catalogue.nvcc_wheel}
        else:
            message = (
                f"a locked package compiles CUDA {release} code at run time, and no wheel of it holds the compiler"
            )
            hint = f"add `cuda-nvcc {release}.*` to `packages` in `[conda]`, or take releases for CUDA 13 or newer"
            return Said("E_UNPINNED", message, hint)
    return tuple(sorted(wheels))


def expect(wheels: tuple[str, ...], catalogue: Catalogue) -> tuple[Locked, ...]:
    """What will be locked for such requirements, as far as it matters for the base."""
    found = []
    for each in wheels:
        name, _, bound = each.partition(" ==")
        release = bound.removesuffix(".*")
        known = [version for version in catalogue.runtimes if minor(version) == release]
        found.append(Locked(name, max(known, key=number, default=f"{release}.0"), "wheel"))
    return tuple(found)


def trail(wheels: tuple[str, ...]) -> Step:
    """The row of the trail."""
    decision = "resolved together with these wheels: NVIDIA's own archive of Debian packages has no snapshot"
    return Step(0, "supplement", wheels, decision, source="docs/base.md, wheels in the place of apt packages")
