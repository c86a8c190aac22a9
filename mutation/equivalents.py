"""Equivalent mutants: changes that no test can notice, each with its reason, in `equivalents.toml`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import tomli

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mutation.mutants import Mutant


class EquivalentMutant(NamedTuple):
    """A mutant by its module, function and source line, so that edits elsewhere in the module do not matter."""

    module: str
    function: str
    before: str
    after: str

    @classmethod
    def from_mutant(cls, mutant: Mutant) -> EquivalentMutant:
        """The key of a mutant."""
        return cls(mutant.module, mutant.function, mutant.before, mutant.after)


def read_equivalents(path: Path) -> dict[EquivalentMutant, str]:
    """The reason for each equivalent mutant of the file. Raises `ValueError` for an entry without a reason."""
    found: dict[EquivalentMutant, str] = {}
    for row in tomli.loads(path.read_text("utf-8")).get("mutant", []):
        before, after = (" ".join(row[key].split()) for key in ("before", "after"))
        mutant = EquivalentMutant(row["module"], row.get("function", ""), before, after)
        if not row.get("reason", "").strip():
            raise ValueError(f"{path.name}: no reason for `{after}`")
        found[mutant] = row["reason"]
    return found


def find_unused_equivalents(
    equivalents: Iterable[EquivalentMutant], mutants: Iterable[Mutant]
) -> list[EquivalentMutant]:
    """The entries that match no mutant of their modules any more."""
    keys = {EquivalentMutant.from_mutant(mutant) for mutant in mutants}
    modules = {key.module for key in keys}
    return [each for each in equivalents if each.module in modules and each not in keys]
