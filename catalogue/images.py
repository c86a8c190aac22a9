"""The rows of images in the catalogue, from the tags of a registry and the configurations of a few images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from envcompile.base_image.catalogue import Catalogue
from envcompile.versions import minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from envcompile.registry.client import TagContents

_TAG = re.compile(r"([0-9]+\.[0-9]+\.[0-9]+)-(?:(cudnn[0-9]?)-)?(base|runtime|devel)-([a-z]+[0-9]+(?:\.[0-9]+)?)")
# Only one image of each row is read: the first flavour here that exists. Images with cuDNN state the most facts.
_TELLING = ("cudnn-runtime", "cudnn-devel", "runtime", "devel", "base")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_BRANCH = re.compile(r"driver>=([0-9]+),driver<[0-9]+")
# Letters of sources: guesses, an assumed architecture, and the registry. A row that the registry shows is not a guess.
_GUESSED, _UNSEEN, SEEN = "sk", "a", "r"
_CUDA, _SYSTEM, _FLAVOURS, _ARCHITECTURES, _STATUS, _CUDNN, _SOURCES = range(7)

Key = tuple[str, str]


class Registry(Protocol):
    """The requests to a registry. `envcompile.registry.client.RegistryClient` implements them."""

    def list_tags(self, repository: str) -> tuple[str, ...]:
        """Return all tags of a repository."""

    def read_tag(self, reference: str) -> TagContents:
        """Return the platforms and the environment variables of the image with a tag."""

    def resolve_digest(self, reference: str) -> str:
        """Return the digest of a tag."""


class KnownTags(NamedTuple):
    """The parsed tags: their flavours by CUDA version and system, and `notes` about tags that were left out."""

    flavours: dict[Key, set[str]]
    notes: tuple[str, ...]


def parse_tags(data: dict[str, Any], tags: Collection[str]) -> KnownTags:
    """Group the tags by CUDA version and system.

    Tags that contradict the catalogue, or for which it lacks facts, are left out. A note for each reason reports them.
    """
    words, systems = data["images"]["cudnn-words"], {row[0] for row in data["systems"]["rows"]}
    found: dict[Key, set[str]] = {}
    left: dict[str, int] = {}
    for tag in tags:
        parts = _TAG.fullmatch(tag)
        if not parts:
            continue
        cuda, word, kind, system = parts.groups()
        expected = next(word for first, word in reversed(words) if version_numbers(cuda) >= version_numbers(first))
        if any(f"{cuda}.".startswith(f"{each}.") for each in data["deleted"]):
            why = f"`deleted` names CUDA {cuda}, and it is there: take it out by hand if that is so"
        elif system not in systems:
            why = f"`systems` has no `{system}`: add its image, glibc and Python by hand"
        elif word and word != expected:
            why = f"`cudnn-words` has `{expected}` for CUDA {cuda}, and the tags say `{word}`: add a row by hand"
        else:
            found.setdefault((cuda, system), set()).add(f"cudnn-{kind}" if word else kind)
            continue
        left[why] = left.get(why, 0) + 1
    return KnownTags(found, tuple(f"{count} tags left out: {why}" for why, count in sorted(left.items())))


def make_image_rows(data: dict[str, Any], there: KnownTags) -> list[list[str]]:
    """Return the rows of images with exactly the flavours that exist. New images are assumed to be for amd64."""
    kinds, known = data["images"]["flavours"], {(row[_CUDA], row[_SYSTEM]): row for row in data["images"]["rows"]}
    made = []
    for key, flavours in there.flavours.items():
        before = known.get(key, [*key, "", "amd64", "", "", _UNSEEN])
        confidence = "".join("h" if kind in flavours else "-" for kind in kinds)
        sources = "".join(sorted({*before[_SOURCES]} - {*_GUESSED} | {SEEN}))
        made.append([*key, confidence, *before[_ARCHITECTURES:_SOURCES], sources])
    return sorted(made, key=lambda row: (version_numbers(row[_CUDA]), row[_SYSTEM]))


def mark_superseded(made: list[list[str]]) -> list[list[str]]:
    """Return the rows with their status: a newer patch supersedes the older ones of its minor version.

    A status that a person has set is kept: that NVIDIA no longer supports a version (`eol`), or still lists it
    (`listed`).
    """
    newest: dict[str, tuple[int, ...]] = {}
    for row in made:
        newest[minor_release(row[_CUDA])] = max(newest.get(minor_release(row[_CUDA]), ()), version_numbers(row[_CUDA]))
    for row in made:
        if row[_STATUS] in {"", "superseded"}:
            row[_STATUS] = "superseded" if version_numbers(row[_CUDA]) < newest[minor_release(row[_CUDA])] else ""
    return made


def list_deleted_releases(data: dict[str, Any], made: list[list[str]]) -> list[str]:
    """Return the list `deleted` of the catalogue, extended by the CUDA versions that no longer have an image."""
    left = {row[_CUDA] for row in made}
    lost = {row[_CUDA] for row in data["images"]["rows"]} - left
    return sorted({*data["deleted"], *lost}, key=version_numbers)


class ImageFacts(NamedTuple):
    """Facts that images state: the runtime of each CUDA version, and the driver branches on which it starts.

    `notes` report the images that do not state everything, and the number of images that were not read.
    """

    runtimes: dict[str, str]
    branches: dict[str, str]
    notes: list[str]


def read_image_facts(data: dict[str, Any], made: list[list[str]], registry: Registry, most: int) -> ImageFacts:
    """Complete the rows with architectures and cuDNN versions from the registry.

    Reads at most `most` images: first new ones, then the newest.
    """
    kinds = data["images"]["flavours"]
    # New images come first: an image that does not state its cuDNN is read again each time, and must not displace them.
    open_rows = sorted((row for row in reversed(made) if _is_open(row, kinds)), key=lambda row: _UNSEEN not in row[-1])
    left = len(open_rows) - most
    told = ImageFacts({}, {}, [f"{left} images are still to be looked into: run this again"] if left > 0 else [])
    for row in open_rows[:most]:
        tag = _telling(data, row, kinds)
        found = registry.read_tag(f"{data['images']['repository']}:{tag}")
        architectures = sorted({each.split("/")[1] for each in found.platforms if each.startswith("linux/")})
        if architectures:
            row[_ARCHITECTURES] = " ".join(architectures)
            row[_SOURCES] = row[_SOURCES].replace(_UNSEEN, "")
        row[_CUDNN] = _numbers(found.variables.get("NV_CUDNN_VERSION", "")) or row[_CUDNN]
        if runtime := _numbers(found.variables.get("NV_CUDA_CUDART_VERSION", "")):
            told.runtimes[row[_CUDA]] = runtime
        if branches := sorted(set(_BRANCH.findall(found.variables.get("NVIDIA_REQUIRE_CUDA", ""))), key=int):
            told.branches[row[_CUDA]] = " ".join(branches)
        if _is_open(row, kinds):
            told.notes.append(f"`{tag}` does not say which cuDNN it has")
    return told


def digests(data: dict[str, Any], made: list[list[str]], registry: Registry) -> Iterator[list[str]]:
    """Yield a row of `digests` for each of its tags that still exists, with the current digest."""
    there = set(tags({**data, "images": {**data["images"], "rows": made}}))
    for tag, _ in data["digests"]["rows"]:
        if tag in there:
            yield [tag, registry.resolve_digest(f"{data['images']['repository']}:{tag}")]


def tags(data: dict[str, Any]) -> tuple[str, ...]:
    """Return the tags of all images in a catalogue, with any confidence."""
    known = Catalogue(data, "")
    return tuple(
        known.format_tag(image, kind)
        for image in known.images
        for kind, letter in zip(known.flavours, image.flavour_confidence, strict=True)
        if letter != "-"
    )


def _is_open(row: list[str], kinds: list[str]) -> bool:
    with_cudnn = any(
        letter != "-" for kind, letter in zip(kinds, row[_FLAVOURS], strict=True) if kind.startswith("cudnn")
    )
    return _UNSEEN in row[_SOURCES] or (with_cudnn and not row[_CUDNN])


def _telling(data: dict[str, Any], row: list[str], kinds: list[str]) -> str:
    kind = next(kind for kind in _TELLING if row[_FLAVOURS][kinds.index(kind)] != "-")
    words = data["images"]["cudnn-words"]
    word = next(word for first, word in reversed(words) if version_numbers(row[_CUDA]) >= version_numbers(first))
    return f"{row[_CUDA]}-{kind.replace('cudnn', word)}-{row[_SYSTEM]}"


def _numbers(version: str) -> str:
    """Return the numbers at the start of a version: `9.8.0.87` for `9.8.0.87-1`; "" if there are none."""
    found = _VERSION.match(version)
    return found[0] if found else ""
