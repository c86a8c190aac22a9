"""`envcompile dockerfile` beside a process that only imports what it needs, on the same interpreter."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks import made_up
from benchmarks.measure import Command, alternate
from benchmarks.report import Goal, Result, at_most
from benchmarks.setting import ENVCOMPILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Series
    from benchmarks.setting import Setting

# These take hundredths of a second, which a busy machine doubles at will: more runs than the slow comparisons.
_RUNS = 5
_TIMES = 4
_FEW, _MANY = 200, 2000
_FACTOR = 1.5


def compare(setting: Setting) -> Iterator[Result]:
    """Locks of 200 and 2,000 packages, and the commands beside."""
    few, many = (setting.folder(f"dockerfile/{packages}") for packages in (_FEW, _MANY))
    made_up.write(few, _FEW)
    made_up.write(many, _MANY)
    environment = setting.environment()

    def ours(command: str, size: int = _FEW) -> Command:
        folder = few if size == _FEW else many
        shown = f"envcompile {command}" + ("" if command.startswith("-") else f", {size:,} packages")
        return Command(shown, (*ENVCOMPILE, command), folder, environment)

    def python(code: str) -> Command:
        return Command(f"python -c {code!r}", (sys.executable, "-c", code), few, environment)

    commands = (
        *(python("import tomli, jinja2"), ours("dockerfile"), ours("dockerfile", _MANY)),
        *(python("pass"), ours("tag"), ours("tag", _MANY), ours("--version")),
    )
    series = alternate(commands, (setting.runs or _RUNS) * _TIMES)
    imports, small, large = series[:3]
    yield Result("dockerfile", series, (at_most(small, imports, _FACTOR), _linear(imports, small, large)))


def _linear(imports: Series, small: Series, large: Series) -> Goal:
    """Ten times the packages take at most ten times as long, what the imports take left aside."""
    few, many = small.median - imports.median, large.median - imports.median
    growth = f"{1000 * few:.1f} ms for {_FEW:,}, {1000 * many:.1f} ms for {_MANY:,}"
    ratio = f", {many / few:.1f} times" if few > 0 else ""
    times = _MANY / _FEW
    return Goal(f"at most linear, {times:g} times, above the imports: {growth}{ratio}", many <= times * few)
