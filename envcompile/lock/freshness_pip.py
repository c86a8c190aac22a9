"""Checks the pip requirements of a spec against the locked packages, with the markers of each platform.

A requirement may be satisfied by a pip package, or by a conda package that contains the distribution.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import VERSION_PATTERN, Version

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.platforms import PLATFORMS
from envcompile.spec.pip import make_marker_environment, parse_dependency_name

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Iterable, Iterator

    from envcompile.diagnostics.source import KeyPath
    from envcompile.lock.model import CondaPackage, PlatformLock
    from envcompile.spec.model import Spec

# Not anchored at the end, so that it matches the longest prefix of a conda version that is valid by PEP 440.
_PEP440_VERSION = re.compile(VERSION_PATTERN, re.VERBOSE | re.IGNORECASE)


class _AvailableVersion(NamedTuple):
    """The locked version of a distribution, and the text that names it in messages (`conda's numpy 2.1`)."""

    version: str
    label: str


def check_pip_requirements(
    spec: Spec, locked: PlatformLock, conda: Container[str]
) -> Generator[Diagnostic, None, set[str]]:
    """Yield a diagnostic for each unsatisfied pip requirement. Return the names of the required distributions.

    `conda` are the names of the conda requirements. A pip requirement for a distribution in one of these packages also
    causes a diagnostic.
    """
    pins = {each.name: _AvailableVersion(each.version, f"{each.name} {each.version}") for each in locked.pip}
    provided = find_provided_versions(locked.conda)
    pins.update({each: _AvailableVersion(version, f"conda's {each} {version}") for each, version in provided.items()})
    twice = {each: package.name for package in locked.conda if package.name in conda for each in package.provides}
    environment = create_marker_environment(locked)
    roots = set()
    for index, each in enumerate(spec.pip.packages):
        if not each.applies_to(environment):
            continue
        roots.add(each.name)
        pin = pins.get(each.name)
        path: KeyPath = ("pip", "packages", index)
        if each.name in twice:
            yield Diagnostic(
                "stale",
                f"the spec requires `{each}` from pip, and `{twice[each.name]}` from conda provides it too",
                path,
            )
        elif pin is None:
            yield Diagnostic("stale", f"the spec requires `{each}` from pip, but the lock has no `{each.name}`", path)
        elif not each.allows_version(pin.version):
            yield Diagnostic("stale", f"the spec requires `{each}` from pip, but the lock has {pin.label}", path)
    yield from _check_completeness(spec, locked, pins)
    return roots


def _check_completeness(spec: Spec, locked: PlatformLock, pins: Container[str]) -> Iterator[Diagnostic]:
    """Yield the excluded packages that are in the lock, and the dependencies that are missing from it."""
    for index, name in enumerate(spec.pip.exclude):
        if any(package.name == name for package in locked.pip):
            yield Diagnostic(
                "stale", f"the spec excludes `{name}`, but the lock contains it", ("pip", "exclude", index)
            )
    for package in locked.pip:
        for need in map(parse_dependency_name, package.depends):
            if need not in pins:
                yield Diagnostic(
                    "stale", f"`{package.name}` needs `{need}`, but the lock has no `{need}`", ("pip", "packages")
                )


def create_marker_environment(locked: PlatformLock) -> dict[str, str]:
    """Return the marker variables (PEP 508) of a locked platform. If it has no Python, their version is 0.0.0."""
    python = locked.python.version if locked.python else "0.0.0"
    return make_marker_environment(PLATFORMS[locked.platform].machine, python)


def find_provided_versions(packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Return the versions (PEP 440) of the distributions in conda packages, sorted by name.

    If a conda version is not valid by PEP 440, its longest valid prefix is used, or 0 if there is none.
    """
    found = {each: _parse_public_version(package.version) for package in packages for each in package.provides}
    return dict(sorted(found.items()))


def _parse_public_version(conda: str) -> str:
    known = _PEP440_VERSION.match(conda)
    return Version(known[0]).public if known else "0"


def read_file_name(file: str) -> tuple[str, str] | None:
    """Return the normalized name and the version in the file name of a wheel or an sdist; None for other names."""
    try:
        name, version = (parse_wheel_filename(file)[:2]) if file.endswith(".whl") else parse_sdist_filename(file)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return name, str(version)
