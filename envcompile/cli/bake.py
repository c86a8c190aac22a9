"""`envcompile bake`: a bake file for one or many specs, on standard output or in a file."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.api import compile_spec_file, format_full_tag
from envcompile.diagnostics.errors import EXIT_OK, InvalidInputError
from envcompile.engine.build import BuildRequest, find_mirror_contexts, format_bake_file, format_exporter
from envcompile.platforms import PLATFORMS
from envcompile.project.files import write_text
from envcompile.project.settings import read_mirrors

if TYPE_CHECKING:
    import argparse

    from envcompile.cli.output import Reporter


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("specs", metavar="SPEC", nargs="*", help="the specs (default: the one that is found or named)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write FILE, whole or not at all")
    parser.add_argument("--shard", metavar="I/N", default="1/1", help="the I-th of N parts, one for each builder")
    parser.add_argument("--push", action="store_true", help="the builds push (default: they load into the engine)")
    parser.add_argument("--cache", metavar="REPOSITORY", help="keep the builders' cache in a registry")
    parser.add_argument("--secret", metavar="SPEC", action="append", default=[], help="such as `id=ca,src=FILE`")
    parser.add_argument("--compression", choices=("zstd", "gzip"), default="zstd", help="gzip is for old consumers")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write the file; the specs' locks must answer them."""
    part, parts = _parse_shard(arguments.shard)
    mirrored = read_mirrors(os.environ)
    targets: dict[str, tuple[BuildRequest, str]] = {}
    for file in arguments.specs or [arguments.file]:
        spec, text = compile_spec_file(file)
        if arguments.push and spec.image.repository is None:
            raise InvalidInputError(
                f"`--push` needs to know where to, and `{spec.name}` does not say", "give it a `repository`"
            )
        build = BuildRequest(
            platforms=tuple(PLATFORMS[name].docker_platform for name in spec.platforms),
            output=format_exporter("registry" if arguments.push else "docker", arguments.compression),
            tags=(format_full_tag(spec, text),),
            secrets=tuple(arguments.secret),
            contexts=find_mirror_contexts(text, mirrored),
        )
        name = re.sub(r"[^A-Za-z0-9_-]", "_", spec.name)
        if name in targets:
            raise InvalidInputError(f"two specs make a target `{name}`", "give each another `name`")
        targets[name] = (build, text)
    chosen = dict(list(targets.items())[part - 1 :: parts])
    text = format_bake_file(chosen, arguments.compression, arguments.cache)
    if arguments.output is None or arguments.output == "-":
        sys.stdout.buffer.write(text.encode())
    else:
        write_text(Path(arguments.output), text)
        reporter.show_result(f"wrote `{arguments.output}`: {', '.join(chosen) or 'nothing to build'}")
    return EXIT_OK


def _parse_shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InvalidInputError(f"`--shard {text}` is no part of a whole", "write `--shard 1/3`, `2/3` and `3/3`")
    return int(found[1]), int(found[2])
