"""`envcompile explain CODE`: what an error code means."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from envcompile.diagnostics import did_you_mean
from envcompile.errors import FINE, Unusable
from envcompile.rules import RULES

if TYPE_CHECKING:
    import argparse

    from envcompile.cli.report import Reporter


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("code", metavar="CODE", nargs="?", help="such as `unknown-key`")
    parser.add_argument("--list", action="store_true", help="list the codes")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print one rule, or the table of them."""
    del reporter
    if arguments.list:
        width = max(map(len, RULES))
        sys.stdout.writelines(f"{rule.slug:<{width}}  {rule.summary}\n" for rule in RULES.values())
        return FINE
    if arguments.code is None:
        raise Unusable("no error code is named", "add one, such as `unknown-key`, or `--list`")
    rule = RULES.get(arguments.code)
    if rule is None:
        hint = did_you_mean(arguments.code, RULES) or "run `envcompile explain --list`"
        raise Unusable(f"`{arguments.code}` is not an error code", hint)
    sys.stdout.write(f"{rule.slug}: {rule.summary}\n\n{textwrap.fill(rule.explanation, 100)}\n")
    return FINE
