"""`envcompile verify`: check offline that locks satisfy their specs and that generated files are current."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile import api
from envcompile.cli.fast_path import find_specs, format_fresh_message, is_fresh_by_digest
from envcompile.diagnostics.errors import EXIT_OK, EnvcompileError, InvalidInputError
from envcompile.loading import find_lock_path, find_spec, format_file_option, read_project, read_source
from envcompile.lock.freshness import RELOCK_HINT
from envcompile.project.discovery import PYPROJECT_FILE_NAME
from envcompile.project.files import display_path, shorten_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from envcompile.cli.output import Reporter


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="A spec, a lock, a Dockerfile or an export (default: the spec of -f)",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="Do not trust the digests in the lock: compare every pin with the spec, to find a lock that was edited",
    )
    parser.add_argument(
        "--hook",
        action="store_true",
        help="For pre-commit: without FILE, check no spec; also check for locks that the commit removes",
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Verify each spec once, and return the highest exit code."""
    if arguments.file is not None and arguments.files:
        raise InvalidInputError("`-f` and FILE both name a spec", "leave one of them out")
    named = arguments.hook or arguments.files
    specs = _find_specs(arguments.files) if named else [shorten_path(find_spec(arguments.file))]
    if arguments.hook:
        from envcompile.cli.git import specs_without_their_lock  # noqa: PLC0415 - runs git

        # A generated Dockerfile in a folder without a spec and a lock is a copy, and is not checked.
        existing = [spec for spec in specs if Path(spec).exists() or find_lock_path(Path(spec)).exists()]
        specs = list(dict.fromkeys([*existing, *specs_without_their_lock(os.environ)]))
    changed_locks = set(map(os.path.normpath, arguments.files)) if arguments.hook else set()
    return max(
        (
            _verify_spec(
                spec, reporter, full=arguments.full or os.path.normpath(find_lock_path(Path(spec))) in changed_locks
            )
            for spec in specs
        ),
        default=EXIT_OK,
    )


def _find_specs(files: list[str]) -> list[str]:
    """The specs to which files belong, without duplicates.

    Raises `InvalidInputError` for a file that belongs to no spec or cannot be read.
    """
    try:
        return [spec for spec in find_specs(files) if not _is_unrelated_pyproject(Path(spec))] if files else []
    except ValueError as problem:
        hint = "name a spec (`.toml`), a lock (`.lock`) or a Dockerfile"
        raise InvalidInputError(f"`{problem}` is none of the files that can be verified", hint) from None
    except OSError as problem:
        raise InvalidInputError(f"`{problem.filename}` cannot be read: {problem.strerror}") from None


def _is_unrelated_pyproject(path: Path) -> bool:
    """Whether a `pyproject.toml` has no table `[tool.envcompile]`, although its text contains the name."""
    if path.name != PYPROJECT_FILE_NAME or not path.is_file():
        return False
    try:
        tool = read_source(path).value.get("tool")
    except EnvcompileError:
        return False
    return not isinstance(tool, dict) or "envcompile" not in tool


def _verify_spec(spec: str, reporter: Reporter, *, full: bool) -> int:
    """Show the errors of a spec, or that its lock is fresh. Returns the exit code."""
    code = EXIT_OK
    for error in _find_errors(spec, full=full):
        reporter.show_error(error)
        code = max(code, error.exit_code)
    if code == EXIT_OK:
        reporter.show_result(format_fresh_message(spec).rstrip())
    return code


def _find_errors(spec: str, *, full: bool) -> Iterable[EnvcompileError]:
    path = Path(spec)
    try:
        if not full and is_fresh_by_digest(spec):
            return ()
    except OSError:
        pass  # a missing file is reported below
    try:
        lock_path = find_lock_path(path)
        if not path.exists() and lock_path.exists():
            message = f"`{display_path(lock_path)}` is a lock, and its spec `{spec}` does not exist"
            raise InvalidInputError(message, "restore the spec, or remove the lock")
        return api.verify(read_project(path), full=full).errors
    except EnvcompileError as error:
        if error.hint == RELOCK_HINT:
            error.hint = f"{RELOCK_HINT[:-1]}{format_file_option(path)}`"
        return (error,)
