"""A pip resolver that selects only releases for the exact Python of the environment, and adds facts for the lock.

Resolvers such as uv ignore the upper bound and the exclusions of Requires-Python, because they also solve for ranges of
Python versions: there, an upper bound in one release would only make them select an older release without a bound. A
lock is for one exact Python. So this resolver wraps another one, excludes the releases that reject the Python, and runs
the other one again.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.lock.consistency import accepts_python
from envcompile.resolve.model import PipSolution, UnsolvableError
from envcompile.resolve.pip.metadata import MetadataReader, find_index_urls
from envcompile.resolve.pip.uv import find_default_index, find_user_index
from envcompile.resolve.pip.wheel_files import find_overlaps
from envcompile.resolve.pip.wheels import find_best_wheel, is_installable, list_wheels
from envcompile.spec.pip import make_marker_environment, normalize_name, parse_dependency_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.markers import Marker

    from envcompile.lock.families import FileOverlap
    from envcompile.lock.model import PipPackage
    from envcompile.resolve.model import Effects, PipRequest, PipResolver
    from envcompile.resolve.pip.metadata import WheelMetadata
    from envcompile.resolve.pip.simple_index import IndexFile

# Each pass excludes all releases of a package that reject the Python, so only packages that are new in the solution
# cause another pass.
_MAX_PASSES = 20
_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REQUIREMENT_WITH_EXTRAS = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*\[")
# A marker that is false without an extra, as build tools write it: `extra == "x"`, or `(…) and extra == "x"`.
_EXTRA_MARKER = re.compile(r"(?:;\s*|\band\s+)extra\s*==\s*(?:'[^']*'|\"[^\"]*\")\s*$")
# The versions of Python 3 that an error can recommend.
_PYTHON_MINORS = range(8, 16)


class RejectedRelease(NamedTuple):
    """A release that a resolver selected although it does not fit the Python.

    `reason` follows the name and the version in a message: "requires Python <3.12". `requires_python` is the
    Requires-Python of the release, or "" if its ABI does not fit. `newest` is the newest release of the package that
    fits, or None.
    """

    name: str
    version: str
    reason: str
    requires_python: str
    newest: str | None


class CompatibleResolver:
    """Wraps a resolver: excludes releases that reject the exact Python, and adds facts from the metadata.

    `cache` is the folder of the cache, and `warn` is called with a message about metadata that cannot be read.
    """

    def __init__(self, resolver: PipResolver, cache: Path, warn: Callable[[str], None]) -> None:
        self._resolver, self._cache, self._warn = resolver, cache, warn
        self._warned: set[str] = set()

    def resolve(self, request: PipRequest, effects: Effects, *, with_dependencies: bool = True) -> PipSolution:
        """Return the packages for one platform; see `PipResolver`."""
        del with_dependencies  # the dependencies follow from the metadata, which is always read
        user_index = find_user_index(effects.environment) or effects.environment.get("PIP_INDEX_URL", "")
        indexes = ((each.name, each.url) for each in request.indexes)
        index_urls = find_index_urls(request.index, indexes, effects.environment, user_index)
        reader = MetadataReader(index_urls, effects.environment, self._cache, self._warn_once, offline=effects.offline)
        # The packages of the earlier lock, by hash. Their facts are used if the metadata cannot be read, such as in an
        # offline run with an empty cache.
        locked = {each.sha256: each for each in request.preferences if each.requires_python}
        rejected: dict[str, RejectedRelease] = {}
        for _ in range(_MAX_PASSES):
            try:
                solution = self._resolver.resolve(request, effects, with_dependencies=False)
            except UnsolvableError as error:
                if not rejected:
                    raise _with_problems(error, request, effects, index_urls) from None
                raise _explain_rejections(rejected.values(), request) from None
            solution, unfit = _select_files_for_abi(solution, request, effects, index_urls)
            metadata = reader.read(solution.packages, solution.urls, known=locked)
            solution = self._complete_dependencies(solution, request, effects, metadata)
            solution = solution._replace(packages=tuple(_reuse_facts(solution.packages, metadata, locked)))
            unfit += [
                (package, f"requires Python {bound}", bound)
                for package in solution.packages
                if not accepts_python(bound := _find_requires_python(package, request, metadata), request.python)
            ]
            if not unfit:
                return solution._replace(
                    packages=tuple(_add_facts(solution, request, metadata)),
                    overlaps=_find_overlaps(solution.packages, metadata, reader),
                )
            lines = []
            for package, reason, bound in unfit:
                excluded, newest = _find_rejecting_releases(package, request, effects, index_urls)
                rejected[package.name] = RejectedRelease(package.name, package.version, reason, bound, newest)
                lines.append(f"{package.name}{','.join(f'!={version}' for version in excluded)}")
            request = replace(
                request,
                extra_constraints=(*request.extra_constraints, *lines),
                preferences=tuple(each for each in request.preferences if each.name not in rejected),
            )
        raise _explain_rejections(rejected.values(), request)

    def _complete_dependencies(
        self, solution: PipSolution, request: PipRequest, effects: Effects, metadata: Mapping[str, WheelMetadata]
    ) -> PipSolution:
        """Return the solution with all dependencies known.

        If the metadata of a package could not be read, the dependencies come from another run of the resolver.
        Otherwise the solution is returned unchanged.
        """
        is_known = all(_find_requires(package, request, metadata) is not None for package in solution.packages)
        if solution.has_dependencies or is_known:
            return solution
        versions = {package.name: package.version for package in solution.packages}
        again = self._resolver.resolve(replace(request, exact=versions), effects)
        depends = {package.name: package.depends for package in again.packages}
        packages = tuple(replace(package, depends=depends[package.name]) for package in solution.packages)
        return PipSolution(packages, solution.urls)

    def _warn_once(self, message: str) -> None:
        """Show a warning, unless an earlier pass or platform has shown the same one."""
        if message not in self._warned:
            self._warned.add(message)
            self._warn(message)


def _find_overlaps(
    packages: Iterable[PipPackage], metadata: Mapping[str, WheelMetadata], reader: MetadataReader
) -> tuple[FileOverlap, ...]:
    digests = {package.name: package.sha256 for package in packages if package.sha256 in metadata}
    top_levels = {name: metadata[digest].top_levels for name, digest in digests.items()}
    return find_overlaps(top_levels, lambda name: reader.read_files(digests[name]))


def _reuse_facts(
    packages: Iterable[PipPackage], metadata: Mapping[str, WheelMetadata], locked: Mapping[str, PipPackage]
) -> Iterator[PipPackage]:
    """Yield the packages. One whose metadata is unknown gets the facts about the same file in the earlier lock."""
    for package in packages:
        earlier = locked.get(package.sha256)
        if earlier is None or package.sha256 in metadata:
            yield package
            continue
        names = sorted(map(parse_dependency_name, package.depends))
        is_same = names == sorted(map(parse_dependency_name, earlier.depends))
        depends = earlier.depends if is_same else package.depends
        yield replace(package, requires_python=earlier.requires_python, depends=depends, unpacked=earlier.unpacked)


def _with_problems(
    error: UnsolvableError, request: PipRequest, effects: Effects, index_urls: Mapping[str, str]
) -> UnsolvableError:
    """Return the error, with a problem for each requirement that cannot be satisfied even without the others.

    In an offline run, the error is returned unchanged.
    """
    if effects.offline:
        return error
    from envcompile.resolve.pip.requirement_check import find_requirement_problems  # noqa: PLC0415 - after a failure

    problems = find_requirement_problems(request, effects, index_urls)
    return UnsolvableError(error.platform, error.reason, error.table, problems)


def _find_requires_python(package: PipPackage, request: PipRequest, metadata: Mapping[str, WheelMetadata]) -> str:
    if sdist := request.sdists.get(package.name, {}).get(package.version):
        return sdist.requires_python
    found = metadata.get(package.sha256)
    return found.requires_python if found else package.requires_python


def _find_rejecting_releases(
    package: PipPackage, request: PipRequest, effects: Effects, index_urls: Mapping[str, str]
) -> tuple[list[str], str | None]:
    """Return the versions of a package that do not fit the Python, and the newest version that does, or None.

    Both are read from the page of the package in its index. The version of `package` is always among the first, even if
    the page has no Requires-Python.
    """
    rejecting = {Version(package.version)}
    releases: dict[Version, list[IndexFile]] = {}
    for version, file in list_wheels(package.name, _fetch_page(package, effects, index_urls)):
        if not file.is_yanked:
            releases.setdefault(version, []).append(file)
    rejecting |= {version for version, files in releases.items() if not _has_fitting_wheel(files, request)}
    accepting = {version for version in releases if version not in rejecting and not version.is_prerelease}
    newest = str(max(accepting)) if accepting else None
    return [str(version) for version in sorted(rejecting)], newest


def _fetch_page(package: PipPackage, effects: Effects, index_urls: Mapping[str, str]) -> tuple[IndexFile, ...]:
    """Return the files of a package in its index, or an empty tuple if the page cannot be read."""
    if effects.offline:
        return ()
    from envcompile.resolve.pip.simple_index import SimpleIndex  # noqa: PLC0415 - only if a release does not fit

    try:
        index = SimpleIndex(index_urls.get(package.index) or find_default_index(effects), effects.environment)
        return index.fetch_files([package.name])[package.name]
    except (UnavailableError, InvalidInputError):
        return ()


def _has_fitting_wheel(files: Iterable[IndexFile], request: PipRequest) -> bool:
    """Whether one of the wheels accepts the Python and, if the request states an ABI, has tags that fit.

    Without a stated ABI, the tags are not checked here, because the resolver has checked them.
    """
    names = [file.name for file in files if accepts_python(file.requires_python, request.python)]
    if not request.abi:
        return bool(names)
    return find_best_wheel(names, request.platform.machine, request.glibc, request.python, request.abi) is not None


def _select_files_for_abi(
    solution: PipSolution, request: PipRequest, effects: Effects, index_urls: Mapping[str, str]
) -> tuple[PipSolution, list[tuple[PipPackage, str, str]]]:
    """Return the solution with wheels for the ABI of the request, and the packages whose release has no such wheel.

    Each of these packages comes with the `reason` and the `requires_python` of a `RejectedRelease`. The wheels are
    selected here because resolvers solve for the default ABI: uv has no option for another one.
    """
    if not request.abi:
        return solution, []
    target = (request.platform.machine, request.glibc, request.python, request.abi)
    urls, packages, unfit = dict(solution.urls), [], []
    for package in solution.packages:
        if package.kind == "sdist" or find_best_wheel([package.file], *target):
            packages.append(package)
            continue
        page = _fetch_page(package, effects, index_urls)
        release = [file for version, file in list_wheels(package.name, page) if version == Version(package.version)]
        wheels = {file.name: file for file in release if is_installable(file, request) and file.sha256}
        best = find_best_wheel(wheels, *target)
        if best is None:
            unfit.append((package, f"has no wheel for the ABI `{request.abi}`", ""))
            packages.append(package)
            continue
        chosen = wheels[best]
        urls[chosen.sha256] = chosen.url
        packages.append(replace(package, file=chosen.name, sha256=chosen.sha256, size=chosen.size))
    return solution._replace(packages=tuple(packages), urls=urls), unfit


def _explain_rejections(rejected: Iterable[RejectedRelease], request: PipRequest) -> UnsolvableError:
    """Return an error that states each rejected release, the reason, and what would fit.

    The text of the resolver is not used, because it lists hundreds of excluded releases.
    """
    lines = []
    for each in rejected:
        lines.append(f"{each.name} {each.version} {each.reason}, and the environment has {request.python}.")
        bound = each.requires_python
        pythons = [f"3.{minor}" for minor in _PYTHON_MINORS if bound and accepts_python(bound, f"3.{minor}.99")]
        advice = [f'write `python = "{pythons[-1]}"`'] if pythons else []
        # If the requirements allow the newest release that fits, the resolver has already tried it.
        excluding = [item for item in request.requirements if item.name == each.name]
        if each.newest and any(not item.allows_version(each.newest) for item in excluding):
            advice.append(f"request {each.name} {each.newest}, the newest release that accepts Python {request.python}")
        lines += [f"hint: {', or '.join(advice)}"] if advice else []
    return UnsolvableError(request.platform.name, "\n".join(lines))


# The facts that the lock keeps.


def _add_facts(
    solution: PipSolution, request: PipRequest, metadata: Mapping[str, WheelMetadata]
) -> Iterator[PipPackage]:
    """Yield the packages with their Requires-Python, and with the extras and versions in their dependencies.

    A dependency that is not in the solution is omitted, because the spec excludes it (`exclude`).
    """
    packages = solution.packages
    present = {package.name for package in packages} | set(request.provided)
    needs = {
        package.name: set(map(parse_dependency_name, package.depends)) if solution.has_dependencies else present
        for package in packages
    }
    texts = {package.name: _find_requires(package, request, metadata) for package in packages}
    with_extras = {each.name for each in request.requirements if each.extras}
    with_extras |= {normalize_name(found[1]) for each in texts.values() for found in _find_extras(each or ())}
    requires = {
        name: tuple(_parse_requirements(found, {name, *needs[name]}, is_extra_requested=name in with_extras))
        for name, found in texts.items()
        if found is not None
    }
    environment = make_marker_environment(request.platform.machine, request.python)
    extras = _find_active_extras(request, requires, environment)
    for package in packages:
        python = _format_specifier(_find_requires_python(package, request, metadata))
        depends = package.depends
        if package.name in requires:
            active = _select_active(requires[package.name], extras.get(package.name, set()), environment)
            ranges = _format_dependencies([each for each in active if normalize_name(each.name) != package.name])
            names = needs[package.name] if solution.has_dependencies else ranges.keys()
            depends = tuple(sorted(ranges.get(name, name) for name in names))
        found = metadata.get(package.sha256)
        unpacked = found.unpacked if found else package.unpacked
        yield replace(package, depends=depends, requires_python=python, unpacked=unpacked)


def _find_requires(
    package: PipPackage, request: PipRequest, metadata: Mapping[str, WheelMetadata]
) -> tuple[str, ...] | None:
    """Return the Requires-Dist of a package, or None if it is unknown."""
    if sdist := request.sdists.get(package.name, {}).get(package.version):
        return sdist.requires
    found = metadata.get(package.sha256)
    return found.requires if found else None


def _find_extras(texts: Iterable[str]) -> Iterator[re.Match[str]]:
    """Yield a match for each requirement that requests extras. Its first group is the name of the required package."""
    return (found for text in texts if "[" in text and (found := _REQUIREMENT_WITH_EXTRAS.match(text)))


def _parse_requirements(texts: Iterable[str], names: set[str], *, is_extra_requested: bool) -> Iterator[Requirement]:
    """Yield the requirements in `texts` for the packages in `names`.

    The others are not parsed, because most of them belong to extras that nobody requests. Without
    `is_extra_requested`, requirements that apply only with an extra are skipped.
    """
    for text in texts:
        if not is_extra_requested and " or " not in text and _EXTRA_MARKER.search(text):
            continue
        found = _REQUIREMENT_NAME.match(text)
        if found and normalize_name(found[0]) in names:
            # Invalid requirements are skipped, as uv does with those that it cannot correct.
            with suppress(InvalidRequirement, RecursionError):
                yield Requirement(text)


def _find_active_extras(
    request: PipRequest, requires: Mapping[str, tuple[Requirement, ...]], environment: Mapping[str, str]
) -> dict[str, set[str]]:
    """Return the requested extras by package: those in the requirements and those that other packages request."""
    extras: dict[str, set[str]] = {}
    for each in request.requirements:
        if each.applies_to(environment):
            extras.setdefault(each.name, set()).update(each.extras)
    waiting = list(extras)
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name = waiting.pop()
        state = (name, frozenset(extras.get(name, ())))
        if state in seen:
            continue
        seen.add(state)
        for need in _select_active(requires.get(name, ()), extras.get(name, set()), environment):
            needed = normalize_name(need.name)
            extras.setdefault(needed, set()).update(map(normalize_name, need.extras))
            waiting.append(needed)
    return extras


def _select_active(
    requires: Iterable[Requirement], extras: set[str], environment: Mapping[str, str]
) -> list[Requirement]:
    """Return the requirements whose markers are true without an extra, or with one of the extras."""
    return [
        each
        for each in requires
        if each.marker is None
        or any(_is_true(each.marker, {**environment, "extra": extra}) for extra in ("", *sorted(extras)))
    ]


def _is_true(marker: Marker, environment: dict[str, str]) -> bool:
    """Whether a marker of a package is true. One that cannot be evaluated counts as true, as for uv."""
    try:
        return marker.evaluate(environment)
    except ValueError:  # undefined comparisons and variables, invalid versions, and numbers of thousands of digits
        return True


def _format_dependencies(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Return the dependencies by name, as the lock writes them: `urllib3[socks] <3,>=2`.

    Requirements with the same name are merged into one dependency.
    """
    merged: dict[str, tuple[set[str], set[str]]] = {}
    for each in requirements:
        extras, specifiers = merged.setdefault(normalize_name(each.name), (set(), set()))
        extras.update(map(normalize_name, each.extras))
        specifiers.update(str(specifier) for specifier in each.specifier)
    return {
        name: f"{name}{f'[{chr(44).join(sorted(extras))}]' if extras else ''} {','.join(sorted(specifiers))}".strip()
        for name, (extras, specifiers) in merged.items()
    }


def _format_specifier(text: str) -> str:
    """Return a version specifier with sorted parts, or "" for an invalid one, which installers ignore."""
    try:
        return ",".join(sorted(str(each) for each in SpecifierSet(text)))
    except ValueError:  # InvalidSpecifier, or a number of more than 4,300 digits
        return ""
