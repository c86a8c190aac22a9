"""Select the wheel of a release to lock, write stub wheels for pip resolvers, and check the solution of pip-tools."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envcompile.lock.consistency import accepts_python
from envcompile.lock.freshness_pip import find_provided_versions
from envcompile.lock.model import PipPackage
from envcompile.resolve.model import UnsolvableError
from envcompile.spec.pip import normalize_name, parse_dependency_name
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from envcompile.lock.model import CondaPackage
    from envcompile.resolve.model import PipRequest, SdistMetadata
    from envcompile.resolve.pip.simple_index import IndexFile
    from envcompile.spec.pip import PipRequirement

# Legacy names of manylinux policies (PEP 600), by the minor version of glibc 2.
_LEGACY_POLICIES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
# The local version of stub wheels. No index has a release with this local version.
STUB_LOCAL_VERSION = "conda"


def _list_platform_tags(machine: str, glibc: str) -> Iterator[str]:
    """Yield the platform tags that fit, the preferred ones first: from `glibc` down to the oldest manylinux policy."""
    major, minor = version_numbers(glibc)
    # manylinux1 and manylinux2010 were defined for x86 only; other machines start at 2.17.
    oldest = 5 if machine == "x86_64" else 17
    for older in range(minor, oldest - 1, -1):
        yield f"manylinux_{major}_{older}_{machine}"
        if older in _LEGACY_POLICIES:
            yield f"{_LEGACY_POLICIES[older]}_{machine}"
    yield f"linux_{machine}"


@cache
def _rank_tags(machine: str, glibc: str, python: str, abi: str) -> dict[Tag, int]:
    major, minor = version_numbers(python)[:2]
    platforms = list(_list_platform_tags(machine, glibc))
    tags = [
        *cpython_tags((major, minor), abis=[abi] if abi else None, platforms=platforms),
        *compatible_tags((major, minor), interpreter=f"cp{major}{minor}", platforms=platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def find_best_wheel(files: Iterable[str], machine: str, glibc: str, python: str, abi: str = "") -> str | None:
    """Return the file name of the wheel that installers prefer on this platform, or None.

    `glibc` is X.Y, `python` is X.Y or X.Y.Z of CPython, and `abi` is its ABI if that is not the default one (`cp313t`).
    Among wheels with equally preferred tags, the highest build number wins, then the last file name in sorted order.
    """
    ranks = _rank_tags(machine, glibc, python, abi)
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


def parse_annotations(text: str) -> dict[str, set[str]]:
    """Return the names of the dependencies of each package, from the annotations in a requirements.txt.

    Its lines are like `numpy==2.3.5 # via pandas, -r requirements.in, -c list.txt`: pandas depends on numpy.
    """
    needs: dict[str, set[str]] = {}
    for line in text.splitlines():
        pin, _, via = line.partition("# via")
        if "==" in pin:
            name = normalize_name(pin.split("==")[0].split("[")[0].strip())
            for source in via.split(","):
                if (parent := source.strip()) and not parent.startswith("-"):
                    needs.setdefault(normalize_name(parent.split("[")[0]), set()).add(name)
    return needs


# Stub wheels: a resolver for pip sees the distributions in conda packages as wheels with a name and a version.
#
# A constraint is not enough: with it, a resolver may select an old release of another package, because this release
# does not need the distribution. A stub has no dependencies, because conda has resolved them, and a local version that
# no index has.


def list_stub_versions(packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Return the stub version of each distribution, such as `2.9.0+conda`, sorted by name."""
    return {name: f"{version}+{STUB_LOCAL_VERSION}" for name, version in find_provided_versions(packages).items()}


def write_sdist_stubs(folder: Path, sdists: Mapping[str, Mapping[str, SdistMetadata]]) -> None:
    """Write a stub wheel for each version of each sdist, with the dependencies that are known."""
    for name, versions in sdists.items():
        for version, metadata in versions.items():
            lines = [f"Requires-Python: {metadata.requires_python}"] if metadata.requires_python else []
            lines += [f"Requires-Dist: {each}" for each in metadata.requires]
            lines += [f"Provides-Extra: {each}" for each in metadata.extras]
            _write_stub_wheel(folder, name, version, "".join(f"{line}\n" for line in lines))


def write_stubs(folder: Path, distributions: dict[str, str]) -> None:
    """Write a stub wheel for each distribution. `distributions` has the version of each by name."""
    for name, version in distributions.items():
        _write_stub_wheel(folder, name, version)


def _write_stub_wheel(folder: Path, name: str, version: str, extra_metadata: str = "") -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extra_metadata}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


# Packages from the pins of pip-compile and the pages of the index.


def select_packages(
    pins: Mapping[str, str],
    needs: Mapping[str, set[str]],
    projects: Mapping[str, tuple[IndexFile, ...]],
    request: PipRequest,
) -> tuple[PipPackage, ...]:
    """Return a package for each key of `needs`, sorted by name.

    Raises `UnsolvableError` if a pinned release has no usable wheel.
    """
    kept = {package.name: package for package in request.kept_pins()}
    packages = []
    for name in sorted(needs):
        file = _select_file(name, pins[name], projects[name], request, kept.get(name))
        depends = tuple(sorted(needs[name]))
        packages.append(PipPackage(name, pins[name], file.name, file.sha256, file.size, depends=depends))
    return tuple(packages)


def _select_file(
    name: str, pin: str, files: Iterable[IndexFile], request: PipRequest, earlier: PipPackage | None
) -> IndexFile:
    # The slowest check, of the Python version, comes last.
    release = [
        file for version, file in list_wheels(name, files) if version == Version(pin) and is_installable(file, request)
    ]
    # Yanked files are used only if the pinned release has no other files (PEP 592).
    wheels = {file.name: file for file in [each for each in release if not each.is_yanked] or release}
    if earlier and earlier.version == pin:
        # A pin keeps its file, even if a more specific wheel was uploaded later.
        locked_file = next(
            (file for file in release if (file.name, file.sha256) == (earlier.file, earlier.sha256)), None
        )
        if locked_file:
            return locked_file
    chosen = find_best_wheel(wheels, request.platform.machine, request.glibc, request.python)
    if chosen is None:
        raise UnsolvableError(request.platform.name, f"{name} {pin} has no wheel for this platform")
    if not wheels[chosen].sha256:
        raise UnsolvableError(request.platform.name, f"the index has no sha256 of {chosen}")
    return wheels[chosen]


def list_wheels(name: str, files: Iterable[IndexFile]) -> Iterator[tuple[Version, IndexFile]]:
    """Yield the wheels among the files of a project, with their versions."""
    for file in files:
        project, _, rest = file.name.partition("-")
        if file.name.endswith(".whl") and normalize_name(project) == name:
            with suppress(InvalidVersion):
                yield Version(rest.partition("-")[0]), file


def is_installable(file: IndexFile, request: PipRequest) -> bool:
    """Whether the file accepts this Python and `exclude_newer` allows the file. The platform is not checked."""
    return is_uploaded_in_time(file, request) and accepts_python(file.requires_python, request.python)


def is_uploaded_in_time(file: IndexFile, request: PipRequest) -> bool:
    """Whether `exclude_newer` allows the file. If it is set, a file without an upload time is excluded."""
    # Both times are RFC 3339 in UTC (PEP 700). Without the Z, their order as text is their order
    # in time, even if only one has a fraction of a second.
    limit = request.exclude_newer
    return limit is None or "" < file.uploaded.rstrip("Z") < limit.rstrip("Z")


def find_newer_glibc_wheel(
    projects: Mapping[str, tuple[IndexFile, ...]], pins: Mapping[str, str], request: PipRequest, glibc: str
) -> str | None:
    """Return the name of a wheel that pip ignored because the `glibc` of this machine is too old for it, or None.

    The wheel is of a newer release than the pinned one, and the glibc of the base image is new enough for it.
    """
    if version_numbers(glibc) >= version_numbers(request.glibc):
        return None
    for name, files in projects.items():
        usable_here: set[Version] = set()
        ignored_files: dict[Version, str] = {}
        for version, file in list_wheels(name, files):
            if version <= Version(pins[name]) or not is_installable(file, request):
                continue
            if find_best_wheel([file.name], request.platform.machine, glibc, request.python):
                usable_here.add(version)
            elif find_best_wheel([file.name], request.platform.machine, request.glibc, request.python):
                ignored_files[version] = file.name
        if ignored := [ignored_files[version] for version in sorted(ignored_files) if version not in usable_here]:
            return ignored[-1]
    return None


def check_requirements(
    packages: tuple[PipPackage, ...], requirements: Iterable[PipRequirement], request: PipRequest
) -> None:
    """Raise `UnsolvableError` if a requirement is not satisfied or a dependency is missing.

    The versions of dependencies are not checked, because only pip has read the metadata of the packages.
    """
    versions = {package.name: package.version for package in packages}
    for requirement in requirements:
        version = versions.get(requirement.name, "")
        if not version or not requirement.allows_version(version):
            reason = f"pip-tools returned {version or 'no version'} for {requirement}"
            raise UnsolvableError(request.platform.name, reason)
    for package in packages:
        if missing := [name for name in map(parse_dependency_name, package.depends) if name not in versions]:
            raise UnsolvableError(request.platform.name, f"pip-tools left out {missing[0]}, which {package.name} needs")
