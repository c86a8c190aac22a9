"""Runs commands in turn and times them as whole processes: A B A B, so that a slow minute affects all of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """One side of a comparison.

    `removed` are files and folders that are removed before it starts, outside the measured time. `warm_up` is the
    command that runs once before all others without being counted: the command itself, unless another argv is
    given.
    """

    name: str
    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    removed: tuple[Path, ...] = ()
    warm_up: tuple[str, ...] | None = None


class Series(NamedTuple):
    """The wall times of one command, in seconds."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, which ratios and goals use."""
        return median(self.seconds)


class CommandFailed(Exception):  # noqa: N818 - a sentence for people, not an error of a caller
    """A command of a comparison failed. The text has the command and the end of its output."""


def alternate(commands: Sequence[Command], runs: int) -> list[Series]:
    """One uncounted run of each command, then `runs` rounds of all of them. Raises `CommandFailed`."""
    for command in commands:
        _clear(command.removed)
        run(command.warm_up or command.argv, command.folder, command.environment)
    rounds = [[_timed(command) for command in commands] for _ in range(runs)]
    times = zip(*rounds, strict=True)
    return [Series(command.name, tuple(seconds)) for command, seconds in zip(commands, times, strict=True)]


def _timed(command: Command) -> float:
    _clear(command.removed)
    started = time.perf_counter()
    run(command.argv, command.folder, command.environment)
    return time.perf_counter() - started


def _clear(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def run(argv: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
    """Run a program to its end without showing its output. Raises `CommandFailed` with the end of the output.

    The program gets a process group of its own, so that an interrupt also ends its children.
    """
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=dict(environment),
            stdin=quiet,
            stdout=quiet,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as problem:
        raise CommandFailed(f"`{argv[0]}` cannot be started: {problem.strerror}") from None
    with process:
        try:
            _, errors = process.communicate()
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        said = errors.decode(errors="replace").strip()[-2000:]
        raise CommandFailed(f"`{' '.join(argv)}` ended with {process.returncode}:\n{said}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()
