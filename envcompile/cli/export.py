"""`envcompile export`: the lock in the formats of other tools."""

from __future__ import annotations

import argparse
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.api import load_spec_and_lock
from envcompile.cli.output import OutputArtifact, add_output_options, write_artifact
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.export import EXPORTERS, ExportInput, export_lock, find_export_warnings, select_platform
from envcompile.export.common import derive_file_urls, find_packages_without_url, parse_file_urls
from envcompile.spec.values import read_index_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.cli.output import Reporter
    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

_FILE_URLS_HELP = """\
The lock identifies pip's files by their hashes and holds no URLs, but some formats need a URL for each file. The URLs
that the file named by `-o` already contains are kept, and the package index is asked for the others. Without network
access, `--files https://files.example.com/packages` names a server with the layout of the public index: the URL of
`numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl` is then
`https://files.example.com/packages/cp312/n/numpy/numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl`.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    `--format` selects the export format here; before the command's name it selects the format of messages.
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{_format_exporters_help()}\n{_FILE_URLS_HELP}"
    parser.add_argument("--format", dest="to", choices=tuple(EXPORTERS), required=True, help="what to write; see below")
    add_output_options(parser)
    parser.add_argument("--platform", metavar="NAME", help="of this platform alone, such as linux-64 (default: all)")
    names = ", ".join(each.name for each in EXPORTERS.values() if each.needs_file_urls)
    parser.add_argument("--files", metavar="URL", help=f"{names}: the server of pip's files; see below")


def _format_exporters_help() -> str:
    """A list of the formats: the file, its contents, and the programs that read it."""
    width = max(map(len, EXPORTERS))
    indent = " " * (width + 4)
    lines = ["formats:"]
    for each in EXPORTERS.values():
        text = f"{each.file_name}: {each.contents}; for {each.used_by}"
        lines += textwrap.wrap(text, 120, initial_indent=f"  {each.name:{width}}  ", subsequent_indent=indent)
    return "".join(f"{line}\n" for line in lines)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write or compare; 0, or `CheckFailedError` when the compared file differs."""
    row = EXPORTERS[arguments.to]
    files = _check_files_url(arguments.files)
    if files and not row.needs_file_urls:
        raise InvalidInputError(f"`{arguments.to}` names no file of pip's", "leave `--files` out")
    asked = {"--format": arguments.to, "--platform": arguments.platform, "--files": files}
    command = " ".join(["envcompile export", *(f"{key} {value}" for key, value in asked.items() if value)])

    def make() -> str:
        spec, lock = load_spec_and_lock(arguments.file)
        lock = select_platform(lock, arguments.platform)
        places = _select_file_urls(arguments.output, files, spec, lock) if row.needs_file_urls else {}
        text = export_lock(arguments.to, ExportInput(spec, lock, places))
        for message, hint in find_export_warnings(arguments.to, lock):
            reporter.warn(message, hint)
        return text

    return write_artifact(arguments, reporter, OutputArtifact(f"`{arguments.to}` export", command, row.file_name), make)


def _check_files_url(url: str | None) -> str | None:
    if url is None:
        return None
    mistakes: list[Diagnostic] = []
    clean = read_index_url(mistakes, (), url)
    for mistake in mistakes:
        raise InvalidInputError(f"`--files`: {mistake.message}", mistake.hint)
    return clean


def _select_file_urls(output: str | None, files: str | None, spec: Spec, lock: Lock) -> dict[str, str]:
    """Where pip's files are: as the URL says, else as the file says that is there, else as the index says."""
    if files:
        return derive_file_urls(lock, files)
    there = output and output != "-" and Path(output).is_file()
    return find_file_urls(
        spec, lock, Path(output).read_text("utf-8", "replace") if there and output else "", os.environ
    )


def find_file_urls(
    spec: Spec, lock: Lock, text: str, environment: Mapping[str, str], *, offline: bool = False
) -> dict[str, str]:
    """Where pip's files are, as an earlier export says; what it does not say is asked of the indexes."""
    places = parse_file_urls(text)
    if asked := find_packages_without_url(lock, places):
        from envcompile.net.process import run_process  # noqa: PLC0415
        from envcompile.resolve.model import Effects  # noqa: PLC0415
        from envcompile.resolve.pip.file_urls import find_file_urls  # noqa: PLC0415 - for what no file says

        places |= find_file_urls(spec.pip, asked, Effects(run_process, environment, offline))
    return places
