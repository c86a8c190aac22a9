"""A catalogue renewed: what is derived is derived again, what people know stays."""

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
    """The catalogue as it is now, and what only people can do about it."""

    data: dict[str, Any]
    notes: tuple[str, ...]


def from_registry(data: dict[str, Any], registry: images.Registry, most: int, date: str) -> Renewed:
    """Images, digests, deleted versions; runtimes and driver branches of the images that were looked into."""
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
    """Bundles of the frameworks, and runtimes of the toolkit."""
    new = copy.deepcopy(data)
    labels = [label for _, words in data["runtimes"]["rows"] for label in words.split()]
    new["bundles"]["rows"] = bundles(index, data["bundles"]["rows"], again=again)
    new["runtimes"]["rows"] = with_runtimes(data["runtimes"]["rows"], toolkits(index, labels, again=again))
    return Renewed(new, ())


def with_runtimes(rows: Iterable[list[str]], found: dict[str, str]) -> list[list[str]]:
    """The rows, with toolkits put to their runtimes. Sources that differ are both right: none is taken away."""
    known = {runtime: set(words.split()) for runtime, words in rows}
    for toolkit, runtime in found.items():
        known.setdefault(runtime, set()).add(toolkit)
    return [
        [runtime, " ".join(sorted(known[runtime], key=version_numbers))]
        for runtime in sorted(known, key=version_numbers)
    ]


def to_do(data: dict[str, Any]) -> tuple[str, ...]:
    """What new versions want of the tables that people keep."""
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
