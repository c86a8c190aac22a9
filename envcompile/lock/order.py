"""The order in which conda packages can be installed one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.lock.model import CondaPackage


def in_order(packages: Iterable[CondaPackage]) -> list[CondaPackage]:
    """Every package after those it depends on, ties by name: an explicit list is installed as it stands.

    Python and pip need each other; Python comes first.
    """
    known = {package.name: package for package in packages}
    done: dict[str, CondaPackage] = {}
    for name in sorted(known):
        _after_its_needs(known, name, done)
    return list(done.values())


def _after_its_needs(known: Mapping[str, CondaPackage], first: str, done: dict[str, CondaPackage]) -> None:
    # A stack of our own: chains of dependencies are as long as an environment is large.
    open_names = [first]
    entered: set[str] = set()
    while open_names:
        name = open_names[-1]
        if name in done:
            open_names.pop()
        elif name in entered:
            done[name] = known[name]
            open_names.pop()
        else:
            entered.add(name)
            needs = sorted({_name(spec) for spec in known[name].depends} & set(known), reverse=True)
            open_names += [need for need in needs if need not in entered and (name, need) != ("python", "pip")]


def _name(spec: str) -> str:
    return spec.split(maxsplit=1)[0].partition("[")[0].rpartition("::")[2]
