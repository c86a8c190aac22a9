"""`envcompile verify`: whether locks answer their specs, and Dockerfiles their locks. Nobody is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.api import managed_files, parse_locked_spec
from envcompile.cli.fast_verify import find_specs, format_fresh_message, is_fresh_by_digest
from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError, EnvcompileError, InvalidInputError
from envcompile.loading import find_lock_path, find_spec, read_lock, read_source
from envcompile.lock.freshness import RELOCK_HINT
from envcompile.project.discovery import PYPROJECT_FILE_NAME, find_dockerfiles, find_nearest_spec
from envcompile.project.files import display_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from envcompile.cli.output import Reporter


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="a spec, a lock, a Dockerfile or an export (default: the spec that `-f` finds)",
    )
    parser.add_argument(
        "--hook",
        action="store_true",
        help="as pre-commit runs it: no FILE means none, and locks that the commit removes are missed, too",
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Look at each spec once and say everything; the worst of the exit codes."""
    if arguments.file is not None and arguments.files:
        raise InvalidInputError("`-f` names a spec, and so do the files", "leave out one of the two")
    named = arguments.hook or arguments.files
    specs = _find_specs(arguments.files) if named else [display_path(find_spec(arguments.file))]
    if arguments.hook:
        from envcompile.cli.git import specs_without_their_lock  # noqa: PLC0415 - runs git

        # A Dockerfile of ours may be kept anywhere; it is looked at where its spec is.
        near = [spec for spec in specs if Path(spec).exists() or find_lock_path(Path(spec)).exists()]
        specs = list(dict.fromkeys([*near, *specs_without_their_lock(os.environ)]))
    return max((_verify_spec(spec, reporter) for spec in specs), default=EXIT_OK)


def _find_specs(files: list[str]) -> list[str]:
    """The specs of the files, each once. Raises `InvalidInputError`."""
    try:
        return [spec for spec in find_specs(files) if not _only_mentions_table(spec)] if files else []
    except ValueError as problem:
        hint = "name a spec (`.toml`), a lock (`.lock`) or a Dockerfile"
        raise InvalidInputError(f"`{problem}` is none of the files that can be verified", hint) from None
    except OSError as problem:
        raise InvalidInputError(f"`{problem.filename}` cannot be read: {problem.strerror}") from None


def _only_mentions_table(spec: str) -> bool:
    """Whether it is a `pyproject.toml` that speaks of our table and has none."""
    path = Path(spec)
    if path.name != PYPROJECT_FILE_NAME or not path.is_file():
        return False
    try:
        tool = read_source(path).parse().get("tool")
    except EnvcompileError:
        return False
    return not isinstance(tool, dict) or "envcompile" not in tool


def _verify_spec(spec: str, reporter: Reporter) -> int:
    """Say what there is to say of one spec; the exit code."""
    code = EXIT_OK
    for error in _find_errors(spec):
        reporter.show_error(error)
        code = max(code, error.exit_code)
    if code == EXIT_OK:
        reporter.show_result(format_fresh_message(spec).rstrip())
    return code


def _find_errors(spec: str) -> Iterator[EnvcompileError]:
    path = Path(spec)
    try:
        kept_files = find_dockerfiles(spec)
        if is_fresh_by_digest(spec) and not kept_files:
            return
    except OSError:
        pass  # what is not there is told below
    try:
        if not path.exists() and find_lock_path(path).exists():
            raise InvalidInputError(
                f"`{display_path(find_lock_path(path))}` is a lock, and its spec `{spec}` is not there",
                "bring the spec back, or remove the lock",
            )
        source = read_source(path)
        lock = read_lock(find_lock_path(path))
        locked = parse_locked_spec(source, lock, format_lock_hint(spec))
        for each in managed_files(locked, lock, path):
            if not each.is_current():
                yield CheckFailedError(
                    each.mismatch_message, f"run `envcompile {each.repair_command}{_format_file_option(spec)}`"
                )
    except EnvcompileError as error:
        if error.hint == RELOCK_HINT:
            error.hint = format_lock_hint(spec)
        yield error


def format_lock_hint(spec: str) -> str:
    """The hint that names the command which locks this spec."""
    return f"run `envcompile lock{_format_file_option(spec)}`"


def _format_file_option(spec: str) -> str:
    """What names the spec to a command, if it is not the one that would be found."""
    found = find_nearest_spec(str(Path.cwd()))
    # Not through links, as the other one is found.
    return "" if found == os.path.abspath(spec) else f" -f {spec}"  # noqa: PTH100
