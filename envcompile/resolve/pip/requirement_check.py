"""Finds the pip requirements that cannot be satisfied on their own, whatever the other packages need.

A resolver reports one conflict, often with hundreds of lines. The page of each required package in its index says more:
whether the package exists, whether a release satisfies the requirement, and whether a wheel of this release fits the
platform and the Python.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.resolve.model import RequirementProblem
from envcompile.resolve.pip.simple_index import SimpleIndex
from envcompile.resolve.pip.uv import find_default_index
from envcompile.resolve.pip.wheels import find_best_wheel, is_installable, is_uploaded_in_time
from envcompile.spec.pip import find_index_name, make_marker_environment
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.version import Version

    from envcompile.resolve.model import Effects, PipRequest
    from envcompile.resolve.pip.simple_index import IndexFile
    from envcompile.spec.pip import PipRequirement

# Packages that the public index does not have, or only as a placeholder, with a hint about who publishes them.
_PUBLISHED_ELSEWHERE = {
    "tensorrt-llm": "NVIDIA publishes its wheels in an index of its own: add that to `extra-indexes` in `[pip]`",
    "cugraph": "RAPIDS publishes wheels as `cugraph-cu12` and `cugraph-cu13`",
    "cudf": "RAPIDS publishes wheels as `cudf-cu12` and `cudf-cu13`",
    "cuml": "RAPIDS publishes wheels as `cuml-cu12` and `cuml-cu13`",
}
_CPYTHON_TAG = re.compile(r"cp3([0-9]{1,3})")


class _Release(NamedTuple):
    """A release of a package, and its files."""

    version: Version
    files: tuple[IndexFile, ...]


def find_requirement_problems(
    request: PipRequest, effects: Effects, index_urls: Mapping[str, str]
) -> tuple[RequirementProblem, ...]:
    """Return a problem for each requirement that no file of its index satisfies, in the order of the requirements.

    Nothing is reported for a package whose page cannot be read.
    """
    environment = make_marker_environment(request.platform.machine, request.python)
    checked = [
        each
        for each in request.requirements
        if each.applies_to(environment) and each.name not in request.provided and each.name not in request.exclude
    ]
    by_index: dict[str, list[str]] = {}
    for each in checked:
        by_index.setdefault(find_index_name(each.name, request.indexes), []).append(each.name)
    pages: dict[str, tuple[IndexFile, ...] | None] = {}
    for name, projects in by_index.items():
        with suppress(UnavailableError, InvalidInputError):
            index = SimpleIndex(index_urls.get(name) or find_default_index(effects), effects.environment)
            pages |= index.fetch_known_files(projects)
    found = (_check_requirement(each, pages[each.name], request) for each in checked if each.name in pages)
    return tuple(problem for problem in found if problem)


def _check_requirement(
    requirement: PipRequirement, files: tuple[IndexFile, ...] | None, request: PipRequest
) -> RequirementProblem | None:
    name = requirement.name
    if files is None:
        index = find_index_name(name, request.indexes)
        where = "the package index" if index == "default" else f"the index `{index}`"
        return RequirementProblem(name, f"{where} has no package `{name}`", _suggest_name(name))
    releases = _group_releases(name, files)
    usable = [each for each in releases if requirement.allows_version(str(each.version))]
    if not usable:
        yanked = [each.version for each in _group_releases(name, files, yanked=True)]
        if found := [version for version in yanked if requirement.allows_version(str(version))]:
            message = f"every release of `{name}` that satisfies `{requirement}` was yanked by its authors"
            return RequirementProblem(
                name, message, f"request another release, or accept it with `{name} =={found[-1]}`"
            )
        newest = max((each.version for each in releases if not each.version.is_prerelease), default=None)
        hint = f"the newest release is {newest}" if newest else None
        return RequirementProblem(name, f"no release of `{name}` satisfies `{requirement}`", hint)
    in_time = [each for each in usable if any(is_uploaded_in_time(file, request) for file in each.files)]
    if not in_time:
        message = f"every release of `{name}` that satisfies `{requirement}` is newer than `exclude-newer`"
        return RequirementProblem(name, message, "write a later time in `exclude-newer`, or request an older release")
    if name in request.sdists or any(_find_wheel(each, request) for each in in_time):
        return None
    return _explain_missing_wheel(requirement, in_time, releases, request)


def _explain_missing_wheel(
    requirement: PipRequirement, usable: list[_Release], releases: list[_Release], request: PipRequest
) -> RequirementProblem | None:
    """Return the problem of a requirement that only releases without a fitting wheel satisfy.

    `usable` are these releases, and `releases` are all releases of the package, from which the hint recommends one.
    """
    name = requirement.name
    message = f"no wheel of `{name}` satisfies `{requirement}` for Python {request.python} on `{request.platform.name}`"
    if name in _PUBLISHED_ELSEWHERE:
        return RequirementProblem(name, message, _PUBLISHED_ELSEWHERE[name])
    advice = []
    fitting = [each.version for each in releases if not each.version.is_prerelease and _find_wheel(each, request)]
    if newer := [version for version in fitting if version > usable[-1].version]:
        advice.append(f"request `{name} >={newer[0]}`")
    elif fitting:
        advice.append(f"request `{name} <={fitting[-1]}`")
    pythons = sorted({minor for each in usable for minor in _list_pythons(each, request)})
    if pythons:
        advice.append(f'write `python = "3.{pythons[-1]}"`, for which there are wheels')
    elif any(_is_sdist(file.name) for each in usable for file in each.files):
        advice.append(f'build it from its sdist: `allow-sdist = ["{name}"]` in `[pip]`')
    return RequirementProblem(name, message, ", or ".join(advice) or None)


def _group_releases(name: str, files: Iterable[IndexFile], *, yanked: bool = False) -> list[_Release]:
    """Return the releases of a package, oldest first, with the files that are not yanked.

    With `yanked`, return the releases with yanked files, and only these files.
    """
    grouped: dict[Version, list[IndexFile]] = {}
    for file in files:
        with suppress(InvalidWheelFilename, InvalidSdistFilename):
            parse = parse_sdist_filename if _is_sdist(file.name) else parse_wheel_filename
            project, version = parse(file.name)[:2]
            if project == name and file.is_yanked == yanked:
                grouped.setdefault(version, []).append(file)
    return [_Release(version, tuple(grouped[version])) for version in sorted(grouped)]


def _is_sdist(file: str) -> bool:
    return file.endswith((".tar.gz", ".zip"))


def _find_wheel(release: _Release, request: PipRequest) -> str | None:
    names = [file.name for file in release.files if is_installable(file, request)]
    return find_best_wheel(names, request.platform.machine, request.glibc, request.python, request.abi)


def _list_pythons(release: _Release, request: PipRequest) -> set[int]:
    """Return the minor versions of Python 3, except the requested one, for which a release has wheels that fit."""
    names = [file.name for file in release.files if not _is_sdist(file.name)]
    minors = {int(found) for name in names for found in _CPYTHON_TAG.findall(name)}
    return {
        minor
        for minor in minors
        if f"3.{minor}" != minor_release(request.python)
        and find_best_wheel(names, request.platform.machine, request.glibc, f"3.{minor}")
    }


def _suggest_name(name: str) -> str:
    """Return a hint with similar names, from the 20,000 names of distributions in the table of conda's names."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a package that does not exist

    from envcompile.resolve.conda.channels import list_known_distributions  # noqa: PLC0415

    similar = [f"`{each}`" for each in get_close_matches(name, list_known_distributions(), n=2, cutoff=0.8)]
    return f"did you mean {' or '.join(similar)}?" if similar else "check the name, and the index in `[pip]`"
