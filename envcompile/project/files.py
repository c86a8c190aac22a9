"""Reading and writing files: whole or not at all."""

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
    """A file's content, cut after `limit` and one more byte, so that a larger file is seen.

    Raises `InvalidInputError`.
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
    """Replace a file's content, or leave it as it was: no reader ever sees half of it.

    Raises `CheckFailedError` if the file cannot be written.
    """
    with atomic_replacement(path) as new:
        _write_content(path, new, content)


@contextlib.contextmanager
def atomic_replacement(path: Path) -> Iterator[Path]:
    """A new, empty file that takes the place of `path` when the body ends well, and is gone when it does not.

    Raises `CheckFailedError` when the folder does not take it.
    """
    # Through a link to what it names, as an editor would.
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
    """Hold a file's lock while the body runs, so that two runs do not interleave; ends with the process, however.

    The lock is the system's, on an open descriptor: no file stays behind. `waiting` is called once when another
    process holds it. Where the system has no such lock (Windows, some network folders) the body runs all the same:
    writing is atomic, and the last run wins.
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
    """The mode of the file that is replaced, else what a new file gets."""
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def display_path(path: Path) -> str:
    """A path as a person would name it from here."""
    if not path.is_absolute():
        return str(path)
    relative = os.path.relpath(path)
    return relative if not relative.startswith(os.path.join("..", "..")) else str(path)  # noqa: PTH118
