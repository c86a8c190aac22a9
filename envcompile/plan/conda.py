"""The conda packages of an environment as lists: what to install, in an order that works, and each archive's hash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.errors import Unusable
from envcompile.plan.explicit_list import explicit_lines
from envcompile.plan.groups import GROUPS, group
from envcompile.plan.model import File

if TYPE_CHECKING:
    from envcompile.lock.model import CondaPackage, Lock, PlatformLock

# Where micromamba keeps the archives that it has fetched, under the root prefix that the Dockerfile gives it.
CACHE = "/root/micromamba/pkgs"


# What no package owns: what links scripts made, the history, the byte code of nobody's sources.
REST = "rest"


def conda_layers(lock: Lock) -> tuple[str, ...]:
    """The layers that conda's environment is split into: the groups of all platforms' packages, and the rest."""
    used = {_group(package) for platform in lock.platforms for package in platform.conda}
    return (*(name for name in GROUPS if name in used), REST) if used else ()


def conda_lists(lock: Lock, platform: PlatformLock) -> tuple[File, ...]:
    """The @EXPLICIT list, dependencies first, the sha256 of every archive, and whose files are which layer's.

    Nothing without conda packages. The last list has a line `RECORD GROUP` for each package, and one for each layer of
    which nothing may be left.

    Raises `Unusable` for a channel that is a folder of this machine: the build could not see it.
    """
    packages = platform.conda
    if not packages:
        return ()
    urls = {channel.name: channel.url for channel in lock.channels}
    used = {package.channel for package in packages}
    if local := sorted(name for name in used if urls[name].startswith("file:")):
        message = f"the channel `{local[0]}` is a folder of this machine, which no build can see"
        raise Unusable(message, "serve the folder by HTTP, give its URL in `channels`, and lock again")
    sums = (f"{each.sha256}  {CACHE}/{each.file}" for each in sorted(packages, key=lambda package: package.file))
    groups = (*(f"- {name}" for name in conda_layers(lock)), *(f"{_record(each)} {_group(each)}" for each in packages))
    return (
        File("/conda/explicit.txt", explicit_lines(packages, urls)),
        File("/conda/sha256", tuple(sums)),
        File("/conda/layers", groups),
    )


def _group(package: CondaPackage) -> str:
    return group(package.name, package.size)


def _record(package: CondaPackage) -> str:
    """What the package's file in `conda-meta` is called, without `.json`."""
    return re.sub(r"\.(?:conda|tar\.bz2)$", "", package.file)
