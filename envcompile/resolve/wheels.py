"""Which of a release's wheels a platform takes: the one file that is locked."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Legacy names of the older manylinux policies (PEP 600), by the glibc they stand for.
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def _platform_tags(machine: str, glibc: str) -> Iterator[str]:
    """Platform tags from the newest glibc down to the oldest policy, most specific first."""
    major, minor = (int(part) for part in glibc.split("."))
    # manylinux1 and manylinux2010 were defined for x86 only; other machines start at 2.17.
    oldest = 5 if machine == "x86_64" else 17
    for older in range(minor, oldest - 1, -1):
        yield f"manylinux_{major}_{older}_{machine}"
        if older in _LEGACY:
            yield f"{_LEGACY[older]}_{machine}"
    yield f"linux_{machine}"


@cache
def _ranks(machine: str, glibc: str, python: str) -> dict[Tag, int]:
    major, minor = (int(part) for part in python.split(".")[:2])
    platforms = list(_platform_tags(machine, glibc))
    tags = [
        *cpython_tags((major, minor), platforms=platforms),
        *compatible_tags((major, minor), interpreter=f"cp{major}{minor}", platforms=platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def best(files: Iterable[str], machine: str, glibc: str, python: str) -> str | None:
    """The file name of the wheel that installers prefer on this platform, None when no wheel fits.

    `python` is X.Y or X.Y.Z of CPython. Of wheels with equal tags the highest build number wins, then the name.
    """
    ranks = _ranks(machine, glibc, python)
    candidates: list[tuple[int, tuple[int, str], str]] = []
    for file in files:
        try:
            _, _, build, tags = parse_wheel_filename(file)
        except InvalidWheelFilename:
            continue
        rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
        if rank is not None:
            number, suffix = build or (0, "")
            candidates.append((-rank, (number, suffix), file))
    return max(candidates)[2] if candidates else None
