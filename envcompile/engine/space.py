"""Room for an image where the engine keeps images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.engine.health import contained
from envcompile.findings import Finding, in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.engine.command import Ask
    from envcompile.lock.model import PlatformLock

# Of examples/ml (752 MB of packages, measured with Docker 26 and its containerd store): 7.7 GB more when the build had
# ended, three times all of it unpacked (uv's cache, the build stage, the layers) and once packed; 2.5 GB when the
# builder's cache was emptied.
_WHILE, _AFTER = 10, 3.4
# A plain base and the tools, packed and unpacked.
_BASES = 500_000_000
# Where containerd keeps its own, when it is the system's and not one that the daemon has started.
_CONTAINERD = Path("/var/lib/containerd")


class Need(NamedTuple):
    """Bytes, about: `build` with all that the builder caches, `image` of what stays.

    `whole`: no package keeps its size to itself.
    """

    build: int
    image: int
    whole: bool


def need(platform: PlatformLock) -> Need:
    """What a platform's image takes, from the sizes of packages that the lock holds."""
    sizes: list[int | None] = [package.size for package in (*platform.apt, *platform.apt_build)]
    sizes += [package.size for package in platform.pip]
    sizes += [package.size for package in platform.conda]
    packed = sum(size or 0 for size in sizes)
    return Need(_BASES + packed * _WHILE, _BASES + int(packed * _AFTER), None not in sizes)


def space(ask: Ask, told: Mapping[str, Any], wanted: Need | None) -> Finding:
    """Free bytes where the engine keeps images, against what is wanted of them. `told` is the daemon's information."""
    root = _root(ask, told)
    if root is None:
        message = "the engine keeps its images on another machine, whose room is not seen from here"
        return Finding("disk", "note", message, "`docker system df` says what is used there")
    free = shutil.disk_usage(root).free
    has = f"{in_words(free)} are free in `{root}`"
    if wanted is None:
        return Finding("disk", "fine", has)
    least = "" if wanted.whole else "at least "
    build, image = in_words(wanted.build), in_words(wanted.image)
    message = f"{has}; to build the lock's image takes {least}{build}, about, and {image} of it stay"
    if free >= wanted.build:
        return Finding("disk", "fine", message)
    remedy = "`docker buildx prune` empties the builder's cache, `docker system df` says what is large"
    return Finding("disk", "wrong", message, remedy)


def _root(ask: Ask, told: Mapping[str, Any]) -> Path | None:
    """The folder of the images, if the daemon is on this machine and not in a virtual one on it."""
    endpoint = ask("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").output.strip()
    root = Path(str(told.get("DockerRootDir", "")))
    if not endpoint.startswith("unix://") or not root.is_absolute() or not root.is_dir():
        return None
    if contained(told) and not (root / "containerd").is_dir() and _CONTAINERD.is_dir():
        return _CONTAINERD
    return root
