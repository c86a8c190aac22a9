"""A spec and its lock, and the Dockerfile of the two, for the commands that solve nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.loading import find_lock_path, find_spec, read_lock, read_source
from envcompile.pipeline import compile_dockerfile, read_spec

if TYPE_CHECKING:
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec


def full_tag(spec: Spec, text: str) -> str:
    """The tag of a spec's Dockerfile, `repository:hash`; without a repository `name:hash`."""
    from envcompile.emit.dockerfile import compute_tag  # noqa: PLC0415 - brings the template engine

    return f"{spec.image.repository or spec.name}:{compute_tag(text)}"


def locked(file: str | None) -> tuple[Spec, Lock]:
    """The spec and the lock that answers it. Raises `Problems`, `Unusable`, or `NotFine` when the lock is stale."""
    path = find_spec(file)
    source = read_source(path)
    lock = read_lock(find_lock_path(path))
    return read_spec(source, lock), lock


def compiled(file: str | None) -> tuple[Spec, str]:
    """The spec and the text of its Dockerfile. Raises as `locked`."""
    spec, lock = locked(file)
    return spec, compile_dockerfile(spec, lock)
