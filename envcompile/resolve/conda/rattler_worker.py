"""The records of channels, as one request sees them: part of the program that solves, beside `rattler_solve`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import rattler
from rattler.exceptions import ConfigError, GatewayError, SolverError

from envcompile.project.files import write_text
from envcompile.spec.conda import parse_dependency_name

if TYPE_CHECKING:
    from collections.abc import Sequence

_OTHER_SUBDIRS = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64")
# What every build for CUDA depends on: conda-forge's choice of its release, and the driver.
_CUDA_DEPENDENCIES = frozenset({"cuda-version", "__cuda"})
_NOT_FOUND_PATTERN = r"candidates were found for ([\w.-]+)|─ ([\w.-]+)[^\n]*, for which no candidates were found"
Records = list[rattler.RepoDataRecord]


class SolveInputs(NamedTuple):
    """One request, with what it is asked of, and the names of which only CUDA builds count."""

    request: dict[str, Any]
    gateway: rattler.Gateway
    channels: list[rattler.Channel]
    cuda_names: frozenset[str] = frozenset()

    async def query(self, platforms: Sequence[Any], names: Sequence[str]) -> Records:
        """All records of some names, the first channel's first."""
        found = await self.gateway.query(self.channels, platforms, names, recursive=False, channel_relations="disabled")
        return [record for records in found for record in records]

    def is_usable(self, record: rattler.RepoDataRecord) -> bool:
        """Whether the spec's own words leave the record in: the subdir it names, the builds for the CUDA it names."""
        name = record.name.normalized
        in_place = self.request["only_subdir"].get(name, record.subdir) == record.subdir
        return in_place and (name not in self.cuda_names or bool(_find_cuda_needs(record)))


class FilteredChannel:
    """A channel with only those records that count."""

    def __init__(self, asked: SolveInputs, channel: rattler.Channel) -> None:
        self._inputs = asked._replace(channels=[channel])

    async def fetch_package_records(self, platform: rattler.Subdir, name: rattler.PackageName) -> Records:
        """What the solver asks for, one name at a time."""
        return [
            each for each in await self._inputs.query([platform], [name.normalized]) if self._inputs.is_usable(each)
        ]

    def package_names(self, _: rattler.Subdir) -> list[str]:
        """Unused by a solve."""
        return []


async def select_cuda_builds(asked: SolveInputs) -> SolveInputs:
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
        if (needs := _find_cuda_needs(record))
        and any(all(need.matches(version) for need in needs) for version in versions)
        and rattler.MatchSpec(specs[record.name.normalized], strict=False).matches(record)
    )
    return asked._replace(cuda_names=built)


def _find_cuda_needs(record: rattler.RepoDataRecord) -> list[rattler.VersionSpec]:
    """The versions of CUDA that a build needs, of the libraries or of the driver; none if it is for the processor."""
    asked = [
        rattler.MatchSpec(each, strict=False)
        for each in record.depends
        if parse_dependency_name(each) in _CUDA_DEPENDENCIES
    ]
    return [rattler.VersionSpec(each.version or "*") for each in asked]


async def find_missing_names(asked: SolveInputs, reason: str) -> dict[str, dict[str, list[str]]]:
    """The names that no channel has for this platform: where they are `there` for another, and those `near` to them."""
    names = [*asked.request["names"], *(one or other for one, other in re.findall(_NOT_FOUND_PATTERN, reason))]
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
        found = await asked.query(_OTHER_SUBDIRS, names)
        for name, subdir in sorted({(each.name.normalized, each.subdir) for each in found}):
            missing[name]["there"].append(subdir)
    return missing


def find_channel_url(record: rattler.RepoDataRecord) -> str:
    """The URL of its channel."""
    return (record.channel or "").rstrip("/")


def record_to_json(record: rattler.RepoDataRecord) -> dict[str, Any]:
    """What the lock needs of a record, as JSON; `channel` is its URL, and without a hash `sha256` is empty."""
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(getattr(record.build, "build_string", record.build)),
        "channel": find_channel_url(record),
        "subdir": record.subdir,
        "file": record.file_name,
        "sha256": record.sha256.hex() if record.sha256 else "",
        "md5": record.md5.hex() if record.md5 else None,
        "size": record.size,
        "depends": list(record.depends),
    }


# The program that solves, in a process of its own, with the words QUESTION and ANSWER.
#
# QUESTION is a JSON object that holds requests, ANSWER becomes an array of answers in the same order, whole or not at
# all. A request with `files` is not solved: those records are looked up. Nothing but this module and `rattler_records`
# imports py-rattler.
#
# py-rattler 0.28, as measured: a `Gateway` that is given no client asks without credentials, never again, and waits for
# ever, and knows nothing of `RATTLER_CACHE_DIR`, which rattler's own tools keep; `exclude_newer` takes the clock's
# digits for UTC; a pin is taken from whatever channel it is of, and a spec's subdir is not looked at; of a name that is
# asked for, only the records that fit count as the channel's, so that strict priority passes on to the next one; and
# other channels are joined to those asked for (CEP 42) unless that is forbidden.


_MAX_RETRIES = 2
# No package is called so: asking for it reads where the channel keeps what, and nothing else.
_UNUSED_NAME = "envcompile.nobody"
_FAILURE_KINDS = {
    "could not find subdir": "absent",
    "no usable repodata cache": "uncached",
    "401 Unauthorized": "refused",
    "403 Forbidden": "refused",
}


async def _find_pinned_records(asked: SolveInputs) -> Records:
    """The records of the pins to keep, looked up again: the channel's word counts, not the lock's."""
    wanted = {(subdir, file): name for name, subdir, file in asked.request["preferences"]}
    if not wanted:
        return []
    found = await asked.query(asked.request["subdirs"], sorted({*wanted.values()}))
    channels = dict(asked.request["only_channel"])
    for each in found:
        channels.setdefault(each.name.normalized, find_channel_url(each))
    return [
        each
        for each in found
        if (each.subdir, each.file_name) in wanted
        and find_channel_url(each) == channels[each.name.normalized]
        and asked.is_usable(each)
    ]


async def _answer_request(request: dict[str, Any], gateway: rattler.Gateway) -> dict[str, Any]:
    asked = SolveInputs(request, gateway, [rattler.Channel(url) for url in request["channels"]])
    try:
        await _check_channels(asked)
        records = await (
            _find_archive_records(asked) if "files" in request else _solve_request(await select_cuda_builds(asked))
        )
    except SolverError as problem:
        text = str(problem).strip()
        return {"kind": "unsolvable", "problem": text, "missing": await find_missing_names(asked, text)}
    except GatewayError as problem:
        kind = next((kind for words, kind in _FAILURE_KINDS.items() if words in str(problem)), "channel")
        return {"kind": kind, "problem": str(problem), "reading": request.get("reading")}
    return {"kind": "solved", "packages": [record_to_json(record) for record in records]}


async def _check_channels(asked: SolveInputs) -> None:
    """Each channel for itself: so it is known which one fails, which rattler's messages do not always say."""
    alone = (asked._replace(channels=[each]).query(asked.request["subdirs"], [_UNUSED_NAME]) for each in asked.channels)
    for index, result in enumerate(await asyncio.gather(*alone, return_exceptions=True)):
        if isinstance(result, BaseException):
            asked.request["reading"] = index
            raise result


async def _find_archive_records(asked: SolveInputs) -> Records:
    """The records of the archives that are asked for, those of them that are there."""
    names = {(channel, subdir, file): name for name, channel, subdir, file in asked.request["files"]}
    found = await asked.query(asked.request["subdirs"], sorted({*names.values()}))
    return [each for each in found if (find_channel_url(each), each.subdir, each.file_name) in names]


async def _solve_request(asked: SolveInputs) -> Records:
    """With every pin held, so that what is new comes as it fits; only preferred where a name is free to move."""
    pins = await _find_pinned_records(asked)
    if pins and not asked.request["free"]:
        with suppress(SolverError):
            held = [f"{each['name']} =={each['version']} {each['build']}" for each in map(record_to_json, pins)]
            return await _run_rattler(asked, pins, held)
    return await _run_rattler(asked, pins)


async def _run_rattler(asked: SolveInputs, pins: Records, held: Sequence[str] = ()) -> Records:
    newer, narrowed = asked.request["exclude_newer"], asked.request["only_subdir"] or asked.cuda_names
    return await rattler.solve(
        [FilteredChannel(asked, each) for each in asked.channels] if narrowed else asked.channels,
        [rattler.MatchSpec(text, strict=False) for text in asked.request["specs"]],
        constraints=[rattler.MatchSpec(text, strict=False) for text in (*asked.request["constraints"], *held)],
        gateway=asked.gateway,
        platforms=asked.request["subdirs"],
        virtual_packages=[_parse_virtual_packages(*each) for each in asked.request["virtual"]],
        locked_packages=pins,
        channel_priority=rattler.ChannelPriority.Strict,
        channel_relations="disabled",
        exclude_newer=datetime.fromisoformat(newer.replace("Z", "+00:00")).astimezone(timezone.utc) if newer else None,
        # By the time the channel got it, else the one it was made at; without either it may be from tomorrow.
        timestamp_policy="require-timestamp",
    )


def _parse_virtual_packages(name: str, version: str, build: str) -> rattler.GenericVirtualPackage:
    return rattler.GenericVirtualPackage(
        rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
    )


async def _answer_all_requests(question: dict[str, Any]) -> list[dict[str, Any]]:
    requests = question["requests"]
    try:
        config = rattler.Config.load_from_default_locations("rattler")
    except ConfigError as problem:
        return [{"kind": "settings", "problem": str(problem)} for _ in requests]
    folder = os.environ.get("RATTLER_CACHE_DIR")
    cache = Path(folder, "repodata") if folder else None
    client = rattler.Client.from_config(config, max_retries=_MAX_RETRIES, timeout=question["timeout"])
    source = rattler.SourceConfig(cache_action="force-cache-only" if question["offline"] else "cache-or-fetch")
    gateway = rattler.Gateway(cache, default_config=source, client=client)
    return list(await asyncio.gather(*(_answer_request(request, gateway) for request in requests)))


def solve_requests(question: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer to each request of a question, in its order."""
    return asyncio.run(_answer_all_requests(question))


def write_answer(question: Path, answer: Path) -> None:
    """Solve what stands in `question`, and write `answer` in one step."""
    said = solve_requests(json.loads(question.read_text("utf-8")))
    write_text(answer, json.dumps(said))


def run_worker_program() -> None:
    """The program: its words are QUESTION and ANSWER."""
    write_answer(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stderr.flush()
    # Without taking the interpreter apart: that is where it can crash.
    os._exit(0)
