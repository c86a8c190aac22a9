"""`envcompile explain [CODE]`: why these base images; or what an error code means."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import did_you_mean
from envcompile.diagnostics.errors import EXIT_OK, InvalidInputError
from envcompile.diagnostics.rules import RULES

if TYPE_CHECKING:
    import argparse

    from envcompile.cli.report import Reporter


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("code", metavar="CODE", nargs="?", help="such as `unknown-key`; none: why these base images")
    parser.add_argument("--list", action="store_true", help="list the codes")
    parser.add_argument("--as", dest="form", choices=("text", "json"), default="text", help="default: text")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print one rule, the table of them, or the trail of the bases."""
    del reporter
    if arguments.list:
        width = max(map(len, RULES))
        sys.stdout.writelines(f"{rule.slug:<{width}}  {rule.summary}\n" for rule in RULES.values())
        return EXIT_OK
    if arguments.code is None:
        return _bases(arguments)
    rule = RULES.get(arguments.code)
    if rule is None:
        hint = did_you_mean(arguments.code, RULES) or "run `envcompile explain --list`"
        raise InvalidInputError(f"`{arguments.code}` is not an error code", hint)
    sys.stdout.write(f"{rule.slug}: {rule.summary}\n\n{textwrap.fill(rule.explanation, 100)}\n")
    return EXIT_OK


def _bases(arguments: argparse.Namespace) -> int:
    from envcompile.cli import bases  # noqa: PLC0415 - not to explain a code
    from envcompile.loading import find_lock_path, find_spec, read_lock  # noqa: PLC0415

    lock = read_lock(find_lock_path(find_spec(arguments.file)))
    lines = [bases.document(lock)] if arguments.form == "json" else bases.text(lock)
    # Bytes: the same on every terminal, in every locale.
    sys.stdout.buffer.writelines(f"{line}\n".encode() for line in lines)
    return EXIT_OK
