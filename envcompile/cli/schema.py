"""`envcompile schema`: the JSON Schema of the spec, of the lock or of a catalogue, for editors."""

from __future__ import annotations

import sys
from importlib import resources
from typing import TYPE_CHECKING

from envcompile.errors import FINE

if TYPE_CHECKING:
    import argparse
    from importlib.resources.abc import Traversable

    from envcompile.cli.report import Reporter

FILES = {"spec": "spec.v1.json", "lock": "lock.v1.json", "catalogue": "catalogue.v1.json"}


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "of", metavar="spec|lock|catalogue", nargs="?", choices=tuple(FILES), default="spec", help="default: spec"
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print one schema, byte for byte."""
    del reporter
    sys.stdout.buffer.write(file(arguments.of).read_bytes())
    return FINE


def file(of: str) -> Traversable:
    """The schema of a row of `FILES`: in the package when it is installed, at the top of a checkout otherwise."""
    package = resources.files("envcompile")
    installed = package / "schemas" / FILES[of]
    return installed if installed.is_file() else package / ".." / "schemas" / FILES[of]
