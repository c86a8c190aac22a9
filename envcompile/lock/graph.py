"""Who needs whom in a lock, on one platform: conda's packages, pip's and those these need of conda, Debian's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.spec.conda import parse_dependency_name, parse_match_spec
from envcompile.spec.pip import parse_package_name, parse_requirement

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from envcompile.lock.model import AptPackage, CondaPackage, PipPackage, PlatformLock
    from envcompile.spec.model import Spec

    LockedPackage = CondaPackage | PipPackage | AptPackage

# Each kind of package, and what one of them is called.
PACKAGE_LABELS = {"conda": "conda {}", "pip": "{}", "apt": "apt {}", "apt-build": "apt for the build, {}"}


class PackageNode(NamedTuple):
    """A package of the lock: `kind` is a key of `KINDS`, which may each have one of a name."""

    name: str
    kind: str


class DependencyGraph(NamedTuple):
    """The packages, and for each those that it needs and those that need it, sorted by name.

    `base_packages` are those that the choice of the base asks for, and not the spec.
    """

    packages: Mapping[PackageNode, LockedPackage]
    dependencies: Mapping[PackageNode, tuple[PackageNode, ...]]
    dependents: Mapping[PackageNode, tuple[PackageNode, ...]]
    base_packages: tuple[PackageNode, ...] = ()

    def format_label(self, node: PackageNode) -> str:
        """The package as people are told of it: `conda numpy 2.3.5`, and pip's by name and version alone."""
        return f"{PACKAGE_LABELS[node.kind].format(node.name)} {self.packages[node].version}"

    def find_nodes(self, name: str) -> tuple[PackageNode, ...]:
        """The packages of a name, of every kind; where there is none, conda's one that holds that distribution."""
        own = tuple(node for kind in PACKAGE_LABELS if (node := PackageNode(name, kind)) in self.packages)
        return own or tuple(node for node in self.packages if name in getattr(self.packages[node], "provides", ()))

    def collect_names(self) -> set[str]:
        """What `find` finds."""
        provided = {name for each in self.packages.values() for name in getattr(each, "provides", ())}
        return {node.name for node in self.packages} | provided


def build_graph(platform: PlatformLock) -> DependencyGraph:
    """The graph of one platform's packages. What is not in the lock (`__glibc`, what is excluded) is left out."""
    packages: dict[PackageNode, LockedPackage] = {PackageNode(each.name, "conda"): each for each in platform.conda}
    provider = {name: PackageNode(each.name, "conda") for each in platform.conda for name in each.provides}
    needs: dict[PackageNode, tuple[PackageNode, ...]] = {}
    for each in platform.conda:
        ends = {PackageNode(parse_dependency_name(depend), "conda") for depend in each.depends}
        needs[PackageNode(each.name, "conda")] = tuple(sorted(ends & packages.keys()))
    packages |= {PackageNode(each.name, "pip"): each for each in platform.pip}
    for package in platform.pip:
        own = {PackageNode(name, "pip") for name in package.depends}
        brought = {provider[name] for name in package.depends if name in provider}
        needs[PackageNode(package.name, "pip")] = tuple(sorted(own & packages.keys() | brought))
    for kind, pinned in (("apt", platform.apt), ("apt-build", platform.apt_build)):
        packages |= {PackageNode(each.name, kind): each for each in pinned}
        needs |= {
            PackageNode(each.name, kind): tuple(PackageNode(name, kind) for name in each.depends) for each in pinned
        }
    needed: dict[PackageNode, list[PackageNode]] = {node: [] for node in packages}
    for node in sorted(needs):
        for end in needs[node]:
            needed[end].append(node)
    return DependencyGraph(
        packages, needs, {node: tuple(found) for node, found in needed.items()}, _find_base_packages(platform)
    )


def _find_base_packages(platform: PlatformLock) -> tuple[PackageNode, ...]:
    decided = platform.base_decision
    if decided is None:
        return ()
    wheels = [PackageNode(each, "pip") for each in decided.wheel_names]
    return (
        *wheels,
        *(PackageNode(each, "apt") for each in decided.apt),
        *(PackageNode(each, "apt-build") for each in decided.apt_build),
    )


def find_requested_packages(spec: Spec, drawn: DependencyGraph) -> tuple[PackageNode, ...]:
    """The packages that the spec asks for itself, in its order, and those that the base was chosen with.

    What is asked for and the lock lacks is not there.
    """
    conda = [PackageNode(parse_match_spec(text).name, "conda") for text in spec.conda.packages]
    if spec.python is not None:
        conda.append(PackageNode("python", "conda"))
    pip = [
        node
        for text in spec.pip.packages
        for node in drawn.find_nodes(parse_package_name(parse_requirement(text).name))
    ]
    apt = [PackageNode(each, "apt") for each in spec.apt.packages] + [
        PackageNode(each, "apt-build") for each in spec.apt.build
    ]
    return tuple(dict.fromkeys(node for node in (*conda, *pip, *apt, *drawn.base_packages) if node in drawn.packages))


def find_shortest_path(drawn: DependencyGraph, start: PackageNode, end: PackageNode) -> tuple[PackageNode, ...]:
    """The shortest way from one package to another that it needs, both included; nothing where there is none."""
    came: dict[PackageNode, PackageNode] = {}
    waiting: Collection[PackageNode] = (start,)
    seen = {start}
    while waiting and end not in seen:
        ahead = []
        for node in waiting:
            for near in drawn.dependencies[node]:
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


# The order in which conda packages can be installed one after the other.


def sort_by_dependencies(packages: Iterable[CondaPackage]) -> list[CondaPackage]:
    """Every package after those it depends on, ties by name: an explicit list is installed as it stands.

    Python and pip need each other; Python comes first.
    """
    known = {package.name: package for package in packages}
    done: dict[str, CondaPackage] = {}
    for name in sorted(known):
        _append_after_dependencies(known, name, done)
    return list(done.values())


def _append_after_dependencies(known: Mapping[str, CondaPackage], first: str, done: dict[str, CondaPackage]) -> None:
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
            needs = sorted({parse_dependency_name(text) for text in known[name].depends} & set(known), reverse=True)
            open_names += [need for need in needs if need not in entered and (name, need) != ("python", "pip")]


# Packages that no requirement leads to.


def unrequired_packages(needs: Mapping[str, Iterable[str]], roots: Iterable[str]) -> list[str]:
    """The names that cannot be reached from `roots`, sorted; without those that another one of them needs."""
    left = set(needs) - find_reachable_packages(needs, roots)
    needed = {need for name in left for need in needs[name] if need != name}
    tops = sorted(left - needed)
    # What stands in a circle has nobody above it.
    for name in sorted(left):
        if name not in find_reachable_packages(needs, tops):
            tops.append(name)
    return sorted(tops)


def find_reachable_packages(needs: Mapping[str, Iterable[str]], roots: Iterable[str]) -> set[str]:
    """The names that can be reached from `roots`, which are among them as far as they are known."""
    seen: set[str] = set()
    open_names = [name for name in roots if name in needs]
    while open_names:
        name = open_names.pop()
        if name not in seen:
            seen.add(name)
            open_names += [need for need in needs[name] if need in needs and need not in seen]
    return seen
