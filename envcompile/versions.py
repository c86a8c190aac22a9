"""Version numbers without pre-releases: Python, glibc, CUDA, drivers and Debian releases, compared number by number.

Versions of packages follow the rules of their ecosystem: `spec.conda` compares conda's, `packaging` those of PEP 440.
"""

from __future__ import annotations

import re

# Python cannot read a number of more than 4,300 digits, and no version has one of more than 18.
_NUMBER = r"[0-9]{1,18}(?![0-9])"
_NUMBERS_PATTERN = re.compile(rf"{_NUMBER}(?:\.{_NUMBER})*")


def version_numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `2.8.3.post2` gives (2, 8, 3); () if the text does not start with a number."""
    found = _NUMBERS_PATTERN.match(version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def major_version(version: str) -> int:
    """The first number of a version; 0 if there is none."""
    return (version_numbers(version) or (0,))[0]


def minor_release(version: str) -> str:
    """The X.Y of a version: `12.8.90` gives `12.8`, `3.13.0rc1` gives `3.13`, and `12` gives `12`."""
    return ".".join(str(part) for part in version_numbers(version)[:2])


def is_in_range(version: str, low: str, below: str) -> bool:
    """Whether low <= version < below. An empty bound does not constrain."""
    found = version_numbers(version)
    return version_numbers(low) <= found and (not below or found < version_numbers(below))


def is_release_of(version: str, release: str) -> bool:
    """Whether a version belongs to a release: `3.12.4` belongs to `3.12`, to `3` and to itself."""
    return f"{version}.".startswith(f"{release}.")
