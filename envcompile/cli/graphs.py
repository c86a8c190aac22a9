"""What `tree` and `why` both need: the graphs of the lock, one for each platform, and the strokes that can be shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import did_you_mean
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.loading import find_lock_path, find_spec, read_lock, read_source
from envcompile.lock.graph import asked, graph
from envcompile.lock.tree import ASCII, UNICODE
from envcompile.spec.decode import parse_spec

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from envcompile.lock.graph import Graph, Node
    from envcompile.lock.model import PlatformLock
    from envcompile.lock.tree import Strokes
    from envcompile.spec.model import Spec


class Drawn(NamedTuple):
    """One platform: its graph, the packages that the spec asks for, and others that nobody needs.

    There are such only where the spec has changed since the lock was made.
    """

    graph: Graph
    asked: tuple[Node, ...]
    others: tuple[Node, ...]


def options(parser: argparse.ArgumentParser) -> None:
    """The options of both commands."""
    parser.add_argument("--platform", metavar="PLATFORM", help="one of the lock's (default: all of them)")
    parser.add_argument("--as", dest="form", choices=("text", "json"), default="text", help="default: text")


def graphs(arguments: argparse.Namespace) -> dict[str, Drawn]:
    """By platform. Raises `Unusable` or `Problems`."""
    path = find_spec(arguments.file)
    spec, lock = parse_spec(read_source(path)), read_lock(find_lock_path(path))
    known = [each.platform for each in lock.platforms]
    only = arguments.platform
    if only is not None and only not in known:
        hint = did_you_mean(only, known) or f"it holds {', '.join(f'`{each}`' for each in known)}"
        raise InvalidInputError(f"the lock holds no platform `{only}`", hint)
    return {each.platform: _drawn(spec, each) for each in lock.platforms if only in (None, each.platform)}


def _drawn(spec: Spec, platform: PlatformLock) -> Drawn:
    drawn = graph(platform)
    roots = asked(spec, drawn)
    return Drawn(drawn, roots, tuple(node for node, by in drawn.needed.items() if not by and node not in roots))


def found(drawn: dict[str, Drawn], name: str) -> dict[str, tuple[Node, ...]]:
    """The packages of a name, by platform. Raises `Unusable` where no platform has one."""
    normal = name.lower()
    nodes = {platform: each.graph.find(normal) or each.graph.find(_normal(name)) for platform, each in drawn.items()}
    if not any(nodes.values()):
        known = {each for one in drawn.values() for each in one.graph.names()}
        raise InvalidInputError(
            f"`{name}` is not in the lock", did_you_mean(name, known) or "`envcompile tree` shows what is"
        )
    return nodes


def _normal(name: str) -> str:
    from envcompile.diagnostics.errors import RequirementError  # noqa: PLC0415 - for a name that is not conda's
    from envcompile.spec.pip import parse_package_name  # noqa: PLC0415

    try:
        return parse_package_name(name)
    except RequirementError as refusal:
        raise InvalidInputError(refusal.message, refusal.hint) from None


def strokes() -> Strokes:
    """What standard output can show."""
    try:
        "".join(UNICODE).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def write(drawn: Iterable[str], lines: Callable[[str], Iterable[str]]) -> None:
    """The lines of each platform below its name; those that several have alike stand once, below all their names."""
    same: dict[tuple[str, ...], list[str]] = {}
    for platform in drawn:
        same.setdefault(tuple(lines(platform)), []).append(platform)
    blocks = (f"{', '.join(platforms)}\n" + "".join(f"{line}\n" for line in each) for each, platforms in same.items())
    sys.stdout.write("\n".join(blocks))
