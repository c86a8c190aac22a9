"""Where an artefact goes: standard output, or a file, which is written whole or not at all, or compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError, InvalidInputError
from envcompile.project.files import write_text
from envcompile.project.generated_files import format_mismatch_message

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from envcompile.cli.report import Reporter


class Artefact(NamedTuple):
    """What is written: its name for people, the command that writes it, and what its file is called by custom."""

    name: str
    command: str
    file: str


def options(parser: argparse.ArgumentParser) -> None:
    """The options that say where it goes."""
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write FILE, whole or not at all (default: standard output)"
    )
    parser.add_argument("--check", action="store_true", help="with -o: change nothing, exit 1 if FILE would change")


def deliver(arguments: argparse.Namespace, reporter: Reporter, artefact: Artefact, make: Callable[[], str]) -> int:
    """Make the text, and write or compare it; 0, or `NotFine` when the compared file differs."""
    output = arguments.output
    if arguments.check and output is None:
        raise InvalidInputError("`--check` compares a file, and none is named", f"add `-o {artefact.file}`")
    text = make()
    if output is None or output == "-":
        # Bytes: the same on every terminal, in every locale, with LF line ends on every system.
        sys.stdout.buffer.write(text.encode())
        return EXIT_OK
    path = Path(output)
    current = path.read_bytes() if path.is_file() else None
    if current == text.encode():
        reporter.say(f"`{output}` is current")
    elif arguments.check:
        raise CheckFailedError(format_mismatch_message(output, artefact.name), f"run `{artefact.command} -o {output}`")
    else:
        write_text(path, text)
        reporter.say(f"wrote `{output}`")
    return EXIT_OK


def catalogue_option(parser: argparse.ArgumentParser) -> None:
    """The option that names one."""
    said = "what is known of CUDA and its images, newer than this release's (default: the settings' `catalogue`)"
    parser.add_argument("--catalogue", metavar="FILE", help=said)
