"""The program that solves, in a process of its own: `python -m envcompile.resolve.rattler_solve QUESTION ANSWER`.

QUESTION is a JSON array of requests, ANSWER becomes an array of answers in the same order, whole or not at all. Nothing
but this module imports py-rattler.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import rattler
from rattler.exceptions import GatewayError, SolverError

_OTHERS: tuple[Literal["linux-64", "linux-aarch64"], ...] = ("linux-64", "linux-aarch64")


def _virtual(request: dict[str, Any]) -> list[rattler.GenericVirtualPackage]:
    """What the target is said to have, whatever this machine is: system, C library, processor, driver."""
    rows = [("__unix", "0", "0"), ("__linux", "0", "0"), ("__glibc", request["glibc"], "0")]
    rows.append(("__archspec", "1", request["machine"]))
    if request["cuda"]:
        rows.append(("__cuda", request["cuda"], "0"))
    return [
        rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build))
        for name, version, build in rows
    ]


async def _preferred(
    request: dict[str, Any], gateway: rattler.Gateway, channels: list[rattler.Channel]
) -> list[rattler.RepoDataRecord]:
    """The records of the pins to keep, looked up again: the channel's word counts, not the lock's."""
    wanted = {tuple(each) for each in request["preferences"]}
    if not wanted:
        return []
    names = {file.rsplit("-", 2)[0] for _, file in wanted}
    found = await gateway.query(channels, [request["platform"], "noarch"], sorted(names), recursive=False)
    return [record for records in found for record in records if (record.subdir, record.file_name) in wanted]


async def _solve(request: dict[str, Any], gateway: rattler.Gateway) -> dict[str, Any]:
    channels = [rattler.Channel(each["url"]) for each in request["channels"]]
    # `channel::name` names a channel of the spec, wherever it is.
    urls = {each["name"]: each["url"] for each in request["channels"]}
    newer = request["exclude_newer"]
    try:
        records = await rattler.solve(
            channels,
            [rattler.MatchSpec(_with_url(text, urls), strict=False) for text in request["requirements"]],
            gateway=gateway,
            platforms=[request["platform"], "noarch"],
            virtual_packages=_virtual(request),
            locked_packages=await _preferred(request, gateway, channels),
            channel_priority=rattler.ChannelPriority.Strict,
            exclude_newer=datetime.fromisoformat(newer.replace("Z", "+00:00")) if newer else None,
        )
        strayed = await _strayed(request, gateway, channels, records)
    except SolverError as problem:
        return {"kind": "unsolvable", "problem": f"{problem}".strip() + await _elsewhere(request, gateway, channels)}
    except GatewayError as problem:
        return {"kind": "channel", "problem": " ".join(str(problem).split())}
    if strayed:
        return {"kind": "unsolvable", "problem": strayed}
    names = {each["url"].rstrip("/"): each["name"] for each in request["channels"]}
    return {"kind": "solved", "packages": [_row(record, names) for record in records]}


async def _strayed(
    request: dict[str, Any],
    gateway: rattler.Gateway,
    channels: list[rattler.Channel],
    records: list[rattler.RepoDataRecord],
) -> str:
    """A sentence for every package that comes from a channel although one before it has that name.

    py-rattler 0.28 takes a later channel where no version of the first one fits; strict means that it must not, unless
    the spec names the channel.
    """
    order = [each["url"].rstrip("/") for each in request["channels"]]
    free = {text.partition("::")[2].split()[0].lower() for text in request["requirements"] if "::" in text}
    late = {record.name.normalized: _channel(record) for record in records if _channel(record) != order[0]}
    names = sorted(set(late) - free)
    if not names:
        return ""
    found = await gateway.query(channels, [request["platform"], "noarch"], names, recursive=False)
    said = {}
    for record in (each for records in found for each in records):
        name, here = record.name.normalized, _channel(record)
        if name in late and order.index(here) < order.index(late[name]):
            said[name] = f"{name} is in {here}, which comes before {late[name]}, and no version of it there fits."
    return "\n".join(said[name] for name in sorted(said))


def _channel(record: rattler.RepoDataRecord) -> str:
    return (record.channel or "").rstrip("/")


def _with_url(text: str, urls: dict[str, str]) -> str:
    channel, colons, rest = text.partition("::")
    return f"{urls.get(channel, channel)}::{rest}" if colons else text


async def _elsewhere(request: dict[str, Any], gateway: rattler.Gateway, channels: list[rattler.Channel]) -> str:
    """A sentence for every asked name that the channels hold for another platform only."""
    said = []
    for text in request["requirements"]:
        name = rattler.MatchSpec(text.partition("::")[2] or text, strict=False).name
        plain = getattr(name, "normalized", str(name))
        try:
            here = await gateway.query(channels, [request["platform"], "noarch"], [plain], recursive=False)
            there = [] if any(here) else await gateway.query(channels, _OTHERS, [plain], recursive=False)
        except GatewayError:
            continue  # a channel without that platform says nothing about the package
        if found := sorted({record.subdir for records in there for record in records}):
            said.append(f"\n{plain} is there for {', '.join(found)}, and not for {request['platform']}.")
    return "".join(said)


def _row(record: rattler.RepoDataRecord, names: dict[str, str]) -> dict[str, Any]:
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(getattr(record.build, "build_string", record.build)),
        "channel": names.get(_channel(record), record.channel),
        "subdir": record.subdir,
        "file": record.file_name,
        "sha256": record.sha256.hex() if record.sha256 else "",
        "md5": record.md5.hex() if record.md5 else None,
        "size": record.size,
        "depends": list(record.depends),
    }


async def _all(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    action = "force-cache-only" if any(each["offline"] for each in requests) else "cache-or-fetch"
    gateway = rattler.Gateway(default_config=rattler.SourceConfig(cache_action=action))  # type: ignore[arg-type]
    return list(await asyncio.gather(*(_solve(request, gateway) for request in requests)))


def main(question: Path, answer: Path) -> None:
    """Solve what stands in `question`, and write `answer` in one step."""
    answers = asyncio.run(_all(json.loads(question.read_text("utf-8"))))
    part = answer.with_suffix(".part")
    part.write_text(json.dumps(answers), "utf-8")
    part.replace(answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stderr.flush()
    # Without taking the interpreter apart: that is where it can crash.
    os._exit(0)
