"""What every pip resolver is asked and answers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from envcompile.diagnostics.errors import CheckFailedError
from envcompile.spec.pip import normalize_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envcompile.lock.model import Channel, CondaPackage, PipPackage
    from envcompile.net.process import ProcessRunner
    from envcompile.platforms import Platform
    from envcompile.spec.model import ExtraIndex

    Package = TypeVar("Package", PipPackage, CondaPackage)
    Answer = TypeVar("Answer")

# What mends an index whose certificate is by an authority that only the company knows.
CERTIFICATE_HINT = "set SSL_CERT_FILE to the bundle of certificates that your network is known by"


@dataclass(frozen=True, slots=True)
class PipRequest:
    """One platform's question.

    `python` is X.Y.Z, `glibc` X.Y; `preferences` are the pins to keep where the requirements allow it; `upgrade` says
    of which names no pin is kept, or True for all; `exact` maps a name to the version that it must have if the answer
    holds it. `exclude_newer` is RFC 3339 in UTC. `provided` maps a distribution that conda has already brought to its
    stub's version: the answer must neither hold nor contradict it. `index` is the default index's URL, None for the
    user's own; each of `indexes` serves the packages named for it and no other. `bounds` are lines of a constraints
    file. `sdists` maps names to versions that there is no wheel of, and to what is known of them: the resolver is shown
    a wheel in the sdist's place.
    """

    requirements: tuple[str, ...]
    exclude: tuple[str, ...]
    platform: Platform
    python: str
    glibc: str
    exclude_newer: str | None = None
    preferences: tuple[PipPackage, ...] = ()
    upgrade: frozenset[str] | bool = frozenset()
    provided: Mapping[str, str] = field(default_factory=dict)
    exact: Mapping[str, str] = field(default_factory=dict)
    index: str | None = None
    indexes: tuple[ExtraIndex, ...] = ()
    extra_constraints: tuple[str, ...] = ()
    sdists: Mapping[str, Mapping[str, SdistMetadata]] = field(default_factory=dict)

    def list_constraints(self) -> str:
        """The lines of a constraints file: what may be in the answer in no other version."""
        exact = (f"{name}=={version}" for name, version in {**self.exact, **self.provided}.items())
        return "".join(f"{line}\n" for line in (*exact, *self.extra_constraints))

    def kept_pins(self) -> tuple[PipPackage, ...]:
        """The preferences that are not to be upgraded."""
        return select_kept_pins(self.preferences, self.upgrade)


def select_kept_pins(preferences: tuple[Package, ...], upgrade: frozenset[str] | bool) -> tuple[Package, ...]:
    """The pins of a request that are not to be upgraded."""
    if upgrade is True:
        return ()
    names = upgrade or frozenset()
    return tuple(package for package in preferences if package.name not in names)


@dataclass(frozen=True, slots=True)
class SdistMetadata:
    """An sdist as the resolver sees it: its file, and what it needs as far as that is known by now."""

    file: str
    sha256: str
    size: int | None
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effects:
    """What a resolver may do to the world: run programs, see this environment, and ask the network unless `offline`."""

    run: ProcessRunner
    environment: Mapping[str, str]
    offline: bool = False


class PipResolver(Protocol):
    """A back end: requirements in, exactly one wheel per package out, sorted by name.

    Raises `UnsolvableError`, or `UnavailableError` when the program or the network is not there.
    """

    def resolve(self, request: PipRequest, effects: Effects) -> tuple[PipPackage, ...]:
        """The packages for one platform."""


class UnsolvableError(CheckFailedError):
    """No set of packages answers the requirements of a table; `reason` is the resolver's own text."""

    def __init__(self, platform: str, reason: str, table: str = "pip") -> None:
        super().__init__(f"no set of packages answers the spec on `{platform}`")
        self.platform = platform
        self.reason = reason
        self.table = table


# What every conda resolver is asked and answers.


@dataclass(frozen=True, slots=True)
class CondaRequest:
    """One platform's question.

    `requirements` are MatchSpecs as users write them; `channels` in the order of their strict priority; `glibc` X.Y;
    `cuda` X or X.Y, for the driver and the choice of builds (False keeps it out, None is a machine without a driver);
    `preferences` are the pins to keep where the requirements allow it; `upgrade` says of which names no pin is kept, or
    True for all; `exact` maps a name to the version that it must have if the answer holds it. `exclude_newer` is
    RFC 3339 in UTC.
    """

    requirements: tuple[str, ...]
    channels: tuple[Channel, ...]
    platform: Platform
    glibc: str
    cuda: str | bool | None = None
    exclude_newer: str | None = None
    preferences: tuple[CondaPackage, ...] = ()
    upgrade: frozenset[str] | bool = frozenset()
    exact: Mapping[str, str] = field(default_factory=dict)

    def kept_pins(self) -> tuple[CondaPackage, ...]:
        """The preferences that are not to be upgraded."""
        return select_kept_pins(self.preferences, self.upgrade)


class CondaResolver(Protocol):
    """A back end: requirements in, the one archive of each package out.

    Raises `UnsolvableError`; `InvalidInputError` when there is no such channel; `UnavailableError` when a channel, the
    program or the
    network does not answer.
    """

    def resolve(self, requests: tuple[CondaRequest, ...], effects: Effects) -> tuple[tuple[CondaPackage, ...], ...]:
        """The packages of each request, sorted by name."""


# Which pins are held: all of them, unless something is free to become the newest, or no answer has them all.
#
# Preferring a pin is not enough: a resolver that visits a new package before its dependencies takes the newest release
# of it and moves the dependencies to match.


_PACKAGE_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def allows_upgrades(upgrade: frozenset[str] | bool, exact: Mapping[str, str]) -> bool:
    """Whether there is a name that may become the newest, so that others move for it."""
    return upgrade is True or bool(upgrade and upgrade - exact.keys())


def solve_keeping_pins(solve: Callable[[Mapping[str, str]], Answer], pins: Mapping[str, str]) -> Answer:
    """The answer with the pins (name to version) held that the resolver's own reasons leave alone.

    Raises `UnsolvableError` where there is none without any.
    """
    try:
        return solve(pins)
    except UnsolvableError as answer:
        if not pins:
            raise
        named = set(_PACKAGE_NAME.findall(normalize_name(answer.reason)))
    # None of them named: then what they require stands further back, and all must be free to move.
    fewer = {name: version for name, version in pins.items() if named & pins.keys() and name not in named}
    return solve_keeping_pins(solve, fewer)
