"""`envcompile diff`: the changes of a lock since a git revision, or between two locks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from envcompile import api
from envcompile.cli.output import write_lines, write_stdout
from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_OK, InvalidInputError
from envcompile.loading import decode_lock_text, find_lock_path, find_spec, read_lock, read_lock_text
from envcompile.lock.reader import parse_lock
from envcompile.project.files import display_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from envcompile.cli.output import Reporter
    from envcompile.lock.model import Lock


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
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
    """Show the changes between two locks."""
    if arguments.textconv is not None:
        write_lines(_list_packages(Path(arguments.textconv)))
        return EXIT_OK
    path = find_lock_path(find_spec(arguments.file))
    (before, old), (after, new) = _read_lock(arguments.before, path), _read_lock(arguments.after, path)
    if old is None and new is None:
        raise InvalidInputError(f"neither `{before}` nor `{after}` exists", "run `envcompile lock`")
    changes = api.diff(old, new)
    costs = api.estimate_push(old, new)
    from envcompile.lock.diff_formats import format_json, format_markdown, format_text  # noqa: PLC0415 - after the checks
    from envcompile.plan.sizes import describe_push_costs, format_push_costs  # noqa: PLC0415

    cost = (format_push_costs(costs),) if changes and costs else ()
    if arguments.form == "json":
        write_stdout(f"{format_json(changes, before, after, describe_push_costs(costs))}\n")
    elif arguments.form == "markdown":
        table = format_markdown(changes, f"`{path.name}`")
        write_lines((*table, "", *cost) if cost else table)
    else:
        write_lines((*format_text(changes), *cost))
        if not changes:
            reporter.show_result(f"no pin changed from `{before}` to `{after}`")
    return EXIT_FAILED if changes and arguments.exit_code else EXIT_OK


def _read_lock(word: str | None, path: Path) -> tuple[str, Lock | None]:
    """The name of a lock for messages, and the lock; None if the git revision `word` has no lock.

    `word` is a lock file or a git revision. Without it, the lock is the file `path`.
    """
    if word is None or Path(word).is_file():
        file = path if word is None else Path(word)
        return display_path(file), read_lock(file)
    from envcompile.cli.git import read_file_at_revision  # noqa: PLC0415 - only for a git revision

    data = read_file_at_revision(path, word)
    name = f"{word}:{path.name}"
    return name, None if data is None else parse_lock(decode_lock_text(data, name), name)


def _list_packages(file: Path) -> Iterator[str]:
    """The lines of a listing. A damaged lock is listed as far as possible, because an error would end `git diff`."""
    from envcompile.lock.diff_formats import format_listing, format_packages  # noqa: PLC0415 - not to compare
    from envcompile.lock.recovery import recover_pins  # noqa: PLC0415

    text = read_lock_text(file) or ""
    try:
        yield from format_listing(parse_lock(text, file.name))
    except InvalidInputError as problem:
        yield f"# {problem.message}"
        yield from (f"{name} {line}" for name, pins in recover_pins(text).items() for line in format_packages(pins))
