"""The program that solves, in a process of its own: `python -m envcompile.resolve.rattler_solve QUESTION ANSWER`.

QUESTION is a JSON object that holds requests, ANSWER becomes an array of answers in the same order, whole or not at
all. A request with `files` is not solved: those records are looked up. Nothing but this module imports py-rattler.

py-rattler 0.28, as measured: a `Gateway` that is given no client asks without credentials, never again, and waits for
ever; `exclude_newer` takes the clock's digits for UTC; a pin is taken from whatever channel it is of, and a spec's
subdir is not looked at; of a name that is asked for, only the records that fit count as the channel's, so that strict
priority passes on to the next one; and other channels are joined to those asked for (CEP 42) unless that is forbidden.
"""

from __future__ import annotations

import asyncio
import difflib
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

if TYPE_CHECKING:
    from collections.abc import Sequence

_RETRIES = 2
_ELSEWHERE = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64")
# No package is called so: asking for it reads where the channel keeps what, and nothing else.
_NOBODY = "envcompile.nobody"
_NOT_FOUND = r"candidates were found for ([\w.-]+)|─ ([\w.-]+)[^\n]*, for which no candidates were found"
_WHY_NOT = {
    "could not find subdir": "absent",
    "no usable repodata cache": "uncached",
    "401 Unauthorized": "refused",
    "403 Forbidden": "refused",
}
_Records = list[rattler.RepoDataRecord]


class _Asked(NamedTuple):
    """One request, with what it is asked of."""

    request: dict[str, Any]
    gateway: rattler.Gateway
    channels: list[rattler.Channel]

    async def query(self, platforms: Sequence[Any], names: Sequence[str]) -> _Records:
        """All records of some names, the first channel's first."""
        found = await self.gateway.query(self.channels, platforms, names, recursive=False, channel_relations="disabled")
        return [record for records in found for record in records]


class _Narrowed:
    """A channel that has some packages in one subdir only, for specs that name it."""

    def __init__(self, asked: _Asked, channel: rattler.Channel) -> None:
        self._asked, self._subdirs = asked._replace(channels=[channel]), asked.request["only_subdir"]

    async def fetch_package_records(self, platform: rattler.Subdir, name: rattler.PackageName) -> _Records:
        """What the solver asks for, one name at a time."""
        found = await self._asked.query([platform], [name.normalized])
        return [each for each in found if self._subdirs.get(name.normalized, each.subdir) == each.subdir]

    def package_names(self, _: rattler.Subdir) -> list[str]:
        """Unused by a solve."""
        return []


async def _preferred(asked: _Asked) -> _Records:
    """The records of the pins to keep, looked up again: the channel's word counts, not the lock's."""
    wanted = {(subdir, file): name for name, subdir, file in asked.request["preferences"]}
    if not wanted:
        return []
    found = await asked.query(asked.request["subdirs"], sorted({*wanted.values()}))
    subdirs, channels = asked.request["only_subdir"], dict(asked.request["only_channel"])
    for each in found:
        channels.setdefault(each.name.normalized, _channel(each))
    return [
        each
        for each in found
        if (each.subdir, each.file_name) in wanted
        and _channel(each) == channels[each.name.normalized]
        and subdirs.get(each.name.normalized, each.subdir) == each.subdir
    ]


async def _answer(request: dict[str, Any], gateway: rattler.Gateway) -> dict[str, Any]:
    asked = _Asked(request, gateway, [rattler.Channel(url) for url in request["channels"]])
    try:
        await _read(asked)
        records = await (_look_up(asked) if "files" in request else _solve(asked))
    except SolverError as problem:
        text = str(problem).strip()
        return {"kind": "unsolvable", "problem": text, "missing": await _missing(asked, text)}
    except GatewayError as problem:
        kind = next((kind for words, kind in _WHY_NOT.items() if words in str(problem)), "channel")
        return {"kind": kind, "problem": str(problem), "reading": request.get("reading")}
    return {"kind": "solved", "packages": [_row(record) for record in records]}


async def _read(asked: _Asked) -> None:
    """Each channel for itself: so it is known which one fails, which rattler's messages do not always say."""
    alone = (asked._replace(channels=[each]).query(asked.request["subdirs"], [_NOBODY]) for each in asked.channels)
    for index, result in enumerate(await asyncio.gather(*alone, return_exceptions=True)):
        if isinstance(result, BaseException):
            asked.request["reading"] = index
            raise result


async def _look_up(asked: _Asked) -> _Records:
    """The records of the archives that are asked for, those of them that are there."""
    names = {(channel, subdir, file): name for name, channel, subdir, file in asked.request["files"]}
    found = await asked.query(asked.request["subdirs"], sorted({*names.values()}))
    return [each for each in found if (_channel(each), each.subdir, each.file_name) in names]


async def _solve(asked: _Asked) -> _Records:
    newer = asked.request["exclude_newer"]
    return await rattler.solve(
        [_Narrowed(asked, each) for each in asked.channels] if asked.request["only_subdir"] else asked.channels,
        [rattler.MatchSpec(text, strict=False) for text in asked.request["specs"]],
        gateway=asked.gateway,
        platforms=asked.request["subdirs"],
        virtual_packages=[_virtual(*each) for each in asked.request["virtual"]],
        locked_packages=await _preferred(asked),
        channel_priority=rattler.ChannelPriority.Strict,
        channel_relations="disabled",
        exclude_newer=datetime.fromisoformat(newer.replace("Z", "+00:00")).astimezone(timezone.utc) if newer else None,
        # By the time the channel got it, else the one it was made at; without either it may be from tomorrow.
        timestamp_policy="require-timestamp",
    )


async def _missing(asked: _Asked, reason: str) -> dict[str, dict[str, list[str]]]:
    """The names that no channel has for this platform: where they are `there` for another, and those `near` to them."""
    names = [*asked.request["names"], *(one or other for one, other in re.findall(_NOT_FOUND, reason))]
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


def _virtual(name: str, version: str, build: str) -> rattler.GenericVirtualPackage:
    return rattler.GenericVirtualPackage(
        rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
    )


def _channel(record: rattler.RepoDataRecord) -> str:
    return (record.channel or "").rstrip("/")


def _row(record: rattler.RepoDataRecord) -> dict[str, Any]:
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(getattr(record.build, "build_string", record.build)),
        "channel": _channel(record),
        "subdir": record.subdir,
        "file": record.file_name,
        "sha256": record.sha256.hex() if record.sha256 else "",
        "md5": record.md5.hex() if record.md5 else None,
        "size": record.size,
        "depends": list(record.depends),
    }


async def _all(question: dict[str, Any]) -> list[dict[str, Any]]:
    requests = question["requests"]
    try:
        config = rattler.Config.load_from_default_locations("rattler")
    except ConfigError as problem:
        return [{"kind": "settings", "problem": str(problem)} for _ in requests]
    client = rattler.Client.from_config(config, max_retries=_RETRIES, timeout=question["timeout"])
    source = rattler.SourceConfig(cache_action="force-cache-only" if question["offline"] else "cache-or-fetch")
    gateway = rattler.Gateway(default_config=source, client=client)
    return list(await asyncio.gather(*(_answer(request, gateway) for request in requests)))


def answers(question: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer to each request of a question, in its order."""
    return asyncio.run(_all(question))


def main(question: Path, answer: Path) -> None:
    """Solve what stands in `question`, and write `answer` in one step."""
    said = answers(json.loads(question.read_text("utf-8")))
    part = answer.with_suffix(".part")
    part.write_text(json.dumps(said), "utf-8")
    part.replace(answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stderr.flush()
    # Without taking the interpreter apart: that is where it can crash.
    os._exit(0)
