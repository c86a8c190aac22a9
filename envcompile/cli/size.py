"""`envcompile size`: the sizes of layers and packages in the lock, compared with a budget."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, NamedTuple

from envcompile import api
from envcompile.cli.output import write_lines, write_stdout
from envcompile.diagnostics.diagnostic import WarningIssued, format_count
from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError
from envcompile.loading import find_lock_path, find_spec, read_lock
from envcompile.lock.package_managers import INSTALLED_KINDS
from envcompile.plan.sizes import describe_platform_size, format_bytes, parse_byte_count
from envcompile.spec.values import remove_digest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from envcompile.cli.output import Reporter
    from envcompile.plan.sizes import LayerSize, PlatformSize


class SizeBudget(NamedTuple):
    """The largest download that is accepted for a platform: the words of the user, and the number of bytes."""

    text: str
    max_bytes: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--platform", metavar="PLATFORM", help="Show one platform (default: all)")
    parser.add_argument(
        "--budget",
        metavar="SIZE",
        type=_parse_budget,
        help="Exit with 1 if the locked archives of a platform have more than SIZE, such as 4GB, to download; "
        "images and archives of unknown size do not count. Units: MB, GB, MiB, GiB",
    )
    parser.add_argument(
        "--as", dest="form", choices=("text", "json"), default="text", help="The output format (default: text)"
    )


def _parse_budget(word: str) -> SizeBudget:
    try:
        return SizeBudget(word, parse_byte_count(word))
    except ValueError:
        raise ArgumentTypeError(
            f"`{word}` is not a size: write a number and one of the units MB, GB, MiB and GiB, such as 4GB"
        ) from None


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print the sizes, and compare them with the budget."""
    lock = read_lock(find_lock_path(find_spec(arguments.file)))
    sizes = api.size(lock, platform=arguments.platform)
    if arguments.form == "json":
        value = {"platforms": {each.platform: describe_platform_size(each) for each in sizes}}
        write_stdout(f"{json.dumps(value, indent=2)}\n")
    else:
        for number, each in enumerate(sizes):
            write_lines(([""] if number else []) + [*_format_platform(each)])
    if arguments.budget:
        _check_budget(sizes, arguments.budget, reporter)
    return EXIT_OK


def _check_budget(sizes: Sequence[PlatformSize], budget: SizeBudget, reporter: Reporter) -> None:
    """Raise `CheckFailedError` if a platform exceeds the budget. Warn about sizes that cannot be compared."""
    unknown = dict.fromkeys(f"`{name}`" for each in sizes for name in each.download.unknown)
    if unknown:
        message = f"the budget does not include packages without a size in the lock: {', '.join(unknown)}"
        reporter.show_event(WarningIssued(message))
    over = [each for each in sizes if each.download.known > budget.max_bytes]
    if not over:
        return
    found = " and ".join(
        f"{each.download} to download for `{each.platform}`, {format_bytes(each.download.known - budget.max_bytes)} "
        "too much"
        for each in over
    )
    archives = (archive for each in over for layer in each.layers for archive in layer.archives)
    installed = (each for each in archives if each.kind in INSTALLED_KINDS)
    largest = max(installed, key=lambda each: each.download or 0, default=None)
    hint = f"`envcompile why {largest.name}` shows what needs the largest package" if largest else None
    raise CheckFailedError(f"the budget is {budget.text}, and the lock has {found}", hint)


def _format_platform(size: PlatformSize) -> Iterator[str]:
    """Yield a table: one line for each layer, with its packages below if it is shared, and the sums at the end.

    The column with unpacked sizes is left out if none of them is known.
    """
    shows_unpacked = size.unpacked.known > 0
    layer_count = format_count(sum(each.is_in_image for each in size.layers), "layer")
    remark = ", unpacked size unknown" if size.unpacked.unknown and not shows_unpacked else ""
    rows = [("to download", "unpacked", "")]
    rows += [row for layer in size.layers for row in _iter_layer_rows(layer)]
    rows += [("unknown", "unknown", f"{each.label} {remove_digest(each.image)}") for each in size.images]
    rows.append((str(size.image_download), str(size.unpacked), f"sum of {layer_count}{remark}"))
    if not all(each.is_in_image for each in size.layers):
        rows.append((str(size.download), "", "sum with the packages that only the build installs"))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    yield size.platform
    for download, unpacked, label in rows:
        yield f"  {download:>{first}}  {f'{unpacked:>{second}}  ' if shows_unpacked else ''}{label}".rstrip()


def _iter_layer_rows(layer: LayerSize) -> Iterator[tuple[str, str, str]]:
    sizes = str(layer.download), str(layer.unpacked)
    if not layer.is_shared:
        yield *sizes, f"{layer.label} {layer.archives[0].version}"
        return
    yield *sizes, f"{layer.label}, {format_count(len(layer.archives), 'package')}"
    for each in layer.archives:
        yield _format_size(each.download), _format_size(each.unpacked), f"  {each.name} {each.version}"


def _format_size(count: int | None) -> str:
    return "unknown" if count is None else format_bytes(count)
