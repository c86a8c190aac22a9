"""pip's requirements against pip's pins and what conda provides, with the markers of the platform."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import VERSION_PATTERN, Version

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.platforms import PLATFORMS
from envcompile.spec.pip import make_marker_environment

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Iterable, Iterator

    from envcompile.diagnostics.source import KeyPath
    from envcompile.lock.model import CondaPackage, PlatformLock
    from envcompile.spec.model import Spec

# Not anchored at the end: it matches as much of a conda version as PEP 440 has a reading for.
_PEP440_VERSION = re.compile(VERSION_PATTERN, re.VERBOSE | re.IGNORECASE)


class _AvailableVersion(NamedTuple):
    """The version that a distribution has, and how the lock says it."""

    version: str
    label: str


def check_pip_requirements(
    spec: Spec, locked: PlatformLock, conda: Container[str]
) -> Generator[Diagnostic, None, set[str]]:
    """What is not satisfied; returns the names of the distributions that are asked for.

    `conda` are the names of the packages that are asked of conda: what they bring is not asked of pip, too.
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
            yield Diagnostic("stale", f"`{each}` is asked of pip, and of conda as `{twice[each.name]}`", path)
        elif pin is None:
            yield Diagnostic("stale", f"`{each}` is asked of pip, and the lock has no `{each.name}`", path)
        elif not each.allows_version(pin.version):
            yield Diagnostic("stale", f"`{each}` is asked of pip, and the lock has {pin.label}", path)
    yield from _check_completeness(spec, locked, pins)
    return roots


def _check_completeness(spec: Spec, locked: PlatformLock, pins: Container[str]) -> Iterator[Diagnostic]:
    """What should not be in the lock, and what should be."""
    for index, name in enumerate(spec.pip.exclude):
        if any(package.name == name for package in locked.pip):
            yield Diagnostic("stale", f"`{name}` is left out, and the lock holds it", ("pip", "exclude", index))
    for package in locked.pip:
        for need in package.depends:
            if need not in pins:
                yield Diagnostic(
                    "stale", f"`{package.name}` needs `{need}`, and the lock has no `{need}`", ("pip", "packages")
                )


def create_marker_environment(locked: PlatformLock) -> dict[str, str]:
    """The environment of markers (PEP 508) on a locked platform. Without a Python, its version is 0.0.0."""
    python = locked.python.version if locked.python else "0.0.0"
    return make_marker_environment(PLATFORMS[locked.platform].machine, python)


def find_provided_versions(packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Distribution name to the version (PEP 440) that conda brings, sorted by name.

    A conda version that is no PEP 440 version is taken as far as it is one.
    """
    found = {each: _parse_public_version(package.version) for package in packages for each in package.provides}
    return dict(sorted(found.items()))


def _parse_public_version(conda: str) -> str:
    known = _PEP440_VERSION.match(conda)
    return Version(known[0]).public if known else "0"
