"""`envcompile doctor`: what this machine has of all that envcompile uses, and what mends the rest."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from envcompile.cli.artefact import catalogue_option
from envcompile.cli.demand import Demand, demand
from envcompile.diagnostics.diagnostic import redact_secrets
from envcompile.findings import STATES, Finding, failed
from envcompile.loading import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envcompile.cli.report import Reporter


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    said = "of what is found, and of mistakes (default: text)"
    parser.add_argument("--format", choices=("text", "json"), default=argparse.SUPPRESS, help=said)
    parser.add_argument("--network", action="store_true", help="ask the registries of the lock's images, too")
    parser.add_argument("--builder", metavar="NAME", default="", help="buildx's builder (default: the current one)")
    catalogue_option(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Look at everything, print it; the worst of the exit codes: 3 something is missing, 1 something is not fine."""
    known = load_catalogue(arguments.catalogue, os.environ)
    wanted = demand(arguments.file, known)
    found: list[Finding] = []
    for each in _everything(arguments, wanted, os.environ, reporter):
        found.append(each)
        reporter.step(f"looked at {each.about}")
    reporter.done()
    if arguments.format == "json":
        rows = [{**each._asdict(), "message": redact_secrets(each.message)} for each in found]
        sys.stdout.write(f"{json.dumps({'findings': rows}, indent=1)}\n")
    else:
        sys.stdout.writelines(_lines(found, quiet=arguments.quiet))
    return max(STATES[each.state] for each in found)


def _everything(
    arguments: argparse.Namespace, wanted: Demand, environment: Mapping[str, str], reporter: Reporter
) -> Iterator[Finding]:
    from envcompile.engine.command import Docker  # noqa: PLC0415 - after the arguments are read
    from envcompile.engine.health import engine, information  # noqa: PLC0415
    from envcompile.engine.nvidia import driver  # noqa: PLC0415
    from envcompile.engine.space import space  # noqa: PLC0415
    from envcompile.resolve.installed import resolvers  # noqa: PLC0415

    yield from wanted.findings
    docker = Docker(environment)
    reporter.step("asking docker")
    answers = list(engine(docker, arguments.builder))
    yield from answers
    # Without an engine docker answers, too, with a page of nothing.
    if any(each.about == "daemon" and each.state != "missing" for each in answers):
        yield space(docker.ask, information(docker.ask), wanted.need)
    yield driver(wanted.floors, environment)
    yield from resolvers(wanted.resolvers, environment)
    if arguments.network:
        yield from _registries(wanted.images, environment)


def _registries(images: Iterable[str], environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether each registry shows what is needed of it: one HEAD for an image of each, through the user's mirrors."""
    from envcompile.diagnostics.errors import EnvcompileError  # noqa: PLC0415
    from envcompile.registry.lazy import create_registry  # noqa: PLC0415 - brings an HTTP client

    client = create_registry(environment)
    for image in images:
        try:
            there = client.holds(image)
        except EnvcompileError as problem:
            yield failed("registry", problem)._replace(remedy="check the network and `[mirrors]` in the settings")
            continue
        if there:
            yield Finding("registry", "fine", f"`{image}` is there")
        else:
            message = f"the registry does not show `{image}`"
            yield Finding("registry", "missing", message, "`docker login` to it, or check `[mirrors]` in the settings")


def _lines(found: Iterable[Finding], *, quiet: bool) -> Iterator[str]:
    for each in found:
        if quiet and STATES[each.state] == 0:
            continue
        yield f"{each.state:<7}  {each.about:<10}  {redact_secrets(each.message)}\n"
        if each.remedy:
            yield f"{'':<21}= {redact_secrets(each.remedy)}\n"
