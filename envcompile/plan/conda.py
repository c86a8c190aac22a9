"""The conda packages of an environment as lists: what to install, in an order that works, and each archive's hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.errors import Unusable
from envcompile.plan.model import File

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.lock.model import Channel, CondaPackage

# Where micromamba keeps the archives that it has fetched, under the root prefix that the Dockerfile gives it.
CACHE = "/root/micromamba/pkgs"


def conda_lists(packages: tuple[CondaPackage, ...], channels: Iterable[Channel]) -> tuple[File, ...]:
    """The @EXPLICIT list, dependencies first, and the sha256 of every archive; nothing without conda packages.

    Raises `Unusable` for a channel that is a folder of this machine: the build could not see it.
    """
    if not packages:
        return ()
    urls = {channel.name: channel.url for channel in channels}
    used = {package.channel for package in packages}
    if local := sorted(name for name in used if urls[name].startswith("file:")):
        message = f"the channel `{local[0]}` is a folder of this machine, which no build can see"
        raise Unusable(message, "serve the folder by HTTP, give its URL in `channels`, and lock again")
    lines = (f"{urls[each.channel]}/{each.subdir}/{each.file}#{_checksum(each)}" for each in in_order(packages))
    sums = (f"{each.sha256}  {CACHE}/{each.file}" for each in sorted(packages, key=lambda package: package.file))
    return File("/conda.txt", ("@EXPLICIT", *lines)), File("/conda.sha256", tuple(sums))


def _checksum(package: CondaPackage) -> str:
    # Every micromamba reads an md5 here, and only newer ones a sha256 (mamba, pull request 3866): it is `conda.sha256`
    # that the build relies on.
    return package.md5 or package.sha256


def in_order(packages: Iterable[CondaPackage]) -> list[CondaPackage]:
    """Every package after those it depends on, ties by name: an explicit list is installed as it stands.

    Python and pip need each other; Python comes first.
    """
    known = {package.name: package for package in packages}
    done: dict[str, CondaPackage] = {}
    for name in sorted(known):
        _after_its_needs(known, name, done)
    return list(done.values())


def _after_its_needs(known: Mapping[str, CondaPackage], first: str, done: dict[str, CondaPackage]) -> None:
    # A stack of our own: chains of dependencies are as long as an environment is large.
    open_names = [first]
    entered: set[str] = set()
    while open_names:
        name = open_names[-1]
        if name in done:
            open_names.pop()
        elif name in entered:
            done[name] = known[name]
            open_names.pop()
        else:
            entered.add(name)
            needs = sorted({_name(spec) for spec in known[name].depends} & set(known), reverse=True)
            open_names += [need for need in needs if need not in entered and (name, need) != ("python", "pip")]


def _name(spec: str) -> str:
    return spec.split(maxsplit=1)[0].partition("[")[0].rpartition("::")[2]
