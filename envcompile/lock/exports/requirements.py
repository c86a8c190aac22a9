"""`requirements.txt` with hashes, as pip-compile writes it and pip, pip-sync and uv install it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.exports.joined import joined, systems
from envcompile.spec.exports import OURS
from envcompile.spec.indexes import urls
from envcompile.spec.requirement import name, requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.exports import Given
    from envcompile.lock.exports.joined import Joined


def text(given: Given) -> str:
    """The file, for all platforms of the lock: each row has the one file of each platform."""
    asked = {name(requirement(each).name) for each in given.spec.pip.packages}
    rows = list(joined(given.lock))
    needed: dict[str, set[str]] = {row.name: set() for row in rows}
    for row in rows:
        for each in row.depends():
            needed.setdefault(each, set()).add(row.name)
    lines = [*_head(given), *_indexes(given)]
    for row in rows:
        lines += _row(row, sorted(needed[row.name]), direct=row.name in asked)
    return "".join(f"{line}\n" for line in lines)


def _head(given: Given) -> Iterator[str]:
    yield f"{OURS}; the pins are those of envcompile's own lock."
    yield f"# For {systems(given.lock)}."
    yield "# All that is needed stands here: pip install --no-deps --require-hashes -r FILE"
    brought = sorted({each for platform in given.lock.platforms for one in platform.conda for each in one.provides})
    if brought:
        yield f"# Not here, for conda brings it: {', '.join(brought)}."
    if given.spec.pip.exclude:
        yield f"# Not here, for the spec leaves it out: {', '.join(sorted(map(name, given.spec.pip.exclude)))}."


def _indexes(given: Given) -> Iterator[str]:
    """The spec's indexes, as far as a package is of them. pip may ask any for any name: the hashes decide."""
    used = {package.index for platform in given.lock.platforms for package in platform.pip}
    known = urls(given.spec.pip)
    if given.spec.pip.index:
        yield f"--index-url {given.spec.pip.index}"
    yield from (f"--extra-index-url {known[each.name]}" for each in given.spec.pip.extra_indexes if each.name in used)


def _row(row: Joined, needed: list[str], *, direct: bool) -> Iterator[str]:
    files = row.files()
    yield f"{row.name}=={row.version}{f' ; {row.marker}' if row.marker else ''} \\"
    for file in files[:-1]:
        yield f"    --hash=sha256:{file.sha256} \\"
    yield f"    --hash=sha256:{files[-1].sha256}"
    via = [*needed, *(["the spec"] if direct else [])]
    if len(via) == 1:
        yield f"    # via {via[0]}"
    elif via:
        yield "    # via"
        yield from (f"    #   {each}" for each in via)
