"""`envcompile explain`: why the lock has its base images, or what the code of an error means."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING

from envcompile.cli.output import write_lines
from envcompile.diagnostics.diagnostic import did_you_mean
from envcompile.diagnostics.errors import EXIT_OK, InvalidInputError
from envcompile.diagnostics.rules import RULES
from envcompile.lock.activation import merge_variables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from envcompile.cli.output import Reporter
    from envcompile.lock.model import BaseImageDecision, Lock, PlatformLock, Step
    from envcompile.spec.model import Spec


def format_decisions(lock: Lock, spec: Spec) -> Iterator[str]:
    """Yield lines of text about the base images of each platform: the choice, its reasons and its warnings.

    The variables and scripts of conda packages follow, and the distributions in them that pip packages need.
    """
    for number, platform in enumerate(lock.platforms):
        yield from ([""] if number else [])
        yield f"{platform.platform}"
        yield f"  build on   {platform.build.image}"
        yield f"  run on     {platform.run.image}"
        if platform.base_decision is None:
            yield "  why        the lock was made by a release that did not record the reasons: run `envcompile lock`"
        else:
            yield from _format_decision(platform, platform.base_decision)
        conda_env = merge_variables(platform.conda)
        yield from (f"  variable   {name}={value}, of a conda package" for name, value in conda_env.items())
        yield from (f"  activates  {each.name}: {', '.join(each.activate)}" for each in platform.conda if each.activate)
        if provided := format_provided(spec, platform):
            yield f"  from conda {provided}"


def format_provided(spec: Spec, platform: PlatformLock) -> str:
    """Format the distributions that pip packages need and conda packages contain, as one line.

    For example `numpy 2.3.5, torch 2.9.1 (pytorch)`: the conda package is in parentheses if it has another name.
    """
    from envcompile.lock.graph import find_used_distributions  # noqa: PLC0415 - for conda and pip packages together

    used = find_used_distributions(spec.pip, platform) if platform.conda else {}
    return ", ".join(
        f"{name} {package.version}{'' if package.name == name else f' ({package.name})'}"
        for name, package in used.items()
    )


def _format_decision(platform: PlatformLock, decided: BaseImageDecision) -> Iterator[str]:
    yield f"  system     {platform.run.os}, glibc {platform.run.glibc}"
    yield f"  CUDA       {decided.cuda or 'none'}"
    if decided.driver:
        yield f"  driver     {decided.driver} or newer"
    if decided.image_driver:
        yield f"             {decided.image_driver} or newer to start the run image"
    if decided.compute:
        yield f"  GPUs       compute capability {', '.join(decided.compute)}"
    yield from (f"  variable   {name}={value}" for name, value in decided.env)
    yield from (f"  at build   {name}={value}" for name, value in decided.build_env)
    yield from (f"  apt        {each}" for each in decided.apt)
    yield from (f"  apt build  {each}" for each in decided.apt_build)
    yield from (f"  wheel      {each}" for each in decided.wheels)
    if decided.saving:
        yield f"  saves      about {decided.saving.gigabytes} GB unpacked against {decided.saving.against}"
    yield f"  why        by the facts of {decided.catalogue}:"
    for row in decided.explanation:
        yield from _format_step(row)
    for each in decided.warnings:
        yield f"  warning[{each.rule}]: {each.message}"
        yield f"    = hint: {each.hint}"


def _format_step(row: Step) -> Iterator[str]:
    because = f" ({', '.join(row.inputs)})" if row.inputs else ""
    yield f"    {row.step}. {row.decision}{because}"
    yield from (f"       not {each.image}: {each.because}" for each in row.rejected)


def format_decisions_json(lock: Lock, spec: Spec) -> str:
    """Return a JSON object with the images and the decision of each platform (null if the lock has none).

    `conda-env` has the variables that conda packages set in the image, and `activate` the scripts of each conda package
    that must be run. `from-conda` has the distributions that pip packages need, with the conda package that contains
    each.
    """
    from envcompile.lock.graph import find_used_distributions  # noqa: PLC0415 - for conda and pip packages together

    found = {}
    for platform in lock.platforms:
        decided = platform.base_decision
        found[platform.platform] = {
            **{stage: describe_base_image(platform, stage) for stage in ("build", "run")},
            "decided": decided and _convert_decision(decided),
            "conda-env": merge_variables(platform.conda),
            "activate": {each.name: each.activate for each in platform.conda if each.activate},
            "from-conda": {name: each.name for name, each in find_used_distributions(spec.pip, platform).items()},
        }
    return json.dumps({"platforms": found}, indent=2)


def describe_base_image(platform: PlatformLock, stage: str) -> dict[str, str]:
    """Return the image, the system (`os`) and the glibc version of a stage."""
    image = platform.build if stage == "build" else platform.run
    return {"image": image.image, "os": image.os, "glibc": image.glibc}


def _convert_decision(decided: BaseImageDecision) -> dict[str, object]:
    return {
        "catalogue": decided.catalogue,
        "cuda": decided.cuda,
        "driver": decided.driver,
        "image-driver": decided.image_driver,
        "compute": decided.compute,
        "env": dict(decided.env),
        "build-env": dict(decided.build_env),
        "apt": decided.apt,
        "apt-build": decided.apt_build,
        "wheels": decided.wheels,
        "saving": decided.saving and decided.saving._asdict(),
        "warnings": [{"rule": each.rule, "message": each.message, "hint": each.hint} for each in decided.warnings],
        "trail": [
            {**row._asdict(), "rejected": [each._asdict() for each in row.rejected]} for row in decided.explanation
        ],
    }


# The command.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "code",
        metavar="CODE",
        nargs="?",
        help="An error code, such as `unknown-key` (default: explain the base images)",
    )
    parser.add_argument("--list", action="store_true", help="List the error codes")
    parser.add_argument(
        "--as", dest="form", choices=("text", "json"), default="text", help="The output format (default: text)"
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print one rule, the table of all rules, or the explanation of the base images."""
    del reporter
    if arguments.list:
        width = max(map(len, RULES))
        sys.stdout.writelines(f"{rule.slug:<{width}}  {rule.summary}\n" for rule in RULES.values())
        return EXIT_OK
    if arguments.code is None:
        return _explain_base_images(arguments)
    rule = RULES.get(arguments.code)
    if rule is None:
        hint = did_you_mean(arguments.code, RULES) or "run `envcompile explain --list`"
        raise InvalidInputError(f"`{arguments.code}` is not an error code", hint)
    sys.stdout.write(f"{rule.slug}: {rule.summary}\n\n{textwrap.fill(rule.explanation, 100)}\n")
    return EXIT_OK


def _explain_base_images(arguments: argparse.Namespace) -> int:
    from envcompile.loading import find_lock_path, find_spec, read_lock, read_source  # noqa: PLC0415
    from envcompile.spec.decode import parse_spec  # noqa: PLC0415

    path = find_spec(arguments.file)
    spec = parse_spec(read_source(path)) if path.exists() else None
    lock = read_lock(find_lock_path(path))
    spec = spec or parse_spec(read_source(path))
    lines = [format_decisions_json(lock, spec)] if arguments.form == "json" else format_decisions(lock, spec)
    write_lines(lines)
    return EXIT_OK
