"""`envcompile dockerfile`: the Dockerfile on standard output, or in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.cli.compiled import compiled
from envcompile.errors import FINE, NotFine, Unusable
from envcompile.files import write_text

if TYPE_CHECKING:
    import argparse

    from envcompile.cli.report import Reporter

NOT_THE_DOCKERFILE = "`{}` is not the Dockerfile of this spec and lock"


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write FILE, whole or not at all (default: standard output)"
    )
    parser.add_argument("--check", action="store_true", help="with -o: change nothing, exit 1 if FILE would change")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write or compare; 0, or `NotFine` when the compared file differs."""
    output = arguments.output
    if arguments.check and output is None:
        raise Unusable("`--check` compares a file, and none is named", "add `-o Dockerfile`")
    _, text = compiled(arguments.file)
    if output is None or output == "-":
        # Bytes: the same on every terminal, in every locale, with LF line ends on every system.
        sys.stdout.buffer.write(text.encode())
        return FINE
    path = Path(output)
    current = path.read_bytes() if path.is_file() else None
    if current == text.encode():
        reporter.say(f"`{output}` is current")
    elif arguments.check:
        raise NotFine(NOT_THE_DOCKERFILE.format(output), f"run `envcompile dockerfile -o {output}`")
    else:
        write_text(path, text)
        reporter.say(f"wrote `{output}`")
    return FINE
