"""The commands, their options, and the place where errors become exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile import __version__
from envcompile.cli.output import Reporter
from envcompile.diagnostics.errors import EXIT_CODES, EnvcompileError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class Command(NamedTuple):
    """A command: its help text, its module in `envcompile.cli`, and the names of two functions in the module."""

    summary: str
    module: str
    add_options: str = "add_options"
    run: str = "run"


COMMANDS = {
    "lock": Command("solve the spec and write the lock", "lock"),
    "verify": Command("say offline whether locks answer their specs, and Dockerfiles their locks", "verify"),
    "dockerfile": Command("write the Dockerfile of a locked spec", "dockerfile"),
    "export": Command("write the lock in a format of another tool", "export"),
    "tag": Command(
        "print repository:hash, the hash being that of the Dockerfile", "dockerfile", "add_tag_options", "run_tag"
    ),
    "build": Command("build the image by `docker buildx`, unless its tag is there", "build"),
    "bake": Command("print a bake file that builds one or many specs", "build", "add_bake_options", "run_bake"),
    "diff": Command("say what changed in the lock, since a revision of git or beside another file", "diff"),
    "tree": Command("draw who needs whom in the lock", "tree"),
    "why": Command("say why a package is in the lock", "why"),
    "doctor": Command(
        "look at docker, the resolvers and the driver of this machine, and say what mends them", "doctor"
    ),
    "explain": Command("say why the lock has these base images, or what an error code means", "explain"),
    "schema": Command("print the JSON Schema of the spec, of the lock or of a catalogue, for editors", "schema"),
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
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            parents=[shared] if name in _COMMANDS_WITH_OWN_FORMAT else [shared, telling],
            allow_abbrev=False,
        )
        if name in words:
            _load_function(command.module, command.add_options)(sub)
    return top


def main(argv: list[str]) -> int:
    """Run one command; the exit code. Everything for people goes to standard error."""
    options = create_parser(argv).parse_args(argv, argparse.Namespace(**_DEFAULT_OPTIONS))
    reporter = Reporter(sys.stderr, os.environ, options)
    try:
        if options.directory is not None:
            _change_directory(options.directory)
        command = COMMANDS[options.command]
        return int(_load_function(command.module, command.run)(options, reporter))
    except EnvcompileError as error:
        reporter.show_error(error)
        return error.exit_code


def _load_function(module: str, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(import_module(f"envcompile.cli.{module}"), name)
    return function


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
