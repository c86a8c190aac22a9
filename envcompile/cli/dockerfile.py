"""`envcompile dockerfile`: the Dockerfile on standard output, or in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.api import compile_spec_file
from envcompile.cli.output import OutputArtifact, add_output_options, write_artifact

if TYPE_CHECKING:
    import argparse

    from envcompile.cli.output import Reporter

DOCKERFILE_ARTIFACT = OutputArtifact("Dockerfile", "envcompile dockerfile", "Dockerfile")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_output_options(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write or compare; 0, or `CheckFailedError` when the compared file differs."""
    return write_artifact(arguments, reporter, DOCKERFILE_ARTIFACT, lambda: compile_spec_file(arguments.file)[1])
