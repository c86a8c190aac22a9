"""Wheels that hold nothing but a name and a version: how a pip resolver sees what conda has already brought.

A constraint alone is not enough: a resolver may then take an old release of something else that does not need the
package at all. A stub has no dependencies (conda has solved them) and a local version that no index has.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from envcompile.lock.freshness_pip import find_provided_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from envcompile.lock.model import CondaPackage
    from envcompile.resolve.protocol import Told

LOCAL = "conda"


def provided(packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Distribution name to its version with the stub's local part, such as `2.9.0+conda`, sorted by name."""
    return {name: f"{version}+{LOCAL}" for name, version in find_provided_versions(packages).items()}


def write_sdists(folder: Path, sdists: Mapping[str, Mapping[str, Told]]) -> None:
    """One wheel for each version of each sdist, with what is known of its needs: no resolver looks into the sdist."""
    for name, versions in sdists.items():
        for version, told in versions.items():
            lines = [f"Requires-Python: {told.python}"] if told.python else []
            lines += [f"Requires-Dist: {each}" for each in told.requires]
            lines += [f"Provides-Extra: {each}" for each in told.extras]
            _write(folder, name, version, "".join(f"{line}\n" for line in lines))


def write_stubs(folder: Path, distributions: dict[str, str]) -> None:
    """One wheel for each distribution."""
    for name, version in distributions.items():
        _write(folder, name, version)


def _write(folder: Path, name: str, version: str, more: str = "") -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
