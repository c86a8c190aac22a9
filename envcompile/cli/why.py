"""`envcompile why NAME`: the ways that lead to a package from what the spec asks for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from envcompile.cli import graphs
from envcompile.diagnostics.errors import EXIT_OK
from envcompile.lock.tree import paths, ways

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from envcompile.cli.report import Reporter


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("name", metavar="NAME", help="a package of the lock")
    graphs.options(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print the shortest way from each requirement that needs the package."""
    del reporter
    drawn = graphs.graphs(arguments)
    ends = graphs.found(drawn, arguments.name)
    if arguments.form == "json":
        value = {
            platform: [
                [{"kind": node.kind, "name": node.name, "version": graph.packages[node].version} for node in path]
                for path in paths(graph, roots, ends[platform])
            ]
            for platform, (graph, roots, _) in drawn.items()
        }
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
        return EXIT_OK
    strokes = graphs.strokes()

    def lines(platform: str) -> Iterator[str]:
        graph, roots, _ = drawn[platform]
        return ways(graph, roots, ends[platform], strokes) if ends[platform] else iter(("it is not locked here",))

    graphs.write(drawn, lines)
    return EXIT_OK
