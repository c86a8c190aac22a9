"""What `[cuda] version` means to a pip resolver: which releases of NVIDIA's wheels may be in the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.plan.base.versions import major

if TYPE_CHECKING:
    from envcompile.plan.base.catalogue import Catalogue

# Wheels whose own version is that of the toolkit: the others (cuDNN, cuFFT, NCCL) count for themselves.
_OF_TOOLKIT = ("nvidia-cuda-runtime", "nvidia-cuda-nvrtc", "nvidia-cuda-cupti", "nvidia-cuda-nvcc", "nvidia-nvjitlink")
_METAPACKAGE = "cuda-toolkit"
_UNSUFFIXED = 13


def bounds(version: str | bool | None, catalogue: Catalogue) -> tuple[str, ...]:
    """Lines of a constraints file. None where no version is asked for: then whatever comes is read off the lock.

    Nothing is forbidden where CUDA is kept out: an old release that hides its CUDA would come in the place of a new
    one, so what came is looked at instead.
    """
    if not isinstance(version, str):
        return ()
    asked = major(version)
    found = [f"{_METAPACKAGE}=={version}.*"]
    majors = sorted({major(each) for each in catalogue.runtimes} | {asked})
    for name in _OF_TOOLKIT:
        names = {each: f"{name}-cu{each}" if each < _UNSUFFIXED else name for each in majors}
        mine = names.pop(asked)
        found.append(f"{mine}=={version}.*")
        found += [f"{other}<0" for other in sorted({*names.values()} - {mine})]
    return tuple(found)
