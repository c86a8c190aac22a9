"""Finds files by their names: the spec of a folder, its lock, Dockerfile and exports, and the user's settings.

`verify` imports this module before anything else, so this module uses plain strings and imports nothing slow.
"""

from __future__ import annotations

import os

from envcompile.project import MAX_SPEC_BYTES
from envcompile.project.generated_files import (
    DOCKERFILE_HEADER,
    DOCKERFILE_NAME,
    EXPORT_HEADER,
    format_export_name,
    parse_spec_stem,
)

TYPE_CHECKING = False  # the constant of `typing`, whose import takes as long as the start of Python
if TYPE_CHECKING:
    from collections.abc import Mapping


SPEC_FILE_NAME = "envcompile.toml"
PYPROJECT_FILE_NAME = "pyproject.toml"

# The name of envcompile's table in a `pyproject.toml`, and the first bytes of generated Dockerfiles and exports.
_TABLE_MARKER = b"tool.envcompile"
_DOCKERFILE_HEADER, _EXPORT_HEADER = DOCKERFILE_HEADER.encode(), EXPORT_HEADER.encode()
# The stem of the default spec's name. Generated files have it if another file has their usual name.
_OWN_STEM = "envcompile"


def find_settings_file(environment: Mapping[str, str]) -> str:
    """The path of the user's settings, whether the file exists or not: usually `~/.config/envcompile/config.toml`."""
    home = environment.get("HOME") or os.path.expanduser("~")
    folder = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return os.path.join(folder, "envcompile", "config.toml")


def find_spec_in_folder(folder: str) -> str | None:
    """Return the path of a folder's `envcompile.toml`, or of its `pyproject.toml` with `[tool.envcompile]`, or None."""
    spec, project = os.path.join(folder, SPEC_FILE_NAME), os.path.join(folder, PYPROJECT_FILE_NAME)
    if os.path.isfile(spec):
        return spec
    return project if os.path.isfile(project) and has_table(project) else None


def has_table(project: str) -> bool:
    """Whether a `pyproject.toml` contains `tool.envcompile`, the name of envcompile's table.

    The file is not parsed, so a broken file of another project causes no error.
    """
    with open(project, "rb") as file:
        return _TABLE_MARKER in file.read(MAX_SPEC_BYTES)


def find_nearest_spec(folder: str) -> str | None:
    """Return the spec in `folder` or in its nearest parent folder that has one; None if no folder has one."""
    while True:
        if spec := find_spec_in_folder(folder):
            return spec
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def lock_path_from_spec(spec: str) -> str:
    """Return the path of a spec's lock: `cpu.lock` for `cpu.toml`, and `envcompile.lock` for `pyproject.toml`."""
    folder, name = os.path.split(spec)
    return os.path.join(folder, os.path.splitext(SPEC_FILE_NAME if name == PYPROJECT_FILE_NAME else name)[0] + ".lock")


def find_dockerfiles(spec: str) -> list[str]:
    """Return the paths of a spec's Dockerfiles. Files whose first line is not that of envcompile are left out.

    `Dockerfile` and `envcompile.Dockerfile` belong to `envcompile.toml` and `pyproject.toml`; `cpu.Dockerfile` and
    `Dockerfile.cpu` belong to `cpu.toml`.
    """
    folder, name = os.path.split(spec)
    stem = os.path.splitext(name)[0]
    is_default = name in (SPEC_FILE_NAME, PYPROJECT_FILE_NAME)
    usual = (
        (DOCKERFILE_NAME, f"{_OWN_STEM}.{DOCKERFILE_NAME}")
        if is_default
        else (f"{stem}.{DOCKERFILE_NAME}", f"{DOCKERFILE_NAME}.{stem}")
    )
    there = (path for each in usual if os.path.isfile(path := os.path.join(folder, each)))
    return [path for path in there if _has_header(path)]


def list_export_paths(spec: str, names: tuple[str, ...]) -> list[str]:
    """Return the paths of a spec's exports, whether the files exist or not. `names` are those in `[lock] exports`."""
    folder, name = os.path.split(spec)
    if name not in (SPEC_FILE_NAME, PYPROJECT_FILE_NAME):
        stem = os.path.splitext(name)[0]
        names = tuple(format_export_name(each, stem) for each in names)
    return [os.path.join(folder, each) for each in names]


def is_generated_file(path: str) -> bool:
    """Whether envcompile wrote a file: a Dockerfile or an export, whatever its name. Raises OSError."""
    return _has_header(path) or _has_header(path, _EXPORT_HEADER)


def _has_header(path: str, head: bytes = _DOCKERFILE_HEADER) -> bool:
    with open(path, "rb") as file:
        return file.read(len(head)) == head


def find_spec_of_file(file: str) -> str | None:
    """Return the path of the spec that a file belongs to, whether the spec exists or not.

    Returns None for a file that does not belong to envcompile: a `pyproject.toml` without the table
    `[tool.envcompile]`, or a Dockerfile or export without envcompile's first line. Raises ValueError if the name is
    not that of a spec, a lock, a Dockerfile or an export, and OSError if the file cannot be read.
    """
    folder, name = os.path.split(file)
    stem, ending = os.path.splitext(name)
    if name == PYPROJECT_FILE_NAME:
        # If the folder also has an `envcompile.toml`, that is the spec: both would have the same lock.
        return _find_default_spec(folder) if not os.path.isfile(file) or has_table(file) else None
    made = _parse_generated_name(name)
    if made is not None:
        other, head = made
        if not _has_header(file, head):
            return None
        return _find_default_spec(folder) if other in ("", _OWN_STEM) else os.path.join(folder, f"{other}.toml")
    if ending == ".toml":
        return file
    if ending == ".lock":
        return (
            _find_default_spec(folder)
            if name == lock_path_from_spec(SPEC_FILE_NAME)
            else os.path.join(folder, f"{stem}.toml")
        )
    raise ValueError(file)


def _parse_generated_name(name: str) -> tuple[str, bytes] | None:
    """Parse the name of a generated file. Returns None for other names.

    Returns the stem of the spec's name ("" for `envcompile.toml`) and the first bytes of the generated file.
    """
    export = parse_spec_stem(name)
    if export is not None:
        return export, _EXPORT_HEADER
    stem, ending = os.path.splitext(name)
    if DOCKERFILE_NAME in (stem, name, ending[1:]):
        return stem if ending == f".{DOCKERFILE_NAME}" else ending[1:], _DOCKERFILE_HEADER
    return None


def _find_default_spec(folder: str) -> str:
    """Return the path of a folder's spec, or of an `envcompile.toml` in it if the folder has no spec."""
    return find_spec_in_folder(folder) or os.path.join(folder, SPEC_FILE_NAME)
