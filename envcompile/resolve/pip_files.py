"""From pip-compile's pins and the index's pages to packages, each with its one file; and the check of the answer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envcompile.lock.model import PipPackage
from envcompile.resolve.protocol import Unsolvable
from envcompile.resolve.wheels import best

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.requirements import Requirement

    from envcompile.resolve.index_page import IndexFile
    from envcompile.resolve.protocol import PipRequest


def packages(
    pins: Mapping[str, str],
    needs: Mapping[str, set[str]],
    projects: Mapping[str, tuple[IndexFile, ...]],
    request: PipRequest,
) -> tuple[PipPackage, ...]:
    """One package for each key of `needs`, sorted. Raises `Unsolvable` when none of a pin's files will do."""
    kept = {package.name: package for package in request.kept()}
    answer = []
    for name in sorted(needs):
        file = _file(name, pins[name], projects[name], request, kept.get(name))
        depends = tuple(sorted(needs[name]))
        answer.append(PipPackage(name, pins[name], file.name, file.sha256, file.size, depends=depends))
    return tuple(answer)


def _file(
    name: str, pin: str, files: Iterable[IndexFile], request: PipRequest, earlier: PipPackage | None
) -> IndexFile:
    # Usable is asked last: reading what Python a file requires takes longer than all the rest.
    release = [file for version, file in wheels_of(name, files) if version == Version(pin) and usable(file, request)]
    # A yanked file is for those who pin it, and then only where nothing else is left (PEP 592).
    wheels = {file.name: file for file in [each for each in release if not each.yanked] or release}
    if earlier and earlier.version == pin:
        # A pin that stays keeps its file too, also when a better one was uploaded since.
        same = next((file for file in release if (file.name, file.sha256) == (earlier.file, earlier.sha256)), None)
        if same:
            return same
    chosen = best(wheels, request.platform.machine, request.glibc, request.python)
    if chosen is None:
        raise Unsolvable(request.platform.name, f"{name} {pin} has no wheel for this platform")
    if not wheels[chosen].sha256:
        raise Unsolvable(request.platform.name, f"the index tells no sha256 of {chosen}")
    return wheels[chosen]


def wheels_of(name: str, files: Iterable[IndexFile]) -> Iterator[tuple[Version, IndexFile]]:
    """The wheels among a project's files, with their versions."""
    for file in files:
        project, _, rest = file.name.partition("-")
        if file.name.endswith(".whl") and canonicalize_name(project) == name:
            with suppress(InvalidVersion):
                yield Version(rest.partition("-")[0]), file


def usable(file: IndexFile, request: PipRequest) -> bool:
    """Whether pip could have taken it on some platform: for this Python, and not too new."""
    # Both are RFC 3339 in UTC (PEP 700): without the Z they sort as text, also where only one has a fraction.
    limit = request.exclude_newer
    if limit is not None and not "" < file.uploaded.rstrip("Z") < limit.rstrip("Z"):
        return False
    try:
        return SpecifierSet(file.requires_python).contains(request.python, prereleases=True)
    except InvalidSpecifier:
        return True  # as pip does


def unseen(
    projects: Mapping[str, tuple[IndexFile, ...]], pins: Mapping[str, str], request: PipRequest, glibc: str
) -> str | None:
    """A file that fits the base but is newer than this machine's `glibc`, so that pip passed over its release.

    Only where this machine's is the older one; and only of packages in the answer, which it might have changed.
    """
    if _parts(glibc) >= _parts(request.glibc):
        return None
    for name, files in projects.items():
        here: set[Version] = set()
        there: dict[Version, str] = {}
        for version, file in wheels_of(name, files):
            if version <= Version(pins[name]) or not usable(file, request):
                continue
            if best([file.name], request.platform.machine, glibc, request.python):
                here.add(version)
            elif best([file.name], request.platform.machine, request.glibc, request.python):
                there[version] = file.name
        if hidden := [there[version] for version in sorted(there) if version not in here]:
            return hidden[-1]
    return None


def _parts(glibc: str) -> tuple[int, ...]:
    return tuple(int(part) for part in glibc.split("."))


def check(answer: tuple[PipPackage, ...], asked: Iterable[Requirement], request: PipRequest) -> None:
    """Raises `Unsolvable` unless every requirement has its package in the range it asks for, and every edge its end.

    What packages require of one another stands in their metadata, which only pip has read: of that, only that the
    package is there can be checked.
    """
    versions = {package.name: package.version for package in answer}
    for requirement in asked:
        version = versions.get(canonicalize_name(requirement.name), "")
        if not version or not requirement.specifier.contains(version, prereleases=True):
            said = f"pip-tools answers {requirement} with {version or 'nothing'}"
            raise Unsolvable(request.platform.name, said)
    for package in answer:
        if lost := [name for name in package.depends if name not in versions]:
            raise Unsolvable(request.platform.name, f"pip-tools leaves out {lost[0]}, which {package.name} needs")
