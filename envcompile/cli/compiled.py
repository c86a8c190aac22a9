"""The Dockerfile of the spec that was named, as `dockerfile`, `tag` and `build` need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.cli.inputs import find_spec, lock_path, read_lock, read_source
from envcompile.pipeline import compile_dockerfile, read_spec

if TYPE_CHECKING:
    from envcompile.spec.model import Spec


def full_tag(spec: Spec, text: str) -> str:
    """The tag of a spec's Dockerfile, `repository:hash`; without a repository `name:hash`."""
    from envcompile.emit.dockerfile import tag  # noqa: PLC0415 - brings the template engine

    return f"{spec.image.repository or spec.name}:{tag(text)}"


def compiled(file: str | None) -> tuple[Spec, str]:
    """The spec and the text of its Dockerfile. Raises `Problems`, `Unusable`, or `NotFine` when the lock is stale."""
    path = find_spec(file)
    source = read_source(path)
    lock = read_lock(lock_path(path))
    spec = read_spec(source, lock)
    return spec, compile_dockerfile(spec, lock)
