"""The conda packages of an environment as lists: what to install, in an order that works, and each archive's hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.errors import Unusable
from envcompile.lock.exports.explicit import explicit_lines
from envcompile.plan.model import File

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    sums = (f"{each.sha256}  {CACHE}/{each.file}" for each in sorted(packages, key=lambda package: package.file))
    return File("/conda.txt", explicit_lines(packages, urls)), File("/conda.sha256", tuple(sums))
