"""Finding and reading the spec and its lock, as every command does."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.writer import parse_lock
from envcompile.project import MAX_SPEC_BYTES
from envcompile.project.discovery import (
    PYPROJECT_FILE_NAME,
    SPEC_FILE_NAME,
    find_nearest_spec,
    lock_path_from_spec,
)
from envcompile.project.files import display_path, read_bytes
from envcompile.project.settings import read_catalogue_path
from envcompile.spec.decode import source_from_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import Lock

# A lock of 2,000 packages on two platforms is about a megabyte.
_MAX_LOCK_BYTES = 64 << 20


def find_spec(file: str | None) -> Path:
    """The spec: the file that was named, else the nearest one in this folder or above it.

    That is an `envcompile.toml`, or a `pyproject.toml` with a table `[tool.envcompile]`. Raises `InvalidInputError`.
    """
    if file is not None:
        return Path(file)
    here = Path.cwd()
    try:
        spec = find_nearest_spec(str(here))
    except OSError as problem:
        raise InvalidInputError(f"`{problem.filename}` cannot be read: {problem.strerror}") from None
    if spec is not None:
        return Path(spec)
    hint = "make one here, or name it with `-f FILE`"
    raise InvalidInputError(f"there is no `{SPEC_FILE_NAME}` in `{here}` or above it", hint)


def read_source(path: Path) -> TomlSource:
    """The text of a spec. Raises `InvalidInputError` or `DiagnosticsError`."""
    data = read_bytes(path, MAX_SPEC_BYTES, "name another file with `-f FILE`")
    root = ("tool", "envcompile") if path.name == PYPROJECT_FILE_NAME else ()
    return source_from_bytes(display_path(path), data, root)


def find_lock_path(spec: Path) -> Path:
    """Where the lock of a spec is: beside it, `cpu.lock` for `cpu.toml`, `envcompile.lock` for `pyproject.toml`."""
    return Path(lock_path_from_spec(str(spec)))


def read_lock_text(path: Path) -> str | None:
    """The text of a lock; None when there is none. Raises `InvalidInputError`."""
    if not path.exists():
        return None
    return decode_lock_text(read_bytes(path, _MAX_LOCK_BYTES), display_path(path))


def decode_lock_text(data: bytes, name: str) -> str:
    """The text of a lock's bytes. Raises `InvalidInputError` where there are too many."""
    if len(data) > _MAX_LOCK_BYTES:
        raise InvalidInputError(f"`{name}` is larger than {_MAX_LOCK_BYTES >> 20} MiB, which no lock is")
    # Bytes that are no UTF-8 become marks that no lock holds: its digest tells, and `lock` mends it as other damage.
    return data.decode(errors="replace")


def read_lock(path: Path) -> Lock:
    """The lock of a spec. Raises `InvalidInputError` when there is none, or none that can be read."""
    text = read_lock_text(path)
    if text is None:
        raise InvalidInputError(f"`{display_path(path)}` is not there", "run `envcompile lock`")
    return parse_lock(text, display_path(path))


# Which catalogue decides: the one that an option or the settings name, else that of this release.


SCHEMA_FILES = {"spec": "spec.v1.json", "lock": "lock.v1.json", "catalogue": "catalogue.v1.json"}
# The shipped one has 50 KB.
_MAX_CATALOGUE_BYTES = 4 << 20


def load_catalogue(option: str | None, environment: Mapping[str, str]) -> Catalogue:
    """The catalogue, with the date and the digest that say which it was.

    The shipped one is read as it is; another is checked first, all of it. Raises `InvalidInputError` where it cannot
    be read,
    `DiagnosticsError` with every mistake in it.
    """
    path = Path(option) if option is not None else read_catalogue_path(environment)
    if path is None:
        from envcompile.base_image.catalogue import load_default_catalogue  # noqa: PLC0415 - where it is needed

        return load_default_catalogue()
    from envcompile.base_image.catalogue_check import parse_checked_catalogue  # noqa: PLC0415

    hint = "name another with `--catalogue`" if option is not None else "mend or remove `catalogue` in the settings"
    data = read_bytes(path, _MAX_CATALOGUE_BYTES, hint)
    if len(data) > _MAX_CATALOGUE_BYTES:
        raise InvalidInputError(
            f"`{display_path(path)}` is larger than {_MAX_CATALOGUE_BYTES >> 20} MiB, which no catalogue is", hint
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        raise InvalidInputError(f"`{display_path(path)}` is not UTF-8 text: byte {problem.start}", hint) from None
    return parse_checked_catalogue(
        display_path(path), text, json.loads(find_schema_file("catalogue").read_text("utf-8"))
    )


def find_schema_file(of: str) -> Traversable:
    """The schema of a row of `SCHEMA_FILES`: inside an installed package, at the top of a checkout otherwise."""
    package = resources.files("envcompile")
    installed = package / "schemas" / SCHEMA_FILES[of]
    return installed if installed.is_file() else package / ".." / "schemas" / SCHEMA_FILES[of]
