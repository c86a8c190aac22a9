"""`envcompile tree` and `envcompile why`: print the dependency graph of the locked packages, or paths in it.

`tree` prints dependencies below their dependents. `why NAME` prints the shortest path from each requirement to a
package.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.diagnostics.diagnostic import did_you_mean, escape_unprintable
from envcompile.diagnostics.errors import EXIT_OK, InvalidInputError
from envcompile.loading import find_lock_path, find_spec, read_lock, read_source
from envcompile.lock.graph import build_graph, find_requested_packages, find_shortest_path
from envcompile.spec.decode import parse_spec
from envcompile.spec.solver_inputs import INIT_PACKAGE, list_pip_requirements

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from envcompile.cli.output import Reporter
    from envcompile.lock.graph import DependencyGraph, PackageNode
    from envcompile.lock.model import PlatformLock
    from envcompile.spec.model import Spec


class TreeStyle(NamedTuple):
    """The characters of a tree."""

    tee: str
    last: str
    bar: str
    arrow: str


UNICODE_STYLE = TreeStyle("├── ", "└── ", "│   ", "→")
ASCII_STYLE = TreeStyle("|-- ", "`-- ", "|   ", "->")
_REPEATED_MARK = " (*)"


def draw_tree(
    drawn: DependencyGraph, roots: Sequence[PackageNode], strokes: TreeStyle, depth: int | None = None
) -> Iterator[str]:
    """Yield one line for each package below its dependents, at most `depth` levels below the roots.

    Where a package appears again, a mark replaces its dependencies, unless more levels of them can be drawn there than
    before. Without `depth`, a tree therefore has at most one line for each dependency, and cycles end.
    """
    deep = inf if depth is None else depth
    # The number of levels already drawn below each package. A stack, because a chain can exceed the recursion limit.
    below: dict[PackageNode, float] = {}
    waiting = [(root, "", "", deep) for root in reversed(roots)]
    while waiting:
        node, lead, indent, left = waiting.pop()
        needs = drawn.dependencies[node]
        again = bool(needs) and below.get(node, -1) >= left
        yield f"{lead}{drawn.format_label(node)}{_REPEATED_MARK if again and left else ''}"
        if again or not left:
            continue
        below[node] = left
        for index, end in enumerate(reversed(needs)):
            stroke, rest = (strokes.tee, strokes.bar) if index else (strokes.last, " " * len(strokes.bar))
            waiting.append((end, indent + stroke, indent + rest, left - 1))


def draw_paths(
    drawn: DependencyGraph,
    roots: Iterable[PackageNode],
    ends: Iterable[PackageNode],
    strokes: TreeStyle,
    init: str | None = None,
) -> Iterator[str]:
    """Yield the shortest path from each requested package to each of `ends`, if there is one.

    `init` is the name of the package that `init = true` requests, if the spec does not list it.
    """
    found = find_shortest_paths(drawn, roots, ends)
    for path in found:
        requested = "`init` in `[image]` requests" if path[0].name == init else "the spec requests"
        remark = "" if path[1:] else f", which {requested}"
        yield f" {strokes.arrow} ".join(map(drawn.format_label, path)) + remark
    if not found:
        yield "no requested package depends on it"


def find_shortest_paths(
    drawn: DependencyGraph, roots: Iterable[PackageNode], ends: Iterable[PackageNode]
) -> list[tuple[PackageNode, ...]]:
    """Return the shortest path from each of `roots` to each of `ends`, if there is one, sorted by length."""
    targets = tuple(ends)
    found = [path for root in roots for end in targets if (path := find_shortest_path(drawn, root, end))]
    return sorted(found, key=len)


def list_graph_rows(drawn: DependencyGraph, roots: Iterable[PackageNode]) -> list[dict[str, Any]]:
    """Return the rows of the JSON output: each package, its dependencies, and whether the spec requests it."""
    own = set(roots)
    return [
        {
            "kind": node.kind,
            "name": node.name,
            "version": package.version,
            "asked": node in own,
            "needs": [{"kind": end.kind, "name": end.name} for end in drawn.dependencies[node]],
        }
        for node, package in sorted(drawn.packages.items())
    ]


class PlatformGraph(NamedTuple):
    """The graph of one platform, the packages that the spec requests, and other packages without dependents.

    The latter exist only if the spec has changed since it was locked. `init` is the name of the package that
    `init = true` requests, if the spec does not list it.
    """

    graph: DependencyGraph
    requested: tuple[PackageNode, ...]
    unrequired: tuple[PackageNode, ...]
    init: str | None = None


def add_graph_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of both commands."""
    parser.add_argument("--platform", metavar="PLATFORM", help="Show one platform (default: all)")
    parser.add_argument(
        "--as", dest="form", choices=("text", "json"), default="text", help="The output format (default: text)"
    )


def read_graphs(arguments: argparse.Namespace) -> dict[str, PlatformGraph]:
    """Return the graphs by platform.

    Raises `InvalidInputError` if the lock cannot be read or lacks the requested platform, and `DiagnosticsError` if the
    spec is not valid.
    """
    path = find_spec(arguments.file)
    spec, lock = parse_spec(read_source(path)), read_lock(find_lock_path(path))
    known = [each.platform for each in lock.platforms]
    only = arguments.platform
    if only is not None and only not in known:
        hint = did_you_mean(only, known) or f"it has {', '.join(f'`{each}`' for each in known)}"
        raise InvalidInputError(f"the lock does not have the platform `{only}`", hint)
    return {
        each.platform: _create_platform_graph(spec, each) for each in lock.platforms if only in (None, each.platform)
    }


def _create_platform_graph(spec: Spec, platform: PlatformLock) -> PlatformGraph:
    drawn = build_graph(platform)
    roots = find_requested_packages(spec, drawn)
    return PlatformGraph(
        drawn,
        roots,
        tuple(node for node, by in drawn.dependents.items() if not by and node not in roots),
        INIT_PACKAGE if list_pip_requirements(spec) != spec.pip.packages else None,
    )


def find_nodes(drawn: dict[str, PlatformGraph], name: str) -> dict[str, tuple[PackageNode, ...]]:
    """Return the packages with a name, by platform. Raises `InvalidInputError` if no platform has one."""
    normal = name.lower()
    nodes = {
        platform: each.graph.find_nodes(normal) or each.graph.find_nodes(_normalize_name(name))
        for platform, each in drawn.items()
    }
    if not any(nodes.values()):
        known = {each for one in drawn.values() for each in one.graph.collect_names()}
        raise InvalidInputError(
            f"`{name}` is not in the lock", did_you_mean(name, known) or "`envcompile tree` shows what is"
        )
    return nodes


def _normalize_name(name: str) -> str:
    from envcompile.spec.pip import parse_package_name  # noqa: PLC0415 - for a name that is not conda's

    return parse_package_name(name)


def select_style() -> TreeStyle:
    """The style that the encoding of standard output supports."""
    try:
        "".join(UNICODE_STYLE).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII_STYLE
    return UNICODE_STYLE


def write_by_platform(drawn: Iterable[str], lines: Callable[[str], Iterable[str]]) -> None:
    """Write the lines of each platform below its name. Platforms with the same lines share one block."""
    same: dict[tuple[str, ...], list[str]] = {}
    for platform in drawn:
        same.setdefault(tuple(lines(platform)), []).append(platform)
    blocks = (f"{', '.join(platforms)}\n" + "".join(f"{line}\n" for line in each) for each, platforms in same.items())
    sys.stdout.write(escape_unprintable("\n".join(blocks)))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tree`."""
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="Show the dependencies of this package (default: of all requirements)"
    )
    parser.add_argument(
        "--depth", metavar="N", type=_parse_depth, help="Show N levels; (*) marks a package that is shown above"
    )
    add_graph_options(parser)


def _parse_depth(word: str) -> int:
    if not word.isdecimal():
        raise ArgumentTypeError(f"`{word}` is not a number of levels")
    return int(word)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print the tree, or the graph as JSON."""
    del reporter
    drawn = read_graphs(arguments)
    if arguments.name:
        nodes = find_nodes(drawn, arguments.name)
    else:
        nodes = {name: (*each.requested, *each.unrequired) for name, each in drawn.items()}
    if arguments.form == "json":
        value = {name: list_graph_rows(each.graph, each.requested) for name, each in drawn.items()}
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
        return EXIT_OK
    strokes = select_style()

    def lines(platform: str) -> Iterator[str]:
        return draw_tree(drawn[platform].graph, nodes[platform], strokes, arguments.depth)

    write_by_platform(drawn, lines)
    return EXIT_OK


# `envcompile why NAME`: the dependency paths from the requirements of the spec to a package.


def add_why_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `why`."""
    parser.add_argument("name", metavar="NAME", help="A package in the lock")
    add_graph_options(parser)


def run_why(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print the shortest path to the package from each requirement that needs it."""
    del reporter
    drawn = read_graphs(arguments)
    ends = find_nodes(drawn, arguments.name)
    if arguments.form == "json":
        value = {
            platform: [
                [{"kind": node.kind, "name": node.name, "version": graph.packages[node].version} for node in path]
                for path in find_shortest_paths(graph, roots, ends[platform])
            ]
            for platform, (graph, roots, *_) in drawn.items()
        }
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
        return EXIT_OK
    strokes = select_style()

    def lines(platform: str) -> Iterator[str]:
        graph, roots, _, init = drawn[platform]
        return (
            draw_paths(graph, roots, ends[platform], strokes, init)
            if ends[platform]
            else iter(("it is not locked here",))
        )

    write_by_platform(drawn, lines)
    return EXIT_OK
