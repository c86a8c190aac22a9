"""Recovers pins, images and the snapshot from a damaged lock, as preferences for the next resolution.

The file may have merge conflict markers, be truncated, or be edited by hand. No recovered value is written to a lock
directly: the resolver looks up every package again.
"""

from __future__ import annotations

import re
from functools import cmp_to_key
from typing import TYPE_CHECKING, TypeVar

from packaging.version import Version

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.model import CondaPackage, Pins, PipPackage
from envcompile.lock.reader import parse_package_row
from envcompile.platforms import PLATFORMS
from envcompile.spec.conda import compare_conda_versions, parse_conda_version
from envcompile.spec.values import remove_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Package = TypeVar("Package", PipPackage, CondaPackage)

_SNAPSHOT_LINE = re.compile(r'^snapshot = "([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)"$', re.MULTILINE)
_PLATFORM_HEADER = re.compile(r"\[platforms\.([a-z0-9-]+)\]")
_ARRAY_START = re.compile(r"([a-z-]+) = \[")
_PACKAGE_ROW = re.compile(r"    (\{ name = .* \}),")
_PINNED_IMAGE = re.compile(r'image = "([^"\s]+@sha256:[0-9a-f]{64})"')
_conda_version_key = cmp_to_key(compare_conda_versions)


def recover_pins(text: str) -> Mapping[str, Pins]:
    """Return the pins in the text by platform. If the text has two versions of a package, the newer one is kept."""
    rows: dict[str, list[PipPackage | CondaPackage]] = {}
    platform = array = None
    for line in text.replace("\r\n", "\n").split("\n"):
        if header := _PLATFORM_HEADER.fullmatch(line):
            platform = header[1] if header[1] in PLATFORMS else None
        elif start := _ARRAY_START.fullmatch(line):
            array = start[1]
        elif array == "conda-installer":
            continue  # not packages of the environment
        elif platform and (row := _PACKAGE_ROW.fullmatch(line)) and (package := _parse_package(row[1])):
            rows.setdefault(platform, []).append(package)
    return {
        name: Pins(
            _select_newest(
                (each for each in found if isinstance(each, PipPackage)), lambda each: Version(each.version)
            ),
            _select_newest(
                (each for each in found if isinstance(each, CondaPackage)),
                lambda each: _conda_version_key(parse_conda_version(each.version)),
            ),
        )
        for name, found in rows.items()
    }


def recover_images(text: str) -> tuple[str, ...]:
    """Return the images by digest in the text of a damaged lock, except those with two different digests."""
    found = set(_PINNED_IMAGE.findall(text))
    names = [remove_digest(image) for image in found]
    return tuple(sorted(image for image in found if names.count(remove_digest(image)) == 1))


def recover_snapshot(text: str) -> str | None:
    """Return the moment of the Debian archive in the text, the later one if there are two, or None."""
    return max(_SNAPSHOT_LINE.findall(text.replace("\r\n", "\n")), default=None)


def _parse_package(row: str) -> PipPackage | CondaPackage | None:
    """Return the package of a row, or None if a field is malformed."""
    import tomli  # noqa: PLC0415 - only for a lock that is broken

    try:
        package = parse_package_row(tomli.loads(f"row = {row}")["row"])
        # A version that cannot be read cannot be compared.
        (Version if isinstance(package, PipPackage) else parse_conda_version)(package.version)
    except (ValueError, InvalidInputError):  # packaging's and TOML's errors are ValueErrors
        return None
    return package


def _select_newest(packages: Iterable[Package], age: Callable[[Package], object]) -> tuple[Package, ...]:
    found: dict[str, Package] = {}
    for package in packages:
        other = found.get(package.name, package)
        found[package.name] = max(package, other, key=age)  # type: ignore[arg-type]
    return tuple(found[name] for name in sorted(found))
