"""Running docker's credential helpers: programs that take a name on standard input and answer on standard output."""

from __future__ import annotations

import subprocess
from shutil import which
from typing import TYPE_CHECKING

from envcompile.errors import MissingOutside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def helper_runner(environment: Mapping[str, str], limit: float = 60.0) -> Callable[[tuple[str, ...], str], str]:
    """A runner of helpers that are found on this environment's PATH: argv and standard input to standard output.

    Its exit code does not count: helpers say "credentials not found" on standard output and fail. `limit` is in
    seconds; some helpers ask the user. It raises `MissingOutside` when the program is not there or does not end.
    """

    def run(argv: tuple[str, ...], text: str) -> str:
        program = which(argv[0], path=environment.get("PATH", ""))
        hint = "install it, or take it out of docker's `config.json`"
        if program is None:
            raise MissingOutside(f"the credential helper `{argv[0]}` of docker's configuration is not there", hint)
        try:
            finished = subprocess.run(
                (program, *argv[1:]),
                input=text.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:  # its text would hold what the helper has said so far
            failure = f"did not end within {limit:g} seconds"
        except OSError as problem:
            failure = f"cannot be started: {problem.strerror}"
        else:
            return finished.stdout.decode("utf-8", "replace")
        raise MissingOutside(f"the credential helper `{argv[0]}` {failure}", hint)

    return run
