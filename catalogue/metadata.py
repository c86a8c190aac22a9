"""The requirements of a wheel, without downloading it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from envcompile.diagnostics.errors import UnavailableError
from envcompile.resolve.pip.metadata import fetch_metadata

if TYPE_CHECKING:
    from envcompile.resolve.pip.simple_index import IndexFile, SimpleIndex


def requirements(index: SimpleIndex, project: str, file: IndexFile) -> tuple[Requirement, ...]:
    """Return the requirements of a wheel, with their markers.

    Raises `UnavailableError` if the metadata cannot be fetched or a requirement cannot be parsed.
    """
    rows = fetch_metadata(index, project, file.url, with_files=False).requires
    try:
        return tuple(Requirement(row) for row in rows)
    except InvalidRequirement as problem:
        first = str(problem).partition("\n")[0]
        raise UnavailableError(f"a requirement of `{file.name}` cannot be read: {first}") from None
