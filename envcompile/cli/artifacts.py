"""The commands that print an artifact: `dockerfile`, `tag`, `export` and `schema`."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile import api
from envcompile.cli.output import OutputArtifact, add_output_options, write_artifact
from envcompile.diagnostics.errors import EXIT_OK
from envcompile.export import EXPORTERS
from envcompile.loading import SCHEMA_FILES, find_schema_file, find_spec, read_project

if TYPE_CHECKING:
    from envcompile.api import Dockerfile
    from envcompile.cli.output import Reporter


def add_schema_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `schema`."""
    parser.add_argument(
        "of",
        metavar="spec|lock|catalogue",
        nargs="?",
        choices=tuple(SCHEMA_FILES),
        default="spec",
        help="The file that the schema describes (default: spec)",
    )


def run_schema(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print one schema, byte for byte."""
    del reporter
    sys.stdout.buffer.write(find_schema_file(arguments.of).read_bytes())
    return EXIT_OK


_ARTIFACT = OutputArtifact("Dockerfile", "envcompile dockerfile", "Dockerfile")


def add_dockerfile_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `dockerfile`."""
    add_output_options(parser)


def run_dockerfile(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write the Dockerfile, or compare it with a file."""
    return write_artifact(arguments, reporter, _ARTIFACT, lambda: _make_dockerfile(arguments).text)


def add_tag_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tag`: none."""
    del parser


def run_tag(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Print the name of the image."""
    del reporter
    sys.stdout.write(f"{_make_dockerfile(arguments).tag}\n")
    return EXIT_OK


def _make_dockerfile(arguments: argparse.Namespace) -> Dockerfile:
    # `read_project` does not check the spec, unlike `load`. The check is unnecessary if the lock has the spec's digest.
    return api.dockerfile(read_project(find_spec(arguments.file)))


_FILE_URLS_HELP = """\
The lock identifies pip's files by their hashes and holds no URLs, but some formats need a URL for each file. The URLs
that the file named by `-o` already contains are kept, and the package index is asked for the others. Without network
access, `--files https://files.example.com/packages` names a server with the layout of the public index: the URL of
`numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl` is then
`https://files.example.com/packages/cp312/n/numpy/numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl`.
"""


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`.

    `--format` selects the export format here. Before the name of the command, it selects the format of messages.
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{_format_exporters_help()}\n{_FILE_URLS_HELP}"
    parser.add_argument("--format", dest="to", choices=tuple(EXPORTERS), required=True, help="The format; see below")
    add_output_options(parser)
    parser.add_argument("--platform", metavar="NAME", help="Export one platform, such as linux-64 (default: all)")
    names = ", ".join(each.name for each in EXPORTERS.values() if each.needs_file_urls)
    parser.add_argument("--files", metavar="URL", help=f"The server of pip's files, for {names}; see below")


def _format_exporters_help() -> str:
    """A list of the formats: the file, its contents, and the programs that read it."""
    width = max(map(len, EXPORTERS))
    indent = " " * (width + 4)
    lines = ["formats:"]
    for each in EXPORTERS.values():
        text = f"{each.file_name}: {each.contents}; for {each.used_by}"
        lines += textwrap.wrap(text, 120, initial_indent=f"  {each.name:{width}}  ", subsequent_indent=indent)
    return "".join(f"{line}\n" for line in lines)


def run_export(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write the export, or compare it with a file."""
    named = {"--format": arguments.to, "--platform": arguments.platform, "--files": arguments.files}
    command = " ".join(["envcompile export", *(f"{option} {value}" for option, value in named.items() if value)])

    def make() -> str:
        return api.export(
            read_project(find_spec(arguments.file)),
            arguments.to,
            platform=arguments.platform,
            files_url=arguments.files,
            earlier_text=_read_earlier_export(arguments.output),
            on_event=reporter.show_event,
        )

    artifact = OutputArtifact(f"`{arguments.to}` export", command, EXPORTERS[arguments.to].file_name)
    return write_artifact(arguments, reporter, artifact, make)


def _read_earlier_export(output: str | None) -> str:
    if output is None or output == "-" or not Path(output).is_file():
        return ""
    return Path(output).read_text("utf-8", "replace")
