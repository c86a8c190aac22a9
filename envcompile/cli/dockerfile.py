"""`envcompile dockerfile`: the Dockerfile on standard output, or in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.cli import artefact
from envcompile.cli.compiled import compiled

if TYPE_CHECKING:
    import argparse

    from envcompile.cli.report import Reporter

DOCKERFILE = artefact.Artefact("Dockerfile", "envcompile dockerfile", "Dockerfile")


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    artefact.options(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write or compare; 0, or `NotFine` when the compared file differs."""
    return artefact.deliver(arguments, reporter, DOCKERFILE, lambda: compiled(arguments.file)[1])
