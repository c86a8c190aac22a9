"""Finding and reading the spec and its lock, as every command does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.cli.near import PROJECT_NAME, SPEC_NAME, lock_of, spec_above
from envcompile.errors import Unusable
from envcompile.files import read_bytes, shown
from envcompile.lock.file import loads
from envcompile.spec.decode import source_of
from envcompile.spec.refusal import LIMIT

if TYPE_CHECKING:
    from envcompile.lock.model import Lock
    from envcompile.source import Source

# A lock of 2,000 packages on two platforms is about a megabyte.
_LOCK_LIMIT = 64 << 20


def find_spec(file: str | None) -> Path:
    """The spec: the file that was named, else the nearest one in this folder or above it.

    That is an `envcompile.toml`, or a `pyproject.toml` with a table `[tool.envcompile]`. Raises `Unusable`.
    """
    if file is not None:
        return Path(file)
    here = Path.cwd()
    try:
        spec = spec_above(str(here))
    except OSError as problem:
        raise Unusable(f"`{problem.filename}` cannot be read: {problem.strerror}") from None
    if spec is not None:
        return Path(spec)
    hint = "make one here, or name it with `-f FILE`"
    raise Unusable(f"there is no `{SPEC_NAME}` in `{here}` or above it", hint)


def read_source(path: Path) -> Source:
    """The text of a spec. Raises `Unusable` or `Problems`."""
    data = read_bytes(path, LIMIT, "name another file with `-f FILE`")
    root = ("tool", "envcompile") if path.name == PROJECT_NAME else ()
    return source_of(shown(path), data, root)


def lock_path(spec: Path) -> Path:
    """Where the lock of a spec is: beside it, `cpu.lock` for `cpu.toml`, `envcompile.lock` for `pyproject.toml`."""
    return Path(lock_of(str(spec)))


def read_lock_text(path: Path) -> str | None:
    """The text of a lock; None when there is none. Raises `Unusable`."""
    if not path.exists():
        return None
    return lock_text(read_bytes(path, _LOCK_LIMIT), shown(path))


def lock_text(data: bytes, name: str) -> str:
    """The text of a lock's bytes. Raises `Unusable` where there are too many."""
    if len(data) > _LOCK_LIMIT:
        raise Unusable(f"`{name}` is larger than {_LOCK_LIMIT >> 20} MiB, which no lock is")
    # Bytes that are no UTF-8 become marks that no lock holds: its digest tells, and `lock` mends it as other damage.
    return data.decode(errors="replace")


def read_lock(path: Path) -> Lock:
    """The lock of a spec. Raises `Unusable` when there is none, or none that can be read."""
    text = read_lock_text(path)
    if text is None:
        raise Unusable(f"`{shown(path)}` is not there", "run `envcompile lock`")
    return loads(text, shown(path))
