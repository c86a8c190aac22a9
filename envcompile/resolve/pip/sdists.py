"""What an sdist says of itself, read from its archive: none of its code is run, and none of it is unpacked to disk."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import replace
from email.parser import HeaderParser
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import tomli
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidSdistFilename, parse_sdist_filename

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError, RequirementError
from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.lock.model import SdistBuild
from envcompile.resolve.model import SdistMetadata, UnsolvableError
from envcompile.resolve.pip.simple_index import SimpleIndex
from envcompile.resolve.pip.uv import find_default_index
from envcompile.resolve.pip.wheels import find_best_wheel, is_installable, list_wheels
from envcompile.spec.model import SdistMetadataOverride
from envcompile.spec.pip import find_index_name, normalize_name, parse_package_name, parse_requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.version import Version

    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import PipPackage
    from envcompile.resolve.model import Effects, PipRequest, PipResolver
    from envcompile.resolve.pip.simple_index import IndexFile
    from envcompile.spec.model import PipSpec

# The largest of these files known is a hundredth of it.
_MAX_ARCHIVE_BYTES = 1 << 20
# What a build asks its backend for, and the backend for itself (`get_requires_for_build_wheel`): that is code, and is
# not run. setuptools before 70.1, and every release for `setup.py bdist_wheel`; mesonpy/__init__.py and
# scikit_build_core/builder/get_requires.py where the system has neither.
_BACKEND_REQUIREMENTS = {
    "setuptools.build_meta": ("wheel",),
    "mesonpy": ("ninja",),
    "scikit_build_core.build": ("cmake", "ninja"),
    "scikit_build_core.setuptools.build_meta": ("cmake", "ninja", "wheel"),
}
# PEP 517 and PEP 518: what a project without a word of it is built with.
_DEFAULT_BUILD_REQUIREMENTS = ("setuptools", "wheel")
_DYNAMIC_FIELDS = frozenset(("requires-dist", "requires-python", "provides-extra"))
_READ_ERRORS = (
    *(OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile),
    *(KeyError, TypeError, AttributeError),  # a table that is none
)
_OLD_METADATA_VERSIONS = ("1.0", "1.1", "1.2", "2.0", "2.1")


class SdistDependencies(NamedTuple):
    """What an installed release needs: requirements (PEP 508), a range of Pythons or "", and its extras."""

    requires: tuple[str, ...]
    requires_python: str
    extras: tuple[str, ...]


class SdistContents(NamedTuple):
    """`needs` is None where only the code of the sdist could tell; `build` are the requirements of its build."""

    needs: SdistDependencies | None
    build: tuple[str, ...]


def read_sdist(file: str, data: bytes) -> SdistContents:
    """What is said in the archive named `file`. Raises `ValueError` when it cannot be read."""
    try:
        texts = _read_metadata_files(file, data)
        project = tomli.loads(texts.get("pyproject.toml", ""))
        needs = _dependencies_from_pkg_info(texts.get("PKG-INFO", "")) or _dependencies_from_pyproject(
            project.get("project")
        )
        return SdistContents(needs, _parse_build_system(project.get("build-system")))
    except _READ_ERRORS as problem:
        raise ValueError(str(problem)) from problem


def _read_metadata_files(file: str, data: bytes) -> dict[str, str]:
    """The two files at the top of the one folder that an sdist holds."""
    wanted = ("PKG-INFO", "pyproject.toml")
    found: dict[str, str] = {}
    if file.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if (name := _strip_top_folder(info.filename)) in wanted and info.file_size <= _MAX_ARCHIVE_BYTES:
                    found[name] = archive.read(info).decode()
        return found
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        for member in tar:
            if (
                (name := _strip_top_folder(member.name)) in wanted
                and member.isfile()
                and member.size <= _MAX_ARCHIVE_BYTES
            ):
                content = tar.extractfile(member)
                found[name] = content.read().decode() if content else ""
    return found


def _strip_top_folder(path: str) -> str:
    _, _, rest = path.removeprefix("./").partition("/")
    return rest


def _dependencies_from_pkg_info(text: str) -> SdistDependencies | None:
    """PEP 643: from version 2.2 on, what is not said to be dynamic is the same in every wheel."""
    message = HeaderParser().parsestr(text)
    dynamic = {each.lower() for each in message.get_all("Dynamic", [])}
    if message.get("Metadata-Version", "1.0").strip() in _OLD_METADATA_VERSIONS or dynamic & _DYNAMIC_FIELDS:
        return None
    extras = tuple(message.get_all("Provides-Extra", []))
    return SdistDependencies(tuple(message.get_all("Requires-Dist", [])), message.get("Requires-Python", ""), extras)


def _dependencies_from_pyproject(project: Any) -> SdistDependencies | None:
    """PEP 621: a backend may add nothing to what the table does not name as dynamic."""
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


# Sdists among the pip packages: what a resolver is told of them, and what each is built with.
#
# No resolver sees an sdist: it could learn what one needs only by running its code, here. It is shown a wheel in the
# place of each that is allowed, at first without dependencies. The metadata of the chosen sdists is then read, and the
# solver runs again with their dependencies, until it chooses no unread sdist. Releases rejected while their
# dependencies were unknown would also be rejected once they are known: dependencies only add constraints.


# conda has them for its own pip. What is built may ask for others.
_BUILD_TOOLS = ("pip", "setuptools", "wheel")


class SdistResolution(NamedTuple):
    """The packages, sdists among them, and what these are built with."""

    packages: tuple[PipPackage, ...]
    builds: tuple[SdistBuild, ...]


class _SdistRelease(NamedTuple):
    """One release that there is only an sdist of."""

    file: IndexFile
    source_index: SimpleIndex


def resolve_with_sdists(  # noqa: PLR0913, PLR0917 - every effect is an argument
    source: TomlSource,
    pip: PipSpec,
    request: PipRequest,
    before: Iterable[SdistBuild],
    resolver: PipResolver,
    effects: Effects,
) -> SdistResolution:
    """The packages for one platform. `before` is what sdists were built with in the earlier lock.

    Raises `DiagnosticsError` for an sdist that does not say what it needs, `UnsolvableError`, `UnavailableError`, and
    `InvalidInputError` when
    nobody may be asked.
    """
    if effects.offline:
        raise InvalidInputError(
            "sdists are read from their index each time, and `--offline` lets nobody be asked", "lock online"
        )
    reading = _SdistReader(source, pip, request, effects)
    while True:
        asked = replace(request, sdists=reading.metadata)
        packages = resolver.resolve(asked, effects)
        if not reading.read_new_sdists(packages):
            break
    builds = tuple(
        _resolve_build_environment(
            each, reading, packages, {row.name: row.packages for row in before}, resolver, effects
        )
        for each in packages
        if each.kind == "sdist"
    )
    return SdistResolution(packages, builds)


class _SdistReader:
    """The sdists that are allowed on one platform, and what is known of them by now."""

    def __init__(self, source: TomlSource, pip: PipSpec, request: PipRequest, effects: Effects) -> None:
        self.source, self.pip, self.request = source, pip, request
        self.overrides = {each.name: each for each in pip.metadata}
        self.build_requirements: dict[tuple[str, str], tuple[str, ...]] = {}
        names = [name for name in map(normalize_name, pip.allow_sdist) if name not in request.provided]
        self.releases = {name: _find_sdist_releases(name, request, effects) for name in names}
        self.metadata = {
            name: {
                version: _create_sdist_metadata(each.file, None, self.overrides.get(name))
                for version, each in releases.items()
            }
            for name, releases in self.releases.items()
        }

    def read_new_sdists(self, packages: Iterable[PipPackage]) -> bool:
        """Read the sdists of an answer that have not been read. Whether there was one."""
        fresh = [
            each
            for each in packages
            if each.kind == "sdist" and (each.name, each.version) not in self.build_requirements
        ]
        for each in fresh:
            file, index = self.releases[each.name][each.version]
            data, _ = index.fetch_content(each.name, file.url)
            if sha256(data).hexdigest() != each.sha256:
                raise UnavailableError(f"`{each.file}` is another file than the index says: its sha256 differs")
            try:
                sdist = read_sdist(each.file, data)
            except ValueError as problem:
                raise self.create_error(each, f"cannot be read: {problem}", "ask for another release") from None
            said = self.overrides.get(each.name)
            if sdist.needs is None and (said is None or said.requires_dist is None):
                hint = f"add `[pip.metadata.{each.name}]` with `requires-dist = [...]`, or ask for another release"
                raise self.create_error(
                    each, "does not say for certain what it needs, and its code is not run here", hint
                )
            self.metadata[each.name][each.version] = _create_sdist_metadata(file, sdist.needs, said)
            self.build_requirements[each.name, each.version] = (*sdist.build, *(said.build_requires if said else ()))
        return bool(fresh)

    def create_error(self, package: PipPackage, said: str, hint: str) -> DiagnosticsError:
        """The mistake, at the name in `allow-sdist`."""
        place = [normalize_name(each) for each in self.pip.allow_sdist].index(package.name)
        path = ("pip", "allow-sdist", place)
        return DiagnosticsError(self.source, [Diagnostic("sdist", f"the sdist `{package.file}` {said}", path, hint)], 1)


def _find_sdist_releases(name: str, request: PipRequest, effects: Effects) -> dict[str, _SdistRelease]:
    """The releases of a package that this platform has no wheel of, by version."""
    index = SimpleIndex(_find_index_url(name, request, effects), effects.environment)
    files = [file for file in index.fetch_files([name])[name] if is_installable(file, request)]
    by_version: dict[Version, list[str]] = {}
    for version, file in list_wheels(name, files):
        by_version.setdefault(version, []).append(file.name)
    found: dict[str, _SdistRelease] = {}
    for file in files:
        with suppress(InvalidSdistFilename):
            project, version = parse_sdist_filename(file.name)
            names = by_version.get(version, ())
            fits = find_best_wheel(names, request.platform.machine, request.glibc, request.python)
            if project == name and file.sha256 and not file.is_yanked and not fits:
                found[str(version)] = _SdistRelease(file, index)
    return found


def _find_index_url(name: str, request: PipRequest, effects: Effects) -> str:
    own = next((each.url for each in request.indexes if each.name == find_index_name(name, request.indexes)), None)
    return own or request.index or find_default_index(effects)


def _create_sdist_metadata(
    file: IndexFile, needs: SdistDependencies | None, said: SdistMetadataOverride | None
) -> SdistMetadata:
    known = needs or SdistDependencies((), file.requires_python, ())
    requires = said.requires_dist if said and said.requires_dist is not None else known.requires
    python = (said.requires_python if said else None) or known.requires_python
    with suppress(InvalidSpecifier):
        SpecifierSet(python)
        return SdistMetadata(file.name, file.sha256, file.size, requires, python, known.extras)
    return SdistMetadata(file.name, file.sha256, file.size, requires, "", known.extras)


def _resolve_build_environment(  # noqa: PLR0913, PLR0917 - a request is made of all that was decided before
    sdist: PipPackage,
    reading: _SdistReader,
    packages: tuple[PipPackage, ...],
    before: Mapping[str, tuple[PipPackage, ...]],
    resolver: PipResolver,
    effects: Effects,
) -> SdistBuild:
    """What an sdist is built with: the environment's own releases where its build takes them, and wheels alone."""
    request = reading.request
    wanted = reading.build_requirements[sdist.name, sdist.version]
    try:
        for text in wanted:
            parse_requirement(text)
    except RequirementError as refusal:
        said = f"is built with something that no lock can pin: {refusal.message}"
        raise reading.create_error(sdist, said, "ask for another release") from None
    described = reading.overrides.get(sdist.name, SdistMetadataOverride(sdist.name))
    own = {each.name: each for each in packages if each.kind == "wheel"}
    earlier = replace(request, preferences=before.get(sdist.name, ())).kept_pins()
    asked = replace(
        request,
        requirements=tuple(dict.fromkeys(wanted)),
        exclude=(),
        preferences=(*own.values(), *(each for each in earlier if each.name not in own)),
        upgrade=frozenset(),
        provided={name: version for name, version in request.provided.items() if name not in _BUILD_TOOLS},
        # What is named in the spec is what the sdist is compiled against.
        exact={
            name: own[name].version
            for text in described.build_requires
            if (name := parse_package_name(parse_requirement(text).name)) in own
        },
        sdists={},
    )
    try:
        return SdistBuild(sdist.name, resolver.resolve(asked, effects))
    except UnsolvableError as answer:
        reason = f"What `{sdist.name}` {sdist.version} is built with:\n{answer.reason}"
        raise UnsolvableError(answer.platform, reason) from None
