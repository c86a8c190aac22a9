"""The differences between two catalogues: a line for each tag and each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalogue.images import SEEN, tags

if TYPE_CHECKING:
    from collections.abc import Iterator

# The tables whose rows are identified by their first cells: the key of the rows, and the number of these cells.
_TABLES = {
    "digests": ("rows", 1),
    "runtimes": ("rows", 1),
    "drivers": ("branches", 1),
    "bundles": ("rows", 2),
}
# The cells of an image row whose changes are listed. Changes of its sources are only counted.
_FIELDS = {3: "architectures", 4: "status", 5: "cuDNN"}
_SOURCES = 6


def changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yield one line for each change: `+` for a new row, `-` for a removed one, `~` for a changed one."""
    before, after = tags(old), tags(new)
    yield from (f"- {tag}" for tag in before if tag not in set(after))
    yield from (f"+ {tag}" for tag in after if tag not in set(before))
    yield from _images(old, new)
    for table, (rows, key) in _TABLES.items():
        yield from _table(table, old[table][rows], new[table][rows], key)
    for word in new["deleted"]:
        if word not in old["deleted"]:
            yield f"+ deleted: CUDA {word}"


def removed(old: dict[str, Any], new: dict[str, Any]) -> int:
    """Return the number of removed tags."""
    return len(set(tags(old)) - set(tags(new)))


def _images(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    known = {(row[0], row[1]): row for row in old["images"]["rows"]}
    seen = 0
    for row in new["images"]["rows"]:
        before = known.get((row[0], row[1]))
        if before is None:
            continue
        for at, name in _FIELDS.items():
            if row[at] != before[at]:
                yield f"~ CUDA {row[0]} on {row[1]}: {name} {before[at] or 'unknown'} -> {row[at] or 'unknown'}"
        seen += SEEN in row[_SOURCES] and SEEN not in before[_SOURCES]
    if seen:
        yield f"~ {seen} rows of images that the registry shows, and had not shown before"


def _table(name: str, old: list[list[str]], new: list[list[str]], key: int) -> Iterator[str]:
    before, after = ({tuple(row[:key]): row[key:] for row in rows} for rows in (old, new))
    for each in before.keys() - after.keys():
        yield f"- {name}: {' '.join(each)}"
    for each, cells in after.items():
        if each not in before:
            yield f"+ {name}: {' '.join(each)} -> {', '.join(cells)}"
        elif cells != before[each]:
            yield f"~ {name}: {' '.join(each)}: {', '.join(before[each])} -> {', '.join(cells)}"
