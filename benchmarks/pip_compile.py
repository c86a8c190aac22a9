"""`envcompile lock`, compared with `pip-compile --generate-hashes` of the same requirements, both with empty caches."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING

from benchmarks.measure import Command, CommandFailed, alternate, run
from benchmarks.question import OUTPUT, REQUIREMENTS, compare_answers, copy_example, example, uv
from benchmarks.report import Goal, Result
from benchmarks.setting import ENVCOMPILE
from benchmarks.skipped import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.setting import Setting

# One run of it takes a minute or more.
_RUNS = 1
_TIMES = 10


def compare(setting: Setting) -> Iterator[Result]:
    """Compare both with empty caches. Raises `Skipped` if pip-tools cannot be installed."""
    program = _installed(setting)
    question = example()
    theirs, ours = setting.folder("pip-compile/pip"), setting.folder("pip-compile/envcompile")
    lock = copy_example(ours)
    question.write(theirs)
    caches = (setting.folder("pip-compile/pip-cache"), setting.folder("pip-compile/uv-cache"))
    # `os.devnull` as the file of pip's settings is how pip is told to read none.
    plain = setting.environment(PIP_CONFIG_FILE=os.devnull, PIP_CACHE_DIR=caches[0])
    argv = (
        *(str(program), REQUIREMENTS, "--generate-hashes", "--no-config", "--no-header", "--strip-extras", "--quiet"),
        *("--allow-unsafe", "--cache-dir", str(caches[0]), "--pip-args", "--only-binary :all:", "-o", OUTPUT),
    )
    commands = (
        # The uncounted runs compile the modules; there is no cache to warm.
        Command("pip-compile", argv, theirs, plain, (caches[0], theirs / OUTPUT), (str(program), "--version")),
        Command(
            "envcompile lock",
            (*ENVCOMPILE, "lock"),
            ours,
            setting.environment(UV_CACHE_DIR=caches[1]),
            (caches[1], lock),
        ),
    )
    slow, fast = alternate(commands, setting.runs or _RUNS)
    times = slow.median / fast.median
    goal = Goal(f"`pip-compile` takes at least {_TIMES} times as long as we do: {times:.1f} times", times >= _TIMES)
    notes = (_whose(question.python, question.platform), compare_answers(lock, theirs / OUTPUT))
    yield Result("pip-compile, both cold", (slow, fast), (goal,), notes)


def _whose(python: str, target: str) -> str:
    here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return f"pip-compile resolves for the interpreter it runs on, {here}; we for Python {python} on {target}"


def _installed(setting: Setting) -> Path:
    """The `pip-compile` of an environment of its own, which is kept for the next run."""
    folder = setting.cache / f"pip-tools-{sys.version_info.major}.{sys.version_info.minor}"
    windows = sys.platform == "win32"
    programs = folder / ("Scripts" if windows else "bin")
    program = programs / ("pip-compile.exe" if windows else "pip-compile")
    if program.exists():
        return program
    python = str(programs / ("python.exe" if windows else "python"))
    environment = setting.environment(UV_CACHE_DIR=setting.folder("install-cache"))
    settings = ("--quiet", "--no-config", "--python")
    try:
        run((uv(), "venv", "--clear", *settings, sys.executable, str(folder)), setting.scratch, environment)
        run((uv(), "pip", "install", *settings, python, "pip-tools"), setting.scratch, environment)
    except CommandFailed as problem:
        raise Skipped(f"pip-tools cannot be installed: {problem}") from None
    return program
