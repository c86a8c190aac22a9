"""The program that solves conda requests with py-rattler: `rattler_worker REQUESTS ANSWERS`, run in its own process.

REQUESTS is a JSON file: an object with `requests`, `offline` and `timeout` (seconds for one download). Each request
comes from `rattler.format_request` or `activation`. A request with `files` is not solved: the worker looks up the
records of these archives. A request with `archives` reads the activation scripts in these archives, see
`activation_reader`. ANSWERS becomes a JSON file with one answer per request, in the same order; it is written
completely or not at all. The `kind` of an answer is `solved` (with `packages`), `read` (with `archives`), `unsolvable`
(with `problem` and `missing`), or the kind of a channel error (with `problem` and `failed_channel`). Only this module
and `activation_reader` import py-rattler.

Measured behaviour of py-rattler 0.28 that explains the code below:

- A `Gateway` without a client sends no credentials, does not retry, has no timeout, and ignores `RATTLER_CACHE_DIR`,
  which rattler's own tools respect.
- `exclude_newer` ignores the time zone of its value, and reads the time as UTC.
- A pin is accepted from any channel, and the subdir in a MatchSpec is ignored.
- Only the records that match a MatchSpec count as records of the channel, so strict priority proceeds to the next
  channel if none matches.
- Channels may refer to other channels, which are then used as well (CEP 42), unless that is disabled.
"""

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

Records = list[rattler.RepoDataRecord]

_MAX_RETRIES = 2
# No package has this name, so a query for it reads the index of the channel but no records.
_UNUSED_NAME = "envcompile.nobody"
# Texts in the messages of rattler, and the kind of answer that they mean.
_FAILURE_KINDS = {
    "could not find subdir": "channel-not-found",
    "no usable repodata cache": "not-cached",
    "401 Unauthorized": "credentials-required",
    "403 Forbidden": "credentials-required",
}
_KNOWN_SUBDIRS = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64")
# Every CUDA build depends on one of these: conda-forge's package for the CUDA version, or the driver.
_CUDA_DEPENDENCIES = frozenset({"cuda-version", "__cuda"})


def run_worker_program() -> None:
    """Run the program with the arguments REQUESTS and ANSWERS."""
    requests_file, answers_file = map(Path, sys.argv[1:])
    answers = solve_requests(json.loads(requests_file.read_text("utf-8")))
    write_text(answers_file, json.dumps(answers))
    sys.stderr.flush()
    # Skips the shutdown of the interpreter, in which py-rattler can crash.
    os._exit(0)


def solve_requests(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answers to the requests in `REQUESTS`, the parsed content of that file."""
    return asyncio.run(_answer_all_requests(value))


async def _answer_all_requests(value: dict[str, Any]) -> list[dict[str, Any]]:
    requests = value["requests"]
    try:
        config = rattler.Config.load_from_default_locations("rattler")
    except ConfigError as error:
        return [{"kind": "invalid-configuration", "problem": str(error)} for _ in requests]
    folder = os.environ.get("RATTLER_CACHE_DIR")
    cache = Path(folder, "repodata") if folder else None
    client = rattler.Client.from_config(config, max_retries=_MAX_RETRIES, timeout=value["timeout"])
    source = rattler.SourceConfig(cache_action="force-cache-only" if value["offline"] else "cache-or-fetch")
    gateway = rattler.Gateway(cache, default_config=source, client=client)
    return list(await asyncio.gather(*(_answer_request(request, gateway, client) for request in requests)))


async def _answer_request(request: dict[str, Any], gateway: rattler.Gateway, client: rattler.Client) -> dict[str, Any]:
    if "archives" in request:
        from envcompile.resolve.conda.activation_reader import read_archives  # noqa: PLC0415 - few locks need it

        return {"kind": "read", "archives": await read_archives(client, request["archives"], request["prefix"])}
    inputs = SolveInputs(request, gateway, [rattler.Channel(url) for url in request["channels"]])
    if failure := await _find_channel_failure(inputs):
        return failure
    try:
        if "files" in request:
            records = await _find_archive_records(inputs)
        else:
            records = await _solve_request(await select_cuda_builds(inputs))
    except SolverError as error:
        reason = str(error).strip()
        return {"kind": "unsolvable", "problem": reason, "missing": await find_missing_names(inputs, reason)}
    except GatewayError as error:
        return _describe_gateway_error(error)
    return {"kind": "solved", "packages": [record_to_json(record) for record in records]}


async def _find_channel_failure(inputs: SolveInputs) -> dict[str, Any] | None:
    """Return the answer about a channel that cannot be read, or None if all can be read.

    Each channel is queried separately, because the messages of rattler do not always name the channel that failed.
    """
    subdirs = inputs.request["subdirs"]
    queries = (inputs._replace(channels=[channel]).query(subdirs, [_UNUSED_NAME]) for channel in inputs.channels)
    for index, result in enumerate(await asyncio.gather(*queries, return_exceptions=True)):
        if isinstance(result, GatewayError):
            return _describe_gateway_error(result, index)
        if isinstance(result, BaseException):
            raise result
    return None


def _describe_gateway_error(error: GatewayError, failed_channel: int | None = None) -> dict[str, Any]:
    """Return the answer for an error. `failed_channel` is the index of the channel, or None if it is not known."""
    text = str(error)
    kind = next((kind for pattern, kind in _FAILURE_KINDS.items() if pattern in text), "channel-unreadable")
    return {"kind": kind, "problem": text, "failed_channel": failed_channel}


class SolveInputs(NamedTuple):
    """A request, the channels that answer queries, and the names of which only CUDA builds are used."""

    request: dict[str, Any]
    gateway: rattler.Gateway
    channels: list[rattler.Channel]
    cuda_names: frozenset[str] = frozenset()

    async def query(self, platforms: Sequence[Any], names: Sequence[str]) -> Records:
        """Return all records of some names, in the order of the channels."""
        by_channel = await self.gateway.query(
            self.channels, platforms, names, recursive=False, channel_relations="disabled"
        )
        return [record for records in by_channel for record in records]

    def is_usable(self, record: rattler.RepoDataRecord) -> bool:
        """Whether a record is in the subdir that the spec names, and built for CUDA if the spec requests CUDA."""
        name = record.name.normalized
        has_subdir = self.request["only_subdir"].get(name, record.subdir) == record.subdir
        return has_subdir and (name not in self.cuda_names or bool(_find_cuda_needs(record)))


class FilteredChannel:
    """A channel that shows only usable records to the solver."""

    def __init__(self, inputs: SolveInputs, channel: rattler.Channel) -> None:
        self._inputs = inputs._replace(channels=[channel])

    async def fetch_package_records(self, platform: rattler.Subdir, name: rattler.PackageName) -> Records:
        """Return the records of one name, which the solver requests."""
        records = await self._inputs.query([platform], [name.normalized])
        return [record for record in records if self._inputs.is_usable(record)]

    def package_names(self, _: rattler.Subdir) -> list[str]:
        """Return nothing: the solver does not call this method."""
        return []


async def _solve_request(inputs: SolveInputs) -> Records:
    """Solve with all pins as constraints; if that fails, or packages may be upgraded, only prefer the pins."""
    pins = await _find_pinned_records(inputs)
    if pins and not inputs.request["allows_upgrades"]:
        with suppress(SolverError):
            constraints = [f"{row['name']} =={row['version']} {row['build']}" for row in map(record_to_json, pins)]
            return await _run_rattler(inputs, pins, constraints)
    return await _run_rattler(inputs, pins)


async def _run_rattler(inputs: SolveInputs, pins: Records, constraints: Sequence[str] = ()) -> Records:
    request = inputs.request
    exclude_newer = request["exclude_newer"]
    if exclude_newer:
        exclude_newer = datetime.fromisoformat(exclude_newer.replace("Z", "+00:00")).astimezone(timezone.utc)
    channels: Sequence[Any] = inputs.channels
    if request["only_subdir"] or inputs.cuda_names:
        channels = [FilteredChannel(inputs, channel) for channel in inputs.channels]
    return await rattler.solve(
        channels,
        [rattler.MatchSpec(text, strict=False) for text in request["specs"]],
        constraints=[rattler.MatchSpec(text, strict=False) for text in (*request["constraints"], *constraints)],
        gateway=inputs.gateway,
        platforms=request["subdirs"],
        virtual_packages=[_parse_virtual_package(*row) for row in request["virtual_packages"]],
        locked_packages=pins,
        channel_priority=rattler.ChannelPriority.Strict,
        channel_relations="disabled",
        exclude_newer=exclude_newer,
        # A file counts as newer by the time at which the channel received it, or else by the time of its build. A file
        # with neither time is excluded.
        timestamp_policy="require-timestamp",
    )


def _parse_virtual_package(name: str, version: str, build: str) -> rattler.GenericVirtualPackage:
    return rattler.GenericVirtualPackage(
        rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
    )


async def _find_pinned_records(inputs: SolveInputs) -> Records:
    """Return the records of the pins as the channels have them now, since the lock may be outdated."""
    request = inputs.request
    pinned_files = {(subdir, file): name for name, subdir, file in request["preferences"]}
    if not pinned_files:
        return []
    records = await inputs.query(request["subdirs"], sorted({*pinned_files.values()}))
    channels = dict(request["only_channel"])
    for record in records:
        channels.setdefault(record.name.normalized, find_channel_url(record))
    return [
        record
        for record in records
        if (record.subdir, record.file_name) in pinned_files
        and find_channel_url(record) == channels[record.name.normalized]
        and inputs.is_usable(record)
    ]


async def _find_archive_records(inputs: SolveInputs) -> Records:
    """Return the records of the archives in `files`; those that do not exist are left out."""
    names = {(channel, subdir, file): name for name, channel, subdir, file in inputs.request["files"]}
    records = await inputs.query(inputs.request["subdirs"], sorted({*names.values()}))
    return [record for record in records if (find_channel_url(record), record.subdir, record.file_name) in names]


async def select_cuda_builds(inputs: SolveInputs) -> SolveInputs:
    """Restrict each requested package to CUDA builds, if it has a build for the requested CUDA version.

    The solver prefers the CUDA build of a version because of its build number. Without the restriction, it would prefer
    a newer version that has CPU builds only.
    """
    cuda, names = inputs.request["cuda"], inputs.request["names"]
    if cuda is None:
        return inputs
    specs = dict(zip(names, inputs.request["specs"], strict=False))  # bare names follow, see `format_request`
    releases = [cuda] if "." in cuda else [f"{cuda}.{minor}" for minor in range(30)]
    versions = [rattler.Version(release) for release in releases]
    cuda_names = frozenset(
        record.name.normalized
        for record in await inputs.query(inputs.request["subdirs"], names)
        if (needs := _find_cuda_needs(record))
        and any(all(need.matches(version) for need in needs) for version in versions)
        and rattler.MatchSpec(specs[record.name.normalized], strict=False).matches(record)
    )
    return inputs._replace(cuda_names=cuda_names)


def _find_cuda_needs(record: rattler.RepoDataRecord) -> list[rattler.VersionSpec]:
    """Return the ranges of CUDA versions that a build requires, for libraries or driver; empty for a CPU build."""
    match_specs = [
        rattler.MatchSpec(text, strict=False)
        for text in record.depends
        if parse_dependency_name(text) in _CUDA_DEPENDENCIES
    ]
    return [rattler.VersionSpec(match_spec.version or "*") for match_spec in match_specs]


def find_names_without_candidates(reason: str) -> list[str]:
    """Return the names in the lines of the solver's explanation that say that no candidates were found."""
    names = []
    for line in reason.split("\n"):
        names += re.findall(r"candidates were found for ([\w.-]+)", line)
        before, mark, _ = line.partition(", for which no candidates were found")
        if mark and (found := re.search(r"─ ([\w.-]+)", before)):
            names.append(found[1])
    return names


async def find_missing_names(inputs: SolveInputs, reason: str) -> dict[str, dict[str, list[str]]]:
    """Return for each name that no channel has for this platform the `subdirs` that have it, and similar `names`."""
    import difflib  # noqa: PLC0415 - only for missing names

    names = [*inputs.request["names"], *find_names_without_candidates(reason)]
    missing: dict[str, dict[str, list[str]]] = {}
    # The names are only additional help: if a channel cannot be queried, they are left out.
    with suppress(GatewayError):
        available = {record.name.normalized for record in await inputs.query(inputs.request["subdirs"], names)}
        names = [name for name in dict.fromkeys(names) if name not in available and not name.startswith("__")]
        if not names:
            return missing
        all_names = await inputs.gateway.names(inputs.channels, inputs.request["subdirs"], channel_relations="disabled")
        known = sorted(name.normalized for name in all_names)
        for name in names:
            missing[name] = {"subdirs": [], "names": difflib.get_close_matches(name, known, cutoff=0.75)}
        records = await inputs.query(_KNOWN_SUBDIRS, names)
        for name, subdir in sorted({(record.name.normalized, record.subdir) for record in records}):
            missing[name]["subdirs"].append(subdir)
    return missing


def record_to_json(record: rattler.RepoDataRecord) -> dict[str, Any]:
    """Return the fields of a record that the lock needs. `channel` is a URL; `sha256` is empty if unknown."""
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


def find_channel_url(record: rattler.RepoDataRecord) -> str:
    """Return the URL of the channel without a slash at the end."""
    return (record.channel or "").rstrip("/")
