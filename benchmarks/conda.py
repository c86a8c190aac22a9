"""`envcompile lock` of a conda environment, compared with a bare py-rattler script and conda-lock, on one channel."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import bare_rattler
from benchmarks.measure import Command, alternate
from benchmarks.report import Goal, Result, at_most
from benchmarks.setting import ENVCOMPILE
from benchmarks.skipped import Skipped
from envcompile.lock.reader import parse_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting

CHANNEL = Path(__file__).parent.parent / "fixtures" / "channels" / "conda-forge"
ASKED = ("numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "pytorch", "python 3.12.*")
OUTPUT = "conda-lock.yml"
_BASE = "debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251"
_RUNS = 5
# Of the bare script's time: 1.5 times, and the start of a Python process.
_FACTOR, _SECONDS = 1.5, 0.15
_TIMES = 4


def compare(setting: Setting) -> Iterator[Result]:
    """Compare them without an earlier lock. The channel is a folder, so the network plays no part. Raises `Skipped`."""
    if not find_spec("rattler"):
        raise Skipped("py-rattler is not installed")
    ours, theirs = setting.folder("conda/envcompile"), setting.folder("conda/bare")
    (ours / "envcompile.toml").write_text(_spec(), "utf-8")
    environment = setting.environment(RATTLER_CACHE_DIR=setting.folder("conda/cache"))
    lock, listed = ours / "envcompile.lock", theirs / "explicit.txt"
    program = str(Path(bare_rattler.__file__))
    bare = (sys.executable, program, CHANNEL.as_uri(), str(listed), *ASKED)
    envcompile = Command("envcompile lock", (*ENVCOMPILE, "lock"), ours, environment, (lock,))
    script, mine = alternate(
        (Command("bare py-rattler", bare, theirs, environment, (listed,)), envcompile), setting.runs or _RUNS
    )
    note = _same({line.rpartition("/")[2].partition("#")[0] for line in listed.read_text("utf-8").split()[1:]}, lock)
    goal = at_most(mine, script, _FACTOR, _SECONDS)
    yield Result("lock of a conda environment, the script", (script, mine), (goal,), (note,))
    if find_spec("conda_lock"):
        yield _beside_conda_lock(setting, envcompile, lock)


def _beside_conda_lock(setting: Setting, envcompile: Command, lock: Path) -> Result:
    folder = setting.folder("conda/conda-lock")
    theirs = Command("conda-lock lock", conda_lock(folder), folder, envcompile.environment, (folder / OUTPUT,))
    slow, fast = alternate((theirs, envcompile), setting.runs or _RUNS)
    times = slow.median / fast.median
    goal = Goal(f"`conda-lock lock` takes at least {_TIMES} times as long as we do: {times:.1f} times", times >= _TIMES)
    note = _same({url.rpartition("/")[2] for url in urls(folder / OUTPUT)} - {CHANNEL.name}, lock)
    return Result("lock of a conda environment, conda-lock with the same solver", (slow, fast), (goal,), (note,))


def conda_lock(folder: Path) -> tuple[str, ...]:
    """The `conda-lock lock` command for the same requirements and the same solver.

    Its input files are in the folder.
    """
    conda = folder / "conda"
    program = shlex.quote(str(Path(bare_rattler.__file__)))
    conda.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {program} "$@"\n', "utf-8")
    conda.chmod(0o755)
    rows = "".join(f"  - {each}\n" for each in ASKED)
    environment = f"channels:\n  - {CHANNEL.as_uri()}\ndependencies:\n{rows}platforms:\n  - {bare_rattler.SUBDIR}\n"
    (folder / "environment.yml").write_text(environment, "utf-8")
    return (
        *(sys.executable, "-m", "conda_lock", "lock", "--conda", str(conda), "--no-mamba", "--no-micromamba"),
        *("-f", "environment.yml", "--lockfile", OUTPUT),
    )


def urls(output: Path) -> list[str]:
    """The archives in conda-lock's lock."""
    return [
        line.split()[-1] for line in output.read_text("utf-8").splitlines() if line.lstrip().startswith("url: file")
    ]


def _spec() -> str:
    packages = ", ".join(f'"{each}"' for each in ASKED)
    return f'name = "x"\n[conda]\nchannels = ["{CHANNEL}"]\npackages = [{packages}]\n[image]\nbase = "{_BASE}"\n'


def _same(theirs: set[str], lock: Path) -> str:
    """A sentence about whether both sides have locked the same packages: a fast but wrong result is no comparison."""
    (platform,) = parse_lock(lock.read_text("utf-8"), lock.name).platforms
    ours = {package.file for package in platform.conda}
    if ours == theirs:
        return f"both answer the same {len(ours)} archives"
    return (
        f"{len(ours & theirs)} archives are the same, {len(ours - theirs)} only ours, {len(theirs - ours)} only theirs"
    )
