"""Reads and writes files. A file is written completely or not at all, and only one process at a time locks a spec.

Temporary files and folders are locked (`flock`) as long as their process needs them. So a later process recognizes what
a killed one has left, and removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import escape_unprintable
from envcompile.diagnostics.errors import CheckFailedError, InvalidInputError, UnavailableError
from envcompile.project import TEMPORARY_MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


# Distinctive, because folders of this name are removed, like files with `TEMPORARY_MARK`.
_FOLDER_PREFIX = "envcompile-temporary-"
_RANDOM_PART = "[a-z0-9_]{8}"  # of `tempfile`
# A disk that is full, over its quota or read-only.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


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
        name, release = _create_held(partial(_create_file, path))
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
        release()


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


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes have left beside a file. Others are still in use, and stay."""
    path = Path(os.path.realpath(path))
    pattern = re.compile(re.escape(f".{path.name}{TEMPORARY_MARK}") + _RANDOM_PART)
    _remove_abandoned(path.parent, pattern)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a new, empty folder, which is removed with its contents after the body.

    The first call of a process also removes the folders of killed processes. Raises `UnavailableError` if the folder
    cannot be created, or if the body fails to write because the disk is full or read-only.
    """
    try:
        base = tempfile.gettempdir()
        _remove_abandoned_folders(base)
        name, release = _create_held(partial(_create_folder, base))
    except OSError as problem:
        raise _create_temporary_error(problem) from None
    try:
        yield Path(name)
    except OSError as problem:
        if problem.errno not in _DISK_ERRORS:
            raise
        raise _create_temporary_error(problem) from None
    finally:
        shutil.rmtree(name, ignore_errors=True)
        release()


def _create_temporary_error(problem: OSError) -> UnavailableError:
    message = f"temporary files cannot be written: {problem.strerror}"
    return UnavailableError(message, "set TMPDIR to a folder with more space")


def _create_file(path: Path) -> tuple[int, str]:
    return tempfile.mkstemp(prefix=f".{path.name}{TEMPORARY_MARK}", dir=path.parent)


def _create_folder(base: str) -> tuple[int | None, str]:
    name = tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=base)
    # Windows cannot open a folder.
    return (None if os.name == "nt" else os.open(name, os.O_RDONLY)), name


def _create_held(create: Callable[[], tuple[int | None, str]]) -> tuple[str, Callable[[], None]]:
    """Create a temporary file or folder and lock it. Returns its path, and a function that releases it.

    `create` returns an open descriptor, or None if the system has none, and the path. Without locks, a killed process
    leaves its files for good.
    """
    while True:
        handle, name = create()
        if handle is None:
            return name, lambda: None
        if not _lock_handle(handle):
            # Windows cannot replace an open file, and other systems without locks have no use for the descriptor.
            os.close(handle)
            return name, lambda: None
        # Another process may have taken it for abandoned and removed it before it was locked.
        if os.path.exists(name):  # noqa: PTH110 - a plain string
            return name, partial(os.close, handle)
        os.close(handle)


def _lock_handle(handle: int) -> bool:
    """Lock an open file or folder, which nobody else holds for long.

    Returns False if the system or the file system has no locks.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


@cache
def _remove_abandoned_folders(base: str) -> None:
    _remove_abandoned(Path(base), re.compile(_FOLDER_PREFIX + _RANDOM_PART))


def _remove_abandoned(folder: Path, pattern: re.Pattern[str]) -> None:
    """Remove the user's files and folders in `folder` with matching names that no process has locked."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    with contextlib.suppress(OSError):
        for path in [each for each in folder.iterdir() if pattern.fullmatch(each.name)]:
            # Someone else's, removed by its owner in the meantime, or locked by a running process.
            with contextlib.suppress(OSError):
                _remove_unlocked(path, fcntl)


def _remove_unlocked(path: Path, fcntl: ModuleType) -> None:
    """Remove a file or folder of this user. Raises OSError if a process has locked it."""
    if path.lstat().st_uid != os.geteuid():
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    finally:
        os.close(handle)


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
    return escape_unprintable(shorten_path(path), keeps="")
