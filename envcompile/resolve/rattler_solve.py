"""The program that solves, in a process of its own, with the words QUESTION and ANSWER.

QUESTION is a JSON object that holds requests, ANSWER becomes an array of answers in the same order, whole or not at
all. A request with `files` is not solved: those records are looked up. Nothing but this module and `rattler_records`
imports py-rattler.

py-rattler 0.28, as measured: a `Gateway` that is given no client asks without credentials, never again, and waits for
ever, and knows nothing of `RATTLER_CACHE_DIR`, which rattler's own tools keep; `exclude_newer` takes the clock's
digits for UTC; a pin is taken from whatever channel it is of, and a spec's subdir is not looked at; of a name that is
asked for, only the records that fit count as the channel's, so that strict priority passes on to the next one; and
other channels are joined to those asked for (CEP 42) unless that is forbidden.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rattler
from rattler.exceptions import ConfigError, GatewayError, SolverError

from envcompile.resolve.rattler_records import Asked, Narrowed, Records, channel_of, missing_names, row, with_cuda

if TYPE_CHECKING:
    from collections.abc import Sequence

_RETRIES = 2
# No package is called so: asking for it reads where the channel keeps what, and nothing else.
_NOBODY = "envcompile.nobody"
_WHY_NOT = {
    "could not find subdir": "absent",
    "no usable repodata cache": "uncached",
    "401 Unauthorized": "refused",
    "403 Forbidden": "refused",
}


async def _preferred(asked: Asked) -> Records:
    """The records of the pins to keep, looked up again: the channel's word counts, not the lock's."""
    wanted = {(subdir, file): name for name, subdir, file in asked.request["preferences"]}
    if not wanted:
        return []
    found = await asked.query(asked.request["subdirs"], sorted({*wanted.values()}))
    channels = dict(asked.request["only_channel"])
    for each in found:
        channels.setdefault(each.name.normalized, channel_of(each))
    return [
        each
        for each in found
        if (each.subdir, each.file_name) in wanted
        and channel_of(each) == channels[each.name.normalized]
        and asked.counts(each)
    ]


async def _answer(request: dict[str, Any], gateway: rattler.Gateway) -> dict[str, Any]:
    asked = Asked(request, gateway, [rattler.Channel(url) for url in request["channels"]])
    try:
        await _read(asked)
        records = await (_look_up(asked) if "files" in request else _solve(await with_cuda(asked)))
    except SolverError as problem:
        text = str(problem).strip()
        return {"kind": "unsolvable", "problem": text, "missing": await missing_names(asked, text)}
    except GatewayError as problem:
        kind = next((kind for words, kind in _WHY_NOT.items() if words in str(problem)), "channel")
        return {"kind": kind, "problem": str(problem), "reading": request.get("reading")}
    return {"kind": "solved", "packages": [row(record) for record in records]}


async def _read(asked: Asked) -> None:
    """Each channel for itself: so it is known which one fails, which rattler's messages do not always say."""
    alone = (asked._replace(channels=[each]).query(asked.request["subdirs"], [_NOBODY]) for each in asked.channels)
    for index, result in enumerate(await asyncio.gather(*alone, return_exceptions=True)):
        if isinstance(result, BaseException):
            asked.request["reading"] = index
            raise result


async def _look_up(asked: Asked) -> Records:
    """The records of the archives that are asked for, those of them that are there."""
    names = {(channel, subdir, file): name for name, channel, subdir, file in asked.request["files"]}
    found = await asked.query(asked.request["subdirs"], sorted({*names.values()}))
    return [each for each in found if (channel_of(each), each.subdir, each.file_name) in names]


async def _solve(asked: Asked) -> Records:
    """With every pin held, so that what is new comes as it fits; only preferred where a name is free to move."""
    pins = await _preferred(asked)
    if pins and not asked.request["free"]:
        with suppress(SolverError):
            held = [f"{each['name']} =={each['version']} {each['build']}" for each in map(row, pins)]
            return await _solve_with(asked, pins, held)
    return await _solve_with(asked, pins)


async def _solve_with(asked: Asked, pins: Records, held: Sequence[str] = ()) -> Records:
    newer, narrowed = asked.request["exclude_newer"], asked.request["only_subdir"] or asked.cuda
    return await rattler.solve(
        [Narrowed(asked, each) for each in asked.channels] if narrowed else asked.channels,
        [rattler.MatchSpec(text, strict=False) for text in asked.request["specs"]],
        constraints=[rattler.MatchSpec(text, strict=False) for text in (*asked.request["constraints"], *held)],
        gateway=asked.gateway,
        platforms=asked.request["subdirs"],
        virtual_packages=[_virtual(*each) for each in asked.request["virtual"]],
        locked_packages=pins,
        channel_priority=rattler.ChannelPriority.Strict,
        channel_relations="disabled",
        exclude_newer=datetime.fromisoformat(newer.replace("Z", "+00:00")).astimezone(timezone.utc) if newer else None,
        # By the time the channel got it, else the one it was made at; without either it may be from tomorrow.
        timestamp_policy="require-timestamp",
    )


def _virtual(name: str, version: str, build: str) -> rattler.GenericVirtualPackage:
    return rattler.GenericVirtualPackage(
        rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
    )


async def _all(question: dict[str, Any]) -> list[dict[str, Any]]:
    requests = question["requests"]
    try:
        config = rattler.Config.load_from_default_locations("rattler")
    except ConfigError as problem:
        return [{"kind": "settings", "problem": str(problem)} for _ in requests]
    folder = os.environ.get("RATTLER_CACHE_DIR")
    cache = Path(folder, "repodata") if folder else None
    client = rattler.Client.from_config(config, max_retries=_RETRIES, timeout=question["timeout"])
    source = rattler.SourceConfig(cache_action="force-cache-only" if question["offline"] else "cache-or-fetch")
    gateway = rattler.Gateway(cache, default_config=source, client=client)
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


def run() -> None:
    """The program: its words are QUESTION and ANSWER."""
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stderr.flush()
    # Without taking the interpreter apart: that is where it can crash.
    os._exit(0)
