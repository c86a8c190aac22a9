"""One way in which a lock does not answer a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from envcompile.diagnostics.toml_source import KeyPath


class Finding(NamedTuple):
    """Where in the spec, and a sentence: what is asked, and what the lock has."""

    path: KeyPath
    said: str
