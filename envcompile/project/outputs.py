"""Decides which files a command may write: new files and its own, and nothing behind a link that leaves the project.

The module of each format has a function that recognizes its files: `discovery.is_generated_file` for Dockerfiles and
exports, `lock.reader.is_lock_text`, `engine.build.is_bake_file` and `oci.archive.is_built_image`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.project.discovery import is_generated_file
from envcompile.project.files import display_path
from envcompile.project.generated_files import DOCKERFILE_NAME, EXPORT_FILES, format_export_name

if TYPE_CHECKING:
    from collections.abc import Callable

_GIT_FOLDER = ".git"


def check_output_file(path: Path, is_own: Callable[[str], bool], hint: str | None, *, force: bool = False) -> None:
    """Check that a command may write the file at `path`, which may not exist yet.

    `is_own` recognizes the files that envcompile wrote, by their path; an empty file counts as one, because nothing in
    it can be lost. `hint` is the remedy if the file is another program's. With `force`, only a folder, a device or a
    pipe is refused.

    A symbolic link is followed if its target is in the same repository, or without a repository in the same folder; the
    folder `.git` is not part of it. The target must be envcompile's own file too.

    Raises `InvalidInputError` with the reason if the file must not be written.
    """
    shown = f"`{display_path(path)}`"
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise InvalidInputError(f"{shown} is {kind}, not a file", hint)
    if force:
        return
    if not _stays_in_repository(path):
        target = os.path.realpath(path)
        raise InvalidInputError(f"{shown} is a link that leads out of the project, to `{target}`", hint)
    try:
        is_foreign = path.is_file() and path.stat().st_size > 0 and not is_own(str(path))
    except OSError as problem:
        raise InvalidInputError(f"{shown} cannot be read: {problem.strerror}", hint) from None
    if is_foreign:
        raise InvalidInputError(f"{shown} exists, and envcompile did not write it", hint)


def format_own_name(output: str, name: str, stem: str) -> str | None:
    """Return another path for a generated file whose path `output` is taken, or None if that one is taken too.

    `name` is the usual name of the file (`Dockerfile`, or a key of `EXPORT_FILES`), and `stem` that of the spec. The
    result is in the folder of `output`, and `verify` recognizes its name: `envcompile.Dockerfile`, or
    `cpu.requirements.txt` for `cpu.toml`.
    """
    if name == DOCKERFILE_NAME:
        own = f"{stem}.{DOCKERFILE_NAME}"
    elif name in EXPORT_FILES:
        own = format_export_name(name, stem)
    else:
        own = f"{stem}-{name}"
    path = os.path.join(os.path.dirname(output), own)  # noqa: PTH118, PTH120 - `./` and the like stay as they are
    is_free = not os.path.lexists(path) or (os.path.isfile(path) and is_generated_file(path))  # noqa: PTH113
    return path if is_free and path != output else None


def _stays_in_repository(path: Path) -> bool:
    """Whether a path, with all links resolved, is in the repository or folder that it names."""
    folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - `Path.absolute` keeps `..`
    root = os.path.realpath(_find_repository(folder))
    target = os.path.realpath(path)
    return os.path.commonpath((root, target)) == root and _GIT_FOLDER not in Path(target).relative_to(root).parts


def _find_repository(folder: str) -> str:
    """Return the nearest parent of a folder, or the folder itself, that has a `.git`; the folder if none has."""
    current = folder
    while not os.path.lexists(os.path.join(current, _GIT_FOLDER)):  # noqa: PTH118
        above = os.path.dirname(current)  # noqa: PTH120
        if above == current:
            return folder
        current = above
    return current
