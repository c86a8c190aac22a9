"""Compares two builds of one Dockerfile: the digests of the images, then the layers, then their files."""

from __future__ import annotations

import tarfile
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from envcompile.oci.archive import OciArchive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.oci.archive import ArchiveImage, LayerEntry

_EQUAL_LAYERS = "the files of all layers are equal"
# Property of `LayerEntry` -> how a member is described if it differs, and the probable cause. The most specific
# property is first.
_ENTRY_DIFFERENCES = {
    "kind": ("is of another kind", "two things of the build make it, and race"),
    "link": ("points elsewhere", "a name with a time, a number or chance in it"),
    "mtime": ("has another time of change", "it is written in the build, and its time is not set to 0 afterwards"),
    "mode": ("has another mode", "a umask, or two things of the build that make it"),
    "owner": ("has another owner", "a user or group that is made in the build without a number"),
}


class BuildDifference(NamedTuple):
    """The first difference of two builds: its location (a path or a part of the image), what differs, and its cause."""

    location: str
    description: str
    cause: str


def compare_archives(first: Path, second: Path) -> tuple[str, BuildDifference | None]:
    """Return the digest of the first archive, and the first difference; None if they are equal bit for bit."""
    with OciArchive(first) as one, OciArchive(second) as other:
        if one.digest == other.digest:
            return one.digest, None
        for image, again in zip(one.read_images(), other.read_images(), strict=True):
            if image.digest != again.digest:
                return one.digest, _compare_images(one, other, image, again)
        cause = "the exporter put another time or order into it"
        return one.digest, BuildDifference("the index", "differs, and no image under it does", cause)


def _compare_images(one: OciArchive, other: OciArchive, image: ArchiveImage, again: ArchiveImage) -> BuildDifference:
    packed_otherwise = None
    for number, (layer, changed) in enumerate(zip(image.layers, again.layers, strict=False), 1):
        if layer == changed:
            continue
        place = f"layer {number} of {len(image.layers)} for {image.platform}"
        if found := _compare_layers(one.iter_entries(*layer), other.iter_entries(*changed)):
            steps = image.list_layer_steps()
            step = f", which `{' '.join(steps[number - 1].split())}` made" if number <= len(steps) else ""
            return BuildDifference(found.location, f"{found.description}, in {place}{step}", found.cause)
        packed_otherwise = packed_otherwise or BuildDifference(
            place,
            f"has other bytes, and {_EQUAL_LAYERS}",
            "a compressor that answers differently: its version, or the number of its threads",
        )
    if len(image.layers) != len(again.layers):
        what = f"has {len(image.layers)} layers once and {len(again.layers)} the other time"
        return BuildDifference(f"the image for {image.platform}", what, "a step that ran only once")
    return packed_otherwise or _compare_configs(image, again)


def _compare_configs(image: ArchiveImage, again: ArchiveImage) -> BuildDifference:
    keys = sorted({*image.config, *again.config})
    key = next((key for key in keys if image.config.get(key) != again.config.get(key)), "")
    where = f"`{key}` of the configuration for {image.platform}" if key else f"the manifest for {image.platform}"
    return BuildDifference(where, f"differs, and {_EQUAL_LAYERS}", "a time or a name of the builder in what it says")


def _compare_layers(entries: Iterator[LayerEntry], changed: Iterator[LayerEntry]) -> BuildDifference | None:
    """Return the difference at the first member that differs, in the order of the first build; None if all are equal.

    Both layers are read in parallel, and kept in memory only from the first difference on.
    """
    for entry, again in zip_longest(entries, changed):
        if entry != again:
            rest = {each.path: each for each in (entry, *entries) if each}
            others = {each.path: each for each in (again, *changed) if each}
            return _find_first_difference(rest, others)
    return None


def _find_first_difference(entries: dict[str, LayerEntry], changed: dict[str, LayerEntry]) -> BuildDifference:
    of_folder = None
    for path in (*entries, *changed):
        entry, again = entries.get(path), changed.get(path)
        if entry is None or again is None:
            which = "second" if entry is None else "first"
            return BuildDifference(
                f"`/{path}`", f"is in the {which} build only", "a name with a time, a number or chance in it"
            )
        if entry != again:
            found = BuildDifference(f"`/{path}`", *_compare_entries(entry, again))
            # The time of a folder changes with the files in it, so a file that differs is the more specific result.
            if entry.kind != tarfile.DIRTYPE or entry._replace(mtime=again.mtime) != again:
                return found
            of_folder = of_folder or found
    if of_folder:
        return of_folder
    path = next(one for one, other in zip(entries, changed, strict=True) if one != other)
    return BuildDifference(f"`/{path}`", "stands at another place in the archive", "an order that is left to the disk")


def _compare_entries(entry: LayerEntry, again: LayerEntry) -> tuple[str, str]:
    """Return the difference between two members with the same name, and its cause."""
    if entry.kind == again.kind and entry.sha256 != again.sha256:
        return _compare_contents(entry, again)
    return next(
        (_ENTRY_DIFFERENCES[name] for name in _ENTRY_DIFFERENCES if getattr(entry, name) != getattr(again, name)),
        ("has other extended attributes", "the builder's file system"),
    )


def _compare_contents(entry: LayerEntry, again: LayerEntry) -> tuple[str, str]:
    if entry.path.endswith(".pyc") and entry.size == again.size:
        # PEP 552: bytes 4 to 7 are 0 when bytes 8 to 11 are the time of the source.
        if entry.head[4:8] == bytes(4) and entry.head[8:12] != again.head[8:12]:
            return "holds another time of its source", "compiled without `PYC_INVALIDATION_MODE=UNCHECKED_HASH`"
        return "has another content", "bytecode depends on what was imported before, or on its path"
    if entry.size != again.size:
        return f"has {entry.size} and {again.size} bytes", "a log, a cache or a list that a program of the build writes"
    return "has another content of the same size", "a time, a number or chance that a program of the build writes"
