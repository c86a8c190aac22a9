"""Which of a release's wheels a platform takes: the one file that is locked."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envcompile.lock.freshness_pip import find_provided_versions
from envcompile.lock.model import PipPackage
from envcompile.resolve.model import UnsolvableError
from envcompile.spec.pip import normalize_name
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.requirements import Requirement

    from envcompile.lock.model import CondaPackage
    from envcompile.resolve.model import PipRequest, SdistMetadata
    from envcompile.resolve.pip.simple_index import IndexFile

# Legacy names of the older manylinux policies (PEP 600), by the glibc they stand for.
_LEGACY_POLICIES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def _list_platform_tags(machine: str, glibc: str) -> Iterator[str]:
    """Platform tags from the newest glibc down to the oldest policy, most specific first."""
    major, minor = version_numbers(glibc)
    # manylinux1 and manylinux2010 were defined for x86 only; other machines start at 2.17.
    oldest = 5 if machine == "x86_64" else 17
    for older in range(minor, oldest - 1, -1):
        yield f"manylinux_{major}_{older}_{machine}"
        if older in _LEGACY_POLICIES:
            yield f"{_LEGACY_POLICIES[older]}_{machine}"
    yield f"linux_{machine}"


@cache
def _rank_tags(machine: str, glibc: str, python: str) -> dict[Tag, int]:
    major, minor = version_numbers(python)[:2]
    platforms = list(_list_platform_tags(machine, glibc))
    tags = [
        *cpython_tags((major, minor), platforms=platforms),
        *compatible_tags((major, minor), interpreter=f"cp{major}{minor}", platforms=platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def find_best_wheel(files: Iterable[str], machine: str, glibc: str, python: str) -> str | None:
    """The file name of the wheel that installers prefer on this platform, None when no wheel fits.

    `python` is X.Y or X.Y.Z of CPython. Of wheels with equal tags the highest build number wins, then the name.
    """
    ranks = _rank_tags(machine, glibc, python)
    candidates: list[tuple[int, tuple[int, str], str]] = []
    for file in files:
        try:
            _, _, build, tags = parse_wheel_filename(file)
        except InvalidWheelFilename:
            continue
        rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
        if rank is not None:
            number, suffix = build or (0, "")
            candidates.append((-rank, (number, suffix), file))
    return max(candidates)[2] if candidates else None


# Who needs whom, as uv and pip-compile write it beside the pins.


def parse_annotations(text: str) -> dict[str, set[str]]:
    """Package to what it needs, from lines such as `numpy==2.3.5 # via pandas, -r requirements.in, -c list.txt`."""
    needs: dict[str, set[str]] = {}
    for line in text.splitlines():
        pin, _, via = line.partition("# via")
        if "==" in pin:
            name = normalize_name(pin.split("==")[0].split("[")[0].strip())
            for source in via.split(","):
                if (needing := source.strip()) and not needing.startswith("-"):
                    needs.setdefault(normalize_name(needing.split("[")[0]), set()).add(name)
    return needs


# Wheels that hold nothing but a name and a version: how a pip resolver sees what conda has already brought.
#
# A constraint alone is not enough: a resolver may then take an old release of something else that does not need the
# package at all. A stub has no dependencies (conda has solved them) and a local version that no index has.


STUB_LOCAL_VERSION = "conda"


def list_stub_versions(packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Distribution name to its version with the stub's local part, such as `2.9.0+conda`, sorted by name."""
    return {name: f"{version}+{STUB_LOCAL_VERSION}" for name, version in find_provided_versions(packages).items()}


def write_sdist_stubs(folder: Path, sdists: Mapping[str, Mapping[str, SdistMetadata]]) -> None:
    """One wheel for each version of each sdist, with what is known of its needs: no resolver looks into the sdist."""
    for name, versions in sdists.items():
        for version, told in versions.items():
            lines = [f"Requires-Python: {told.requires_python}"] if told.requires_python else []
            lines += [f"Requires-Dist: {each}" for each in told.requires]
            lines += [f"Provides-Extra: {each}" for each in told.extras]
            _write_stub_wheel(folder, name, version, "".join(f"{line}\n" for line in lines))


def write_stubs(folder: Path, distributions: dict[str, str]) -> None:
    """One wheel for each distribution."""
    for name, version in distributions.items():
        _write_stub_wheel(folder, name, version)


def _write_stub_wheel(folder: Path, name: str, version: str, more: str = "") -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


# From pip-compile's pins and the index's pages to packages, each with its one file; and the check of the answer.


def select_packages(
    pins: Mapping[str, str],
    needs: Mapping[str, set[str]],
    projects: Mapping[str, tuple[IndexFile, ...]],
    request: PipRequest,
) -> tuple[PipPackage, ...]:
    """One package for each key of `needs`, sorted. Raises `UnsolvableError` when none of a pin's files will do."""
    kept = {package.name: package for package in request.kept_pins()}
    answer = []
    for name in sorted(needs):
        file = _select_file(name, pins[name], projects[name], request, kept.get(name))
        depends = tuple(sorted(needs[name]))
        answer.append(PipPackage(name, pins[name], file.name, file.sha256, file.size, depends=depends))
    return tuple(answer)


def _select_file(
    name: str, pin: str, files: Iterable[IndexFile], request: PipRequest, earlier: PipPackage | None
) -> IndexFile:
    # Usable is asked last: reading what Python a file requires takes longer than all the rest.
    release = [
        file for version, file in list_wheels(name, files) if version == Version(pin) and is_installable(file, request)
    ]
    # A yanked file is for those who pin it, and then only where nothing else is left (PEP 592).
    wheels = {file.name: file for file in [each for each in release if not each.is_yanked] or release}
    if earlier and earlier.version == pin:
        # A pin that stays keeps its file too, also when a better one was uploaded since.
        same = next((file for file in release if (file.name, file.sha256) == (earlier.file, earlier.sha256)), None)
        if same:
            return same
    chosen = find_best_wheel(wheels, request.platform.machine, request.glibc, request.python)
    if chosen is None:
        raise UnsolvableError(request.platform.name, f"{name} {pin} has no wheel for this platform")
    if not wheels[chosen].sha256:
        raise UnsolvableError(request.platform.name, f"the index tells no sha256 of {chosen}")
    return wheels[chosen]


def list_wheels(name: str, files: Iterable[IndexFile]) -> Iterator[tuple[Version, IndexFile]]:
    """The wheels among a project's files, with their versions."""
    for file in files:
        project, _, rest = file.name.partition("-")
        if file.name.endswith(".whl") and normalize_name(project) == name:
            with suppress(InvalidVersion):
                yield Version(rest.partition("-")[0]), file


def is_installable(file: IndexFile, request: PipRequest) -> bool:
    """Whether pip could have taken it on some platform: for this Python, and not too new."""
    # Both are RFC 3339 in UTC (PEP 700): without the Z they sort as text, also where only one has a fraction.
    limit = request.exclude_newer
    if limit is not None and not "" < file.uploaded.rstrip("Z") < limit.rstrip("Z"):
        return False
    try:
        return SpecifierSet(file.requires_python).contains(request.python, prereleases=True)
    except InvalidSpecifier:
        return True  # as pip does


def find_newer_glibc_wheel(
    projects: Mapping[str, tuple[IndexFile, ...]], pins: Mapping[str, str], request: PipRequest, glibc: str
) -> str | None:
    """A file that fits the base but is newer than this machine's `glibc`, so that pip passed over its release.

    Only where this machine's is the older one; and only of packages in the answer, which it might have changed.
    """
    if version_numbers(glibc) >= version_numbers(request.glibc):
        return None
    for name, files in projects.items():
        here: set[Version] = set()
        there: dict[Version, str] = {}
        for version, file in list_wheels(name, files):
            if version <= Version(pins[name]) or not is_installable(file, request):
                continue
            if find_best_wheel([file.name], request.platform.machine, glibc, request.python):
                here.add(version)
            elif find_best_wheel([file.name], request.platform.machine, request.glibc, request.python):
                there[version] = file.name
        if hidden := [there[version] for version in sorted(there) if version not in here]:
            return hidden[-1]
    return None


def check_requirements(answer: tuple[PipPackage, ...], asked: Iterable[Requirement], request: PipRequest) -> None:
    """Raise `UnsolvableError` unless each requirement and each dependency is met by a package of the answer.

    What packages require of one another stands in their metadata, which only pip has read: of that, only that the
    package is there can be checked.
    """
    versions = {package.name: package.version for package in answer}
    for requirement in asked:
        version = versions.get(normalize_name(requirement.name), "")
        if not version or not requirement.specifier.contains(version, prereleases=True):
            said = f"pip-tools answers {requirement} with {version or 'nothing'}"
            raise UnsolvableError(request.platform.name, said)
    for package in answer:
        if lost := [name for name in package.depends if name not in versions]:
            raise UnsolvableError(request.platform.name, f"pip-tools leaves out {lost[0]}, which {package.name} needs")
