"""`envcompile build` and `envcompile bake`: the image of a locked spec, or a file that builds many images."""

from __future__ import annotations

import csv
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envcompile import api
from envcompile.cli.output import OutputArtifact, add_output_file_options, prepare_artifact_file, write_stdout
from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError, InvalidInputError
from envcompile.engine.build import is_bake_file
from envcompile.engine.image import BakeTarget, BuildOptions, ImageFile, make_bake_file
from envcompile.loading import find_spec, read_project, read_project_lock
from envcompile.project.files import write_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from envcompile.cli.output import Reporter

_FILE_KINDS = ("oci", "docker", "tar")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `build`."""
    to = parser.add_mutually_exclusive_group()
    to.add_argument("--load", action="store_true", help="Load the image into the engine (default)")
    to.add_argument("--push", action="store_true", help="Push the image to `repository` in `[image]`")
    to.add_argument(
        "--output",
        metavar="SPEC",
        help="Write the image to a file: `type=TYPE,dest=FILE`, where TYPE is oci, docker or tar",
    )
    to.add_argument(
        "--repro-check", action="store_true", help="Build twice without the cache, and compare the images; keep neither"
    )
    platforms = "Build for these locked platforms (default: all, or that of the engine to load the image)"
    parser.add_argument("--platform", metavar="NAME", action="append", default=[], help=platforms)
    parser.add_argument("-t", "--tag", metavar="NAME", action="append", default=[], help="Another name for the image")
    parser.add_argument(
        "--force",
        action="store_true",
        help="Build even if the image exists, and replace the file of --output even if envcompile did not write it",
    )
    parser.add_argument("--builder", metavar="NAME", default="", help="The buildx builder (default: the current one)")
    _add_shared_options(parser)
    extra = "After `--`: more options for docker buildx build"
    parser.add_argument("extra", metavar="OPTION", nargs="*", help=extra)


def _add_shared_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--secret", metavar="SPEC", action="append", default=[], help="A secret for the build, such as `id=ca,src=FILE`"
    )
    parser.add_argument(
        "--compression",
        choices=("zstd", "gzip"),
        default="zstd",
        help="The compression of layers; gzip is for old programs (default: zstd)",
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Build the image unless it exists, and print its name."""
    if words := [word for word in arguments.extra[:1] if not word.startswith("-")]:
        raise InvalidInputError(f"`{words[0]}` is not an option", "write options for buildx after `--`")
    output = _parse_output(arguments.output) if arguments.output is not None else None
    project = read_project(find_spec(arguments.file))
    shared: dict[str, Any] = {
        "platforms": [name for text in arguments.platform for name in text.split(",")],
        "compression": arguments.compression,
        "secrets": arguments.secret,
        "builder": arguments.builder,
        "extra_options": arguments.extra,
        "progress": sys.stderr.buffer if reporter.shows_progress else None,
        "on_event": reporter.show_event,
    }
    if arguments.repro_check:
        checked = api.check_reproducibility(project, **shared)
        if found := checked.difference:
            message = f"two builds of one Dockerfile differ: {found.location} {found.description}"
            raise CheckFailedError(message, f"the likely cause: {found.cause}")
        reporter.show_result(f"two builds without the cache gave the same image, bit for bit: {checked.digest}")
        return EXIT_OK
    started = time.monotonic()
    result = api.build(project, push=arguments.push, output=output, tags=arguments.tag, force=arguments.force, **shared)
    if output:
        reporter.show_result(f"wrote `{output.path}`")
        return EXIT_OK
    if result.existed:
        reporter.show_result(f"`{result.tag}` already exists")
    else:
        digest = f" ({result.digest})" if result.digest else ""
        seconds = time.monotonic() - started
        reporter.show_result(f"{'pushed' if arguments.push else 'built'} `{result.tag}`{digest} in {seconds:.1f} s")
    sys.stdout.write(f"{result.tag}\n")
    return EXIT_OK


def _parse_output(text: str) -> ImageFile:
    """The file that `--output` names, in the syntax of buildx."""
    pairs = dict(part.partition("=")[::2] for part in next(csv.reader([text]), []))
    kind, dest = pairs.get("type", ""), pairs.get("dest", "")
    if set(pairs) != {"type", "dest"} or kind not in _FILE_KINDS or dest in {"", "-"} or Path(dest).is_dir():
        hint = "write `--output type=oci,dest=FILE`; other types are `docker` and `tar`"
        raise InvalidInputError(f"`--output {text}` does not name a type and a file", hint)
    return ImageFile(kind, Path(dest))


def add_bake_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bake`."""
    parser.add_argument("specs", metavar="SPEC", nargs="*", help="A spec (default: the spec of -f)")
    add_output_file_options(parser)
    parser.add_argument("--shard", metavar="I/N", default="1/1", help="Build the I-th of N parts of the specs")
    parser.add_argument("--push", action="store_true", help="Push the images (default: load them into the engine)")
    parser.add_argument("--cache", metavar="REPOSITORY", help="Keep the cache of the builders in a registry")
    _add_shared_options(parser)


def run_bake(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write a file for `docker buildx bake`."""
    shard = _parse_shard(arguments.shard)
    writes_file = arguments.output not in {None, "-"}
    if writes_file:
        words = " ".join(["envcompile bake", *arguments.specs])
        prepare_artifact_file(arguments, OutputArtifact("bake file", words, "bake.json", is_bake_file))
    options = BuildOptions(push=arguments.push, secrets=tuple(arguments.secret), compression=arguments.compression)
    images = _iter_bake_targets(arguments.specs or [arguments.file])
    text, names = make_bake_file(images, options, os.environ, cache=arguments.cache, shard=shard)
    if writes_file:
        write_text(Path(arguments.output), text)
        reporter.show_result(f"wrote `{arguments.output}`: {', '.join(names) or 'nothing to build'}")
    else:
        write_stdout(text)
    return EXIT_OK


def _iter_bake_targets(files: list[str | None]) -> Iterator[BakeTarget]:
    for file in files:
        lock = read_project_lock(read_project(find_spec(file)))
        made = api.dockerfile(lock)
        yield BakeTarget(lock.spec, made.text, made.tag)


def _parse_shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InvalidInputError(
            f"`--shard {text}` is not `I/N` with I from 1 to N", "write `--shard 1/3`, `2/3` and `3/3`"
        )
    return int(found[1]), int(found[2])
