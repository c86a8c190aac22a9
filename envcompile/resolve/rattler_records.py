"""The records of channels, as one request sees them: part of the program that solves, beside `rattler_solve`."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import rattler
from rattler.exceptions import GatewayError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ELSEWHERE = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64")
# What every build for CUDA depends on: conda-forge's choice of its release, and the driver.
_CUDA = re.compile(r"(?:cuda-version|__cuda)(?![\w.-])")
_NOT_FOUND = r"candidates were found for ([\w.-]+)|─ ([\w.-]+)[^\n]*, for which no candidates were found"
Records = list[rattler.RepoDataRecord]


class Asked(NamedTuple):
    """One request, with what it is asked of, and the names of which only CUDA builds count."""

    request: dict[str, Any]
    gateway: rattler.Gateway
    channels: list[rattler.Channel]
    cuda: frozenset[str] = frozenset()

    async def query(self, platforms: Sequence[Any], names: Sequence[str]) -> Records:
        """All records of some names, the first channel's first."""
        found = await self.gateway.query(self.channels, platforms, names, recursive=False, channel_relations="disabled")
        return [record for records in found for record in records]

    def counts(self, record: rattler.RepoDataRecord) -> bool:
        """Whether the spec's own words leave the record in: the subdir it names, the builds for the CUDA it names."""
        name = record.name.normalized
        in_place = self.request["only_subdir"].get(name, record.subdir) == record.subdir
        return in_place and (name not in self.cuda or bool(_cuda_needs(record)))


class Narrowed:
    """A channel with only those records that count."""

    def __init__(self, asked: Asked, channel: rattler.Channel) -> None:
        self._asked = asked._replace(channels=[channel])

    async def fetch_package_records(self, platform: rattler.Subdir, name: rattler.PackageName) -> Records:
        """What the solver asks for, one name at a time."""
        return [each for each in await self._asked.query([platform], [name.normalized]) if self._asked.counts(each)]

    def package_names(self, _: rattler.Subdir) -> list[str]:
        """Unused by a solve."""
        return []


async def with_cuda(asked: Asked) -> Asked:
    """The same, with the names asked for that have a build for the CUDA that is asked for.

    Of one version a CUDA build is preferred as it is, by its build number; a newer version that was built for the
    processor alone must not win over it.
    """
    cuda, names = asked.request["cuda"], asked.request["names"]
    if cuda is None:
        return asked
    specs = dict(zip(names, asked.request["specs"], strict=False))  # the rest of the specs are of the channels' order
    releases = [cuda] if "." in cuda else [f"{cuda}.{minor}" for minor in range(30)]
    versions = [rattler.Version(release) for release in releases]
    built = frozenset(
        record.name.normalized
        for record in await asked.query(asked.request["subdirs"], names)
        if (needs := _cuda_needs(record))
        and any(all(need.matches(version) for need in needs) for version in versions)
        and rattler.MatchSpec(specs[record.name.normalized], strict=False).matches(record)
    )
    return asked._replace(cuda=built)


def _cuda_needs(record: rattler.RepoDataRecord) -> list[rattler.VersionSpec]:
    """The versions of CUDA that a build needs, of the libraries or of the driver; none if it is for the processor."""
    asked = [rattler.MatchSpec(each, strict=False) for each in record.depends if _CUDA.match(each)]
    return [rattler.VersionSpec(each.version or "*") for each in asked]


async def missing_names(asked: Asked, reason: str) -> dict[str, dict[str, list[str]]]:
    """The names that no channel has for this platform: where they are `there` for another, and those `near` to them."""
    names = [*asked.request["names"], *(one or other for one, other in re.findall(_NOT_FOUND, reason))]
    import difflib  # noqa: PLC0415 - only for what is not there

    missing: dict[str, dict[str, list[str]]] = {}
    with suppress(GatewayError):  # what cannot be asked is not told: the reason stands without it
        here = {each.name.normalized for each in await asked.query(asked.request["subdirs"], names)}
        if not (names := [name for name in dict.fromkeys(names) if name not in here and not name.startswith("__")]):
            return missing
        known = await asked.gateway.names(asked.channels, asked.request["subdirs"], channel_relations="disabled")
        plain = sorted(each.normalized for each in known)
        for name in names:
            missing[name] = {"there": [], "near": difflib.get_close_matches(name, plain, cutoff=0.75)}
        found = await asked.query(_ELSEWHERE, names)
        for name, subdir in sorted({(each.name.normalized, each.subdir) for each in found}):
            missing[name]["there"].append(subdir)
    return missing


def channel_of(record: rattler.RepoDataRecord) -> str:
    """The URL of its channel."""
    return (record.channel or "").rstrip("/")


def row(record: rattler.RepoDataRecord) -> dict[str, Any]:
    """What the lock needs of a record, as JSON; `channel` is its URL, and without a hash `sha256` is empty."""
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(getattr(record.build, "build_string", record.build)),
        "channel": channel_of(record),
        "subdir": record.subdir,
        "file": record.file_name,
        "sha256": record.sha256.hex() if record.sha256 else "",
        "md5": record.md5.hex() if record.md5 else None,
        "size": record.size,
        "depends": list(record.depends),
    }
