"""Where pip's files are: a lock knows them by their hashes alone, and some formats want an address for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.errors import Unusable
from envcompile.spec.indexes import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.lock.model import Lock, PipPackage

# As `pylock` and `conda_lock` write it: the address, then the hash.
_WRITTEN = (
    re.compile(r'url = ("[^"]*"), (?:size = [0-9]+, )?hashes = \{ sha256 = "([0-9a-f]{64})" \}'),
    re.compile(r'url: ("[^"]*")\n +hash:\n +sha256: "([0-9a-f]{64})"'),
)


def by_layout(lock: Lock, files: str) -> dict[str, str]:
    """By sha256, where a file server in the layout of the public index has each wheel below the URL `files`.

    Raises `Unusable` for packages of other indexes, which are served elsewhere.
    """
    found = {}
    for package in _packages(lock):
        if package.index != DEFAULT:
            message = f"`{package.name}` is of the index `{package.index}`, whose files are not below `--files`"
            raise Unusable(message, "leave `--files` out: then the indexes are asked where their files are")
        _, python, _, _ = package.file.rsplit("-", 3)
        found[package.sha256] = f"{files}/{python}/{package.name[0]}/{package.name}/{package.file}"
    return found


def known(text: str) -> dict[str, str]:
    """By sha256, the addresses in a file that was exported earlier."""
    import json  # noqa: PLC0415 - with it

    return {digest: json.loads(url) for pattern in _WRITTEN for url, digest in pattern.findall(text)}


def missing(lock: Lock, places: Mapping[str, str]) -> list[PipPackage]:
    """The packages whose files have no address yet."""
    return [package for package in _packages(lock) if package.sha256 not in places]


def place(package: PipPackage, places: Mapping[str, str], format_: str) -> str:
    """The address of a package's file. Raises `Unusable` where none is known."""
    if package.sha256 in places:
        return places[package.sha256]
    message = f"where `{package.file}` is served is not known, and `{format_}` wants it of each of pip's files"
    raise Unusable(message, "add `--files URL`, or let the index be asked")


def _packages(lock: Lock) -> Iterator[PipPackage]:
    return (package for platform in lock.platforms for package in platform.pip)
