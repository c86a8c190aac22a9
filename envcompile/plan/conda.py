"""The list of archives that conda, mamba and micromamba install as it stands (CEP 23), for one platform."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.graph import sort_by_dependencies
from envcompile.plan.model import LockStageFile
from envcompile.plan.pip import LAYER_GROUPS, find_layer_group

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envcompile.lock.model import CondaPackage, Lock, PlatformLock


def format_explicit_list(packages: Iterable[CondaPackage], urls: Mapping[str, str]) -> tuple[str, ...]:
    """`@EXPLICIT`, and a line for each package, dependencies first. `urls` are the channels' by their names."""
    return ("@EXPLICIT", *_iter_explicit_lines(packages, urls))


def _iter_explicit_lines(packages: Iterable[CondaPackage], urls: Mapping[str, str]) -> Iterator[str]:
    for each in sort_by_dependencies(packages):
        yield f"{format_archive_url(each, urls)}#{_select_checksum(each)}"


def format_archive_url(package: CondaPackage, urls: Mapping[str, str]) -> str:
    """Where the channel serves a package."""
    return f"{urls[package.channel]}/{package.subdir}/{package.file}"


def _select_checksum(package: CondaPackage) -> str:
    # Every conda, mamba and rattler reads an md5 here. A sha256 is read by conda since 24.9 (conda/conda#14048), by
    # mamba since 2.1 (mamba-org/mamba#3866) and by neither before, and its prefix `sha256:` not by that mamba: it
    # stands where the channel tells no md5. What the Dockerfile relies on is the list of sha256 beside this one.
    return package.md5 or package.sha256


# The conda packages of an environment as lists: what to install, in an order that works, and each archive's hash.


# Where micromamba keeps the archives that it has fetched, under the root prefix that the Dockerfile gives it.
PACKAGE_CACHE = "/root/micromamba/pkgs"


# What no package owns: what links scripts made, the history, the byte code of nobody's sources.
REMAINDER_LAYER = "rest"


def find_conda_layers(lock: Lock) -> tuple[str, ...]:
    """The layers that conda's environment is split into: the groups of all platforms' packages, and the rest."""
    used = {_find_package_group(package) for platform in lock.platforms for package in platform.conda}
    return (*(name for name in LAYER_GROUPS if name in used), REMAINDER_LAYER) if used else ()


def create_conda_files(lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """The @EXPLICIT list, dependencies first, the sha256 of every archive, and whose files are which layer's.

    Nothing without conda packages. The last list has a line `RECORD GROUP` for each package, and one for each layer of
    which nothing may be left.

    Raises `InvalidInputError` for a channel that is a folder of this machine: the build could not see it.
    """
    packages = platform.conda
    if not packages:
        return ()
    urls = {channel.name: channel.url for channel in lock.channels}
    used = {package.channel for package in packages}
    if local := sorted(name for name in used if urls[name].startswith("file:")):
        message = f"the channel `{local[0]}` is a folder of this machine, which no build can see"
        raise InvalidInputError(message, "serve the folder by HTTP, give its URL in `channels`, and lock again")
    sums = (
        f"{each.sha256}  {PACKAGE_CACHE}/{each.file}" for each in sorted(packages, key=lambda package: package.file)
    )
    groups = (
        *(f"- {name}" for name in find_conda_layers(lock)),
        *(f"{_format_record_name(each)} {_find_package_group(each)}" for each in packages),
    )
    return (
        LockStageFile("/conda/explicit.txt", format_explicit_list(packages, urls)),
        LockStageFile("/conda/sha256", tuple(sums)),
        LockStageFile("/conda/layers", groups),
    )


def _find_package_group(package: CondaPackage) -> str:
    return find_layer_group(package.name, package.size)


def _format_record_name(package: CondaPackage) -> str:
    """What the package's file in `conda-meta` is called, without `.json`."""
    return re.sub(r"\.(?:conda|tar\.bz2)$", "", package.file)
