"""`envcompile build`: the image, by `docker buildx`; its tag on standard output."""

from __future__ import annotations

import csv
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.api import compile_spec_file, format_full_tag
from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError, InvalidInputError
from envcompile.engine.build import (
    BuildRequest,
    BuildTarget,
    build_and_compare,
    build_image,
    create_build_environment,
    find_engine_platform,
    find_mirror_contexts,
    format_archive_mirrors,
    format_exporter,
    is_loaded,
    is_pushed,
)
from envcompile.engine.command import DockerClient
from envcompile.engine.failure import error_from_output
from envcompile.platforms import PLATFORM_ALIASES, PLATFORMS
from envcompile.project.files import atomic_replacement
from envcompile.project.settings import read_mirrors
from envcompile.registry.lazy import create_unmirrored_registry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from envcompile.cli.output import Reporter
    from envcompile.spec.model import Spec

_MIRRORS_VARIABLE = "ENVCOMPILE_MIRRORS"
_FILE_EXPORTERS = ("oci", "docker", "tar")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    to = parser.add_mutually_exclusive_group()
    to.add_argument("--load", action="store_true", help="into the engine (default)")
    to.add_argument("--push", action="store_true", help="to the registry that `[image] repository` names")
    to.add_argument("--output", metavar="SPEC", help="into a file: `type=oci,dest=FILE`, or `docker` or `tar`")
    to.add_argument("--repro-check", action="store_true", help="build twice from nothing and compare; keep neither")
    platforms = "one or more of the lock's (default: all; to load, the engine's own)"
    parser.add_argument("--platform", metavar="NAME", action="append", default=[], help=platforms)
    parser.add_argument("-t", "--tag", metavar="NAME", action="append", default=[], help="another name of the image")
    parser.add_argument("--force", action="store_true", help="build even if the tag is there")
    parser.add_argument("--builder", metavar="NAME", default="", help="buildx's builder (default: the current one)")
    parser.add_argument("--secret", metavar="SPEC", action="append", default=[], help="such as `id=ca,src=FILE`")
    parser.add_argument("--compression", choices=("zstd", "gzip"), default="zstd", help="gzip is for old consumers")
    extra = "after `--`: options of `docker buildx build`, as they are"
    parser.add_argument("extra", metavar="OPTION", nargs="*", help=extra)


class _BuildJob(NamedTuple):
    """What is to be built, by whom, and who is told."""

    arguments: argparse.Namespace
    reporter: Reporter
    target: BuildTarget
    dockerfile: str
    request: BuildRequest
    platform_count: int

    @property
    def tag(self) -> str:
        return self.request.tags[0]


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Build, unless what is asked for is there; 0, or an error that says which step failed."""
    if strange := [word for word in arguments.extra[:1] if not word.startswith("-")]:
        raise InvalidInputError(f"`{strange[0]}` is not an option", "what is meant for buildx stands after `--`")
    kind, path = _parse_destination(arguments)
    spec, text = compile_spec_file(arguments.file)
    if arguments.push and spec.image.repository is None:
        raise InvalidInputError("`--push` needs to know where to", 'give the spec a `repository = "..."` in `[image]`')
    shown = not arguments.quiet and arguments.format == "text"
    mirrored = read_mirrors(os.environ)
    secrets, more = _collect_secrets(arguments, format_archive_mirrors(text, mirrored))
    site = BuildTarget(
        DockerClient({**create_build_environment(os.environ), **more}),
        sys.stderr.buffer if shown else None,
        _create_line_printer(arguments),
    )
    asked = BuildRequest(
        platforms=_select_platforms(arguments, spec, site, every=kind in {"registry", "oci"}),
        output=format_exporter(kind, arguments.compression),
        tags=(format_full_tag(spec, text), *arguments.tag),
        secrets=secrets,
        contexts=find_mirror_contexts(text, mirrored),
        builder=arguments.builder,
        progress="auto" if shown else "plain",
        extra_options=tuple(arguments.extra),
    )
    return _run_job(_BuildJob(arguments, reporter, site, text, asked, len(spec.platforms)), kind, path)


def _collect_secrets(arguments: argparse.Namespace, mirrored: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The secrets of the build, and the variables that they are in: the user's own come before the settings'."""
    given = tuple(arguments.secret)
    if not mirrored or any("id=mirrors" in each.split(",") for each in given):
        return given, {}
    return (*given, f"id=mirrors,env={_MIRRORS_VARIABLE}"), {_MIRRORS_VARIABLE: mirrored}


def _run_job(job: _BuildJob, kind: str, path: Path | None) -> int:
    if job.arguments.repro_check:
        return _check_reproducibility(job)
    if path is not None:
        return _write_image(job, kind, path)
    if not job.arguments.force and _is_available(job):
        job.reporter.show_result(f"`{job.tag}` is there already")
    else:
        _build_image(job)
    sys.stdout.write(f"{job.tag}\n")
    return EXIT_OK


def _is_available(job: _BuildJob) -> bool:
    """Whether the tag is where it is to go; if so, the other tags are put beside it, which builds nothing."""
    ask, platforms, others = job.target.docker.run_command, job.request.platforms, job.request.tags[1:]
    if job.arguments.push:
        found = is_pushed(create_unmirrored_registry(os.environ), job.tag, platforms, only=job.platform_count == 1)
        # The other names get an index over the same image, unless it is one.
        command = ("buildx", "imagetools", "create", *(word for other in others for word in ("--tag", other)), job.tag)
        commands = [command] if others else []
    else:
        # Of several platforms under one tag an engine shows one: then the builder's cache is what saves time.
        found = len(platforms) == 1 and is_loaded(ask, job.tag, platforms[0])
        commands = [("image", "tag", job.tag, other) for other in others]
    for command in commands if found else ():
        if (answer := ask(*command)).exit_code:
            raise error_from_output(answer.stderr)
    return found


def _build_image(job: _BuildJob) -> None:
    started = time.monotonic()
    if len(job.request.platforms) < job.platform_count and not job.arguments.platform:
        job.reporter.show_result(
            f"for {job.request.platforms[0]} alone, which the engine is for; `--push` builds all that is locked"
        )
    digest = build_image(job.target, job.request, job.dockerfile)
    done = "pushed" if job.arguments.push else "built"
    seconds = time.monotonic() - started
    job.reporter.show_result(f"{done} `{job.tag}`{f' ({digest})' if digest else ''} in {seconds:.1f} s")


def _write_image(job: _BuildJob, kind: str, path: Path) -> int:
    """The image in a file: whole, or the file is as it was."""
    with atomic_replacement(path) as new:
        output = format_exporter(kind, job.arguments.compression, str(new))
        build_image(job.target, replace(job.request, output=output), job.dockerfile)
    job.reporter.show_result(f"wrote `{path}`")
    return EXIT_OK


def _check_reproducibility(job: _BuildJob) -> int:
    digest, difference = build_and_compare(
        job.target, job.request, job.dockerfile, job.arguments.compression, job.reporter.show_result
    )
    if difference is not None:
        message = f"two builds of one Dockerfile differ: {difference.location} {difference.description}"
        raise CheckFailedError(message, f"the likely cause: {difference.cause}")
    job.reporter.show_result(f"two builds from nothing gave the same image, bit for bit: {digest}")
    return EXIT_OK


def _parse_destination(arguments: argparse.Namespace) -> tuple[str, Path | None]:
    """The exporter's kind, and the file that `--output` names."""
    if arguments.output is None:
        return ("registry" if arguments.push else "docker"), None
    pairs = dict(part.partition("=")[::2] for part in next(csv.reader([arguments.output]), []))
    kind, dest = pairs.get("type", ""), pairs.get("dest", "")
    if set(pairs) != {"type", "dest"} or kind not in _FILE_EXPORTERS or dest in {"", "-"} or Path(dest).is_dir():
        hint = "write `--output type=oci,dest=FILE`; the type may be `docker` or `tar` too"
        raise InvalidInputError(f"`--output {arguments.output}` does not say which kind of file, and where to", hint)
    return kind, Path(dest)


def _select_platforms(arguments: argparse.Namespace, spec: Spec, site: BuildTarget, *, every: bool) -> tuple[str, ...]:
    """The platforms to build for, as docker spells them; without a word of the user's all, or the engine's own."""
    locked = tuple(PLATFORMS[name].docker_platform for name in spec.platforms)
    names = [name for text in arguments.platform for name in text.split(",")]
    if names:
        asked = [
            PLATFORMS[known].docker_platform if (known := PLATFORM_ALIASES.get(name, name)) in PLATFORMS else name
            for name in names
        ]
        if missing := [name for name in asked if name not in locked]:
            hint = f"locked is {' and '.join(f'`{name}`' for name in locked)}: add it to `platforms` and lock again"
            raise InvalidInputError(f"the lock is not for `{missing[0]}`", hint)
        return tuple(name for name in locked if name in asked)
    if every or len(locked) == 1:
        return locked
    own = find_engine_platform(site.docker.run_command)
    if own not in locked:
        raise InvalidInputError(f"the engine is for `{own}`, which the lock is not", f"add `--platform {locked[0]}`")
    return (own,)


def _create_line_printer(arguments: argparse.Namespace) -> Callable[[tuple[str, ...]], None]:
    """Shows the last lines of a failing step, when there was no progress to show them."""

    def show(lines: tuple[str, ...]) -> None:
        if arguments.format == "text":
            sys.stderr.write("".join(f"{line}\n" for line in lines))

    return show
