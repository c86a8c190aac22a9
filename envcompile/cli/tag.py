"""`envcompile tag`: repository:hash on standard output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from envcompile.api import compile_spec_file, format_full_tag
from envcompile.diagnostics.errors import EXIT_OK

if TYPE_CHECKING:
    import argparse

    from envcompile.cli.output import Reporter


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command: none of its own."""
    del parser


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print the tag: the repository (or the name) and the first digits of the Dockerfile's sha256."""
    del reporter
    sys.stdout.write(f"{format_full_tag(*compile_spec_file(arguments.file))}\n")
    return EXIT_OK
