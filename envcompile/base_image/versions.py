"""Versions of CUDA, drivers and packages, compared by their numbers alone: no range here ends at a pre-release."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.versions import major_version, minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import CondaPackage, PipPackage


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
    found = {each.name: minor_release(each.version) for each in conda if each.name in CONDA_RUNTIME_PACKAGES}
    for each in pip:
        if any(pattern.fullmatch(each.name) for pattern in PIP_RUNTIME_PATTERNS):
            found[each.name] = minor_release(each.version)
        elif release := parse_local_release(each.version):
            found[each.name] = release
    return found


def parse_local_release(version: str) -> str | None:
    """The release of CUDA (X.Y) in a local version such as `2.6.0+cu124`."""
    found = _LOCAL_VERSION_PATTERN.search(version)
    return f"{found[1]}.{found[2]}" if found else None
