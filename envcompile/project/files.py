"""Reads and writes files. A file is written completely or not at all, and only one process at a time locks a spec."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import CheckFailedError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def read_bytes(path: Path, limit: int, hint: str | None = None) -> bytes:
    """Return at most the first `limit` + 1 bytes of a file. The extra byte shows that the file is larger than `limit`.

    Raises `InvalidInputError` if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        raise InvalidInputError(f"`{path}` does not exist", hint) from None
    except IsADirectoryError:
        raise InvalidInputError(f"`{path}` is a folder, not a file", hint) from None
    except OSError as problem:
        raise InvalidInputError(f"`{path}` cannot be read: {problem.strerror}", hint) from None


def write_text(path: Path, text: str) -> None:
    """Replace a file's content with a text in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the content of a file.

    On failure the old content stays, and no reader ever sees a part of the new one.

    Raises `CheckFailedError` if the file cannot be written.
    """
    with atomic_replacement(path) as new:
        _write_content(path, new, content)


@contextlib.contextmanager
def atomic_replacement(path: Path) -> Iterator[Path]:
    """Yield the path of a new, empty file that replaces `path` if the body succeeds, and is removed if it fails.

    Raises `CheckFailedError` if the new file cannot be created or cannot replace `path`.
    """
    # A link stays: the file that it points to is replaced.
    path = Path(os.path.realpath(path))
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as problem:
        raise _create_write_error(path, problem) from None
    try:
        yield Path(name)
        try:
            Path(name).chmod(_find_file_mode(path))
            os.replace(name, path)  # noqa: PTH105 - the one call that is atomic, by its own name
        except OSError as problem:
            raise _create_write_error(path, problem) from None
    finally:
        Path(name).unlink(missing_ok=True)


def _write_content(path: Path, new: Path, content: bytes) -> None:
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise _create_write_error(path, problem) from None


def _create_write_error(path: Path, problem: OSError) -> CheckFailedError:
    return CheckFailedError(f"`{path}` cannot be written: {problem.strerror}")


@contextlib.contextmanager
def exclusive_lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file while the body runs, so that two processes do not interleave.

    The lock belongs to the open file, so it ends with the process and leaves no file behind. `waiting` is
    called once if another process holds the lock. On systems without such locks (Windows, some network
    folders) the body runs without one: files are written atomically, and the last run wins.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        yield
        return
    with path.open("rb") as file:
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as problem:
            if problem.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL):
                raise CheckFailedError(f"`{path}` cannot be locked against another run: {problem.strerror}") from None
        yield


def _find_file_mode(path: Path) -> int:
    """Return the mode of the file at `path`, or the mode of a new file if there is none."""
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def shorten_path(path: Path) -> str:
    """Return the path relative to the current folder if the file is in it or in its parent folder."""
    if not path.is_absolute():
        return str(path)
    relative = os.path.relpath(path)
    return relative if not relative.startswith(os.path.join("..", "..")) else str(path)  # noqa: PTH118


def display_path(path: Path) -> str:
    """Return a path for messages, shortened as by `shorten_path`, with unprintable characters escaped.

    A line break in the name of a file could look like the end of the message.
    """
    shown = shorten_path(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)
