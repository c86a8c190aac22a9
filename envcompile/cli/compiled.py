"""The Dockerfile of the spec that was named, as `dockerfile` and `tag` need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.cli.inputs import find_spec, lock_path, read_lock, read_source
from envcompile.pipeline import compile_dockerfile, read_spec

if TYPE_CHECKING:
    from envcompile.spec.model import Spec


def compiled(file: str | None) -> tuple[Spec, str]:
    """The spec and the text of its Dockerfile. Raises `Problems`, `Unusable`, or `NotFine` when the lock is stale."""
    path = find_spec(file)
    source = read_source(path)
    lock = read_lock(lock_path(path))
    spec = read_spec(source, lock)
    return spec, compile_dockerfile(spec, lock)
