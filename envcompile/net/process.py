"""Starts programs with limits of time and memory, and selects the environment variables that a resolver may see.

A program is started from its arguments, never through a shell, and its standard input is empty unless the caller passes
one. It stays in the process group of envcompile, so that Ctrl-C in a terminal reaches it and its own children too.
"""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
from contextlib import suppress
from shutil import which
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from envcompile.diagnostics.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import IO

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# Variables about the network and the user. Variables that would change a result (UV_PRERELEASE, PIP_*, CONDA_*, ...)
# are left out, because a resolver must obey the spec alone.
_NETWORK_AND_USER_VARIABLES = frozenset(
    "PATH HOME USER LOGNAME TMPDIR TEMP TMP SYSTEMROOT APPDATA LOCALAPPDATA USERPROFILE XDG_CACHE_HOME XDG_CONFIG_HOME "
    "XDG_DATA_HOME HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy SSL_CERT_FILE "
    "SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NETRC".split()
)
# In seconds and bytes. An hour is many times what the slowest resolver takes. uv reads index pages of any size, so only
# the memory limit stops it at an endless page.
_DEFAULT_TIMEOUT = 3600.0
_DEFAULT_MEMORY = 8 << 30
# Seconds between SIGTERM and SIGKILL.
_GRACE_PERIOD = 5.0

_running: set[subprocess.Popen[bytes]] = set()


class ProcessResult(NamedTuple):
    """The result of a program that has ended: its exit code, its standard error as text, its standard output."""

    exit_code: int
    stderr: str
    output: bytes = b""

    @property
    def stdout(self) -> str:
        """The standard output as text."""
        return _decode(self.output)


class ProcessRunner(Protocol):
    """Runs a program in a folder with exactly this environment and waits for it."""

    def __call__(self, argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        """Run the program. Raises `UnavailableError` if it cannot be started or does not finish in time."""


class ProgramNotFoundError(UnavailableError):
    """There is no such program on the PATH."""


class ProcessTimeoutError(UnavailableError):
    """The program did not finish in time, and was killed."""


def select_environment(environment: Mapping[str, str], *more: str) -> dict[str, str]:
    """The variables that every resolver may see, and those named in `more`, which this one may see too."""
    wanted = _NETWORK_AND_USER_VARIABLES.union(more)
    return {name: value for name, value in environment.items() if name in wanted}


def run_process(  # noqa: PLR0913 - the first three are those of `ProcessRunner`
    argv: tuple[str, ...],
    folder: str | Path | None,
    environment: Mapping[str, str],
    *,
    stdin: bytes | None = None,
    timeout: float = _DEFAULT_TIMEOUT,
    memory: int = _DEFAULT_MEMORY,
    label: str = "",
    hint: str | None = None,
) -> ProcessResult:
    """Run a program to its end, whatever its exit code. An interrupt ends the program too.

    `folder` is the working directory, None for the current one. `timeout` is in seconds, `memory` in bytes of data for
    each process (on Linux; other systems cannot limit a running process). `label` is the program's name in error
    messages, which never quote its output. Raises `ProgramNotFoundError` if it is not on the PATH,
    `ProcessTimeoutError` if it does not finish in time, and `UnavailableError` if it cannot be started for another
    reason.
    """
    label = label or f"`{argv[0]}`"
    source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    process = start_process(
        argv, environment, folder=folder, stdin=source, stdout=subprocess.PIPE, label=label, hint=hint
    )
    _limit_memory(process.pid, memory)
    _running.add(process)
    with process:
        try:
            output, errors = process.communicate(stdin, timeout)
            return ProcessResult(process.returncode, _decode(errors), output)
        except subprocess.TimeoutExpired:
            end_process(process, grace_period=0)
        except BaseException:
            end_process(process)
            raise
        finally:
            _running.discard(process)
    # Raised outside the `except` block. Inside it, Python would attach the caught exception, which holds the output so
    # far, and that may contain a secret.
    raise ProcessTimeoutError(f"{label} did not finish within {timeout:g} seconds", hint)


def start_process(  # noqa: PLR0913 - a process has so many sides
    argv: tuple[str, ...],
    environment: Mapping[str, str],
    *,
    folder: str | Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.PIPE,
    label: str = "",
    hint: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program without limits. Its name is looked up on the PATH of `environment`. The caller must wait for it.

    Raises `ProgramNotFoundError` if it is not on the PATH, and `UnavailableError` if it cannot be started for another
    reason.
    """
    label = label or f"`{argv[0]}`"
    program = argv[0] if os.sep in argv[0] else which(argv[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise ProgramNotFoundError(f"{label} cannot be started: it is not on the PATH", hint)
    try:
        return subprocess.Popen(
            (program, *argv[1:]), cwd=folder, env=dict(environment), stdin=stdin, stdout=stdout, stderr=stderr
        )
    except OSError as problem:
        raise UnavailableError(f"{label} cannot be started: {problem.strerror}", hint) from None


def run_in_threads(function: Callable[[ItemT], ResultT], items: Sequence[ItemT]) -> list[ResultT]:
    """The results of `function` for all items, in their order. Each item has a thread of its own.

    An interrupt ends the programs of the threads too.
    """
    if len(items) == 1:
        return [function(items[0])]
    from concurrent.futures import ThreadPoolExecutor, wait  # noqa: PLC0415 - 8 ms, for several items only

    with ThreadPoolExecutor(len(items)) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            # Python interrupts the main thread alone. The other threads may still start programs, so programs are ended
            # until all threads have finished.
            while wait(futures, 0.1).not_done:
                for process in tuple(_running):
                    end_process(process)
            raise


def _limit_memory(pid: int, memory: int) -> None:
    """Limit the data of a process and of its later children.

    The parent process sets the limit after the start, because running Python code in the child before its program
    starts is not safe with threads.

    The data segment is limited, not the address space, because allocators reserve address space for every processor of
    the machine.
    """
    if sys.platform == "linux":
        import resource  # noqa: PLC0415 - not on Windows

        with suppress(OSError):  # the process has ended already, or this user may not limit it
            _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
            soft = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
            resource.prlimit(pid, resource.RLIMIT_DATA, (soft, hard))


def end_process(process: subprocess.Popen[bytes], grace_period: float = _GRACE_PERIOD) -> None:
    """End a process and its descendants: with SIGTERM, and after `grace_period` seconds with SIGKILL.

    On other systems than Linux, only the process itself is ended.
    """
    descendants = _list_descendants(process.pid) if process.poll() is None else []
    if grace_period:
        process.terminate()
        for pid, started in descendants:
            _kill_descendant(pid, started, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_period)
    process.kill()
    for pid, started in descendants:
        _kill_descendant(pid, started, signal.SIGKILL)


def _list_descendants(pid: int) -> list[tuple[int, str]]:
    """The descendants of a process, each with its start time; none if the system has no /proc."""
    found: list[tuple[int, str]] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for path in glob.glob(f"/proc/{parent}/task/*/children"):  # noqa: PTH207 - pathlib is not imported here
            with suppress(OSError), open(path, encoding="ascii") as file:  # noqa: PTH123
                children = [int(each) for each in file.read().split()]
                waiting += children
                found += [(child, started) for child in children if (started := _read_start_time(child))]
    return found


def _read_start_time(pid: int) -> str:
    """The start time of a process in clock ticks since the start of the system, or "" if there is no such process."""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        # Field 22. The name of the program, field 2, is in parentheses and may contain blanks.
        return file.read().rpartition(b")")[2].split()[19].decode()
    return ""


def _kill_descendant(pid: int, started: str, number: signal.Signals) -> None:
    # The number may belong to another process by now.
    if _read_start_time(pid) == started:
        with suppress(OSError):
            os.kill(pid, number)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace").replace("\r\n", "\n")
