"""Pins of several platforms in one file: what is the same everywhere stands there once, the rest with its marker."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.platforms import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envcompile.lock.model import Lock, PipPackage, PlatformLock


class Joined(NamedTuple):
    """One version of one distribution: the package of each platform that has it, and the marker for those alone.

    `marker` is None where every platform has it.
    """

    name: str
    version: str
    packages: tuple[PipPackage, ...]
    marker: str | None

    def files(self) -> list[PipPackage]:
        """The packages with different files, by their names."""
        return [one for _, one in sorted({each.sha256: each for each in self.packages}.items(), key=_by_file)]

    def depends(self) -> list[str]:
        """The names of what it needs on any of the platforms, sorted."""
        return sorted({name for each in self.packages for name in each.depends})


def joined(lock: Lock) -> Iterator[Joined]:
    """Sorted by name, then platform. pip's packages alone; markers as PEP 508 has them."""
    found: dict[tuple[str, str], list[tuple[PlatformLock, PipPackage]]] = {}
    for platform in lock.platforms:
        for package in platform.pip:
            found.setdefault((package.name, package.version), []).append((platform, package))
    # The sort is stable: two versions of one name stand in the order of their platforms.
    for (name, version), rows in sorted(found.items(), key=lambda each: each[0][0]):
        everywhere = len(rows) == len(lock.platforms)
        marker = None if everywhere else markers([platform for platform, _ in rows])
        yield Joined(name, version, tuple(package for _, package in rows), marker)


def markers(platforms: Sequence[PlatformLock]) -> str:
    """The marker that holds on these platforms, of those that can be locked."""
    return " or ".join(f"platform_machine == '{PLATFORMS[each.platform].machine}'" for each in platforms)


def systems(lock: Lock) -> str:
    """For people: what machines the pins are for."""
    names = []
    for each in lock.platforms:
        python = f"CPython {each.python.version} on " if each.python else ""
        names.append(f"{python}Linux, {PLATFORMS[each.platform].machine}, glibc {each.run.glibc} or later")
    return "; ".join(names)


def _by_file(row: tuple[str, PipPackage]) -> str:
    return row[1].file
