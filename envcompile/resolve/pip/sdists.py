"""Resolve pip packages, some of which have only an sdist, and the build environment of each selected sdist.

The dependencies of an sdist come from static metadata in its archive, which is read in memory. No code of an sdist runs
here. A resolver never sees an sdist, because the resolver would run its code. It sees a stub wheel in place of each
allowed sdist, at first without dependencies. The metadata of the selected sdists is then read, and the resolver runs
again with their dependencies, until it selects no unread sdist. A release that is rejected while its dependencies are
unknown would also be rejected with them, because dependencies only add constraints.
"""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import replace
from email.parser import HeaderParser
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import tomli
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidSdistFilename, parse_sdist_filename

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError, RequirementError
from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.lock.model import SdistBuild
from envcompile.resolve.model import PipResolution, SdistMetadata, UnsolvableError
from envcompile.resolve.pip.known_sdists import load_known_sdists
from envcompile.resolve.pip.simple_index import SimpleIndex
from envcompile.resolve.pip.uv import find_default_index
from envcompile.resolve.pip.wheels import find_best_wheel, is_installable, list_wheels
from envcompile.spec.model import SdistMetadataOverride
from envcompile.spec.pip import PipRequirement, find_index_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.version import Version

    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import PipPackage
    from envcompile.resolve.model import Effects, PipRequest, PipResolver
    from envcompile.resolve.pip.simple_index import IndexFile
    from envcompile.spec.model import PipSpec

# The limit for a metadata file: a hundred times the largest known one.
_MAX_METADATA_BYTES = 1 << 20
# What `get_requires_for_build_wheel` of known build backends returns. It is not called, because it may run code of the
# sdist. setuptools before 70.1 needs `wheel`, and so does every `setup.py bdist_wheel`. mesonpy (mesonpy/__init__.py)
# and scikit-build-core (scikit_build_core/builder/get_requires.py) need these programs if the system does not have
# them.
_BACKEND_REQUIREMENTS = {
    "setuptools.build_meta": ("wheel",),
    "mesonpy": ("ninja",),
    "scikit_build_core.build": ("cmake", "ninja"),
    "scikit_build_core.setuptools.build_meta": ("cmake", "ninja", "wheel"),
}
# PEP 517 and PEP 518: the build requirements of a project without `[build-system]`.
_DEFAULT_BUILD_REQUIREMENTS = ("setuptools", "wheel")
_DYNAMIC_FIELDS = frozenset(("requires-dist", "requires-python", "provides-extra"))
_READ_ERRORS = (
    *(OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile),
    *(KeyError, TypeError, AttributeError, RecursionError),  # a value of the wrong type or depth in pyproject.toml
)
_OLD_METADATA_VERSIONS = ("1.0", "1.1", "1.2", "2.0", "2.1")
# A build environment need not have the versions of these in the conda packages, because sdists may need other ones.
_BUILD_TOOLS = ("pip", "setuptools", "wheel")


class SdistDependencies(NamedTuple):
    """The dependencies of a release: PEP 508 requirements, a version specifier for Python or "", and its extras."""

    requires: tuple[str, ...]
    requires_python: str
    extras: tuple[str, ...]


class SdistContents(NamedTuple):
    """The metadata of an sdist.

    `needs` are the dependencies, or None if they are dynamic. `build` are the build requirements. `declared` are the
    dependencies that the archive states, even if they are dynamic. Another build of the sdist may change dynamic ones.
    """

    needs: SdistDependencies | None
    build: tuple[str, ...]
    declared: SdistDependencies = SdistDependencies((), "", ())


def read_sdist(file: str, data: bytes) -> SdistContents:
    """Return the metadata in an archive with the name `file`. Raises `ValueError` if it cannot be read."""
    try:
        texts = _read_metadata_files(file, data)
        project = tomli.loads(texts.get("pyproject.toml", ""))
        needs = _dependencies_from_pkg_info(texts.get("PKG-INFO", "")) or _dependencies_from_pyproject(
            project.get("project")
        )
        declared = _read_declared_dependencies(texts)
        return SdistContents(needs, _parse_build_system(project.get("build-system")), declared)
    except _READ_ERRORS as error:
        raise ValueError(str(error)) from error


def _read_metadata_files(file: str, data: bytes) -> dict[str, str]:
    """Return the texts of PKG-INFO and pyproject.toml in the top folder of the archive by name, if they exist.

    The text of setuptools' `NAME.egg-info/requires.txt` is also returned, as `requires.txt`.
    """
    metadata_files = ("PKG-INFO", "pyproject.toml", "requires.txt")
    texts: dict[str, str] = {}
    if file.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if (
                    name := _strip_top_folder(info.filename)
                ) in metadata_files and info.file_size <= _MAX_METADATA_BYTES:
                    texts[name] = archive.read(info).decode()
        return texts
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        for member in tar:
            if (
                (name := _strip_top_folder(member.name)) in metadata_files
                and member.isfile()
                and member.size <= _MAX_METADATA_BYTES
            ):
                content = tar.extractfile(member)
                texts[name] = content.read().decode() if content else ""
    return texts


def _strip_top_folder(path: str) -> str:
    _, _, rest = path.removeprefix("./").partition("/")
    folder, _, name = rest.rpartition("/")
    return name if name == "requires.txt" and folder.endswith(".egg-info") and "/" not in folder else rest


def _dependencies_from_pkg_info(text: str) -> SdistDependencies | None:
    """Return the dependencies in PKG-INFO, or None if they are dynamic.

    They are static in version 2.2 or later of the metadata, unless they are marked dynamic (PEP 643).
    """
    message = HeaderParser().parsestr(text)
    dynamic = {each.lower() for each in message.get_all("Dynamic", [])}
    if message.get("Metadata-Version", "1.0").strip() in _OLD_METADATA_VERSIONS or dynamic & _DYNAMIC_FIELDS:
        return None
    extras = tuple(message.get_all("Provides-Extra", []))
    return SdistDependencies(tuple(message.get_all("Requires-Dist", [])), message.get("Requires-Python", ""), extras)


def _read_declared_dependencies(texts: Mapping[str, str]) -> SdistDependencies:
    """Return the dependencies in PKG-INFO, or else in requires.txt, whether or not they are marked dynamic."""
    message = HeaderParser().parsestr(texts.get("PKG-INFO", ""))
    requires = tuple(message.get_all("Requires-Dist", [])) or tuple(_parse_requires_txt(texts.get("requires.txt", "")))
    extras = tuple(message.get_all("Provides-Extra", []))
    return SdistDependencies(requires, message.get("Requires-Python", ""), extras)


def _parse_requires_txt(text: str) -> Iterator[str]:
    """Yield the PEP 508 requirements in a requires.txt. A section `[EXTRA:MARKER]` applies to the lines below it."""
    extra = marker = ""
    for line in map(str.strip, text.splitlines()):
        if section := re.fullmatch(r"\[([^:\]]*)(?::(.*))?\]", line):
            extra, marker = section[1], section[2] or ""
        elif line:
            requirement = f"{line} ; {marker}" if marker else line
            yield _add_extra_marker(requirement, extra) if extra else requirement


def _dependencies_from_pyproject(project: Any) -> SdistDependencies | None:
    """Return the dependencies in `[project]`, or None if they are marked dynamic (PEP 621) or the table is missing."""
    dynamic = set(project.get("dynamic", ())) if isinstance(project, dict) else None
    if dynamic is None or dynamic & {"dependencies", "optional-dependencies", "requires-python"}:
        return None
    optional = project.get("optional-dependencies", {})
    requires = [*project.get("dependencies", ())]
    requires += [_add_extra_marker(each, extra) for extra, group in optional.items() for each in group]
    return SdistDependencies(tuple(requires), project.get("requires-python", ""), tuple(optional))


def _add_extra_marker(text: str, extra: str) -> str:
    head, semicolon, marker = text.partition(";")
    return (
        f'{head.strip()} ; ({marker.strip()}) and extra == "{extra}"' if semicolon else f'{text} ; extra == "{extra}"'
    )


def _parse_build_system(system: Any) -> tuple[str, ...]:
    if not isinstance(system, dict) or "requires" not in system:
        return _DEFAULT_BUILD_REQUIREMENTS
    backend = system.get("build-backend", "setuptools.build_meta:__legacy__").partition(":")[0]
    return (*map(str, system["requires"]), *_BACKEND_REQUIREMENTS.get(backend, ()))


# Resolution.


class _SdistRelease(NamedTuple):
    """The sdist of a release without a wheel for the platform, and the index that has the sdist."""

    file: IndexFile
    source_index: SimpleIndex


def resolve_with_sdists(  # noqa: PLR0913, PLR0917 - every effect is an argument
    source: TomlSource,
    pip: PipSpec,
    request: PipRequest,
    locked_builds: Iterable[SdistBuild],
    resolver: PipResolver,
    effects: Effects,
) -> PipResolution:
    """Return the packages for one platform. `locked_builds` are the build environments in the earlier lock.

    Raises `InvalidInputError` in an offline run, `DiagnosticsError` if an sdist cannot be used, such as for dynamic
    dependencies, `UnsolvableError` if there is no solution, and `UnavailableError` if an index does not answer.
    """
    if effects.offline:
        raise InvalidInputError(
            "sdists are read from the index, which needs network access, and `--offline` is set",
            "run without `--offline`",
        )
    reader = _SdistReader(source, pip, request, effects)
    while True:
        sdist_request = replace(request, sdists=reader.metadata)
        solution = resolver.resolve(sdist_request, effects)
        packages = solution.packages
        if not reader.read_new_sdists(packages):
            break
    builds = tuple(
        _resolve_build_environment(
            each, reader, packages, {build.name: build.packages for build in locked_builds}, resolver, effects
        )
        for each in packages
        if each.kind == "sdist"
    )
    return PipResolution(tuple(_add_build_environments(packages)), builds, solution.overlaps)


# The pip packages that contain the CUDA runtime, which torch and other frameworks require.
_CUDA_RUNTIME = re.compile(r"nvidia-cuda-runtime(?:-cu[0-9]+)?")


def _add_build_environments(packages: tuple[PipPackage, ...]) -> Iterator[PipPackage]:
    """Yield the packages. A known sdist gets the environment variables of its build."""
    has_cuda = any(_CUDA_RUNTIME.fullmatch(each.name) or "+cu" in each.version for each in packages)
    for each in packages:
        known = load_known_sdists().get(each.name) if each.kind == "sdist" else None
        variables = (*known.build_env, *(known.cuda_env if has_cuda else ())) if known else ()
        yield replace(each, build_env=tuple(sorted(variables)))


class _SdistReader:
    """The allowed sdists for one platform, and the metadata of those that have been read."""

    def __init__(self, source: TomlSource, pip: PipSpec, request: PipRequest, effects: Effects) -> None:
        self.source, self.pip, self.request = source, pip, request
        self.overrides = {each.name: each for each in pip.metadata}
        self.build_requirements: dict[tuple[str, str], tuple[PipRequirement, ...]] = {}
        names = [name for name in pip.allow_sdist if name not in request.provided]
        self.releases = {name: _find_sdist_releases(name, request, effects) for name in names}
        self.metadata = {
            name: {
                version: _create_sdist_metadata(each.file, None, self.overrides.get(name))
                for version, each in releases.items()
            }
            for name, releases in self.releases.items()
        }

    def read_new_sdists(self, packages: Iterable[PipPackage]) -> bool:
        """Read the sdists in a solution that are still unread. Returns whether there were any."""
        unread = [
            each
            for each in packages
            if each.kind == "sdist" and (each.name, each.version) not in self.build_requirements
        ]
        for each in unread:
            file, index = self.releases[each.name][each.version]
            data, _ = index.fetch_content(each.name, file.url)
            if sha256(data).hexdigest() != each.sha256:
                raise UnavailableError(f"`{each.file}` does not have the sha256 that the index lists")
            try:
                sdist = read_sdist(each.file, data)
            except ValueError as error:
                raise self.create_error(each, f"cannot be read: {error}", "request another release") from None
            override, known = self.overrides.get(each.name), load_known_sdists().get(each.name)
            needs = sdist.needs or (sdist.declared if known and known.is_declared else None)
            if needs is None and (override is None or override.requires_dist is None):
                hint = f"add `[pip.metadata.{each.name}]` with `requires-dist = [...]`, or request another release"
                raise self.create_error(
                    each, "has dynamic dependencies, which are known only by running its code", hint
                )
            self.metadata[each.name][each.version] = _create_sdist_metadata(file, needs, override)
            stated = override.build_requires if override else ()
            self.build_requirements[each.name, each.version] = (
                *map(PipRequirement, sdist.build),
                *(stated or (known.build_requires if known else ())),
            )
        return bool(unread)

    def create_error(self, package: PipPackage, predicate: str, hint: str) -> DiagnosticsError:
        """Return an error at the name of the package in `allow-sdist`.

        `predicate` follows the file name of the sdist in the message.
        """
        index = self.pip.allow_sdist.index(package.name)
        path = ("pip", "allow-sdist", index)
        return DiagnosticsError(
            self.source, [Diagnostic("sdist", f"the sdist `{package.file}` {predicate}", path, hint)], 1
        )


def _find_sdist_releases(name: str, request: PipRequest, effects: Effects) -> dict[str, _SdistRelease]:
    """Return the releases of a package that have an sdist, but no wheel for this platform, by version."""
    index = SimpleIndex(_find_index_url(name, request, effects), effects.environment)
    files = [file for file in index.fetch_files([name])[name] if is_installable(file, request)]
    by_version: dict[Version, list[str]] = {}
    for version, file in list_wheels(name, files):
        by_version.setdefault(version, []).append(file.name)
    releases: dict[str, _SdistRelease] = {}
    for file in files:
        with suppress(InvalidSdistFilename):
            project, version = parse_sdist_filename(file.name)
            names = by_version.get(version, ())
            wheel = find_best_wheel(names, request.platform.machine, request.glibc, request.python)
            if project == name and file.sha256 and not file.is_yanked and not wheel:
                releases[str(version)] = _SdistRelease(file, index)
    return releases


def _find_index_url(name: str, request: PipRequest, effects: Effects) -> str:
    url = next((each.url for each in request.indexes if each.name == find_index_name(name, request.indexes)), None)
    return url or request.index or find_default_index(effects)


def _create_sdist_metadata(
    file: IndexFile, needs: SdistDependencies | None, override: SdistMetadataOverride | None
) -> SdistMetadata:
    known = needs or SdistDependencies((), file.requires_python, ())
    requires = known.requires
    if override and override.requires_dist is not None:
        requires = tuple(each.text for each in override.requires_dist)
    python = (override.requires_python if override else None) or known.requires_python
    with suppress(ValueError):  # InvalidSpecifier, or a number of more than 4,300 digits
        SpecifierSet(python)
        return SdistMetadata(file.name, file.sha256, file.size, requires, python, known.extras)
    return SdistMetadata(file.name, file.sha256, file.size, requires, "", known.extras)


def _resolve_build_environment(  # noqa: PLR0913, PLR0917 - a request depends on all earlier decisions
    sdist: PipPackage,
    reader: _SdistReader,
    packages: tuple[PipPackage, ...],
    locked_builds: Mapping[str, tuple[PipPackage, ...]],
    resolver: PipResolver,
    effects: Effects,
) -> SdistBuild:
    """Return the build environment of an sdist: only wheels, in the versions of the resolved packages if possible."""
    request = reader.request
    requirements = reader.build_requirements[sdist.name, sdist.version]
    try:
        for each in requirements:
            each.validate()
    except RequirementError as error:
        predicate = f"has a build requirement that cannot be locked: {error.message}"
        raise reader.create_error(sdist, predicate, "request another release") from None
    override = reader.overrides.get(sdist.name, SdistMetadataOverride(sdist.name))
    wheels = {each.name: each for each in packages if each.kind == "wheel"}
    locked = replace(request, preferences=locked_builds.get(sdist.name, ())).kept_pins()
    build_request = replace(
        request,
        requirements=tuple(dict.fromkeys(requirements)),
        exclude=(),
        preferences=(*wheels.values(), *(each for each in locked if each.name not in wheels)),
        upgrade=frozenset(),
        provided={name: version for name, version in request.provided.items() if name not in _BUILD_TOOLS},
        # An sdist is compiled against the build requirements in the spec, so their versions must be those at run time.
        exact={each.name: wheels[each.name].version for each in override.build_requires if each.name in wheels},
        sdists={},
    )
    try:
        return SdistBuild(sdist.name, resolver.resolve(build_request, effects).packages)
    except UnsolvableError as error:
        reason = f"In the build environment of `{sdist.name}` {sdist.version}:\n{error.reason}"
        raise UnsolvableError(error.platform, reason) from None
