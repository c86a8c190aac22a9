"""Pins of several platforms in one file: what is the same everywhere stands there once, the rest with its marker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.export import count_packages
from envcompile.lock.package_managers import PACKAGE_MANAGERS
from envcompile.platforms import PLATFORMS
from envcompile.spec.pip import DEFAULT_INDEX, parse_package_name
from envcompile.spec.values import read_index_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.export import ExportInput
    from envcompile.lock.model import Lock, PipPackage, PlatformLock


class MergedPackage(NamedTuple):
    """One version of one distribution: the package of each platform that has it, and the marker for those alone.

    `marker` is None where every platform has it.
    """

    name: str
    version: str
    packages: tuple[PipPackage, ...]
    marker: str | None

    def unique_files(self) -> list[PipPackage]:
        """The packages with different files, by their names."""
        return [one for _, one in sorted({each.sha256: each for each in self.packages}.items(), key=_file_sort_key)]

    def dependency_names(self) -> list[str]:
        """The names of what it needs on any of the platforms, sorted."""
        return sorted({name for each in self.packages for name in each.depends})


def merge_platforms(lock: Lock) -> Iterator[MergedPackage]:
    """Sorted by name, then platform. pip's packages alone; markers as PEP 508 has them."""
    found: dict[tuple[str, str], list[tuple[PlatformLock, PipPackage]]] = {}
    for platform in lock.platforms:
        for package in platform.pip:
            found.setdefault((package.name, package.version), []).append((platform, package))
    # The sort is stable: two versions of one name stand in the order of their platforms.
    for (name, version), rows in sorted(found.items(), key=lambda each: each[0][0]):
        everywhere = len(rows) == len(lock.platforms)
        marker = None if everywhere else format_platform_marker([platform for platform, _ in rows])
        yield MergedPackage(name, version, tuple(package for _, package in rows), marker)


def format_platform_marker(platforms: Sequence[PlatformLock]) -> str:
    """The marker that holds on these platforms, of those that can be locked."""
    return " or ".join(f"platform_machine == '{PLATFORMS[each.platform].machine}'" for each in platforms)


def describe_platforms(lock: Lock) -> str:
    """For people: what machines the pins are for."""
    names = []
    for each in lock.platforms:
        python = f"CPython {each.python.version} on " if each.python else ""
        names.append(f"{python}Linux, {PLATFORMS[each.platform].machine}, glibc {each.run.glibc} or later")
    return "; ".join(names)


def _file_sort_key(row: tuple[str, PipPackage]) -> str:
    return row[1].file


# What an export does not hold, as comments of its own: a file is read without the warnings of whoever made it.


def omitted_packages_comment(given: ExportInput, *holds: str) -> Iterator[str]:
    """A comment where the lock has packages of kinds, of `conda`, `pip` and `apt`, that a format does not hold."""
    whose = [
        each.possessive
        for each in PACKAGE_MANAGERS.values()
        if each.name not in holds and count_packages(given.lock, each.name)
    ]
    if whose:
        yield f"# Not here, for this format cannot hold them: {' and '.join(whose)} packages."


def pip_omissions_comment(given: ExportInput) -> Iterator[str]:
    """The comments of a list of pip's packages alone."""
    yield from omitted_packages_comment(given, "pip")
    brought = sorted({each for platform in given.lock.platforms for one in platform.conda for each in one.provides})
    if brought:
        yield f"# Not here, for conda brings it: {', '.join(brought)}."
    if given.spec.pip.exclude:
        excluded = sorted(map(parse_package_name, given.spec.pip.exclude))
        yield f"# Not here, for the spec leaves it out: {', '.join(excluded)}."


def environment_omissions_comment(given: ExportInput) -> Iterator[str]:
    """The comments of a list of what is asked for: packages of other kinds, and keys that shape the answer."""
    yield from omitted_packages_comment(given, "conda", "pip")
    spec = given.spec
    keys = {
        "exclude-newer": spec.exclude_newer is not None,
        "cuda.version": spec.cuda.version is not None,
        "pip.exclude": bool(spec.pip.exclude),
        "pip.index": spec.pip.index is not None,
        "pip.extra-indexes": bool(spec.pip.extra_indexes),
    }
    if asked := [key for key, there in keys.items() if there]:
        yield f"# Not here, for this format has no place for it: {', '.join(asked)} of the spec."


# Where pip's files are: a lock knows them by their hashes alone, and some formats want an address for each.


# An address without credentials, and without what would have to be escaped.
_URL_PATTERN = r'"(https?://[^/@"\\\s]+/[^"\\\s]*)"'
# As `pylock` and `conda_lock` write it: the address, then the hash.
_EXPORTED_FILE_PATTERNS = (
    re.compile(rf'url = {_URL_PATTERN}, (?:size = [0-9]+, )?hashes = \{{ sha256 = "([0-9a-f]{{64}})" \}}'),
    re.compile(rf'url: {_URL_PATTERN}\n +hash:\n +sha256: "([0-9a-f]{{64}})"'),
)


def parse_files_url(url: str) -> str:
    """The URL of a file server, without a slash at the end. Raises `InvalidInputError` if it is not a plain URL."""
    mistakes: list[Diagnostic] = []
    clean = read_index_url(mistakes, (), url)
    for mistake in mistakes:
        raise InvalidInputError(f"`--files`: {mistake.message}", mistake.hint)
    return clean or ""


def derive_file_urls(lock: Lock, files: str) -> dict[str, str]:
    """By sha256, where a file server in the layout of the public index has each wheel below the URL `files`.

    Raises `InvalidInputError` for packages of other indexes, which are served elsewhere.
    """
    found = {}
    for package in _iter_pip_packages(lock):
        if package.index != DEFAULT_INDEX:
            message = f"`{package.name}` is of the index `{package.index}`, whose files are not below `--files`"
            raise InvalidInputError(message, "leave `--files` out: then the indexes are asked where their files are")
        _, python, _, _ = package.file.rsplit("-", 3)
        found[package.sha256] = f"{files}/{python}/{package.name[0]}/{package.name}/{package.file}"
    return found


def parse_file_urls(text: str) -> dict[str, str]:
    """By sha256, the addresses in a file that was exported earlier; what is none, or holds credentials, is left out."""
    return {digest: url for pattern in _EXPORTED_FILE_PATTERNS for url, digest in pattern.findall(text)}


def find_packages_without_url(lock: Lock, places: Mapping[str, str]) -> list[PipPackage]:
    """The packages whose files have no address yet."""
    return [package for package in _iter_pip_packages(lock) if package.sha256 not in places]


def require_file_url(package: PipPackage, places: Mapping[str, str], format_: str) -> str:
    """The address of a package's file. Raises `InvalidInputError` where none is known."""
    if package.sha256 in places:
        return places[package.sha256]
    message = f"where `{package.file}` is served is not known, and `{format_}` wants it of each of pip's files"
    raise InvalidInputError(message, "add `--files URL`, or let the index be asked")


def _iter_pip_packages(lock: Lock) -> Iterator[PipPackage]:
    return (package for platform in lock.platforms for package in platform.pip)
