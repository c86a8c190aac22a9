"""Versions of CUDA, drivers and packages, compared by their numbers alone: no range here ends at a pre-release."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def number(version: str) -> tuple[int, ...]:
    """`2.8.3.post2` is (2, 8, 3); () of a text that does not start with a number."""
    found = _NUMBERS.match(version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def major(version: str) -> int:
    """The first number; 0 where there is none."""
    return (number(version) or (0,))[0]


def minor(version: str) -> str:
    """`12.8.90` is `12.8`."""
    return ".".join(str(part) for part in number(version)[:2])


def within(version: str, low: str, below: str) -> bool:
    """Whether low <= version < below; an empty bound is none."""
    found = number(version)
    return number(low) <= found and (not below or found < number(below))


def architecture(platform: str) -> str:
    """`linux/arm64/v8` is `arm64`."""
    return (*platform.split("/"), platform)[1]


def older(version: str, bound: str) -> bool:
    """Whether a driver is older than `bound`, as far as it is told: `525` is no older than 525.60.13."""
    told = number(version)
    return told < number(bound)[: len(told)]


def cudnn_fits(version: str, needed: str) -> bool:
    """Same major version, and at least the minor."""
    return not needed or (major(version) == major(needed) and number(version) >= number(needed))
