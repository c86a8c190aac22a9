"""`envcompile export`: the lock in the formats of other tools."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.api import load_spec_and_lock
from envcompile.cli.output import OutputArtifact, add_output_options, write_artifact
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.export import EXPORTERS, ExportInput, count_packages, export_lock, select_platform
from envcompile.export.common import derive_file_urls, find_packages_without_url, parse_file_urls
from envcompile.spec.values import read_index_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.cli.output import Reporter
    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

_HELP_EPILOG = """\
formats:
  conda-lock   conda-lock.yml (version 1), which conda-lock, mamba and micromamba install; beside the environment.yml
               of `--format environment`, `conda-lock --check-input-hash` takes it for current
  explicit     an @EXPLICIT list with hashes, which conda, mamba and micromamba install; of one platform, and of conda's
               packages only
  environment  environment.yml: what the spec asks for, without the pins
  requirements requirements.txt with hashes, which pip, pip-sync and uv install; of pip's packages only
  pylock       pylock.toml (PEP 751), which `uv pip sync` installs; of pip's packages only

The lock knows pip's files by their hashes and not by their place, and conda-lock and pylock want the place: the file
that `-o` names is believed for what it says already, and the index is asked for the rest. Without a network: with
`--files https://files.example.com/packages` the wheel `numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl` is
`https://files.example.com/packages/cp312/n/numpy/numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl`, which is how the
file host of the public index serves it.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command. `--format` is its own: how mistakes are told is said before the command's name."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _HELP_EPILOG
    parser.add_argument("--format", dest="to", choices=tuple(EXPORTERS), required=True, help="what to write; see below")
    add_output_options(parser)
    parser.add_argument("--platform", metavar="NAME", help="of this platform alone, such as linux-64 (default: all)")
    parser.add_argument("--files", metavar="URL", help="conda-lock, pylock: where pip's files are served; see below")


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
        warn_of_omissions(reporter, arguments.to, lock)
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


def warn_of_omissions(reporter: Reporter, name: str, lock: Lock) -> None:
    """Say what the file does not hold, or cannot do alone."""
    for kind in ("conda", "pip", "apt"):
        number = count_packages(lock, kind)
        if number and kind not in EXPORTERS[name].package_kinds:
            reporter.warn(
                f"`{name}` cannot hold {kind} packages, of which the lock has {number}",
                "the Dockerfile holds them all" if kind == "apt" else "`--format conda-lock` holds both",
            )
    pip_less = [each for each in lock.platforms if each.pip and all(package.name != "pip" for package in each.conda)]
    if name == "conda-lock" and pip_less:
        said = (
            "`conda-lock install` runs the environment's own pip for pip's packages, and the lock holds no conda `pip`"
        )
        reporter.warn(said, "add `pip` to `packages` in `[conda]`, and lock again")
