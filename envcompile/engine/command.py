"""Docker's command line.

It is used instead of the Python SDK because `docker image inspect` takes 20 ms where importing the SDK takes 100 ms,
and because only the command line knows the user's contexts, credential helpers and builders.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import tempfile
from typing import TYPE_CHECKING, BinaryIO, Protocol

from envcompile.net.process import ProcessResult, run_process, start_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_OUTPUT_BYTES = 64 << 10  # the end of a build's messages: its last steps, and the error
_COMMAND_TIMEOUT = 300.0
_HINT = "install Docker with buildx; `envcompile dockerfile` needs neither, and its output builds elsewhere"


class DockerRunner(Protocol):
    """Runs `docker WORDS...` and waits for it."""

    def __call__(self, *words: str) -> ProcessResult:
        """Raises `UnavailableError` if there is no docker, or if it does not answer."""


class DockerClient:
    """Docker in a given environment: docker itself reads DOCKER_HOST, DOCKER_CONTEXT and BUILDX_BUILDER from it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def run_command(self, *words: str) -> ProcessResult:
        """Run a short command. Raises `UnavailableError` if there is no docker, or if it does not answer."""
        return run_process(("docker", *words), None, self._environment, timeout=_COMMAND_TIMEOUT, hint=_HINT)

    def run_build(self, words: tuple[str, ...], dockerfile: str, screen: BinaryIO | None) -> ProcessResult:
        """Run a build with the Dockerfile as its standard input. It has no limit of time.

        The build's messages go to `screen` as they come, and the last of them are the result's standard error. An
        interrupt is passed on to the build, and raised again when the build has cleaned up and ended.
        """
        ours, theirs, copy_window_size = _open_channel(screen)
        # A file and not a pipe, which somebody would have to fill while the messages are read.
        with tempfile.TemporaryFile() as stdin, os.fdopen(ours, "rb", buffering=0) as messages:
            stdin.write(dockerfile.encode())
            stdin.seek(0)
            try:
                process = start_process(("docker", *words), self._environment, stdin=stdin, stderr=theirs, hint=_HINT)
            finally:
                os.close(theirs)
            interrupt: KeyboardInterrupt | None = None
            kept = b""
            while True:
                try:
                    chunk = _read_chunk(messages)
                    if not chunk:
                        process.wait()
                        break
                    kept = (kept + chunk)[-_MAX_OUTPUT_BYTES:]
                    if screen is not None:
                        copy_window_size()
                        screen.write(chunk)
                        screen.flush()
                except KeyboardInterrupt as problem:
                    interrupt = problem
                    # On Windows the console has interrupted it already, and there is no such signal to send.
                    with contextlib.suppress(ValueError):
                        process.send_signal(signal.SIGINT)
        if interrupt is not None:
            raise interrupt
        return ProcessResult(process.returncode, kept.decode(errors="replace"))


def _open_channel(screen: BinaryIO | None) -> tuple[int, int, Callable[[], None]]:
    """The two ends of a channel for messages, and a function that gives it the window size of `screen`.

    If `screen` is a terminal, the channel is a pseudo-terminal, so that the build draws its progress as it would there.
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
    tty.setraw(theirs)  # the screen itself translates line ends

    def copy_window_size() -> None:
        size = fcntl.ioctl(screen.fileno(), termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(ours, termios.TIOCSWINSZ, size)

    copy_window_size()
    return ours, theirs, copy_window_size


def _read_chunk(messages: BinaryIO) -> bytes:
    try:
        return messages.read(1 << 16)
    except OSError as problem:
        if problem.errno == errno.EIO:  # the other end of the pseudo-terminal is closed
            return b""
        raise
