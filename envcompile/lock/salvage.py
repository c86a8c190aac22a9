"""What can still be read of a lock that cannot be trusted: its pins, as preferences for the next solve.

Both sides of a merge conflict, the beginning of a file that was cut off, the rows an editor left alone. Nothing read
here reaches a lock by itself: the resolver looks every pin up again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import Version

from envcompile.errors import Unusable
from envcompile.lock.validate import pip_package
from envcompile.platforms import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.lock.model import PipPackage

_HEADER = re.compile(r"\[platforms\.([a-z0-9-]+)\]")
_ROW = re.compile(r"    (\{ name = .* \}),")


def salvage(text: str) -> Mapping[str, tuple[PipPackage, ...]]:
    """Platform name to the pins that stand in the text; of two for one package, the newer."""
    import tomli  # noqa: PLC0415 - only for a lock that is broken

    pins: dict[str, dict[str, PipPackage]] = {}
    platform = None
    for line in text.replace("\r\n", "\n").split("\n"):
        if header := _HEADER.fullmatch(line):
            platform = header[1] if header[1] in PLATFORMS else None
        elif platform and (row := _ROW.fullmatch(line)):
            try:
                package = pip_package(tomli.loads(f"row = {row[1]}")["row"])
                Version(package.version)
            except (ValueError, Unusable):  # InvalidVersion and TOML's error are ValueErrors
                continue
            names = pins.setdefault(platform, {})
            names[package.name] = max(package, names.get(package.name, package), key=_version)
    return {name: tuple(sorted(each.values(), key=lambda package: package.name)) for name, each in pins.items()}


def _version(package: PipPackage) -> Version:
    return Version(package.version)
