"""The commands, their options, and the place where errors become exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from envcompile import __version__
from envcompile.cli.output import Reporter
from envcompile.diagnostics.errors import EXIT_CODES, EnvcompileError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Collection

# Command -> what it does, for the first page of the help. A module of the same name holds the rest.
COMMANDS = {
    "lock": "solve the spec and write the lock",
    "verify": "say offline whether locks answer their specs, and Dockerfiles their locks",
    "dockerfile": "write the Dockerfile of a locked spec",
    "export": "write the lock in a format of another tool",
    "tag": "print repository:hash, the hash being that of the Dockerfile",
    "build": "build the image by `docker buildx`, unless its tag is there",
    "bake": "print a bake file that builds one or many specs",
    "diff": "say what changed in the lock, since a revision of git or beside another file",
    "tree": "draw who needs whom in the lock",
    "why": "say why a package is in the lock",
    "doctor": "look at docker, the resolvers and the driver of this machine, and say what mends them",
    "explain": "say why the lock has these base images, or what an error code means",
    "schema": "print the JSON Schema of the spec, of the lock or of a catalogue, for editors",
}
# Behind these commands, `--format` is the format of what they write.
_COMMANDS_WITH_OWN_FORMAT = frozenset({"doctor", "export"})


def create_parser(words: Collection[str]) -> argparse.ArgumentParser:
    """The parser of the command line. Only the modules of commands that are among its words are imported."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("-C", "--directory", metavar="DIR", help="work as if started in DIR")
    shared.add_argument(
        "-f", "--file", metavar="FILE", help="the spec (default: envcompile.toml or pyproject.toml, here or above)"
    )
    shared.add_argument("-q", "--quiet", action="store_true", help="say only what is wrong")
    shared.add_argument("-v", "--verbose", action="store_true", help="say more")
    shared.add_argument("--color", choices=("auto", "always", "never"), help="colour what is said (default: auto)")
    telling = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    telling.add_argument("--format", choices=("text", "json", "github"), help="how mistakes are told (default: text)")
    codes = "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items())
    top = argparse.ArgumentParser(
        prog="envcompile",
        description="One TOML file in; one lock, one reproducible Dockerfile and a tag that is its hash out.",
        epilog=f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared, telling],
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"envcompile {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            parents=[shared] if name in _COMMANDS_WITH_OWN_FORMAT else [shared, telling],
            allow_abbrev=False,
        )
        if name in words:
            import_module(f"envcompile.cli.{name}").add_options(sub)
    return top


def main(argv: list[str]) -> int:
    """Run one command; the exit code. Everything for people goes to standard error."""
    options = create_parser(argv).parse_args(argv, argparse.Namespace(**_DEFAULT_OPTIONS))
    reporter = Reporter(sys.stderr, os.environ, options)
    try:
        if options.directory is not None:
            _change_directory(options.directory)
        return int(import_module(f"envcompile.cli.{options.command}").run(options, reporter))
    except EnvcompileError as error:
        reporter.show_error(error)
        return error.exit_code


_DEFAULT_OPTIONS = {
    "directory": None,
    "file": None,
    "quiet": False,
    "verbose": False,
    "color": "auto",
    "format": "text",
}


def _change_directory(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as problem:
        raise InvalidInputError(f"`{folder}` cannot be entered: {problem.strerror}") from None
