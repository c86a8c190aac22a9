"""Runs docker commands, and turns the output of a failed one into an error with one sentence and a hint."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import tempfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from envcompile.diagnostics.errors import CheckFailedError, EnvcompileError, InvalidInputError, UnavailableError
from envcompile.net.process import ProcessResult, run_process, start_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# The line above and below the summary of buildx: the failing step, and the last ten lines of its output.
_SUMMARY_BORDER = "------"
_ERROR_LINE = re.compile(r"^(?:ERROR: )(?:failed to (?:build|solve): )?(?P<text>.+)$", re.MULTILINE)
_MAX_MESSAGE_LENGTH = 200
_MAX_LINE_LENGTH = 2_000


class BuildFailure(NamedTuple):
    """A failed build: the step, its line in the Dockerfile, the last lines of its output and the error of buildx.

    If no step failed, the first three are empty.
    """

    step: str
    dockerfile_line: str
    lines: tuple[str, ...]
    error: str


class _FailurePattern(NamedTuple):
    """A pattern for the error or the last lines, and its message and hint, which may use groups of the pattern."""

    pattern: str
    error_type: type[EnvcompileError]
    message: str
    hint: str


# The first pattern that matches determines the error.
_FAILURE_PATTERNS = (
    _FailurePattern(
        r"Cannot connect to the Docker daemon|docker daemon is not running|error during connect|"
        r"failed to connect to the docker API|permission denied while trying to connect",
        UnavailableError,
        "the docker daemon does not answer",
        "start it, or check `DOCKER_HOST` and `docker context ls`; `docker version` says more",
    ),
    _FailurePattern(
        r'no builder "(?P<name>[^"]*)" found',
        UnavailableError,
        "there is no builder `{name}`",
        "`docker buildx ls` lists the builders",
    ),
    _FailurePattern(
        r"(?:context|error: docker context) \"(?P<name>[^\"]*)\"(?: not found|: .*not found)",
        UnavailableError,
        "there is no docker context `{name}`",
        "`docker context ls` lists the contexts",
    ),
    _FailurePattern(
        r"unknown (?:shorthand )?flag: (?P<name>.+)",
        InvalidInputError,
        "`docker buildx build` has no option {name}",
        "options after `--` are passed to it unchanged",
    ),
    _FailurePattern(
        r"[Nn]o space left on device|[Dd]isk quota exceeded",
        CheckFailedError,
        "the build failed: a disk is full",
        "`docker buildx prune` empties the builder's cache, `docker system df` lists what is large",
    ),
    _FailurePattern(
        r"(?:OCI exporter|docker exporter|[Mm]ulti-platform build|exporter) (?:is not supported|does not)",
        UnavailableError,
        "this builder cannot make that output",
        "turn on Docker's containerd image store, or name another builder with `--builder`",
    ),
    _FailurePattern(
        r"failed to push (?P<name>[^\s:]+(?::[0-9]+/[^\s:]+)?\S*): .*"
        r"(?:denied|unauthorized|insufficient_scope|forbidden|\b40[13]\b)",
        UnavailableError,
        "the registry does not let `{name}` be pushed",
        "`docker login` to it, or check `[image] repository` in the spec",
    ),
    _FailurePattern(
        r"failed to push (?P<name>\S+): (?P<reason>.+)",
        UnavailableError,
        "`{name}` cannot be pushed: {reason}",
        "the image is built: run the same again when the registry answers, and only the push is left to do",
    ),
    _FailurePattern(
        r"failed to resolve source metadata for (?P<name>\S+): (?P<reason>.+)",
        UnavailableError,
        "the image `{name}` cannot be fetched: {reason}",
        "check the network, `docker login`, or name a mirror in `~/.config/envcompile/config.toml`",
    ),
    _FailurePattern(
        r"failed to do request: (?P<reason>.+)",
        UnavailableError,
        "a registry does not answer: {reason}",
        "check its name, the network, and `docker login`",
    ),
    _FailurePattern(
        r"exec format error",
        CheckFailedError,
        "the build failed: the builder cannot run programs of that platform",
        "install an emulator (qemu with binfmt_misc), or name a builder of the platform with `--builder`",
    ),
    _FailurePattern(
        r"invalid peer certificate|UnknownIssuer|CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSL certificate",
        CheckFailedError,
        "the build failed: a server's certificate is not trusted in it",
        "behind a proxy with a certificate of its own, add `--secret id=ca,src=/path/to/bundle.crt`",
    ),
    _FailurePattern(
        r"dns error|failed to lookup address|[Tt]emporary failure in name resolution|Could not resolve host|"
        r"network bridge not found",
        CheckFailedError,
        "the build failed: it has no network",
        "`envcompile build -- --network=host` uses the builder's own; a proxy is named in docker's configuration",
    ),
)


def parse_build_failure(output: str) -> BuildFailure:
    """Return the failed step and the error at the end of the output of buildx, in any of its progress formats."""
    text = _ESCAPE_SEQUENCE.sub("", output.replace("\r\n", "\n"))
    output_lines = text.split("\n")
    summary = _find_last_summary(output_lines)
    errors = _ERROR_LINE.findall(text)
    # An error before the build begins has no such line: docker prints the error first, then where to read about it.
    error = errors[-1] if errors else text.strip()
    if summary is None:
        return BuildFailure("", "", (), error)
    start, end = summary
    step = output_lines[start + 1].removeprefix(" > ").removesuffix(":")
    # Each line starts with the seconds since the start of the step.
    lines = tuple(re.sub(r"^[0-9]+\.[0-9]+ ", "", line) for line in output_lines[start + 2 : end])
    line = re.search(r"^Dockerfile:([0-9]+)$", "\n".join(output_lines[end + 1 :]), re.MULTILINE)
    return BuildFailure(step, line[1] if line else "", lines, error)


def _find_last_summary(lines: list[str]) -> tuple[int, int] | None:
    """Return the indexes of the two borders around the last summary of a failed step, or None."""
    found = start = None
    for index, line in enumerate(lines):
        if line != _SUMMARY_BORDER:
            continue
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if start is not None:
            found, start = (start, index), None
        elif following.startswith(" > ") and following.endswith(":"):
            start = index
    return found


def error_from_output(output: str) -> EnvcompileError:
    """Return the error for a docker command that failed, from its output."""
    failed = parse_build_failure(output)
    # A line of a build may have any length, and some patterns take quadratic time.
    text = "\n".join(line[:_MAX_LINE_LENGTH] for line in (*failed.lines, *failed.error.split("\n")))
    for row in _FAILURE_PATTERNS:
        if found := re.search(row.pattern, text):
            names = {key: _shorten_text(value) for key, value in found.groupdict().items()}
            return row.error_type(row.message.format(**names), row.hint.format(**names))
    if not failed.step:
        first = failed.error.partition("\n")[0]
        return CheckFailedError(f"docker failed: {_shorten_text(first) or 'it does not say why'}")
    last = next((line for line in reversed(failed.lines) if line.strip()), failed.error)
    step = found[0] if (found := re.match(r"\[[^\]]*\]", failed.step)) else _shorten_text(failed.step)
    place = f", line {failed.dockerfile_line} of the Dockerfile" if failed.dockerfile_line else ""
    hint = "the last lines of the step are above, and the step itself is in `envcompile dockerfile`"
    return CheckFailedError(f"the build failed in `{step}`{place}: {_shorten_text(last)}", hint)


def _shorten_text(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE_LENGTH else f"{line[: _MAX_MESSAGE_LENGTH - 1]}…"


# Docker's command line.
#
# The command line is used instead of the Python SDK because `docker image inspect` takes 20 ms, while importing the SDK
# takes 100 ms, and because only the command line knows the user's contexts, credential helpers and builders.


_MAX_OUTPUT_BYTES = 64 << 10  # kept from the end of a build's messages, which has the last steps and the error
_COMMAND_TIMEOUT = 300.0
_HINT = "install Docker with buildx; `envcompile dockerfile` needs neither, and its output builds elsewhere"


class DockerRunner(Protocol):
    """Runs `docker WORDS...` and waits for it."""

    def __call__(self, *words: str) -> ProcessResult:
        """Run the command. Raises `UnavailableError` if there is no docker, or if it does not answer."""


class DockerClient:
    """The docker command line in a given environment. It reads DOCKER_HOST, DOCKER_CONTEXT and BUILDX_BUILDER."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def run_command(self, *words: str) -> ProcessResult:
        """Run a short command. Raises `UnavailableError` if there is no docker, or if it does not answer."""
        return run_process(("docker", *words), None, self._environment, timeout=_COMMAND_TIMEOUT, hint=_HINT)

    def run_build(self, words: tuple[str, ...], dockerfile: str, screen: BinaryIO | None) -> ProcessResult:
        """Run a build with the Dockerfile as its standard input, without a time limit.

        The messages of the build are copied to `screen` as they arrive. The standard error of the result has the last
        64 KiB of them. An interrupt is passed on to the build, and raised again when the build has ended.
        """
        ours, theirs, copy_window_size = _open_channel(screen)
        # A file, because a pipe would have to be filled while the messages are read.
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
                    # On Windows, the console has interrupted the build already.
                    with contextlib.suppress(ValueError):
                        process.send_signal(signal.SIGINT)
        if interrupt is not None:
            raise interrupt
        return ProcessResult(process.returncode, kept.decode(errors="replace"))


def _open_channel(screen: BinaryIO | None) -> tuple[int, int, Callable[[], None]]:
    """Return both ends of a channel for messages, and a function that copies the window size of `screen` to it.

    The first end is for reading, the second for writing. If `screen` is a terminal, the channel is a pseudo-terminal,
    so that the build draws its progress; otherwise it is a pipe, and the function does nothing.
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
