"""`envcompile lock`: solve the spec and write the lock."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from envcompile.cli.inputs import find_spec, lock_path, read_lock_text, read_source, shown
from envcompile.cli.solvers import solvers
from envcompile.diagnostics import count, did_you_mean
from envcompile.errors import FINE, NotFine, Unusable
from envcompile.files import alone, write_text
from envcompile.lock.diff import changes
from envcompile.lock.file import Newer, dumps, loads
from envcompile.lock.model import Pins
from envcompile.pipeline import resolve
from envcompile.resolve.environment import Earlier
from envcompile.spec.decode import parse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from pathlib import Path

    from envcompile.cli.report import Reporter


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("-U", "--upgrade", action="store_true", help="keep no pin: take the newest of everything")
    parser.add_argument(
        "-P", "--upgrade-package", metavar="NAME", action="append", default=[], help="keep every pin but NAME's"
    )
    parser.add_argument("--offline", action="store_true", help="ask no network: what the caches hold is all there is")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if the lock would change")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Solve with the earlier lock as preference; write only what differs."""
    path = find_spec(arguments.file)
    # Before the system's lock on it, which needs a file: what is wrong with the spec is said at once.
    parse(read_source(path))
    with alone(path, lambda: reporter.say(f"waiting for another run that locks `{shown(path)}`")):
        return _run(arguments, path, reporter)


def _run(arguments: argparse.Namespace, path: Path, reporter: Reporter) -> int:
    started = time.monotonic()
    source = read_source(path)
    spec = parse(source)
    target = lock_path(path)
    text = read_lock_text(target)
    earlier = _earlier(text, shown(target), reporter)
    upgrade = arguments.upgrade or _names(arguments.upgrade_package, earlier.pins.values())
    tables = (spec.conda.packages, spec.pip.packages, spec.apt.packages, spec.apt.build)
    asked = count(sum(map(len, tables)), "requirement")
    reporter.step(f"resolving {asked} for {', '.join(spec.platforms)}")
    who = solvers(spec, path.parent, os.environ, reporter, offline=arguments.offline)
    lock = resolve(source, spec, earlier, who, upgrade)
    for each in lock.platforms:
        python = f"Python {each.python.version} ({each.python.source})" if each.python else "no Python"
        reporter.detail(f"{each.platform}: {each.run.image}, {each.run.os}, glibc {each.run.glibc}, {python}")
        for tool in each.tools:
            reporter.detail(f"{each.platform}: {tool.name} of {tool.image}")
    for name in lock.private_indexes:
        reporter.detail(f"the index `{name}` wants credentials, in the build as the secret `netrc` or `uv-credentials`")
    new = dumps(lock)
    took = f"{time.monotonic() - started:.1f} s"
    if text is not None and text.replace("\r\n", "\n") == new:
        reporter.say(f"`{shown(target)}` is current ({took})")
        return FINE
    for line in changes(earlier.lock, lock):
        reporter.say(line)
    if arguments.check:
        raise NotFine(f"`{shown(target)}` would change", "run `envcompile lock`")
    write_text(target, new)
    sizes = ", ".join(
        f"{count(len(each.pip) + len(each.conda) + len(each.apt) + len(each.apt_build), 'package')} for {each.platform}"
        for each in lock.platforms
    )
    reporter.say(f"wrote `{shown(target)}`: {sizes} ({took})")
    return FINE


def _earlier(text: str | None, name: str, reporter: Reporter) -> Earlier:
    """The lock that is there, and its pins. Of one that is broken the pins that can be read; a newer one is refused."""
    if text is None:
        return Earlier(None, {})
    try:
        lock = loads(text, name)
    except Newer:
        raise
    except Unusable as problem:
        from envcompile.lock.salvage import salvage, salvage_snapshot  # noqa: PLC0415 - only for a lock that is broken

        pins = salvage(text)
        kept = count(sum(len(each.pip) + len(each.conda) for each in pins.values()), "pin")
        reporter.warn(f"{problem.message}; {kept} of it can be read and will be kept where the spec allows it")
        return Earlier(None, pins, salvage_snapshot(text))
    return Earlier(lock, {each.platform: Pins(each.pip, each.conda) for each in lock.platforms}, lock.snapshot)


def _names(words: list[str], pins: Iterable[Pins]) -> frozenset[str]:
    """The normalised names to upgrade. Raises `Unusable` for one that the lock does not hold."""
    from envcompile.spec.refusal import Refusal  # noqa: PLC0415 - only with -P
    from envcompile.spec.requirement import name  # noqa: PLC0415

    names = set()
    known = {each for platform in pins for each in platform.names()}
    for word in words:
        try:
            # conda's names are kept as they are: some start with a character that pip's cannot have.
            normal = word.lower() if word.lower() in known else name(word)
        except Refusal as refusal:
            raise Unusable(f"{refusal.message}", "write `-P NAME`") from None
        if known and normal not in known:
            raise Unusable(f"`{normal}` is not in the lock, so it cannot be upgraded", did_you_mean(normal, known))
        names.add(normal)
    return frozenset(names)
