"""What every pip resolver is asked and answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from envcompile.diagnostics.errors import CheckFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.lock.model import CondaPackage, PipPackage
    from envcompile.net.process import ProcessRunner
    from envcompile.platforms import Platform
    from envcompile.spec.model import ExtraIndex

    Package = TypeVar("Package", PipPackage, CondaPackage)

# What mends an index whose certificate is by an authority that only the company knows.
CERTIFICATES = "set SSL_CERT_FILE to the bundle of certificates that your network is known by"


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
    bounds: tuple[str, ...] = ()
    sdists: Mapping[str, Mapping[str, Told]] = field(default_factory=dict)

    def constraints(self) -> str:
        """The lines of a constraints file: what may be in the answer in no other version."""
        exact = (f"{name}=={version}" for name, version in {**self.exact, **self.provided}.items())
        return "".join(f"{line}\n" for line in (*exact, *self.bounds))

    def kept(self) -> tuple[PipPackage, ...]:
        """The preferences that are not to be upgraded."""
        return kept(self.preferences, self.upgrade)


def kept(preferences: tuple[Package, ...], upgrade: frozenset[str] | bool) -> tuple[Package, ...]:
    """The pins of a request that are not to be upgraded."""
    if upgrade is True:
        return ()
    names = upgrade or frozenset()
    return tuple(package for package in preferences if package.name not in names)


@dataclass(frozen=True, slots=True)
class Told:
    """An sdist as the resolver sees it: its file, and what it needs as far as that is known by now."""

    file: str
    sha256: str
    size: int | None
    requires: tuple[str, ...] = ()
    python: str = ""
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effects:
    """What a resolver may do to the world: run programs, see this environment, and ask the network unless `offline`."""

    run: ProcessRunner
    environment: Mapping[str, str]
    offline: bool = False


class PipResolver(Protocol):
    """A back end: requirements in, exactly one wheel per package out, sorted by name.

    Raises `Unsolvable`, or `MissingOutside` when the program or the network is not there.
    """

    def resolve(self, request: PipRequest, effects: Effects) -> tuple[PipPackage, ...]:
        """The packages for one platform."""


class Unsolvable(CheckFailedError):  # noqa: N818
    """No set of packages answers the requirements of a table; `reason` is the resolver's own text."""

    def __init__(self, platform: str, reason: str, table: str = "pip") -> None:
        super().__init__(f"no set of packages answers the spec on `{platform}`")
        self.platform = platform
        self.reason = reason
        self.table = table
