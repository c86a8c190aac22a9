"""`conda-lock.yml`, version 1: what conda-lock, mamba and micromamba install for any of its platforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.errors import Unusable
from envcompile.lock.exports.absent import absent
from envcompile.lock.exports.content_hash import content_hash
from envcompile.lock.exports.depends import merged
from envcompile.lock.exports.places import place
from envcompile.lock.exports.yaml import dumps
from envcompile.plan.explicit_list import archive_url
from envcompile.spec.exports import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.lock.exports import Given
    from envcompile.lock.exports.yaml import Value
    from envcompile.lock.model import CondaPackage, PipPackage

_HEAD = f"{OURS}; the pins are those of envcompile's own lock.\n"


def text(given: Given) -> str:
    """The file. Raises `Unusable` where it needs what the lock does not hold: an md5, the place of pip's files."""
    platforms = [each.platform for each in given.lock.platforms]
    metadata: dict[str, Value] = {
        "content_hash": {each: content_hash(given, each) for each in platforms},
        "channels": [{"url": each, "used_env_vars": []} for each in given.spec.conda.channels],
        "platforms": platforms,
        "sources": ["environment.yml"],
    }
    # The kinds one after the other, and within them by name, then platform.
    packages = sorted(_packages(given), key=lambda each: tuple(str(each[key]) for key in _ORDER))
    return (
        _HEAD
        + "".join(f"{line}\n" for line in absent(given, "conda", "pip"))
        + dumps({"version": 1, "metadata": metadata, "package": packages})
    )


_ORDER = ("manager", "name", "platform")


def _packages(given: Given) -> Iterator[Mapping[str, Value]]:
    urls = {channel.name: channel.url for channel in given.lock.channels}
    for platform in given.lock.platforms:
        for conda in platform.conda:
            hashes = {"md5": _md5(conda), "sha256": conda.sha256}
            dependencies = merged(conda.depends)
            yield _package(conda, "conda", platform.platform, dependencies, archive_url(conda, urls), hashes)
        for pip in platform.pip:
            # conda-lock writes the range that the wheel asks for; the lock knows the name, and `*` is any version.
            dependencies = dict.fromkeys(pip.depends, "*")
            url = place(pip, given.places, "conda-lock.yml")
            yield _package(pip, "pip", platform.platform, dependencies, url, {"sha256": pip.sha256})


def _package(  # noqa: PLR0913, PLR0917 - the columns of a row
    package: CondaPackage | PipPackage,
    manager: str,
    platform: str,
    dependencies: Mapping[str, str],
    url: str,
    hashes: Mapping[str, str],
) -> Mapping[str, Value]:
    return {
        "name": package.name,
        "version": package.version,
        "manager": manager,
        "platform": platform,
        "dependencies": dependencies,
        "url": url,
        "hash": hashes,
        "category": "main",
        "optional": False,
    }


def _md5(package: CondaPackage) -> str:
    if package.md5 is None:
        message = f"the lock holds no md5 of `{package.file}`, and every package in a `conda-lock.yml` needs one"
        raise Unusable(message, "export `explicit`, or take the package from a channel that tells its md5")
    return package.md5
