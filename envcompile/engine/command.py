"""The docker command line, run: argv, never a shell.

Its command line and not its SDK: `docker image inspect` answers in 20 ms where importing the SDK takes 100 ms, and only
the command line knows the user's contexts, credential helpers and builders.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from envcompile.diagnostics.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_OUTPUT_BYTES = 64 << 10  # bytes of what a build says: its last steps, and the error


class DockerResult(NamedTuple):
    """A docker command that has ended: exit code, standard output, standard error (of a build: the end of it)."""

    exit_code: int
    stdout: str
    stderr: str


class DockerRunner(Protocol):
    """Runs `docker WORDS...` and waits."""

    def __call__(self, *words: str) -> DockerResult:
        """Raises `UnavailableError` when there is no docker."""


class DockerClient:
    """Docker as `environment` has it: DOCKER_HOST, DOCKER_CONTEXT, BUILDX_BUILDER are docker's own business."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def run_command(self, *words: str) -> DockerResult:
        """A short question. Raises `UnavailableError` when there is no docker."""
        with self._start_process(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            output, errors = process.communicate()
        return DockerResult(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))

    def run_build(self, words: tuple[str, ...], text: str, screen: BinaryIO | None) -> DockerResult:
        """A build with `text` as standard input; what it says goes to `screen` as it comes, and its end is kept.

        An interrupt is passed on, waited for, and raised again: a build that was stopped has cleaned up after itself.
        """
        ours, theirs, follow = _open_output(screen)
        # A file, not a pipe: nobody has to feed it while the other end is read.
        with tempfile.TemporaryFile() as stdin, os.fdopen(ours, "rb", buffering=0) as said:
            stdin.write(text.encode())
            stdin.seek(0)
            try:
                process = self._start_process(words, stdin=stdin, stdout=subprocess.DEVNULL, stderr=theirs)
            finally:
                os.close(theirs)
            interrupt: KeyboardInterrupt | None = None
            kept = b""
            while True:
                try:
                    chunk = _read_chunk(said)
                    if not chunk:
                        process.wait()
                        break
                    kept = (kept + chunk)[-_MAX_OUTPUT_BYTES:]
                    if screen is not None:
                        follow()
                        screen.write(chunk)
                        screen.flush()
                except KeyboardInterrupt as problem:
                    interrupt = problem
                    # On Windows the console has told it already, and there is no such signal to send.
                    with contextlib.suppress(ValueError):
                        process.send_signal(signal.SIGINT)
        if interrupt is not None:
            raise interrupt
        return DockerResult(process.returncode, "", kept.decode(errors="replace"))

    def _start_process(
        self, words: tuple[str, ...], *, stdin: BinaryIO | int, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                ("docker", *words),  # noqa: S607 - found on the PATH, as in any terminal
                env=self._environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        except OSError as problem:
            reason = "is not on the PATH" if isinstance(problem, FileNotFoundError) else problem.strerror
            hint = "install Docker with buildx; `envcompile dockerfile` needs neither, and its output builds elsewhere"
            raise UnavailableError(f"`docker` cannot be started: it {reason}", hint) from None


def _open_output(screen: BinaryIO | None) -> tuple[int, int, Callable[[], None]]:
    """Two ends for what a build says: a terminal of its own when `screen` is one, so that it draws as it would there.

    The third keeps its size that of the screen.
    """
    if screen is None or not screen.isatty():
        return *os.pipe(), lambda: None
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
        import pty  # noqa: PLC0415
        import termios  # noqa: PLC0415
        import tty  # noqa: PLC0415
    except ImportError:
        return *os.pipe(), lambda: None
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # the screen itself turns line ends into what it needs

    def follow() -> None:
        size = fcntl.ioctl(screen.fileno(), termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(ours, termios.TIOCSWINSZ, size)

    follow()
    return ours, theirs, follow


def _read_chunk(said: BinaryIO) -> bytes:
    try:
        return said.read(1 << 16)
    except OSError as problem:
        if problem.errno == errno.EIO:  # how a terminal says that its other end is closed
            return b""
        raise
