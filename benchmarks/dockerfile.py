"""`envcompile dockerfile`, compared with a process that only imports its dependencies, on the same interpreter."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks import made_up
from benchmarks.measure import Command, alternate
from benchmarks.report import Result, at_most, linear
from benchmarks.setting import ENVCOMPILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting

# These take hundredths of a second, which a busy machine doubles at will: more runs than the slow comparisons.
_RUNS = 5
_TIMES = 4
_FEW, _MANY = 200, 2000
_FACTOR = 1.5


def compare(setting: Setting) -> Iterator[Result]:
    """Compare them for locks of 200 and 2,000 packages."""
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
    yield Result("dockerfile", series, (at_most(small, imports, _FACTOR), linear(imports, small, large, _MANY / _FEW)))
