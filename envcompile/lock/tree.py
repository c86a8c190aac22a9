"""The graph of a lock drawn for people: as a tree, or as the ways that lead to one package."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.lock.graph import shortest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from envcompile.lock.graph import Graph, Node


class Strokes(NamedTuple):
    """What a tree is drawn with."""

    tee: str
    last: str
    bar: str
    arrow: str


UNICODE = Strokes("├── ", "└── ", "│   ", "→")
ASCII = Strokes("|-- ", "`-- ", "|   ", "->")
_AGAIN = " (*)"


def tree(drawn: Graph, roots: Sequence[Node], strokes: Strokes, depth: int | None = None) -> Iterator[str]:
    """A line for each package, below those that need it, `depth` steps from the roots and no further.

    What a package needs is drawn once; where the package stands again it has a mark instead, so that no tree is longer
    than the lock has needs, and a circle ends.
    """
    deep = inf if depth is None else depth
    # Of each package how many steps below it are drawn already. A stack: a chain may be longer than Python recurses.
    below: dict[Node, float] = {}
    waiting = [(root, "", "", deep) for root in reversed(roots)]
    while waiting:
        node, lead, indent, left = waiting.pop()
        needs = drawn.needs[node]
        again = bool(needs) and below.get(node, -1) >= left
        yield f"{lead}{drawn.label(node)}{_AGAIN if again and left else ''}"
        if again or not left:
            continue
        below[node] = left
        for index, end in enumerate(reversed(needs)):
            stroke, rest = (strokes.tee, strokes.bar) if index else (strokes.last, " " * len(strokes.bar))
            waiting.append((end, indent + stroke, indent + rest, left - 1))


def ways(drawn: Graph, roots: Iterable[Node], ends: Iterable[Node], strokes: Strokes) -> Iterator[str]:
    """For each package that is asked for the shortest way from it to each of some packages, if there is one."""
    found = paths(drawn, roots, ends)
    for path in found:
        asked = "" if path[1:] else ", which the spec asks for"
        yield f" {strokes.arrow} ".join(map(drawn.label, path)) + asked
    if not found:
        yield "nothing that the spec asks for needs it"


def paths(drawn: Graph, roots: Iterable[Node], ends: Iterable[Node]) -> list[tuple[Node, ...]]:
    """The shortest ways, the shortest of all first."""
    targets = tuple(ends)
    found = [path for root in roots for end in targets if (path := shortest(drawn, root, end))]
    return sorted(found, key=len)


def rows(drawn: Graph, roots: Iterable[Node]) -> list[dict[str, Any]]:
    """The graph for machines: each package with its needs as they are called, and whether the spec asks for it."""
    own = set(roots)
    return [
        {
            "kind": node.kind,
            "name": node.name,
            "version": package.version,
            "asked": node in own,
            "needs": [{"kind": end.kind, "name": end.name} for end in drawn.needs[node]],
        }
        for node, package in sorted(drawn.packages.items())
    ]
