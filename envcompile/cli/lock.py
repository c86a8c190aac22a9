"""`envcompile lock`: solve the spec and write the lock."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from envcompile.api import resolve_spec
from envcompile.cli.explain import collect_warnings
from envcompile.cli.output import add_catalogue_option
from envcompile.diagnostics.diagnostic import did_you_mean, format_count
from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError, InvalidInputError
from envcompile.loading import find_lock_path, find_spec, load_catalogue, read_lock_text, read_source
from envcompile.lock.diff import LockRequest
from envcompile.lock.model import Pins
from envcompile.lock.writer import NewerLockFormat, format_lock, parse_lock
from envcompile.project.files import display_path, exclusive_lock, write_text
from envcompile.resolve.backends import create_solvers
from envcompile.resolve.environment import EarlierLock, UpgradeRequest
from envcompile.spec.decode import parse_spec

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection
    from pathlib import Path

    from envcompile.api import ManagedFile
    from envcompile.cli.output import Reporter
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

# Of the changes of a lock that was renewed as a whole.
_MAX_REPORTED_CHANGES = 40


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("-U", "--upgrade", action="store_true", help="keep no pin: take the newest of everything")
    parser.add_argument(
        *("-P", "--upgrade-package"),
        metavar="NAME[==V]",
        action="append",
        default=[],
        help="keep every pin but NAME's, which becomes the newest, or V; may be given several times",
    )
    parser.add_argument("--offline", action="store_true", help="ask no network: what the caches hold is all there is")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if the lock would change")
    parser.add_argument("--dry-run", action="store_true", help="change nothing, say what would change")
    add_catalogue_option(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Solve with the earlier lock as preference; write only what differs."""
    path = find_spec(arguments.file)
    # Before the system's lock on it, which needs a file: what is wrong with the spec is said at once.
    parse_spec(read_source(path))
    with exclusive_lock(
        path, lambda: reporter.show_result(f"waiting for another run that locks `{display_path(path)}`")
    ):
        return _lock_spec(arguments, path, reporter)


def _lock_spec(arguments: argparse.Namespace, path: Path, reporter: Reporter) -> int:
    started = time.monotonic()
    source = read_source(path)
    spec = parse_spec(source)
    target = find_lock_path(path)
    text = read_lock_text(target)
    earlier = _read_earlier_lock(text, display_path(target), reporter)
    upgrade = _parse_upgrade(arguments, earlier)
    tables = (spec.conda.packages, spec.pip.packages, spec.apt.packages, spec.apt.build)
    asked = format_count(sum(map(len, tables)), "requirement")
    reporter.show_step(f"resolving {asked} for {', '.join(spec.platforms)}")
    known = load_catalogue(arguments.catalogue, os.environ)
    who = create_solvers(spec, path.parent, os.environ, reporter.warn, catalogue=known, offline=arguments.offline)
    lock = resolve_spec(source, spec, earlier, who, upgrade)
    for each in lock.platforms:
        python = f"Python {each.python.version} ({each.python.source})" if each.python else "no Python"
        reporter.show_detail(f"{each.platform}: {each.run.image}, {each.run.os}, glibc {each.run.glibc}, {python}")
        for tool in each.tools:
            reporter.show_detail(f"{each.platform}: {tool.name} of {tool.image}")
    for name in lock.private_indexes:
        reporter.show_detail(
            f"the index `{name}` wants credentials, in the build as the secret `netrc` or `uv-credentials`"
        )
    reporter.warn_of_diagnostics(source, collect_warnings(lock, spec))
    new = format_lock(lock)
    exports = _find_outdated_exports(arguments, spec, lock, path)
    took = f"{time.monotonic() - started:.1f} s"
    if text is not None and text.replace("\r\n", "\n") == new:
        reporter.show_result(f"`{display_path(target)}` is current ({took})")
        return _write_exports(arguments, exports, reporter)
    _report_changes(earlier, lock, LockRequest(spec, upgrade.names), reporter)
    if arguments.check:
        raise CheckFailedError(f"`{display_path(target)}` would change", "run `envcompile lock`")
    if not arguments.dry_run:
        write_text(target, new)
    sizes = ", ".join(f"{format_count(each.package_count, 'package')} for {each.platform}" for each in lock.platforms)
    reporter.show_result(
        f"{'would write' if arguments.dry_run else 'wrote'} `{display_path(target)}`: {sizes} ({took})"
    )
    return _write_exports(arguments, exports, reporter)


def _find_outdated_exports(arguments: argparse.Namespace, spec: Spec, lock: Lock, path: Path) -> list[ManagedFile]:
    """The files that are to be kept beside the lock and do not hold what they should.

    Made before anything is written: what stands in the way of one is told while all is as it was.
    """
    if not spec.exports:
        return []
    from envcompile.api import managed_exports  # noqa: PLC0415
    from envcompile.cli.export import find_file_urls  # noqa: PLC0415 - where there are exports

    made = managed_exports(
        spec, lock, path, lambda text: find_file_urls(spec, lock, text, os.environ, offline=arguments.offline)
    )
    return [each for each in made if not each.is_current()]


def _write_exports(arguments: argparse.Namespace, exports: list[ManagedFile], reporter: Reporter) -> int:
    for each in exports:
        name = f"`{display_path(each.path)}`"
        if arguments.check:
            raise CheckFailedError(f"{name} would change", "run `envcompile lock`")
        if not arguments.dry_run:
            write_text(each.path, each.text)
        reporter.show_result(f"{'would write' if arguments.dry_run else 'wrote'} {name}")
    return EXIT_OK


def _report_changes(earlier: EarlierLock, lock: Lock, asked: LockRequest, reporter: Reporter) -> None:
    """All that moved and why; nothing for a first lock, all of it is new."""
    if not earlier.pins:
        return
    from envcompile.lock.diff import compare_locks  # noqa: PLC0415 - only where there is an earlier lock
    from envcompile.lock.diff_formats import format_text  # noqa: PLC0415

    # Of a broken lock conda's and pip's packages alone are known, and the moment of the archive.
    known = [each for each in lock.platforms if each.platform in earlier.pins]
    salvaged = tuple(
        replace(each, pip=earlier.pins_for(each.platform).pip, conda=earlier.pins_for(each.platform).conda)
        for each in known
    )
    snapshot = earlier.snapshot or lock.snapshot
    moved = compare_locks(earlier.lock or replace(lock, platforms=salvaged, snapshot=snapshot), lock, asked)
    most = _MAX_REPORTED_CHANGES if asked.upgraded is True else len(moved)
    for line in format_text(moved[:most]):
        reporter.show_result(line)
    if len(moved) > most:
        reporter.show_result(f"... and {len(moved) - most} more")


def _read_earlier_lock(text: str | None, name: str, reporter: Reporter) -> EarlierLock:
    """The lock that is there, and its pins. Of one that is broken the pins that can be read; a newer one is refused."""
    if text is None:
        return EarlierLock(None, {})
    try:
        lock = parse_lock(text, name)
    except NewerLockFormat:
        raise
    except InvalidInputError as problem:
        from envcompile.lock.recovery import recover_images, recover_pins, recover_snapshot  # noqa: PLC0415 - if it is broken

        pins = recover_pins(text)
        kept = format_count(sum(len(each.pip) + len(each.conda) for each in pins.values()), "pin")
        reporter.warn(f"{problem.message}; {kept} of it can be read and will be kept where the spec allows it")
        return EarlierLock(None, pins, snapshot=recover_snapshot(text), images=recover_images(text))
    pins = {each.platform: Pins(each.pip, each.conda) for each in lock.platforms}
    return EarlierLock(lock, pins, snapshot=lock.snapshot)


def _parse_upgrade(arguments: argparse.Namespace, earlier: EarlierLock) -> UpgradeRequest:
    """What `-U` and `-P` ask for.

    Raises `InvalidInputError` for a name that the lock does not hold, or what is no version.
    """
    if arguments.upgrade and not arguments.upgrade_package:
        return UpgradeRequest(names=True)
    pins = earlier.pins.values()
    exact = {}
    names = set()
    for word in arguments.upgrade_package:
        text, equals, version = (part.strip() for part in word.partition("=="))
        name = _normalize_locked_name(text, earlier)
        names.add(name)
        if equals:
            exact[name] = version
    for name, version in exact.items():
        _check_version(name, version, pins)
    return UpgradeRequest(arguments.upgrade or frozenset(names), exact)


def _normalize_locked_name(text: str, earlier: EarlierLock) -> str:
    """The normalised name; any, where nothing is locked yet."""
    pins = earlier.pins.values()
    known = {each for platform in pins for each in platform.package_names()}
    platforms = earlier.lock.platforms if earlier.lock else ()
    if text not in known and any(text == each.name for one in platforms for each in (*one.apt, *one.apt_build)):
        said = f"`{text}` is a Debian package: these move together, with the snapshot of the archive"
        raise InvalidInputError(said, "run `envcompile lock -U`, or write a later `snapshot` under `[apt]`")
    from envcompile.diagnostics.diagnostic import RequirementError  # noqa: PLC0415 - only with -P
    from envcompile.spec.pip import parse_package_name  # noqa: PLC0415

    try:
        # conda's names are kept as they are: some start with a character that pip's cannot have.
        normal = text.lower() if text.lower() in known else parse_package_name(text)
    except RequirementError as refusal:
        raise InvalidInputError(refusal.message, "write `-P NAME` or `-P NAME==VERSION`") from None
    if pins and normal not in known:
        said = f"`{normal}` is not in the lock, so it cannot be upgraded"
        brings = [each.name for platform in pins for each in platform.conda if normal in each.provides]
        raise InvalidInputError(
            said, f"conda brings it: write `-P {brings[0]}`" if brings else did_you_mean(normal, known)
        )
    return normal


def _check_version(name: str, version: str, pins: Collection[Pins]) -> None:
    """Raises `InvalidInputError` unless the version can be asked of whoever has the package pinned."""
    from envcompile.diagnostics.diagnostic import RequirementError  # noqa: PLC0415
    from envcompile.spec.conda import parse_match_spec  # noqa: PLC0415 - only with a version
    from envcompile.spec.pip import parse_requirement  # noqa: PLC0415

    if not pins:
        raise InvalidInputError(
            f"nothing is locked yet, so `{name}` has no pin to move", "ask for the version in the spec"
        )
    try:
        if any(name == each.name for platform in pins for each in platform.conda):
            parse_match_spec(f"{name} =={version}")
        if any(name == each.name for platform in pins for each in platform.pip):
            parse_requirement(f"{name}=={version}")
    except RequirementError as refusal:
        raise InvalidInputError(refusal.message, f"write `-P {name}==VERSION`") from None
