"""Runs Python programs that take seconds to import, such as conda-lock, from one process that has imported them.

Each run is a fork of that process: the real program in a process of its own. Only its imports are shared.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from envcompile.net.process import ProcessResult, run_process

if TYPE_CHECKING:
    from collections.abc import Mapping

# `python -m NAME`, and modules that import most of what the program imports. piptools itself is not among them: it
# looks for the home directory while it is imported.
_PROGRAMS = {
    "conda_lock": ("conda_lock.conda_lock",),
    "piptools": (
        "pip._internal.commands.install",
        "pip._internal.req.constructors",
        "build",
        "click",
        "importlib.metadata",
    ),
}


def run_forked(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
    """Run a program: in a fork if it is `python -m` with one of `_PROGRAMS`, else as `run_process` does.

    The server keeps the network namespace in which it was started, so that tests marked `index` must not use it.
    """
    if argv[:2] != (sys.executable, "-m") or argv[2] not in _PROGRAMS:
        return run_process(argv, folder, environment)
    return _start_server(argv[2]).run(argv[2:], folder, environment)


class _ForkServer:
    def __init__(self, program: str) -> None:
        # Without a home, so that nothing of the user is read while modules are imported.
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "TMPDIR")}
        self._process = subprocess.Popen(
            (sys.executable, __file__, *_PROGRAMS[program]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, "HOME": os.devnull},
        )
        # The backends ask from several threads.
        self._lock = threading.Lock()
        atexit.register(self._process.kill)

    def run(self, argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with TemporaryDirectory() as name, self._lock:
            request = {"argv": argv, "folder": folder, "environment": dict(environment), "output": name}
            self._process.stdin.write(f"{json.dumps(request)}\n".encode())
            self._process.stdin.flush()
            exit_code = json.loads(self._process.stdout.readline())
            output, errors = ((Path(name) / stream).read_bytes() for stream in ("stdout", "stderr"))
        return ProcessResult(exit_code, errors.decode("utf-8", "replace"), output)


@cache
def _start_server(program: str) -> _ForkServer:
    return _ForkServer(program)


def _serve(modules: list[str]) -> None:
    """Fork for each request on a line of standard input, and answer with the exit code of the fork."""
    from importlib import import_module

    for name in modules:
        import_module(name)
    for line in sys.stdin.buffer:
        pid = os.fork()
        if pid == 0:
            _run_in_fork(json.loads(line))
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run_in_fork(request: dict[str, Any]) -> None:
    """Become the program: what `python -m` would find in a new process."""
    import runpy
    import tempfile

    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    output = os.O_WRONLY | os.O_CREAT
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(f"{request['output']}/stdout", output), 1)
    os.dup2(os.open(f"{request['output']}/stderr", output), 2)
    sys.argv = request["argv"]
    sys.path[0] = request["folder"]
    runpy.run_module(request["argv"][0], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    _serve(sys.argv[1:])
