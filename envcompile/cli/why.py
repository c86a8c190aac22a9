"""`envcompile why NAME`: the ways that lead to a package from what the spec asks for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from envcompile.cli.tree import (
    add_graph_options,
    draw_paths,
    find_nodes,
    find_shortest_paths,
    read_graphs,
    select_style,
    write_by_platform,
)
from envcompile.diagnostics.errors import EXIT_OK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from envcompile.cli.output import Reporter


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("name", metavar="NAME", help="A package in the lock")
    add_graph_options(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print the shortest way from each requirement that needs the package."""
    del reporter
    drawn = read_graphs(arguments)
    ends = find_nodes(drawn, arguments.name)
    if arguments.form == "json":
        value = {
            platform: [
                [{"kind": node.kind, "name": node.name, "version": graph.packages[node].version} for node in path]
                for path in find_shortest_paths(graph, roots, ends[platform])
            ]
            for platform, (graph, roots, _) in drawn.items()
        }
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
        return EXIT_OK
    strokes = select_style()

    def lines(platform: str) -> Iterator[str]:
        graph, roots, _ = drawn[platform]
        return draw_paths(graph, roots, ends[platform], strokes) if ends[platform] else iter(("it is not locked here",))

    write_by_platform(drawn, lines)
    return EXIT_OK
