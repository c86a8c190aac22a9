"""Packages that no requirement leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def surplus(needs: Mapping[str, Iterable[str]], roots: Iterable[str]) -> list[str]:
    """The names that cannot be reached from `roots`, sorted; without those that another one of them needs."""
    left = set(needs) - reached(needs, roots)
    needed = {need for name in left for need in needs[name] if need != name}
    tops = sorted(left - needed)
    # What stands in a circle has nobody above it.
    for name in sorted(left):
        if name not in reached(needs, tops):
            tops.append(name)
    return sorted(tops)


def reached(needs: Mapping[str, Iterable[str]], roots: Iterable[str]) -> set[str]:
    """The names that can be reached from `roots`, which are among them as far as they are known."""
    seen: set[str] = set()
    open_names = [name for name in roots if name in needs]
    while open_names:
        name = open_names.pop()
        if name not in seen:
            seen.add(name)
            open_names += [need for need in needs[name] if need in needs and need not in seen]
    return seen
