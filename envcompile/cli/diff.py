"""`envcompile diff`: what changed in the lock, since a revision of git or beside another file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile import api
from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_OK, InvalidInputError
from envcompile.loading import decode_lock_text, find_lock_path, find_spec, read_lock_text
from envcompile.lock.reader import parse_lock
from envcompile.project.files import display_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from envcompile.cli.output import Reporter
    from envcompile.lock.model import Lock


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "before", metavar="REV|FILE", nargs="?", default="HEAD", help="A git revision or a lock file (default: HEAD)"
    )
    parser.add_argument(
        "after", metavar="REV|FILE", nargs="?", help="The later git revision or lock file (default: the current lock)"
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=("text", "markdown", "json"),
        default="text",
        help="The output format (default: text)",
    )
    parser.add_argument("--exit-code", action="store_true", help="Exit with 1 if something changed")
    parser.add_argument("--textconv", metavar="LOCK", help="List the pins of LOCK; for `textconv` of git")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Compare, and print in the form that is asked for."""
    if arguments.textconv is not None:
        _write_lines(_list_packages(Path(arguments.textconv)))
        return EXIT_OK
    path = find_lock_path(find_spec(arguments.file))
    (before, old), (after, new) = _read_lock(arguments.before, path), _read_lock(arguments.after, path)
    if old is None and new is None:
        raise InvalidInputError(f"neither `{before}` nor `{after}` is there", "run `envcompile lock`")
    moved = api.diff(old, new)
    from envcompile.lock.diff_formats import format_json, format_markdown, format_text  # noqa: PLC0415 - when both could be read

    if arguments.form == "json":
        _write_lines([format_json(moved, before, after)])
    elif arguments.form == "markdown":
        _write_lines(format_markdown(moved, f"`{path.name}`"))
    else:
        _write_lines(format_text(moved))
        if not moved:
            reporter.show_result(f"nothing that is pinned changed from `{before}` to `{after}`")
    return EXIT_FAILED if moved and arguments.exit_code else EXIT_OK


def _read_lock(word: str | None, path: Path) -> tuple[str, Lock | None]:
    """What a word names, for people, and the lock there; None where a revision has none. No word: the lock of now."""
    if word is None or Path(word).is_file():
        file = path if word is None else Path(word)
        text = read_lock_text(file)
        if text is None:
            raise InvalidInputError(f"`{display_path(file)}` is not there", "run `envcompile lock`")
        return display_path(file), parse_lock(text, display_path(file))
    from envcompile.cli.git import read_file_at_revision  # noqa: PLC0415 - not to compare two files

    data = read_file_at_revision(path, word)
    name = f"{word}:{path.name}"
    return name, None if data is None else parse_lock(decode_lock_text(data, name), name)


def _list_packages(file: Path) -> Iterator[str]:
    """The lines of a lock. Of one that is broken what can be read, since git gives up a whole diff where this fails."""
    from envcompile.lock.diff_formats import format_listing, format_packages  # noqa: PLC0415 - not to compare
    from envcompile.lock.recovery import recover_pins  # noqa: PLC0415

    text = read_lock_text(file) or ""
    try:
        yield from format_listing(parse_lock(text, file.name))
    except InvalidInputError as problem:
        yield f"# {problem.message}"
        yield from (f"{name} {line}" for name, pins in recover_pins(text).items() for line in format_packages(pins))


def _write_lines(lines: Iterator[str] | list[str]) -> None:
    # Bytes: the same on every terminal, in every locale.
    sys.stdout.buffer.writelines(f"{line}\n".encode() for line in lines)
