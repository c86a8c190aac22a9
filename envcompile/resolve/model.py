"""The protocols and requests of the pip and conda resolvers, their effects and error, and how they keep pins."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from envcompile.diagnostics.errors import CheckFailedError
from envcompile.spec.model import ANY_CUDA, CudaRequest
from envcompile.spec.pip import normalize_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envcompile.lock.families import FileOverlap
    from envcompile.lock.model import Channel, CondaPackage, PipPackage, SdistBuild
    from envcompile.net.process import ProcessRunner
    from envcompile.platforms import Platform
    from envcompile.spec.conda import CondaRequirement
    from envcompile.spec.model import ExtraIndex
    from envcompile.spec.pip import PipRequirement

    Package = TypeVar("Package", PipPackage, CondaPackage)
    Solution = TypeVar("Solution")

# The hint for networks that use a certificate authority of their own.
CERTIFICATE_HINT = "set SSL_CERT_FILE to a file with the certificate authorities of your network"
_NORMALIZED_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Effects:
    """How resolvers run programs, the environment variables, and whether the network must not be used."""

    run: ProcessRunner
    environment: Mapping[str, str]
    offline: bool = False


class RequirementProblem(NamedTuple):
    """A requirement that cannot be satisfied on its own: the name of its package, a sentence, and a hint."""

    name: str
    message: str
    hint: str | None


class UnsolvableError(CheckFailedError):
    """No set of packages satisfies the requirements in a table of the spec.

    `reason` is the resolver's own text, and `table` is pip, conda or apt. `problems` are requirements that cannot be
    satisfied on their own.
    """

    def __init__(
        self, platform: str, reason: str, table: str = "pip", problems: tuple[RequirementProblem, ...] = ()
    ) -> None:
        super().__init__(f"no set of packages satisfies the requirements on `{platform}`")
        self.platform = platform
        self.reason = reason
        self.table = table
        self.problems = problems


# pip


@dataclass(frozen=True, slots=True)
class SdistMetadata:
    """An sdist and the metadata of its stub wheel. The dependencies are empty while they are unknown."""

    file: str
    sha256: str
    size: int | None  # bytes
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PipRequest:
    """A request to resolve pip packages for one platform."""

    requirements: tuple[PipRequirement, ...]
    exclude: tuple[str, ...]
    platform: Platform
    python: str  # X.Y.Z
    glibc: str  # X.Y
    abi: str = ""  # of the wheels, such as cp313t; empty for the default of CPython
    exclude_newer: str | None = None  # RFC 3339 in UTC
    preferences: tuple[PipPackage, ...] = ()  # pins to keep if the requirements allow it
    upgrade: frozenset[str] | bool = frozenset()  # the names whose pins are not kept, or True for all
    # By name: stub versions of the distributions in conda packages. The solution must be compatible with them,
    # and must not include them.
    provided: Mapping[str, str] = field(default_factory=dict)
    exact: Mapping[str, str] = field(default_factory=dict)  # package name -> the only version that is allowed
    index: str | None = None  # the URL of the default index; None for the one in the user's settings of uv
    indexes: tuple[ExtraIndex, ...] = ()  # each is used for the packages in its `packages`, and for no others
    extra_constraints: tuple[str, ...] = ()  # lines of a constraints file
    # By name and version: releases that have no wheel. The resolver sees a stub wheel in place of the sdist.
    sdists: Mapping[str, Mapping[str, SdistMetadata]] = field(default_factory=dict)

    def list_constraints(self) -> str:
        """Return the text of a constraints file: exact versions, stubs and extra constraints."""
        exact = (f"{name}=={version}" for name, version in {**self.exact, **self.provided}.items())
        return "".join(f"{line}\n" for line in (*exact, *self.extra_constraints))

    def kept_pins(self) -> tuple[PipPackage, ...]:
        """Return the preferences, except the pins of the packages to upgrade."""
        return select_kept_pins(self.preferences, self.upgrade)


class PipSolution(NamedTuple):
    """The packages for one platform, sorted by name, each with exactly one file.

    `urls` has the URL of each file by its sha256, as the index states it. Files whose URL is unknown are omitted. If
    `has_dependencies` is false, the `depends` of the packages are empty. `overlaps` are the files that several packages
    install.
    """

    packages: tuple[PipPackage, ...]
    urls: Mapping[str, str]
    has_dependencies: bool = True
    overlaps: tuple[FileOverlap, ...] = ()


class PipResolution(NamedTuple):
    """The pip packages of one platform, the build environments of the sdists, and files that several packages install.

    `packages` and `builds` are sorted by name.
    """

    packages: tuple[PipPackage, ...] = ()
    builds: tuple[SdistBuild, ...] = ()
    overlaps: tuple[FileOverlap, ...] = ()


class PipResolver(Protocol):
    """A resolver for pip packages.

    Raises `UnsolvableError` if no packages satisfy the requirements, and `UnavailableError` if the program of the
    resolver or the network is not available.
    """

    def resolve(self, request: PipRequest, effects: Effects, *, with_dependencies: bool = True) -> PipSolution:
        """Return the packages for one platform.

        If `with_dependencies` is false, a resolver that finds the dependencies in a separate step may skip that step.
        """


# conda


@dataclass(frozen=True, slots=True)
class CondaRequest:
    """A request to resolve conda packages for one platform."""

    requirements: tuple[CondaRequirement, ...]
    channels: tuple[Channel, ...]  # in the order of their strict priority
    platform: Platform
    glibc: str  # X.Y
    cuda: CudaRequest = ANY_CUDA  # selects builds for its version, which the driver is assumed to support
    exclude_newer: str | None = None  # RFC 3339 in UTC
    preferences: tuple[CondaPackage, ...] = ()  # pins to keep if the requirements allow it
    upgrade: frozenset[str] | bool = frozenset()  # the names whose pins are not kept, or True for all
    exact: Mapping[str, str] = field(default_factory=dict)  # package name -> the only version that is allowed

    def kept_pins(self) -> tuple[CondaPackage, ...]:
        """Return the preferences, except the pins of the packages to upgrade."""
        return select_kept_pins(self.preferences, self.upgrade)


class CondaResolver(Protocol):
    """A resolver for conda packages.

    Raises `UnsolvableError` if no packages satisfy the requirements, `InvalidInputError` if a channel does not exist,
    and `UnavailableError` if a channel, the program or the network is not available.
    """

    def resolve(self, requests: tuple[CondaRequest, ...], effects: Effects) -> tuple[tuple[CondaPackage, ...], ...]:
        """Return the packages of each request, sorted by name."""


# Pins of the earlier lock.
#
# To prefer the pins is not enough: a resolver that visits a new package before its dependencies selects the newest
# release of that package, and changes the pins of the dependencies to match. So all pins are constraints, unless a
# package may be upgraded or there is no solution with all of them.


def select_kept_pins(preferences: tuple[Package, ...], upgrade: frozenset[str] | bool) -> tuple[Package, ...]:
    """Return the pins, except those of the packages to upgrade."""
    if upgrade is True:
        return ()
    names = upgrade or frozenset()
    return tuple(package for package in preferences if package.name not in names)


def allows_upgrades(upgrade: frozenset[str] | bool, exact: Mapping[str, str]) -> bool:
    """Whether `upgrade` has a package without a version in `exact`. Other pins may change to fit its new release."""
    return upgrade is True or bool(upgrade and upgrade - exact.keys())


def solve_keeping_pins(solve: Callable[[Mapping[str, str]], Solution], pins: Mapping[str, str]) -> Solution:
    """Call `solve` with the pins (name to version), and if that fails, again without the pins that the error names.

    Raises `UnsolvableError` if there is no solution even without pins.
    """
    try:
        return solve(pins)
    except UnsolvableError as error:
        if not pins:
            raise
        mentioned = set(_NORMALIZED_NAME.findall(normalize_name(error.reason)))
    # If the error names no pin, the conflict is between dependencies of pins. Then no pin is kept.
    remaining = {name: version for name, version in pins.items() if mentioned & pins.keys() and name not in mentioned}
    return solve_keeping_pins(solve, remaining)
