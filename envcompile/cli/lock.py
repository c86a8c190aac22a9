"""`envcompile lock`: resolve the spec and write the lock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from envcompile import api
from envcompile.cli.output import add_catalogue_option
from envcompile.diagnostics.diagnostic import format_count
from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError
from envcompile.lock.package_managers import count_packages
from envcompile.project.files import display_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from envcompile.api import LockResult
    from envcompile.cli.output import Reporter
    from envcompile.lock.diff import LockChange

# With `--upgrade`, more changes than this are only counted.
_MAX_LISTED_PACKAGES = 5
_MAX_REPORTED_CHANGES = 40


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        *("-U", "--upgrade"),
        action="store_true",
        help="Upgrade all packages, base images, tools, and the Python",
    )
    parser.add_argument(
        *("-P", "--upgrade-package"),
        metavar="NAME[==V]",
        action="append",
        default=[],
        help="Upgrade a package to its newest version or to V, or one part: `base` (the base images), `apt` (all "
        "Debian packages), `tools` (the images of build tools) or `python`; can be repeated",
    )
    parser.add_argument("--offline", action="store_true", help="Use the caches of the resolvers only, not the network")
    parser.add_argument("--check", action="store_true", help="Change nothing, and exit with 1 if the lock would change")
    parser.add_argument("--dry-run", action="store_true", help="Change nothing, and show what would change")
    parser.add_argument(
        "--outdated",
        action="store_true",
        help="Change nothing, print what -U would change, what the spec holds back and how old the images are, and "
        "exit with 1 if something is outdated; with `--format json`, print one JSON object",
    )
    add_catalogue_option(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Lock the spec, and report the changes and the files."""
    if arguments.outdated:
        from envcompile.cli.outdated import run_outdated  # noqa: PLC0415 - writes no lock

        return run_outdated(arguments, reporter)
    started = time.monotonic()
    result = api.lock(
        api.load(arguments.file),
        upgrade=arguments.upgrade,
        upgrade_packages=arguments.upgrade_package,
        offline=arguments.offline,
        write=not (arguments.check or arguments.dry_run),
        catalogue=arguments.catalogue,
        on_event=reporter.show_event,
    )
    seconds = time.monotonic() - started
    _show_details(result, reporter)
    lock_path = result.lock.project.lock_path
    if lock_path not in result.changed_files:
        reporter.show_result(f"`{display_path(lock_path)}` is current ({seconds:.1f} s)")
    _show_changes(result.changes, reporter, limit=_MAX_REPORTED_CHANGES if arguments.upgrade else None)
    if lock_path in result.changed_files:
        _show_provided(result, reporter)
        _show_scripts(result, reporter)
    for path in result.changed_files:
        name = f"`{display_path(path)}`"
        if arguments.check:
            upgrades = "".join(
                [" -U" if arguments.upgrade else "", *(f" -P {each}" for each in arguments.upgrade_package)]
            )
            raise CheckFailedError(f"{name} would change", f"run `envcompile lock{upgrades}`")
        sizes = f": {_format_sizes(result)} ({seconds:.1f} s)" if path == lock_path else ""
        reporter.show_result(f"{'would write' if arguments.dry_run else 'wrote'} {name}{sizes}")
    if lock_path in result.changed_files:
        _show_summaries(result, reporter)
    return EXIT_OK


def _show_summaries(result: LockResult, reporter: Reporter) -> None:
    """Show the size, CUDA and the base image, in one line for platforms with the same ones."""
    if not reporter.shows_progress:
        return
    from envcompile.plan.sizes import summarize_platform  # noqa: PLC0415 - only if the lock has changed

    platforms: dict[str, list[str]] = {}
    for size, each in zip(api.size(result.lock), result.lock.platforms, strict=True):
        platforms.setdefault(summarize_platform(size, each), []).append(each.platform)
    for summary, names in platforms.items():
        reporter.show_result(summary if len(platforms) == 1 else f"{' and '.join(names)}: {summary}")


def _show_provided(result: LockResult, reporter: Reporter) -> None:
    """Show the distributions in conda packages that pip packages need, in one line for platforms with the same ones."""
    if not any(each.conda and each.pip for each in result.lock.platforms):
        return
    from envcompile.cli.explain import format_provided  # noqa: PLC0415 - for conda and pip packages together

    platforms: dict[str, list[str]] = {}
    for each in result.lock.platforms:
        platforms.setdefault(format_provided(result.lock.spec, each), []).append(each.platform)
    for provided, names in platforms.items():
        if provided:
            reporter.show_result(f"conda provides for pip packages on {' and '.join(names)}: {provided}")


def _show_scripts(result: LockResult, reporter: Reporter) -> None:
    """Show the conda packages whose activation scripts must be run, and those whose scripts are not known."""
    packages = {package.name: package for each in result.lock.platforms for package in each.conda if package.activate}
    if not packages:
        return
    from envcompile.lock.activation import UNKNOWN_SCRIPTS  # noqa: PLC0415 - only for conda packages with scripts

    unknown = sorted(name for name, package in packages.items() if UNKNOWN_SCRIPTS in package.activate)
    dynamic = sorted(packages.keys() - {*unknown})
    if dynamic:
        reporter.show_result(
            f"activation scripts of {', '.join(dynamic)} run when the container or a login shell starts; with "
            "`docker exec` or a Kubernetes `command`, run `/env/bin/activated PROGRAM`"
        )
    if unknown:
        more = f" and {len(unknown) - _MAX_LISTED_PACKAGES} more" if len(unknown) > _MAX_LISTED_PACKAGES else ""
        reporter.show_result(
            f"archives of {', '.join(unknown[:_MAX_LISTED_PACKAGES])}{more} could not be read, so the image does not "
            "set the variables of their activation scripts, which still run when the container starts"
        )


def _show_details(result: LockResult, reporter: Reporter) -> None:
    """Show what `--verbose` adds."""
    for each in result.lock.platforms:
        python = f"Python {each.python.version} ({each.python.source})" if each.python else "no Python"
        reporter.show_detail(f"{each.platform}: {each.run.image}, {each.run.os}, glibc {each.run.glibc}, {python}")
        for tool in each.tools:
            reporter.show_detail(f"{each.platform}: {tool.name} of {tool.image}")
    for name in result.lock.value.private_indexes:
        reporter.show_detail(
            f"the index `{name}` needs credentials; a build needs them as the secret `netrc` or `uv-credentials`"
        )


def _show_changes(changes: Sequence[LockChange], reporter: Reporter, *, limit: int | None) -> None:
    if not changes:
        return
    from envcompile.lock.diff_formats import format_text  # noqa: PLC0415 - only if there are changes

    for line in format_text(changes[:limit]):
        reporter.show_result(line)
    if limit is not None and len(changes) > limit:
        reporter.show_result(f"... and {len(changes) - limit} more")


def _format_sizes(result: LockResult) -> str:
    return ", ".join(
        f"{format_count(count_packages(each), 'package')} for {each.platform}" for each in result.lock.platforms
    )
