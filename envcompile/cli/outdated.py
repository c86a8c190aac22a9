"""The report of `envcompile lock --outdated`: text, one JSON object, or annotations of a GitHub workflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from envcompile import api
from envcompile.cli.output import format_warning_line, write_lines, write_stdout
from envcompile.diagnostics.diagnostic import format_count
from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, InvalidInputError
from envcompile.lock.diff_formats import abbreviate_digest, format_text, make_json_rows
from envcompile.resolve.outdated import count_days

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from envcompile.api import OutdatedResult
    from envcompile.cli.output import Reporter
    from envcompile.resolve.outdated import HeldBack, ImageState


def run_outdated(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print what is outdated. Returns 1 if something is, 3 if nothing is but a check could not be made, otherwise 0."""
    for option, is_set in (
        ("--upgrade", arguments.upgrade),
        ("--upgrade-package", arguments.upgrade_package),
        ("--check", arguments.check),
        ("--dry-run", arguments.dry_run),
        ("--offline", arguments.offline),
    ):
        if is_set:
            hint = "leave one of them out" if option != "--offline" else "run it where the indexes can be reached"
            raise InvalidInputError(f"`--outdated` cannot be combined with `{option}`", hint)
    result = api.outdated(api.load(arguments.file), catalogue=arguments.catalogue, on_event=reporter.show_event)
    reporter.clear_step()
    if arguments.format == "json":
        write_stdout(f"{json.dumps(_make_document(result), indent=2)}\n")
    elif arguments.format == "github":
        write_stdout("".join(_format_annotations(result)))
    else:
        write_lines(_format_report(result, quiet=arguments.quiet))
    if result.is_outdated:
        return EXIT_FAILED
    return EXIT_UNAVAILABLE if result.report.problems else EXIT_OK


def _format_report(result: OutdatedResult, *, quiet: bool) -> Iterator[str]:
    """Yield the lines for people: what `-U` changes, what the spec holds back, and ages. `quiet` omits the ages."""
    report = result.report
    if report.changes:
        yield "outdated, `envcompile lock -U` changes:"
        yield from format_text(report.changes)
    if report.held_back:
        yield "newer, but excluded by the spec:"
        everywhere = tuple(each.platform for each in result.lock.platforms)
        yield from (line for each in report.held_back for line in _format_held_back(each, everywhere))
    if quiet:
        return
    if not report.changes:
        yield "nothing is outdated"
    yield from (_format_image(each, result.time) for each in report.images if not each.problem)
    if report.snapshot:
        yield f"snapshot of the archive {report.snapshot}: {_format_age(report.snapshot, result.time)}"


def _format_held_back(each: HeldBack, everywhere: tuple[str, ...]) -> Iterator[str]:
    where = "" if each.platforms in ((), everywhere) else f" ({', '.join(each.platforms)})"
    yield f"  ! {each.label} {abbreviate_digest(each.allowed)}, newest {abbreviate_digest(each.newest)}{where}"
    yield f"      {each.reason}"


def _format_image(state: ImageState, now: str) -> str:
    kind = f"image of the tool {state.tool}" if state.tool else "base image"
    age = f"created {state.created}, {_format_age(state.created, now)}" if state.created else "age unknown"
    tag = {True: "its tag has moved", False: "its tag is unchanged"}[state.has_moved] if state.newest else "no tag"
    return f"{kind} {abbreviate_digest(state.image)}: {tag if state.tool else f'{age}, {tag}'}"


def _format_age(time: str, now: str) -> str:
    return f"{format_count(count_days(time, now), 'day')} old"


def _make_document(result: OutdatedResult) -> dict[str, object]:
    report, now = result.report, result.time
    images = [
        {
            "image": each.image,
            "tool": each.tool or None,
            "created": each.created,
            "days": count_days(each.created, now) if each.created else None,
            "newest": each.newest,
            "moved": each.has_moved,
        }
        for each in report.images
    ]
    snapshot = {"time": report.snapshot, "days": count_days(report.snapshot, now)} if report.snapshot else None
    return {
        "outdated": result.is_outdated,
        "changes": make_json_rows(report.changes),
        "held_back": [{**each._asdict(), "platforms": list(each.platforms)} for each in report.held_back],
        "images": images,
        "snapshot": snapshot,
        "problems": list(report.problems),
    }


def _format_annotations(result: OutdatedResult) -> Iterator[str]:
    """Yield a workflow command for each outdated pin. Nothing else is reported, because it needs no action."""
    for change in result.report.changes:
        versions = " -> ".join(each for each in (change.before, change.after) if each is not None)
        yield format_warning_line(f"{change.label} is outdated: {versions}", "run `envcompile lock -U`", "github")
