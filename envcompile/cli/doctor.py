"""`envcompile doctor`: check the programs and services that envcompile uses, and say how to fix problems."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from envcompile.cli.output import add_catalogue_option
from envcompile.diagnostics.diagnostic import clean_message, redact_secrets
from envcompile.doctor import EXIT_CODE_BY_STATE, CheckResult, result_from_error
from envcompile.doctor.project import ProjectNeeds, check_updates, read_project_needs
from envcompile.loading import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envcompile.cli.output import Reporter


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--format", choices=("text", "json"), default=argparse.SUPPRESS, help="The output format (default: text)"
    )
    parser.add_argument(
        "--network",
        action="store_true",
        help="Also check the registries of the locked images, whether tags have moved, and the age of base images",
    )
    parser.add_argument(
        "--builder", metavar="NAME", default="", help="The buildx builder to check (default: the current one)"
    )
    add_catalogue_option(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Run all checks and print the results.

    Returns 3 if something is missing, 1 if something has another problem, else 0.
    """
    known = load_catalogue(arguments.catalogue, os.environ)
    wanted = read_project_needs(arguments.file, known)
    found: list[CheckResult] = []
    for each in _run_checks(arguments, wanted, os.environ, reporter):
        found.append(each)
        reporter.show_step(f"looked at {each.about}")
    reporter.clear_step()
    if arguments.format == "json":
        rows = [{**each._asdict(), "message": redact_secrets(each.message)} for each in found]
        sys.stdout.write(f"{json.dumps({'findings': rows}, indent=1)}\n")
    else:
        sys.stdout.writelines(_format_results(found, quiet=arguments.quiet))
    return max(EXIT_CODE_BY_STATE[each.state] for each in found)


def _run_checks(
    arguments: argparse.Namespace, wanted: ProjectNeeds, environment: Mapping[str, str], reporter: Reporter
) -> Iterator[CheckResult]:
    from envcompile.doctor.docker import check_engine, read_daemon_info  # noqa: PLC0415
    from envcompile.doctor.machine import check_disk_space, check_driver, check_resolvers  # noqa: PLC0415
    from envcompile.engine.command import DockerClient  # noqa: PLC0415 - after the arguments are read

    yield from wanted.results
    docker = DockerClient(environment)
    reporter.show_step("asking docker")
    answers = list(check_engine(docker, arguments.builder))
    yield from answers
    # Without an engine, `docker version` succeeds too, without a server part.
    if any(each.about == "daemon" and each.state != "missing" for each in answers):
        yield check_disk_space(docker.run_command, read_daemon_info(docker.run_command), wanted.disk_estimate)
    yield check_driver(wanted.minimum_drivers, environment)
    yield from check_resolvers(wanted.resolvers, environment)
    if arguments.network:
        yield from _check_registries(wanted.images, environment)
        if wanted.locked:
            from envcompile.registry import create_registry  # noqa: PLC0415

            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            yield from check_updates(*wanted.locked, create_registry(environment), now)


def _check_registries(images: Iterable[str], environment: Mapping[str, str]) -> Iterator[CheckResult]:
    """Check that each registry has its image: one HEAD request per registry, through the user's mirrors."""
    from envcompile.diagnostics.errors import EnvcompileError  # noqa: PLC0415
    from envcompile.registry import create_registry  # noqa: PLC0415 - brings an HTTP client

    client = create_registry(environment)
    for image in images:
        try:
            there = client.has_tag(image)
        except EnvcompileError as problem:
            yield result_from_error("registry", problem)._replace(
                remedy="check the network and `[mirrors]` in the settings"
            )
            continue
        if there:
            yield CheckResult("registry", "fine", f"`{image}` is there")
        else:
            message = f"the registry has no `{image}`, or does not allow access to it"
            yield CheckResult(
                "registry", "missing", message, "`docker login` to it, or check `[mirrors]` in the settings"
            )


def _format_results(found: Iterable[CheckResult], *, quiet: bool) -> Iterator[str]:
    for each in found:
        if quiet and EXIT_CODE_BY_STATE[each.state] == 0:
            continue
        yield f"{each.state:<7}  {each.about:<10}  {clean_message(each.message)}\n"
        if each.remedy:
            yield f"{'':<21}= {clean_message(each.remedy)}\n"
