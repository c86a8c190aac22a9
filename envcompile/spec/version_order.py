"""The order of conda's versions, which is not that of PEP 440.

CEP 33 has the rules: https://github.com/conda/ceps/blob/main/cep-0033.md. A version is an epoch, segments and a local
part; a segment is a run of components, and `dev` < `_` < letters < numbers < `post`. What is missing counts as 0, so
that 1.0 equals 1, while 1.0rc1 and 1.0+cu118 stand below 1.0, and 1.0.post1 above it. Where conda and rattler differ
(`1.1a_` against `1.1a`), this is what rattler does: the resolver is the one to agree with.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import NamedTuple

# A rank, then what two of that rank are compared by: (2, 0, "rc"), (3, 26, "").
Component = tuple[int, int, str]
Segment = tuple[Component, ...]

_DEV, _LETTERS, _NUMBER = 0, 2, 3
_WORDS: dict[str, Component] = {"dev": (_DEV, 0, ""), "_": (1, 0, ""), "post": (4, 0, "")}
_ZERO: Component = (_NUMBER, 0, "")

_PART = r"[0-9A-Za-z]+(?:[._-][0-9A-Za-z]+)*[_-]?"
_VERSION = rf"(?:[0-9]+!)?{_PART}(?:\+{_PART})?"


class Version(NamedTuple):
    """A version in its parts; `1!1.0rc1+cu118` has the epoch 1, the release `1.0rc1` and the local part `cu118`."""

    epoch: int
    release: tuple[Segment, ...]
    local: tuple[Segment, ...]


def version(text: str) -> Version:
    """The version that a text says. Raises ValueError where it says none."""
    if not re.fullmatch(_VERSION, text) or ("-" in text and "_" in text):
        raise ValueError(text)
    rest, _, local = text.lower().replace("-", "_").partition("+")
    epoch, mark, release = rest.rpartition("!")
    return Version(int(epoch) if mark else 0, _segments(release), _segments(local))


def _segments(text: str) -> tuple[Segment, ...]:
    return tuple(_segment(each) for each in re.split("[._](?=.)", text) if each)


def _segment(text: str) -> Segment:
    components = tuple(_component(each) for each in re.findall("[0-9]+|[a-z]+|_", text))
    # Letters stand where a number could: 1.rc1 is 1.0rc1.
    return components if text[0].isdigit() else (_ZERO, *components)


def _component(text: str) -> Component:
    return (_NUMBER, int(text), "") if text.isdigit() else _WORDS.get(text, (_LETTERS, 0, text))


def compare(left: Version, right: Version) -> int:
    """-1, 0 or 1, as `left` stands below, with or above `right`."""
    if left.epoch != right.epoch:
        return -1 if left.epoch < right.epoch else 1
    return _compare(left.release, right.release) or _compare(left.local, right.local)


def _compare(left: tuple[Segment, ...], right: tuple[Segment, ...]) -> int:
    for ours, theirs in zip_longest(left, right, fillvalue=()):
        for one, other in zip_longest(ours, theirs, fillvalue=_ZERO):
            if one != other:
                return -1 if one < other else 1
    return 0


def starts_with(whole: Version, start: Version) -> bool:
    """Whether `whole` is of the series `start`: 1.26.4 and 1.26rc1 are of 1.26, and 1.260 is not."""
    if whole.epoch != start.epoch:
        return False
    return _starts_with(whole.release, start.release) and _starts_with(whole.local, start.local)


def _starts_with(whole: tuple[Segment, ...], start: tuple[Segment, ...]) -> bool:
    inside = min(len(whole), len(start)) - 1
    for index, theirs in enumerate(start):
        ours = whole[index] if index < len(whole) else ()
        # A segment may go on where one of the two versions ends, and only there: 1.26rc1 is of 1.26, and of 1.26.0 too.
        if index < inside and len(ours) > len(theirs):
            return False
        if any(one != other for one, other in zip_longest(ours[: len(theirs)], theirs, fillvalue=_ZERO)):
            return False
    return True
