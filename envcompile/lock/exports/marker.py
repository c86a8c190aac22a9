"""Markers as conda-lock takes them when it reads an environment.yml: before it knows any Python."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.markers import Marker

# What it knows of a target (`pypi_solver.PlatformEnv`): not its processor, and the same for every linux.
_KNOWN = {"os_name": "posix", "platform_system": "Linux", "sys_platform": "linux"}


def holds_on_linux(marker: Marker | None) -> bool:
    """Whether a requirement with this marker counts there. A comparison with anything but `_KNOWN` is taken to hold."""
    # The tree of a marker has no public name, and packaging has kept its shape since there are markers.
    return marker is None or _any(marker._markers)  # noqa: SLF001


def _any(tree: Sequence[Any]) -> bool:
    """Lists of comparisons between which stand the words `and`, which binds closer, and `or`."""
    groups: list[list[bool]] = [[]]
    for node in tree:
        if node == "or":
            groups.append([])
        elif node != "and":
            groups[-1].append(_any(node) if isinstance(node, list) else _holds(node))
    return any(all(group) for group in groups)


def _holds(comparison: tuple[Any, Any, Any]) -> bool:
    left, operator, right = (each.serialize() for each in comparison)
    if left in _KNOWN:
        text: str = right.strip("'\"")
        # To poetry, whose markers these are, what a name is `in` is a list of names, and no name is below another.
        same, among = text == _KNOWN[left], _KNOWN[left] in re.split("[ ,|]+", text)
        return {"==": same, "!=": not same, "in": among, "not in": not among}.get(operator, False)
    if right in _KNOWN:
        within = left.strip("'\"") in _KNOWN[right]
        return {"in": within, "not in": not within}.get(operator, True)
    return True
