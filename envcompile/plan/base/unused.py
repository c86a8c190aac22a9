"""What is shipped for nothing: libraries of NVIDIA's in an environment that uses no GPU."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.plan.base.model import Said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import PlatformLock

_LIBRARY = re.compile(
    r"nvidia-(?:nccl|nvshmem|nvjitlink|nvtx|nvvm|cufile|cusparselt|cuda-[a-z-]+|cublas|cudnn|cufft|curand|cusolver"
    r"|cusparse)(?:-cu[0-9]+)?"
)
# Builds of the same for the processor alone, which have a name of their own (the index's metadata, 2026-11-22).
_TWINS = {"xgboost": "xgboost-cpu"}


def unused(platform: PlatformLock) -> Iterator[Said]:
    """A warning for each such library. Only to be asked where nothing that is locked uses a GPU."""
    for package in platform.pip:
        if not _LIBRARY.fullmatch(package.name):
            continue
        needing = [each.name for each in platform.pip if package.name in each.depends]
        size = f" ({package.size / 1e6:.0f} MB)" if package.size else ""
        by = f", for {' and '.join(f'`{each}`' for each in needing)}" if needing else ""
        message = f"`{package.name}` {package.version}{size} is locked{by}, and nothing here uses a GPU"
        leave = f'write `exclude = ["{package.name}"]` in `[pip]`'
        twins = [f"ask for `{_TWINS[each]}` in the place of `{each}`" for each in needing if each in _TWINS]
        yield Said("W_GPU_UNUSED", message, ", or ".join([*twins, leave]))
