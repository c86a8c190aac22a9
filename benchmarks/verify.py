"""`envcompile verify`, and `lock` with nothing to do, beside a bare interpreter and beside conda-lock's own check."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import made_up
from benchmarks.conda import OUTPUT, conda_lock, urls
from benchmarks.measure import Command, alternate
from benchmarks.report import Result, at_most, linear
from benchmarks.setting import ENVCOMPILE
from envcompile import api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting

# These take hundredths of a second, which a busy machine doubles at will: more runs than the slow comparisons.
_RUNS = 5
_TIMES = 4
_FEW, _MANY = 200, 2000
# Of a bare interpreter's time, and of conda-lock's.
_FRESH, _COMMITTED, _UNCHANGED, _COMMENT, _TENTH = 2.0, 2.2, 3.0, 4.0, 0.1


def compare(setting: Setting) -> Iterator[Result]:
    """Fresh locks of 200 and 2,000 packages; their specs with a comment more; and with every requirement loosened.

    A fresh lock also beside a committed Dockerfile, and as `lock` finds it.
    """
    environment = setting.environment()
    # As people start it: what the script itself imports is part of the time.
    script = Path(sys.executable).with_name("envcompile")
    program = (str(script),) if script.exists() else ENVCOMPILE

    def ours(said: str, size: int, old: str = "", new: str = "") -> Command:
        folder = setting.folder(f"verify/{said or 'fresh'}-{size}".replace(" ", "-"))
        made_up.write(folder, size)
        spec = folder / "envcompile.toml"
        spec.write_text(spec.read_text("utf-8").replace(old, new, 1 if old == "[pip]" else -1), "utf-8")
        return Command(f"envcompile verify, {size:,}{said}", (*program, "verify"), folder, environment)

    def both(said: str, old: str = "", new: str = "") -> tuple[Command, Command]:
        return ours(said, _FEW, old, new), ours(said, _MANY, old, new)

    def unchanged(command: str) -> Command:
        folder = setting.folder(f"verify/unchanged-{command}")
        made_up.write(folder, _FEW)
        text = api.dockerfile(api.load(folder / "envcompile.toml")).text
        (folder / "Dockerfile").write_text(text, "utf-8")
        return Command(
            f"envcompile {command}, {_FEW:,}, a committed Dockerfile", (*program, command), folder, environment
        )

    bare = Command("python -c pass", (sys.executable, "-c", "pass"), setting.folder("verify"), environment)
    fresh, many = both("", "[pip]", "[pip]")
    commands = [bare, fresh, many, *both(", a comment", "[pip]", "[pip]  # x"), *both(", loosened", '>=1"', '>=0"')]
    commands += [unchanged("verify"), unchanged("lock")]
    goals = []
    if find_spec("conda_lock") and find_spec("rattler"):
        folder = setting.folder("verify/conda-lock")
        argv = conda_lock(folder)
        check = (*argv, "--check-input-hash")
        commands.append(Command("conda-lock lock --check-input-hash", check, folder, environment, warm_up=argv))
    series = alternate(commands, (setting.runs or _RUNS) * _TIMES)
    start, *rest = series
    goals += [at_most(rest[0], start, _FRESH), at_most(rest[2], start, _COMMENT)]
    goals += [at_most(rest[6], start, _COMMITTED), at_most(rest[7], start, _UNCHANGED)]
    goals += [linear(start, rest[index], rest[index + 1], _MANY / _FEW) for index in (0, 2, 4)]
    notes = []
    if len(rest) > 2 * 3 + 2:
        goals.append(at_most(rest[0], rest[-1], _TENTH))
        notes.append(f"conda-lock's lock holds {len(urls(folder / OUTPUT)) - 1} packages")
    yield Result("verify", series, goals, notes)
