"""`envcompile export`: the lock in the formats of other tools."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from envcompile.cli import artefact
from envcompile.cli.compiled import locked
from envcompile.errors import Unusable
from envcompile.lock.exports import FORMATS, Given, export, packages
from envcompile.spec import names

if TYPE_CHECKING:
    from envcompile.cli.report import Reporter
    from envcompile.diagnostics import Diagnostic
    from envcompile.lock.model import Lock

_MORE = """\
formats:
  conda-lock   conda-lock.yml (version 1), which conda-lock, mamba and micromamba install; beside the environment.yml
               of `--format environment`, `conda-lock --check-input-hash` takes it for current
  explicit     an @EXPLICIT list with hashes, which conda, mamba and micromamba install; of one platform, and of conda's
               packages only
  environment  environment.yml: what the spec asks for, without the pins

The lock knows pip's files by their hashes and not by their place, and conda-lock.yml needs the place: with
`--files https://files.example.com/packages` the wheel `numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl` is
`https://files.example.com/packages/cp312/n/numpy/numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl`, which is how the
file host of the public index serves it.
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command. `--format` is its own: how mistakes are told is said before the command's name."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _MORE
    parser.add_argument("--format", dest="to", choices=tuple(FORMATS), required=True, help="what to write; see below")
    artefact.options(parser)
    parser.add_argument("--platform", metavar="NAME", help="of this platform alone, such as linux-64 (default: all)")
    parser.add_argument("--files", metavar="URL", help="conda-lock: where pip's files are served; see below")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Write or compare; 0, or `NotFine` when the compared file differs."""
    row = FORMATS[arguments.to]
    files = _files(arguments.files)
    if files and not row.files:
        raise Unusable(f"`{arguments.to}` names no file of pip's", "leave `--files` out")
    asked = {"--format": arguments.to, "--platform": arguments.platform, "--files": files}
    command = " ".join(["envcompile export", *(f"{key} {value}" for key, value in asked.items() if value)])

    def make() -> str:
        spec, lock = locked(arguments.file)
        lock = _narrowed(lock, arguments.platform)
        text = export(arguments.to, Given(spec, lock, files))
        _warn(reporter, arguments.to, lock)
        return text

    return artefact.deliver(arguments, reporter, artefact.Artefact(f"`{arguments.to}` export", command, row.file), make)


def _files(url: str | None) -> str | None:
    if url is None:
        return None
    mistakes: list[Diagnostic] = []
    clean = names.url(mistakes, (), url)
    for mistake in mistakes:
        raise Unusable(f"`--files`: {mistake.message}", mistake.hint)
    return clean


def _narrowed(lock: Lock, name: str | None) -> Lock:
    """The lock with the named platform alone. Raises `Unusable`."""
    if name is None:
        return lock
    platform = lock.platform(name)
    if platform is None:
        known = ", ".join(f"`{each.platform}`" for each in lock.platforms)
        raise Unusable(f"the lock does not hold the platform `{name}`", f"it holds {known}")
    return replace(lock, platforms=(platform,))


def _warn(reporter: Reporter, name: str, lock: Lock) -> None:
    """Say what the file does not hold, or cannot do alone."""
    for kind in ("conda", "pip"):
        number = packages(lock, kind)
        if number and kind not in FORMATS[name].holds:
            reporter.warn(
                f"`{name}` cannot hold {kind} packages, of which the lock has {number}",
                "`--format conda-lock` holds both",
            )
    pip_less = [each for each in lock.platforms if each.pip and all(package.name != "pip" for package in each.conda)]
    if name == "conda-lock" and pip_less:
        said = (
            "`conda-lock install` runs the environment's own pip for pip's packages, and the lock holds no conda `pip`"
        )
        reporter.warn(said, "add `pip` to `packages` in `[conda]`, and lock again")
