"""`envcompile tree`: who needs whom, from the lock alone."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from envcompile.cli import graphs
from envcompile.diagnostics.errors import EXIT_OK
from envcompile.lock.tree import rows, tree

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from envcompile.cli.report import Reporter


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="what this package needs (default: all that is asked)")
    parser.add_argument(
        "--depth", metavar="N", type=_depth, help="no further than N steps; (*) marks what is drawn above"
    )
    graphs.options(parser)


def _depth(word: str) -> int:
    if not word.isdecimal():
        raise ArgumentTypeError(f"`{word}` is not a number of steps")
    return int(word)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Draw, or print the graph as JSON."""
    del reporter
    drawn = graphs.graphs(arguments)
    if arguments.name:
        nodes = graphs.found(drawn, arguments.name)
    else:
        nodes = {name: (*each.asked, *each.others) for name, each in drawn.items()}
    if arguments.form == "json":
        value = {name: rows(each.graph, each.asked) for name, each in drawn.items()}
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
        return EXIT_OK
    strokes = graphs.strokes()

    def lines(platform: str) -> Iterator[str]:
        return tree(drawn[platform].graph, nodes[platform], strokes, arguments.depth)

    graphs.write(drawn, lines)
    return EXIT_OK
