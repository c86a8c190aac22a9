"""`pylock.toml` (PEP 751, lock-version 1.0), as `uv pip sync` and pip's `-r pylock.toml` install it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from envcompile.lock.exports.joined import joined, markers, systems
from envcompile.lock.exports.places import place
from envcompile.spec.exports import OURS
from envcompile.spec.indexes import urls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envcompile.lock.exports import Given
    from envcompile.lock.exports.joined import Joined
    from envcompile.lock.model import PipPackage


def text(given: Given) -> str:
    """The file, for all platforms of the lock. Raises `Unusable` where the address of a file is not known."""
    rows = list(joined(given.lock))
    several = {row.name for row in rows if row.marker and sum(row.name == each.name for each in rows) > 1}
    known = urls(given.spec.pip)
    lines = [*_head(given)]
    for row in rows:
        lines += _package(row, {each.name for each in rows}, several, known, given.places)
    return "".join(f"{line}\n" for line in lines)


def _head(given: Given) -> Iterator[str]:
    yield f"{OURS}; the pins are those of envcompile's own lock."
    yield f"# For {systems(given.lock)}."
    brought = sorted({each for platform in given.lock.platforms for one in platform.conda for each in one.provides})
    if brought:
        yield f"# Not here, for conda brings it: {', '.join(brought)}."
    yield 'lock-version = "1.0"'
    linux = [f"sys_platform == 'linux' and {markers([each])}" for each in given.lock.platforms]
    yield f"environments = [{', '.join(map(_string, linux))}]"
    pythons = sorted({each.python.version.rpartition(".")[0] for each in given.lock.platforms if each.python})
    if len(pythons) == 1:
        yield f'requires-python = "=={pythons[0]}.*"'
    yield 'created-by = "envcompile"'


def _package(
    row: Joined, there: set[str], several: set[str], indexes: Mapping[str, str], places: Mapping[str, str]
) -> Iterator[str]:
    yield ""
    yield "[[packages]]"
    yield f"name = {_string(row.name)}"
    yield f"version = {_string(row.version)}"
    if row.marker:
        yield f"marker = {_string(row.marker)}"
    # Of a name with several versions nothing short says which is meant: the markers do.
    needs = [each for each in row.depends() if each in there and each not in several]
    if needs:
        yield f"dependencies = [{', '.join(f'{{ name = {_string(each)} }}' for each in needs)}]"
    if index := indexes.get(row.packages[0].index):
        yield f"index = {_string(index)}"
    yield "wheels = ["
    yield from _wheels(row.files(), places)
    yield "]"


def _wheels(files: Sequence[PipPackage], places: Mapping[str, str]) -> Iterator[str]:
    for file in files:
        size = f"size = {file.size}, " if file.size is not None else ""
        url = _string(place(file, places, "pylock"))
        yield (
            f"    {{ name = {_string(file.file)}, url = {url}, {size}hashes = {{ sha256 = {_string(file.sha256)} }} }},"
        )


def _string(value: str) -> str:
    # What JSON escapes, TOML's basic strings escape alike.
    return json.dumps(value, ensure_ascii=False)
