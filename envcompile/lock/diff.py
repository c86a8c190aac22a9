"""What changed from one lock to the next, as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.lock.model import Lock, PlatformLock

_MOST = 40


def changes(before: Lock | None, after: Lock) -> list[str]:
    """One line per image, interpreter or package that came, went or moved; a line for several platforms stands once.

    Nothing for a first lock: all of it is new.
    """
    if before is None:
        return []
    seen: dict[str, list[str]] = {}
    for platform in after.platforms:
        old, new = _pins(before.platform(platform.platform)), _pins(platform)
        for line in _moved(old, new):
            seen.setdefault(line, []).append(platform.platform)
    every = len(after.platforms)
    lines = [line if len(where) == every else f"{line} ({', '.join(where)})" for line, where in sorted(seen.items())]
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"... and {len(lines) - _MOST} more"]


def _pins(platform: PlatformLock | None) -> Mapping[str, tuple[str, str, str]]:
    """What is pinned: a name to its version, what else tells two of one version apart, and the file."""
    if platform is None:
        return {}
    pins = {f"conda {each.name}": (each.version, each.sha256, each.file) for each in platform.conda}
    pins |= {each.name: (each.version, each.sha256, each.file) for each in platform.pip}
    pins |= {f"index of {each.name}": (each.index, "", "") for each in platform.pip if each.index != "default"}
    for table, packages in (("apt", platform.apt), ("apt for the build,", platform.apt_build)):
        pins |= {f"{table} {each.name}": (each.version, each.sha256, each.sha256) for each in packages}
    pins |= {f"image for {each.name}": (each.image, "", "") for each in platform.tools}
    pins |= {"image to build on": (platform.build.image, "", ""), "image to run on": (platform.run.image, "", "")}
    return pins | ({"Python": (platform.python.version, "", "")} if platform.python else {})


def _moved(old: Mapping[str, tuple[str, str, str]], new: Mapping[str, tuple[str, str, str]]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if name not in old:
            yield f"  + {name} {new[name][0]}"
        elif name not in new:
            yield f"  - {name} {old[name][0]}"
        elif old[name][0] != new[name][0]:
            yield f"  ~ {name} {old[name][0]} -> {new[name][0]}"
        elif old[name] != new[name]:
            yield f"  ~ {name} {new[name][0]}: another file, {new[name][2]}"
