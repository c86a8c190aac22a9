"""The files that are kept beside a spec and made from its lock, as they should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.cli.dockerfile import DOCKERFILE
from envcompile.cli.inputs import shown
from envcompile.cli.near import dockerfiles_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec


class Kept(NamedTuple):
    """One file: what it should hold, what is said when it does not, and the words after `envcompile` that mend it."""

    path: Path
    text: str
    otherwise: str
    command: str


def kept(spec: Spec, lock: Lock, path: Path) -> Iterator[Kept]:
    """The Dockerfiles beside the spec at `path` that say they are ours. Raises `Unusable` where none can be made."""
    for each in map(Path, dockerfiles_of(str(path))):
        from envcompile.pipeline import compile_dockerfile  # noqa: PLC0415 - brings the template engine

        name = shown(each)
        yield Kept(each, compile_dockerfile(spec, lock), DOCKERFILE.otherwise(name), f"dockerfile -o {name}")
