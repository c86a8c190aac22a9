"""What changed from one lock to the next, as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import Lock, PipPackage

_MOST = 40


def changes(before: Lock | None, after: Lock) -> list[str]:
    """One line per package that came, went or moved; the same line on several platforms stands once.

    Nothing for a first lock: all of it is new.
    """
    if before is None:
        return []
    seen: dict[str, list[str]] = {}
    for platform in after.platforms:
        earlier = before.platform(platform.platform)
        for line in _moved(earlier.pip if earlier else (), platform.pip):
            seen.setdefault(line, []).append(platform.platform)
    every = len(after.platforms)
    lines = [line if len(where) == every else f"{line} ({', '.join(where)})" for line, where in sorted(seen.items())]
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"... and {len(lines) - _MOST} more"]


def _moved(before: tuple[PipPackage, ...], after: tuple[PipPackage, ...]) -> Iterator[str]:
    old, new = ({package.name: package for package in packages} for packages in (before, after))
    for name in sorted({*old, *new}):
        if name not in old:
            yield f"  + {name} {new[name].version}"
        elif name not in new:
            yield f"  - {name} {old[name].version}"
        elif old[name].version != new[name].version:
            yield f"  ~ {name} {old[name].version} -> {new[name].version}"
        elif old[name].sha256 != new[name].sha256:
            yield f"  ~ {name} {new[name].version}: another file, {new[name].file}"
