"""`envcompile dockerfile` and `envcompile tag`: the Dockerfile of a locked spec, and the name of its image."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from envcompile import api
from envcompile.cli.output import OutputArtifact, add_output_options, write_artifact
from envcompile.diagnostics.errors import EXIT_OK
from envcompile.loading import find_spec, read_project

if TYPE_CHECKING:
    import argparse

    from envcompile.api import Dockerfile
    from envcompile.cli.output import Reporter

_ARTIFACT = OutputArtifact("Dockerfile", "envcompile dockerfile", "Dockerfile")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `dockerfile`."""
    add_output_options(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write the Dockerfile, or compare it with a file."""
    return write_artifact(arguments, reporter, _ARTIFACT, lambda: _make_dockerfile(arguments).text)


def add_tag_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tag`: none."""
    del parser


def run_tag(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print the name of the image."""
    del reporter
    sys.stdout.write(f"{_make_dockerfile(arguments).tag}\n")
    return EXIT_OK


def _make_dockerfile(arguments: argparse.Namespace) -> Dockerfile:
    # Not `load`, which checks the spec: the lock tells whether that is necessary.
    return api.dockerfile(read_project(find_spec(arguments.file)))
