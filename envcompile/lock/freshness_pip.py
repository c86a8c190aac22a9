"""pip's requirements against pip's pins and what conda provides, with the markers of the platform."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import VERSION_PATTERN, Version

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.platforms import PLATFORMS
from envcompile.spec.pip import parse_package_name, parse_requirement
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Iterable, Iterator, Mapping

    from packaging.requirements import Requirement

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
    for index, text in enumerate(spec.pip.packages):
        asked = parse_requirement(text)
        if asked.marker and not asked.marker.evaluate(environment):
            continue
        normal = parse_package_name(asked.name)
        roots.add(normal)
        pin = pins.get(normal)
        if normal in twice:
            yield Diagnostic(
                "stale", f"`{text}` is asked of pip, and of conda as `{twice[normal]}`", ("pip", "packages", index)
            )
        elif pin is None:
            yield Diagnostic(
                "stale", f"`{text}` is asked of pip, and the lock has no `{normal}`", ("pip", "packages", index)
            )
        elif not _allows_version(asked, pin.version):
            yield Diagnostic(
                "stale", f"`{text}` is asked of pip, and the lock has {pin.label}", ("pip", "packages", index)
            )
    yield from _check_completeness(spec, locked, pins)
    return roots


def _check_completeness(spec: Spec, locked: PlatformLock, pins: Container[str]) -> Iterator[Diagnostic]:
    """What should not be in the lock, and what should be."""
    for index, text in enumerate(spec.pip.exclude):
        if any(package.name == parse_package_name(text) for package in locked.pip):
            yield Diagnostic("stale", f"`{text}` is left out, and the lock holds it", ("pip", "exclude", index))
    for package in locked.pip:
        for need in package.depends:
            if need not in pins:
                yield Diagnostic(
                    "stale", f"`{package.name}` needs `{need}`, and the lock has no `{need}`", ("pip", "packages")
                )


def _allows_version(asked: Requirement, version: str) -> bool:
    # Whether a prerelease may be taken was the resolver's question; here one is taken already.
    return asked.specifier.contains(version, prereleases=True)


def create_marker_environment(locked: PlatformLock) -> Mapping[str, str]:
    """The environment of markers (PEP 508) on a platform, as resolvers have it."""
    version = locked.python.version if locked.python else "0"
    return {
        "implementation_name": "cpython",
        "implementation_version": version,
        "os_name": "posix",
        "platform_machine": PLATFORMS[locked.platform].machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": version,
        "python_version": minor_release(version),
        "sys_platform": "linux",
        "extra": "",
    }


def find_provided_versions(packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Distribution name to the version (PEP 440) that conda brings, sorted by name.

    A conda version that is no PEP 440 version is taken as far as it is one.
    """
    found = {each: _parse_public_version(package.version) for package in packages for each in package.provides}
    return dict(sorted(found.items()))


def _parse_public_version(conda: str) -> str:
    known = _PEP440_VERSION.match(conda)
    return Version(known[0]).public if known else "0"
