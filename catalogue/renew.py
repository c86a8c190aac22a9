"""Renews a catalogue: derived tables are derived again, and the tables that people maintain are not changed."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from catalogue import images
from catalogue.frameworks import bundles, toolkits
from envcompile.versions import minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from catalogue.frameworks import Index


class Renewed(NamedTuple):
    """The renewed catalogue, and notes about what people must add."""

    data: dict[str, Any]
    notes: tuple[str, ...]


def from_registry(data: dict[str, Any], registry: images.Registry, most: int, date: str) -> Renewed:
    """Return the catalogue with new images, digests and deleted versions.

    The runtimes and driver branches of the images that were read are added too. At most `most` images are read.
    """
    new = copy.deepcopy(data)
    there = images.parse_tags(data, registry.list_tags(data["images"]["repository"]))
    made = images.mark_superseded(images.make_image_rows(data, there))
    told = images.read_image_facts(data, made, registry, most)
    new["images"]["rows"] = made
    new["deleted"] = images.list_deleted_releases(data, made)
    new["digests"]["rows"] = list(images.digests(data, made, registry))
    new["runtimes"]["rows"] = with_runtimes(data["runtimes"]["rows"], told.runtimes)
    branches = {row[0]: row for row in data["drivers"]["branches"]}
    branches.update({cuda: [cuda, each] for cuda, each in told.branches.items()})
    new["drivers"]["branches"] = sorted(branches.values(), key=lambda row: version_numbers(row[0]))
    if made != data["images"]["rows"]:
        said = f"the registry of {data['images']['repository']}: its tags, and what images say of themselves, {date}"
        new["sources"][images.SEEN] = said
    return Renewed(new, (*there.notes, *told.notes))


def from_index(data: dict[str, Any], index: Index, *, again: bool) -> Renewed:
    """Return the catalogue with new bundles of the frameworks and new runtimes of the toolkit."""
    new = copy.deepcopy(data)
    labels = [label for _, words in data["runtimes"]["rows"] for label in words.split()]
    new["bundles"]["rows"] = bundles(index, data["bundles"]["rows"], again=again)
    new["runtimes"]["rows"] = with_runtimes(data["runtimes"]["rows"], toolkits(index, labels, again=again))
    return Renewed(new, ())


def with_runtimes(rows: Iterable[list[str]], found: dict[str, str]) -> list[list[str]]:
    """Return the rows, with the found toolkits added to those of each runtime.

    If the sources state different runtimes for a toolkit, both rows keep the toolkit, because both are right.
    """
    known = {runtime: set(words.split()) for runtime, words in rows}
    for toolkit, runtime in found.items():
        known.setdefault(runtime, set()).add(toolkit)
    return [
        [runtime, " ".join(sorted(known[runtime], key=version_numbers))]
        for runtime in sorted(known, key=version_numbers)
    ]


def to_do(data: dict[str, Any]) -> tuple[str, ...]:
    """Return notes about the rows for new versions that people must add to the tables that they maintain."""
    releases = {minor_release(label) for _, words in data["runtimes"]["rows"] for label in words.split()}
    releases |= {minor_release(row[0]) for row in data["images"]["rows"]}
    drivers = {minor_release(row[0]) for row in data["drivers"]["rows"]}
    first = min(map(version_numbers, drivers))
    lacking = sorted((each for each in releases - drivers if version_numbers(each) > first), key=version_numbers)
    floors = sorted({each.partition(".")[0] for each in releases} - data["drivers"]["floors"].keys(), key=int)
    return (
        *(f"`drivers` has none for CUDA {each}: add it by hand, with its source" for each in lacking),
        *(f"`floors` has none for CUDA {each}: add it by hand" for each in floors if int(each) >= first[0] + 1),
    )
