"""Wheels that hold nothing but a name and a version: how a pip resolver sees what conda has already brought.

A constraint alone is not enough: a resolver may then take an old release of something else that does not need the
package at all. A stub has no dependencies (conda has solved them) and a local version that no index has.
"""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

from packaging.version import VERSION_PATTERN, Version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from envcompile.lock.model import CondaPackage

LOCAL = "conda"
# Not anchored at the end: it matches as much of a conda version as PEP 440 has a reading for.
VERSION = re.compile(VERSION_PATTERN, re.VERBOSE | re.IGNORECASE)


def provided(packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Distribution name to its version with the stub's local part, such as `2.9.0+conda`, sorted by name.

    A conda version that is no PEP 440 version is taken as far as it is one.
    """
    found = {name: _version(package.version) for package in packages for name in package.provides}
    return dict(sorted(found.items()))


def _version(conda: str) -> str:
    known = VERSION.match(conda)
    return f"{Version(known[0]).public if known else '0'}+{LOCAL}"


def write_stubs(folder: Path, distributions: dict[str, str]) -> None:
    """One wheel for each distribution."""
    for name, version in distributions.items():
        stem = f"{name.replace('-', '_')}-{version}"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            info = f"{stem}.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
