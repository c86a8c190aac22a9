"""The list of archives that conda, mamba and micromamba install as it stands (CEP 23), for one platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.order import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envcompile.lock.model import CondaPackage


def explicit_lines(packages: Iterable[CondaPackage], urls: Mapping[str, str]) -> tuple[str, ...]:
    """`@EXPLICIT`, and a line for each package, dependencies first. `urls` are the channels' by their names."""
    return ("@EXPLICIT", *_lines(packages, urls))


def _lines(packages: Iterable[CondaPackage], urls: Mapping[str, str]) -> Iterator[str]:
    for each in in_order(packages):
        yield f"{archive_url(each, urls)}#{_checksum(each)}"


def archive_url(package: CondaPackage, urls: Mapping[str, str]) -> str:
    """Where the channel serves a package."""
    return f"{urls[package.channel]}/{package.subdir}/{package.file}"


def _checksum(package: CondaPackage) -> str:
    # Every conda, mamba and rattler reads an md5 here. A sha256 is read by conda since 24.9 (conda/conda#14048), by
    # mamba since 2.1 (mamba-org/mamba#3866) and by neither before, and its prefix `sha256:` not by that mamba: it
    # stands where the channel tells no md5. What the Dockerfile relies on is the list of sha256 beside this one.
    return package.md5 or package.sha256
