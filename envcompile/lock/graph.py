"""Who needs whom in a lock, on one platform: conda's packages, pip's and those these need of conda, Debian's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from envcompile.lock.model import AptPackage, CondaPackage, PipPackage, PlatformLock
    from envcompile.spec.model import Spec

    Package = CondaPackage | PipPackage | AptPackage

# Each kind of package, and what one of them is called.
KINDS = {"conda": "conda {}", "pip": "{}", "apt": "apt {}", "apt-build": "apt for the build, {}"}
_NAME = re.compile(r"(?:[^\s\[]*::)?([A-Za-z0-9_.-]+)")


class Node(NamedTuple):
    """A package of the lock: `kind` is a key of `KINDS`, which may each have one of a name."""

    name: str
    kind: str


class Graph(NamedTuple):
    """The packages, and for each those that it needs and those that need it, sorted by name.

    `of_base` are those that the choice of the base asks for, and not the spec.
    """

    packages: Mapping[Node, Package]
    needs: Mapping[Node, tuple[Node, ...]]
    needed: Mapping[Node, tuple[Node, ...]]
    of_base: tuple[Node, ...] = ()

    def label(self, node: Node) -> str:
        """The package as people are told of it: `conda numpy 2.3.5`, and pip's by name and version alone."""
        return f"{KINDS[node.kind].format(node.name)} {self.packages[node].version}"

    def find(self, name: str) -> tuple[Node, ...]:
        """The packages of a name, of every kind; where there is none, conda's one that holds that distribution."""
        own = tuple(node for kind in KINDS if (node := Node(name, kind)) in self.packages)
        return own or tuple(node for node in self.packages if name in getattr(self.packages[node], "provides", ()))

    def names(self) -> set[str]:
        """What `find` finds."""
        provided = {name for each in self.packages.values() for name in getattr(each, "provides", ())}
        return {node.name for node in self.packages} | provided


def graph(platform: PlatformLock) -> Graph:
    """The graph of one platform's packages. What is not in the lock (`__glibc`, what is excluded) is left out."""
    packages: dict[Node, Package] = {Node(each.name, "conda"): each for each in platform.conda}
    provider = {name: Node(each.name, "conda") for each in platform.conda for name in each.provides}
    needs: dict[Node, tuple[Node, ...]] = {}
    for each in platform.conda:
        ends = {Node(depend_name(depend), "conda") for depend in each.depends}
        needs[Node(each.name, "conda")] = tuple(sorted(ends & packages.keys()))
    packages |= {Node(each.name, "pip"): each for each in platform.pip}
    for package in platform.pip:
        own = {Node(name, "pip") for name in package.depends}
        brought = {provider[name] for name in package.depends if name in provider}
        needs[Node(package.name, "pip")] = tuple(sorted(own & packages.keys() | brought))
    for kind, pinned in (("apt", platform.apt), ("apt-build", platform.apt_build)):
        packages |= {Node(each.name, kind): each for each in pinned}
        needs |= {Node(each.name, kind): tuple(Node(name, kind) for name in each.depends) for each in pinned}
    needed: dict[Node, list[Node]] = {node: [] for node in packages}
    for node in sorted(needs):
        for end in needs[node]:
            needed[end].append(node)
    return Graph(packages, needs, {node: tuple(found) for node, found in needed.items()}, _of_base(platform))


def _of_base(platform: PlatformLock) -> tuple[Node, ...]:
    decided = platform.decided
    if decided is None:
        return ()
    wheels = [Node(each.partition(" ")[0], "pip") for each in decided.wheels]
    return (
        *wheels,
        *(Node(each, "apt") for each in decided.apt),
        *(Node(each, "apt-build") for each in decided.apt_build),
    )


def depend_name(depend: str) -> str:
    """The name that a conda record's MatchSpec starts with."""
    found = _NAME.match(depend)
    return found[1].lower() if found else ""


def asked(spec: Spec, drawn: Graph) -> tuple[Node, ...]:
    """The packages that the spec asks for itself, in its order, and those that the base was chosen with.

    What is asked for and the lock lacks is not there.
    """
    from envcompile.spec.conda import parse_match_spec  # noqa: PLC0415 - brings much, for `tree` and `why` alone
    from envcompile.spec.pip import parse_package_name, parse_requirement  # noqa: PLC0415

    conda = [Node(parse_match_spec(text).name, "conda") for text in spec.conda.packages]
    if spec.python is not None:
        conda.append(Node("python", "conda"))
    pip = [node for text in spec.pip.packages for node in drawn.find(parse_package_name(parse_requirement(text).name))]
    apt = [Node(each, "apt") for each in spec.apt.packages] + [Node(each, "apt-build") for each in spec.apt.build]
    return tuple(dict.fromkeys(node for node in (*conda, *pip, *apt, *drawn.of_base) if node in drawn.packages))


def shortest(drawn: Graph, start: Node, end: Node) -> tuple[Node, ...]:
    """The shortest way from one package to another that it needs, both included; nothing where there is none."""
    came: dict[Node, Node] = {}
    waiting: Collection[Node] = (start,)
    seen = {start}
    while waiting and end not in seen:
        ahead = []
        for node in waiting:
            for near in drawn.needs[node]:
                if near not in seen:
                    seen.add(near)
                    came[near] = node
                    ahead.append(near)
        waiting = ahead
    if end not in seen:
        return ()
    path = [end]
    while path[-1] != start:
        path.append(came[path[-1]])
    return tuple(reversed(path))
