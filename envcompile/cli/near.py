"""Which files belong together, by their names: a spec, its lock, its Dockerfile.

`verify` imports this before anything else: plain strings, and nothing that takes longer than it saves.
"""

from __future__ import annotations

import os

from envcompile.spec.exports import OURS, export_of, stem_of
from envcompile.spec.refusal import LIMIT

SPEC_NAME = "envcompile.toml"
PROJECT_NAME = "pyproject.toml"
DOCKERFILE = "Dockerfile"
# As they stand in the first bytes of what is ours.
_TABLE = b"tool.envcompile"
_OURS = b"# Made by envcompile "
_EXPORTED = OURS.encode()


def spec_in(folder: str) -> str | None:
    """The spec of a folder: an `envcompile.toml`, or a `pyproject.toml` with a table `[tool.envcompile]`."""
    spec, project = os.path.join(folder, SPEC_NAME), os.path.join(folder, PROJECT_NAME)
    if os.path.isfile(spec):
        return spec
    return project if os.path.isfile(project) and has_table(project) else None


def has_table(project: str) -> bool:
    """Whether a `pyproject.toml` is a spec too.

    Its text alone tells, so that another project's broken file is not our business.
    """
    with open(project, "rb") as file:
        return _TABLE in file.read(LIMIT)


def spec_above(folder: str) -> str | None:
    """The spec of the nearest folder, upwards from this one, that has one."""
    while True:
        if spec := spec_in(folder):
            return spec
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def lock_of(spec: str) -> str:
    """Where the lock of a spec is: beside it, `cpu.lock` for `cpu.toml`, `envcompile.lock` for `pyproject.toml`."""
    folder, name = os.path.split(spec)
    return os.path.join(folder, os.path.splitext(SPEC_NAME if name == PROJECT_NAME else name)[0] + ".lock")


def dockerfiles_of(spec: str) -> list[str]:
    """The Dockerfiles of a spec that are kept beside it and say that they are ours.

    `Dockerfile` is that of `envcompile.toml` or `pyproject.toml`, `cpu.Dockerfile` and `Dockerfile.cpu` are those of
    `cpu.toml`.
    """
    folder, name = os.path.split(spec)
    stem = os.path.splitext(name)[0]
    usual = (DOCKERFILE,) if name in (SPEC_NAME, PROJECT_NAME) else (f"{stem}.{DOCKERFILE}", f"{DOCKERFILE}.{stem}")
    there = (path for each in usual if os.path.isfile(path := os.path.join(folder, each)))
    return [path for path in there if _ours(path)]


def exports_of(spec: str, names: tuple[str, ...]) -> list[str]:
    """The files in which a spec's exports of these names are kept, there or not."""
    folder, name = os.path.split(spec)
    if name not in (SPEC_NAME, PROJECT_NAME):
        stem = os.path.splitext(name)[0]
        names = tuple(export_of(each, stem) for each in names)
    return [os.path.join(folder, each) for each in names]


def _ours(path: str, head: bytes = _OURS) -> bool:
    with open(path, "rb") as file:
        return file.read(len(head)) == head


def spec_of(file: str) -> str | None:
    """The spec that a file belongs to, there or not; None when it is none of ours.

    Raises ValueError for a name that is neither a spec's, a lock's, a Dockerfile's nor an export's, OSError. None of
    ours is a `pyproject.toml` without our table, and a Dockerfile or an export that does not say that it is.
    """
    folder, name = os.path.split(file)
    stem, ending = os.path.splitext(name)
    if name == PROJECT_NAME:
        # Where there are both, the table is not the spec: they would share a lock.
        return _usual(folder) if not os.path.isfile(file) or has_table(file) else None
    made = _made(name)
    if made is not None:
        other, head = made
        if not _ours(file, head):
            return None
        return os.path.join(folder, f"{other}.toml") if other else _usual(folder)
    if ending == ".toml":
        return file
    if ending == ".lock":
        return _usual(folder) if name == lock_of(SPEC_NAME) else os.path.join(folder, f"{stem}.toml")
    raise ValueError(file)


def _made(name: str) -> tuple[str, bytes] | None:
    """Of what is made from a lock: its spec's name, "" for the usual one, and how the file begins if it is ours."""
    export = stem_of(name)
    if export is not None:
        return export, _EXPORTED
    stem, ending = os.path.splitext(name)
    if DOCKERFILE in (stem, name, ending[1:]):
        return stem if ending == f".{DOCKERFILE}" else ending[1:], _OURS
    return None


def _usual(folder: str) -> str:
    """The spec that a folder has, or should have."""
    return spec_in(folder) or os.path.join(folder, SPEC_NAME)
