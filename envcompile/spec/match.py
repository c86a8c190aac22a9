"""Whether a pinned conda package is what a requirement asks for, without a solver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from envcompile.spec.version_order import Version, compare, starts_with, version

if TYPE_CHECKING:
    from envcompile.spec.match_spec import MatchSpec


class Package(Protocol):
    """What is asked of a package: a `CondaPackage` of the lock has it. `channel` is the channel's name."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def version(self) -> str: ...  # noqa: D102
    @property
    def build(self) -> str: ...  # noqa: D102
    @property
    def channel(self) -> str: ...  # noqa: D102
    @property
    def subdir(self) -> str: ...  # noqa: D102
    @property
    def md5(self) -> str | None: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102


def matches(spec: MatchSpec, package: Package) -> bool:
    """Whether the package is one that the requirement admits: as rattler has it, and in channel and subdir too.

    A package whose version cannot be read is admitted only where no version is asked for.
    """
    return (
        spec.name == package.name.lower()
        and spec.channel in (None, package.channel)
        and spec.subdir in (None, package.subdir)
        and spec.md5 in (None, package.md5)
        and spec.sha256 in (None, package.sha256)
        and (spec.build is None or _built(package.build.lower(), spec.build.lower()))
        and (spec.version is None or _ranged(package.version, spec.version))
    )


def _built(build: str, pattern: str) -> bool:
    """Whether the pattern's texts between its stars stand in the build, in their order."""
    first, *inner = pattern.split("*")
    if not inner:
        return build == first
    last = inner.pop()
    at, end = len(first), len(build) - len(last)
    if at > end or not build.startswith(first) or not build.endswith(last):
        return False
    for text in inner:
        found = build.find(text, at, end)
        if found < 0:
            return False
        at = found + len(text)
    return True


def _ranged(text: str, ranges: str) -> bool:
    try:
        candidate = version(text)
    except ValueError:
        return False
    return any(all(_holds(candidate, each) for each in both.split(",")) for both in ranges.split("|"))


def _holds(candidate: Version, constraint: str) -> bool:
    """One constraint, in the spelling that a `MatchSpec` has it."""
    if constraint == "*":
        return True
    number = constraint.lstrip("<>=!~")
    operator = constraint[: -len(number)]
    if number.endswith(".*"):
        return starts_with(candidate, version(number[:-2])) != (operator == "!=")
    asked = version(number)
    order = compare(candidate, asked)
    if operator == "~=":
        return order >= 0 and starts_with(candidate, asked._replace(release=asked.release[:-1], local=()))
    return {"==": order == 0, "!=": order != 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[
        operator
    ]
