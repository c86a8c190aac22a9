"""conda's requirements against conda's pins, and the pins against each other."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import RequirementError
from envcompile.lock.finding import Finding
from envcompile.spec.conda import MatchSpec, matches_package, parse_match_spec
from envcompile.spec.solver_inputs import list_conda_requirements

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from envcompile.diagnostics.toml_source import KeyPath
    from envcompile.lock.model import CondaPackage, PlatformLock
    from envcompile.spec.model import Spec

# There on every machine that an image is locked for, in whatever version; the C library's is that of the base.
_VIRTUAL = frozenset({"__unix", "__linux", "__archspec", "__conda"})
_GLIBC, _CUDA = "__glibc", "__cuda"


def conda_answer(spec: Spec, locked: PlatformLock) -> Generator[Finding, None, set[str]]:
    """What is not satisfied; returns the names of the packages that are asked for."""
    pinned = {package.name.lower(): package for package in locked.conda}
    asked = list_conda_requirements(spec) if spec.conda.packages else ()
    roots = set()
    for index, text in enumerate(asked):
        wanted = parse_match_spec(text)
        roots.add(wanted.name)
        path: KeyPath = ("conda", "packages", index) if index < len(spec.conda.packages) else ("python",)
        package = pinned.get(wanted.name)
        if package is None:
            yield Finding(path, f"`{text}` is asked of conda, and the lock has no `{wanted.name}`")
        elif not matches_package(wanted, package):
            yield Finding(path, f"`{text}` is asked of conda, and the lock has {_pin(package)}")
    yield from _closure(spec, locked, pinned)
    return roots


def _closure(spec: Spec, locked: PlatformLock, pinned: Mapping[str, CondaPackage]) -> Iterator[Finding]:
    """What a package needs and does not get from the others, or from the machine."""
    for package in locked.conda:
        for text in package.depends:
            name = needed(text)
            other = pinned.get(name)
            if other is not None:
                wanted = _read(text)
                if wanted and not matches_package(wanted, other):
                    yield _needs(package, text, _pin(other))
            elif name == _CUDA and not isinstance(spec.cuda.version, str):
                yield Finding(("conda", "packages"), f"`{package.name}` needs CUDA, and the spec asks for none,")
            elif name not in _VIRTUAL and name not in (_GLIBC, _CUDA):
                yield _needs(package, text, f"no `{name}`")


def _needs(package: CondaPackage, text: str, has: str) -> Finding:
    return Finding(("conda", "packages"), f"conda's `{package.name}` needs `{text}`, and the lock has {has}")


def needed(text: str) -> str:
    """The name in a dependency of a package's record."""
    return text.split(maxsplit=1)[0].partition("[")[0].rpartition("::")[2].lower()


@cache
def _read(text: str) -> MatchSpec | None:
    """A dependency of a record; None for one in words that the tools read differently: then its name alone counts."""
    with suppress(RequirementError):
        return parse_match_spec(text)
    return None


def _pin(package: CondaPackage) -> str:
    return f"{package.name} {package.version} {package.build} of {package.channel}/{package.subdir}"
