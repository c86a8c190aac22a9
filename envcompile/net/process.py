"""Running a program: argv, never a shell."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple, Protocol

from envcompile.diagnostics.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ProcessResult(NamedTuple):
    """A program that has ended: its exit code and its standard error."""

    exit_code: int
    stderr: str


class ProcessRunner(Protocol):
    """Runs a program in a folder with exactly this environment and waits for it."""

    def __call__(self, argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        """Raises `UnavailableError` when there is no such program."""


def run_process(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
    """The real thing. An interrupt ends the program too."""
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as problem:
        raise UnavailableError(f"`{argv[0]}` cannot be started: {problem.strerror}") from None
    with process:
        try:
            _, errors = process.communicate()
        except BaseException:
            process.terminate()
            raise
    return ProcessResult(process.returncode, errors)
