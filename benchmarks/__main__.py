"""`python -m benchmarks`: runs the comparisons and prints a table of each."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import conda, dockerfile, images, layers, lock, pip_compile, verify
from benchmarks.measure import CommandFailed
from benchmarks.setting import Setting
from benchmarks.skipped import Skipped
from envcompile.diagnostics.errors import EnvcompileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from benchmarks.report import Goal, Result, Table


class Comparison(NamedTuple):
    """One comparison: its summary for `--list`, and the function that yields its tables."""

    summary: str
    results: Callable[[Setting], Iterator[Result] | Iterator[Table]]


COMPARISONS = {
    "lock-warm": Comparison("envcompile lock and uv pip compile, one filled cache", lock.warm),
    "lock-cold": Comparison("envcompile lock and uv pip compile, an empty cache for each run", lock.cold),
    "lock-conda": Comparison("envcompile lock, a bare py-rattler script, conda-lock; one conda channel", conda.compare),
    "verify": Comparison("envcompile verify, a bare interpreter, conda-lock --check-input-hash", verify.compare),
    "dockerfile": Comparison("envcompile dockerfile and tag, and a process that only imports", dockerfile.compare),
    "layers": Comparison(
        "plans of layers for ten images: bytes in a registry and in a push, by arithmetic", layers.compare
    ),
    "images": Comparison("envcompile build and Dockerfiles written by hand: time, size, layers", images.compare),
    "pip-compile": Comparison("envcompile lock and pip-compile, both with empty caches", pip_compile.compare),
}
_DESCRIPTION = """\
Times envcompile as whole processes (wall seconds) beside the tools that people would use instead. The commands of a
table run in turn, A B A B, after one run of each that is not counted; ratios are of medians, to the first row.
A missed goal is printed and does not count as a failure."""
_EPILOG = """\
`lock-warm` may need the index: uv asks whether a cached answer still holds, unless the index has said for how long it
does. Its offline table leaves that out.

`images` needs a Docker engine, 10 GB of its disk and half an hour; it drops the engine's build cache, which is why it
runs only when it is named. Where no hub is within reach: `.ci/engine with python -m benchmarks --only images`.

`dockerfile` and `verify` take hundredths of a second and run four times as often as N says; `pip-compile` runs once
unless N is given. `lock-cold` and `pip-compile` ask the package index anew in each run. Settings of pip, uv and Python
in the environment are not passed on; proxies and certificates are.

exit codes: 0 everything ran, 1 a command failed, 2 usage, 130 interrupted"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=_count, metavar="N", help="counted runs of each command (default: 5)")
    parser.add_argument("--only", nargs="+", choices=COMPARISONS, metavar="NAME", help="run these comparisons alone")
    parser.add_argument("--list", action="store_true", help="say which comparisons there are, and run none")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "envcompile-benchmarks"
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache,
        metavar="DIR",
        help="where pip-tools is installed and stays (default: %(default)s)",
    )
    return parser.parse_args(argv)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the requested comparisons. The exit code is 1 if a command failed, not if a goal was missed."""
    arguments = _arguments(argv)
    if arguments.list:
        for name, comparison in COMPARISONS.items():
            print(f"{name:<12} {comparison.summary}")
        return 0
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.system()} {platform.machine()}")
    wanted = arguments.only or set(COMPARISONS) - {"images"}
    names = [name for name in COMPARISONS if name in wanted]
    goals: list[Goal] = []
    with TemporaryDirectory(prefix="envcompile-benchmarks-", ignore_cleanup_errors=True) as scratch:
        setting = Setting(Path(scratch).resolve(), arguments.cache.absolute(), arguments.runs)
        failed = [name for name in names if not _printed(name, setting, goals)]
    print(f"\n{sum(goal.met for goal in goals)} of {len(goals)} goals met", end="")
    print(f"; failed: {', '.join(failed)}" if failed else "")
    return 1 if failed else 0


def _printed(name: str, setting: Setting, goals: list[Goal]) -> bool:
    """Run and print one comparison. Returns False if one of its commands failed."""
    try:
        for result in COMPARISONS[name].results(setting):
            print("", *result.lines(), sep="\n", flush=True)
            goals.extend(result.goals)
    except Skipped as reason:
        print(f"\n{name} is skipped: {reason}", flush=True)
    except (CommandFailed, EnvcompileError) as problem:
        print(f"\n{name} failed: {problem}", flush=True)
        return False
    return True


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    # A request to end is an interrupt: the scratch folder goes either way.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
