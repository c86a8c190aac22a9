"""Versions of CUDA, drivers and packages, compared by their numbers alone: no range here ends at a pre-release."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import CondaPackage, PipPackage

_NUMBERS_PATTERN = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def version_numbers(version: str) -> tuple[int, ...]:
    """`2.8.3.post2` is (2, 8, 3); () of a text that does not start with a number."""
    found = _NUMBERS_PATTERN.match(version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def major_version(version: str) -> int:
    """The first number; 0 where there is none."""
    return (version_numbers(version) or (0,))[0]


def minor_release(version: str) -> str:
    """`12.8.90` is `12.8`."""
    return ".".join(str(part) for part in version_numbers(version)[:2])


def is_in_range(version: str, low: str, below: str) -> bool:
    """Whether low <= version < below; an empty bound is none."""
    found = version_numbers(version)
    return version_numbers(low) <= found and (not below or found < version_numbers(below))


def platform_architecture(platform: str) -> str:
    """`linux/arm64/v8` is `arm64`."""
    return (*platform.split("/"), platform)[1]


def is_older_driver(version: str, bound: str) -> bool:
    """Whether a driver is older than `bound`, as far as it is told: `525` is no older than 525.60.13."""
    told = version_numbers(version)
    return told < version_numbers(bound)[: len(told)]


def is_cudnn_compatible(version: str, needed: str) -> bool:
    """Same major version, and at least the minor."""
    return not needed or (
        major_version(version) == major_version(needed) and version_numbers(version) >= version_numbers(needed)
    )


# Which C library a wheel's file name asks for.


_MANYLINUX_TAG = re.compile(r"manylinux(?:_([0-9]+)_([0-9]+)|(1|2010|2014))_")
_LEGACY_GLIBC = {"1": "2.5", "2010": "2.12", "2014": "2.17"}


def find_wheel_glibc(file: str) -> str | None:
    """The oldest glibc (X.Y) that the wheel says it runs with; None where it says none."""
    if not file.endswith(".whl"):
        return None
    found = [_LEGACY_GLIBC[old] if old else f"{one}.{two}" for one, two, old in _MANYLINUX_TAG.findall(file)]
    return min(found, key=version_numbers, default=None)


# Which CUDA the locked packages bring or are built for: read off their versions, never off what was asked.


# Packages whose own version is that of the CUDA runtime they hold or stand for, the surest first.
PIP_RUNTIME_PATTERNS = (re.compile(r"nvidia-cuda-runtime(?:-cu[0-9]+)?"), re.compile(r"cuda-toolkit"))
CONDA_RUNTIME_PACKAGES = ("cuda-cudart", "cudatoolkit", "cuda-version")
_LOCAL_VERSION_PATTERN = re.compile(r"\+cu([0-9]{2})([0-9]+)$")


def find_cuda_releases(conda: Iterable[CondaPackage], pip: Iterable[PipPackage]) -> dict[str, str]:
    """Package name to the release of CUDA (X.Y) that it says, of the packages that say one."""
    found = {each.name: _truncate_release(each.version) for each in conda if each.name in CONDA_RUNTIME_PACKAGES}
    for each in pip:
        if any(pattern.fullmatch(each.name) for pattern in PIP_RUNTIME_PATTERNS):
            found[each.name] = _truncate_release(each.version)
        elif release := parse_local_release(each.version):
            found[each.name] = release
    return found


def parse_local_release(version: str) -> str | None:
    """The release of CUDA (X.Y) in a local version such as `2.6.0+cu124`."""
    found = _LOCAL_VERSION_PATTERN.search(version)
    return f"{found[1]}.{found[2]}" if found else None


def _truncate_release(version: str) -> str:
    return ".".join(version.split(".")[:2])
