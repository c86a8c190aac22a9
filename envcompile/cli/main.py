"""The command line: the commands, the options that they share, and the conversion of errors to exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from envcompile import __version__
from envcompile.cli.output import Reporter
from envcompile.diagnostics.diagnostic import did_you_mean
from envcompile.diagnostics.errors import EXIT_CODES, EXIT_INVALID_INPUT, EnvcompileError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class Command(NamedTuple):
    """A command: a line of help, the module in `envcompile.cli`, and the names of two functions in the module.

    `add_options` takes a parser, `run` takes the parsed arguments and a `Reporter` and returns the exit code.
    """

    summary: str
    module: str
    add_options: str = "add_options"
    run: str = "run"


# As `description` in pyproject.toml.
_DESCRIPTION = (
    "Compile a TOML spec of conda, pip and apt packages to a lock file, a reproducible Dockerfile and its tag."
)
COMMANDS = {
    "lock": Command("Resolve the spec and update the lock", "lock"),
    "verify": Command("Check that locks satisfy their specs and that generated files are current", "verify"),
    "dockerfile": Command(
        "Generate the Dockerfile from the lock", "artifacts", "add_dockerfile_options", "run_dockerfile"
    ),
    "export": Command("Export the lock to the format of another tool", "artifacts", "add_export_options", "run_export"),
    "tag": Command("Print the name of the image, repository:hash", "artifacts", "add_tag_options", "run_tag"),
    "build": Command("Build the image with docker buildx, unless it exists", "build"),
    "bake": Command(
        "Generate a file for docker buildx bake that builds one or more specs", "build", "add_bake_options", "run_bake"
    ),
    "diff": Command("Show the changes of the lock since a git revision, or between two locks", "diff"),
    "tree": Command("Show the dependency tree of the lock", "tree"),
    "why": Command("Show why a package is in the lock", "tree", "add_why_options", "run_why"),
    "size": Command("Show the sizes of layers and packages, and compare them with a budget", "size"),
    "doctor": Command("Check Docker, the resolvers and the NVIDIA driver of this machine", "doctor"),
    "explain": Command("Explain the choice of the base images, or an error code", "explain"),
    "schema": Command(
        "Print the JSON Schema of the spec, the lock or a catalogue", "artifacts", "add_schema_options", "run_schema"
    ),
}
# The option `--format` of these commands selects the format of their output.
_COMMANDS_WITH_OWN_FORMAT = frozenset({"doctor", "export"})
_DEFAULT_OPTIONS = {
    "directory": None,
    "file": None,
    "quiet": False,
    "verbose": False,
    "color": "auto",
    "format": "text",
}


class CommandLineParser(argparse.ArgumentParser):
    """A parser that raises `InvalidInputError` with a hint, instead of printing the usage and ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise the error of argparse."""
        raise InvalidInputError(message, f"run `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raise an error with a similar word for a value that is not one of the choices."""
        if action.choices is None or value in action.choices:
            return
        known = [str(each) for each in action.choices]
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no public name for it
            hint = did_you_mean(value, known) or "run `envcompile --help`, which lists the commands"
            raise InvalidInputError(f"`{value}` is not a command of envcompile", hint)
        hint = did_you_mean(str(value), known) or f"use one of {', '.join(f'`{each}`' for each in known)}"
        name = "/".join(action.option_strings) or action.metavar or action.dest
        raise InvalidInputError(f"`{value}` is not a value of `{name}`", hint)


def create_parser(words: Collection[str]) -> CommandLineParser:
    """The parser of the command line. Imports the modules of commands that occur in `words`, and no others."""
    shared = CommandLineParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("-h", "--help", action="help", help="Show this help and exit")
    general = shared.add_argument_group("global options")
    general.add_argument("-C", "--directory", metavar="DIR", help="Run as if started in DIR")
    general.add_argument(
        *("-f", "--file"),
        metavar="FILE",
        help="The spec (default: envcompile.toml or pyproject.toml, in this folder or above it)",
    )
    general.add_argument("-q", "--quiet", action="store_true", help="Show warnings and errors only")
    general.add_argument("-v", "--verbose", action="store_true", help="Show more details")
    general.add_argument("--color", choices=("auto", "always", "never"), help="Use colors in messages (default: auto)")
    formatted = CommandLineParser(add_help=False, argument_default=argparse.SUPPRESS)
    formatted.add_argument_group("global options").add_argument(
        "--format", choices=("text", "json", "github"), help="The format of warnings and errors (default: text)"
    )
    codes = "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items())
    top = CommandLineParser(
        prog="envcompile",
        description=_DESCRIPTION,
        epilog=f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared, formatted],
        allow_abbrev=False,
        add_help=False,
    )
    top.add_argument(
        "--version", action="version", version=f"envcompile {__version__}", help="Show the version and exit"
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary}.",
            parents=[shared] if name in _COMMANDS_WITH_OWN_FORMAT else [shared, formatted],
            allow_abbrev=False,
            add_help=False,
        )
        if name in words:
            _load_function(command.module, command.add_options)(sub)
    return top


def main(argv: list[str], before_run: Callable[[], object] = bool) -> int:
    """Run one command and return its exit code. All messages go to standard error.

    `before_run` is called after the imports, before the command does anything.
    """
    parser = create_parser(argv)
    arguments = argparse.Namespace(**_DEFAULT_OPTIONS)
    try:
        _, unknown = parser.parse_known_args(argv, arguments)
        if unknown:
            raise _create_argument_error(arguments.command, unknown)
    except InvalidInputError as error:
        # The namespace has the options in front of the mistake.
        Reporter(sys.stderr, os.environ, arguments).show_error(error)
        return error.exit_code
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return EXIT_INVALID_INPUT
    reporter = Reporter(sys.stderr, os.environ, arguments)
    try:
        if arguments.directory is not None:
            _change_directory(arguments.directory)
        command = COMMANDS[arguments.command]
        run = _load_function(command.module, command.run)
        before_run()
        return int(run(arguments, reporter))
    except EnvcompileError as error:
        reporter.show_error(error)
        return error.exit_code


def _create_argument_error(command: str | None, words: list[str]) -> InvalidInputError:
    called = f"envcompile {command}" if command else "envcompile"
    spec = next((word for word in words if word.endswith(".toml")), None)
    hint = f"name the spec with `-f {spec}`" if spec else f"run `{called} --help`"
    return InvalidInputError(f"`{called}` has no argument `{words[0]}`", hint)


def _load_function(module: str, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(import_module(f"envcompile.cli.{module}"), name)
    return function


def _change_directory(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as problem:
        raise InvalidInputError(f"cannot change to `{folder}`: {problem.strerror}") from None
