"""The programs and libraries that resolve: which are here, and new enough."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import UnavailableError
from envcompile.findings import Finding, failed
from envcompile.resolve.uv import find_uv

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from packaging.specifiers import SpecifierSet


class _Row(NamedTuple):
    """A resolver as the spec names it, the distribution that it is, and the extra of ours that installs it."""

    resolver: str
    distribution: str
    extra: str
    asked: str


_ROWS = (
    _Row("uv", "uv", "lock", "pip packages"),
    _Row("rattler", "py-rattler", "lock", "conda packages"),
    _Row("conda-lock", "conda-lock", "engines", 'conda packages with `resolver = "conda-lock"`'),
    _Row("pip-tools", "pip-tools", "engines", 'pip packages with `resolver = "pip-tools"`'),
    _Row("pip-tools", "pip", "engines", "pip-tools"),
)


def resolvers(wanted: Collection[str], environment: Mapping[str, str]) -> Iterator[Finding]:
    """Each resolver with its version. One that is not here, or too old, is amiss only if it is `wanted` by the spec."""
    bounds = _bounds()
    for row in _ROWS:
        needed = row.resolver in wanted
        remedy = f"run `pip install 'envcompile[{row.extra}]'`"
        found = _uv(environment) if row.distribution == "uv" else _library(row.distribution)
        if isinstance(found, UnavailableError):
            about = failed(row.distribution, found)
            message = f"`{row.distribution}` cannot be used; it is for {row.asked}" if not needed else about.message
            yield about._replace(state=about.state if needed else "note", message=message, remedy=remedy)
        elif found not in bounds.get(row.distribution, _any()):
            message = f"{row.distribution} {found} is too old, {bounds[row.distribution]} is needed"
            yield Finding(row.distribution, "wrong" if needed else "note", message, remedy)
        else:
            yield Finding(row.distribution, "fine", f"{row.distribution} {found}")


def _any() -> SpecifierSet:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - 20 ms, here only

    return SpecifierSet()


def _bounds() -> dict[str, SpecifierSet]:
    """The versions that our own metadata asks for, extras and all; none where we run from a folder of sources."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - 30 ms, here only

    try:
        rows = [Requirement(text) for text in requires("envcompile") or ()]
    except PackageNotFoundError:
        return {}
    return {row.name: row.specifier for row in rows if row.specifier}


def _library(distribution: str) -> str | UnavailableError:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return UnavailableError(f"`{distribution}`, which the spec asks for, is not there")


def _uv(environment: Mapping[str, str]) -> str | UnavailableError:
    """The version of the uv that is run, which may be the wheel's or one on the path."""
    try:
        path = find_uv(environment)
        done = subprocess.run(
            (path, "--version"), env=dict(environment), capture_output=True, check=False, encoding="utf-8", timeout=60
        )
    except UnavailableError as problem:
        return problem
    except (OSError, subprocess.TimeoutExpired):
        return UnavailableError("`uv`, which resolves pip packages, cannot be run")
    words = done.stdout.split()
    return words[1] if done.returncode == 0 and len(words) > 1 else UnavailableError("`uv` does not tell its version")
