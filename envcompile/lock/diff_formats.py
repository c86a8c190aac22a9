"""Formats the differences between two locks as text, Markdown and JSON, and a lock as a list for git."""

from __future__ import annotations

import json
import re
from itertools import groupby
from typing import TYPE_CHECKING

from envcompile.lock.diff import ADDED, CHANGE_STATUSES, CHANGED, FILE_CHANGED, REMOVED
from envcompile.lock.package_managers import PACKAGE_MANAGERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envcompile.lock.diff import LockChange
    from envcompile.lock.model import Lock, Pins, PlatformLock

_STATUS_MARKS = {ADDED: "+", REMOVED: "-", CHANGED: "~", FILE_CHANGED: "~"}
_IMAGE_DIGEST = re.compile(r"(@sha256:[0-9a-f]{12})[0-9a-f]{52}")


def format_text(changes: Sequence[LockChange]) -> Iterator[str]:
    """Yield one line for each change, then one for each of its reasons.

    The line of a change names its platforms, unless the change is on all platforms.
    """
    for change in changes:
        where = "" if change.is_everywhere else f" ({', '.join(change.platforms)})"
        yield f"  {_STATUS_MARKS[change.status]} {change.label} {_format_versions(change)}{where}"
        yield from (f"      {reason}" for reason in change.reasons)


def _format_versions(change: LockChange) -> str:
    if change.status == FILE_CHANGED:
        return f"{change.after}: another file, {change.file}"
    return " -> ".join(each for each in (change.before, change.after) if each is not None)


def format_markdown(changes: Sequence[LockChange], title: str) -> Iterator[str]:
    """Yield the lines of a comment on a pull request: a heading, and one table for each set of platforms."""
    yield f"### {title}: {format_summary(changes)}"
    for where, group in groupby(changes, lambda change: () if change.is_everywhere else change.platforms):
        yield ""
        if where:
            yield from (f"Only for {' and '.join(f'`{each}`' for each in where)}:", "")
        yield from ("| | package | before | after | why |", "|---|---|---|---|---|")
        for change in group:
            cells = (
                change.status,
                change.label,
                _format_cell(change.before),
                _format_cell(change.after, change.file),
                *_format_reasons(change),
            )
            yield f"| {' | '.join(map(_escape_markdown, cells))} |"


def format_summary(changes: Sequence[LockChange]) -> str:
    """Return the number of changes of each status, such as `1 added, 2 changed`."""
    signs = [change.status for change in changes]
    found = [
        f"{signs.count(sign)} {'with another file' if sign == FILE_CHANGED else sign}"
        for sign in CHANGE_STATUSES
        if sign in signs
    ]
    return ", ".join(found) or "nothing changed"


def _format_cell(version: str | None, file: str = "") -> str:
    short = abbreviate_digest(version or "")
    return f"{short} ({file})" if file else short


def abbreviate_digest(image: str) -> str:
    """Return an image reference with the beginning of its digest. Other texts are unchanged."""
    return _IMAGE_DIGEST.sub(r"\1…", image)


def _format_reasons(change: LockChange) -> tuple[str]:
    return ("; ".join(change.reasons),)


def _escape_markdown(cell: str) -> str:
    """Escape the text of a cell: a bar ends a cell, and GitHub interprets the other characters outside of backticks."""
    parts = cell.split("`")
    plain = (
        re.sub(r"([\\*_<>\[\]#])", r"\\\1", part) if index % 2 == 0 else f"`{part}`" for index, part in enumerate(parts)
    )
    return "".join(plain).replace("|", "\\|")


def format_json(changes: Sequence[LockChange], before: str, after: str, push: Mapping[str, object]) -> str:
    """Return the text of a JSON object. `before` and `after` name the compared locks; `changes` keep their order.

    `push` is what a push costs, from `plan.sizes`.
    """
    value = {"before": before, "after": after, "changes": make_json_rows(changes), "push": push}
    return json.dumps(value, indent=2)


def make_json_rows(changes: Sequence[LockChange]) -> list[dict[str, object]]:
    """Return the changes as JSON objects, in their order."""
    return [
        {
            "change": change.status.replace(" ", "-"),
            "kind": change.kind,
            "name": change.name,
            "before": change.before,
            "after": change.after,
            "file": change.file or None,
            "platforms": list(change.platforms),
            "why": list(change.reasons),
        }
        for change in changes
    ]


def format_listing(lock: Lock) -> Iterator[str]:
    """Yield one line for each pin. `git diff` compares these lines instead of the text of the lock."""
    if lock.snapshot:
        yield f"snapshot of the archive {lock.snapshot}"
    yield from (f"channel {each.name} {each.url}" for each in lock.channels)
    for platform in lock.platforms:
        for line in _format_platform(platform):
            yield f"{platform.platform} {line}"


def _format_platform(platform: PlatformLock) -> Iterator[str]:
    if platform.python:
        build = platform.python.build
        archive = f" {build.url} {build.sha256[:12]}" if build else ""
        yield f"Python {platform.python.version} {platform.python.path}{archive}"
    for stage, base in (("build", platform.build), ("run", platform.run)):
        yield f"{stage} image {base.image} {base.os} glibc {base.glibc}"
    if decision := platform.base_decision:
        yield from ([f"CUDA {decision.cuda}"] if decision.cuda else [])
        yield from ([f"driver {decision.driver} or newer"] if decision.driver else [])
        yield from (f"variable {name}={value}" for name, value in decision.env)
        yield from (f"build variable {name}={value}" for name, value in decision.build_env)
        yield from (f"because {each.decision}" for each in decision.explanation)
    yield from (f"tool {each.name} {each.image}" for each in platform.tools)
    if platform.layer_threshold:
        yield f"own layer from {platform.layer_threshold} MiB"
    yield from format_packages(platform)


def format_packages(pins: PlatformLock | Pins) -> Iterator[str]:
    """Yield one line for each package, with the beginning of the hash to distinguish files of the same version."""
    for manager in PACKAGE_MANAGERS.values():
        for packages in manager.lists:
            for name, package in packages.iter_packages(pins):
                yield f"{packages.kind} {name} {package.version} {manager.describe(package)}"
