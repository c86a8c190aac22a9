"""What every conda resolver is asked and answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from envcompile.resolve.protocol import kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.lock.model import Channel, CondaPackage
    from envcompile.platforms import Platform
    from envcompile.resolve.protocol import Effects


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

    def kept(self) -> tuple[CondaPackage, ...]:
        """The preferences that are not to be upgraded."""
        return kept(self.preferences, self.upgrade)


class CondaResolver(Protocol):
    """A back end: requirements in, the one archive of each package out.

    Raises `Unsolvable`; `Unusable` when there is no such channel; `MissingOutside` when a channel, the program or the
    network does not answer.
    """

    def resolve(self, requests: tuple[CondaRequest, ...], effects: Effects) -> tuple[tuple[CondaPackage, ...], ...]:
        """The packages of each request, sorted by name."""
