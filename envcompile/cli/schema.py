"""`envcompile schema`: the JSON Schema of the spec, of the lock or of a catalogue, for editors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import EXIT_OK
from envcompile.loading import SCHEMA_FILES, find_schema_file

if TYPE_CHECKING:
    import argparse

    from envcompile.cli.output import Reporter


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "of",
        metavar="spec|lock|catalogue",
        nargs="?",
        choices=tuple(SCHEMA_FILES),
        default="spec",
        help="The file that the schema describes (default: spec)",
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print one schema, byte for byte."""
    del reporter
    sys.stdout.buffer.write(find_schema_file(arguments.of).read_bytes())
    return EXIT_OK
