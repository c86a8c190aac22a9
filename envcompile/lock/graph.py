"""The dependency graph of the packages that a lock pins for one platform.

The module has the graph that `tree`, `why` and `diff` show, the order in which conda packages can be installed, and the
packages that no requirement needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.lock.package_managers import INSTALLED_KINDS, PACKAGE_LISTS
from envcompile.spec.conda import parse_dependency_name
from envcompile.spec.pip import parse_dependency_name as parse_pip_dependency_name
from envcompile.spec.solver_inputs import INIT_PACKAGE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from envcompile.lock.model import CondaPackage, PlatformLock
    from envcompile.lock.package_managers import LockedPackage
    from envcompile.spec.model import PipSpec, Spec


class PackageNode(NamedTuple):
    """A package of the lock. `kind` is a key of `INSTALLED_KINDS`; each kind can have a package of the same name."""

    name: str
    kind: str


class DependencyGraph(NamedTuple):
    """The packages, with the dependencies and the dependents of each, sorted by name.

    `base_packages` are the packages that the choice of the base image requires in addition to those of the spec.
    """

    packages: Mapping[PackageNode, LockedPackage]
    dependencies: Mapping[PackageNode, tuple[PackageNode, ...]]
    dependents: Mapping[PackageNode, tuple[PackageNode, ...]]
    base_packages: tuple[PackageNode, ...] = ()

    def format_label(self, node: PackageNode) -> str:
        """Return the package as messages name it: `conda numpy 2.3.5`, and `numpy 2.3.5` for a pip package."""
        return f"{PACKAGE_LISTS[node.kind].label.format(node.name)} {self.packages[node].version}"

    def find_nodes(self, name: str) -> tuple[PackageNode, ...]:
        """Return the packages of every kind with this name, otherwise the conda packages with this distribution."""
        own = tuple(node for kind in INSTALLED_KINDS if (node := PackageNode(name, kind)) in self.packages)
        return own or tuple(node for node in self.packages if name in getattr(self.packages[node], "provides", ()))

    def collect_names(self) -> set[str]:
        """Return the names for which `find_nodes` finds a package."""
        provided = {name for each in self.packages.values() for name in getattr(each, "provides", ())}
        return {node.name for node in self.packages} | provided


def build_graph(platform: PlatformLock) -> DependencyGraph:
    """Return the graph of one platform, without dependencies that are not in the lock, such as `__glibc`."""
    packages: dict[PackageNode, LockedPackage] = {
        PackageNode(name, kind): package
        for kind in INSTALLED_KINDS
        for name, package in PACKAGE_LISTS[kind].iter_packages(platform)
    }
    providers = {name: node for node, each in packages.items() for name in getattr(each, "provides", ())}
    dependencies: dict[PackageNode, tuple[PackageNode, ...]] = {}
    for node, package in packages.items():
        manager = INSTALLED_KINDS[node.kind]
        names = set(map(manager.parse_dependency_name, package.depends))
        found = {end for name in names if (end := PackageNode(name, node.kind)) in packages}
        if manager.has_distributions:
            found |= {providers[name] for name in names if name in providers}
        dependencies[node] = tuple(sorted(found))
    dependents: dict[PackageNode, list[PackageNode]] = {node: [] for node in packages}
    for node in sorted(dependencies):
        for end in dependencies[node]:
            dependents[end].append(node)
    return DependencyGraph(
        packages,
        dependencies,
        {node: tuple(found) for node, found in dependents.items()},
        _find_base_packages(platform),
    )


def _find_base_packages(platform: PlatformLock) -> tuple[PackageNode, ...]:
    decision = platform.base_decision
    if decision is None:
        return ()
    names = {"pip": decision.wheel_names, "apt": decision.apt, "apt-build": decision.apt_build}
    return tuple(PackageNode(name, kind) for kind, found in names.items() for name in found)


def find_requested_packages(spec: Spec, graph: DependencyGraph) -> tuple[PackageNode, ...]:
    """Return the locked packages that the spec requests, in the order of the spec, then `base_packages`."""
    requested: list[PackageNode] = []
    for kind, manager in INSTALLED_KINDS.items():
        for each in manager.list_requirements(spec, PACKAGE_LISTS[kind].spec_key):
            requested += graph.find_nodes(each.name) if manager.has_distributions else [PackageNode(each.name, kind)]
    return tuple(dict.fromkeys(node for node in (*requested, *graph.base_packages) if node in graph.packages))


def find_shortest_path(graph: DependencyGraph, start: PackageNode, end: PackageNode) -> tuple[PackageNode, ...]:
    """Return the shortest path of dependencies from `start` to `end`, both included; empty if there is none."""
    previous: dict[PackageNode, PackageNode] = {}
    level: Collection[PackageNode] = (start,)
    seen = {start}
    while level and end not in seen:
        next_level = []
        for node in level:
            for neighbour in graph.dependencies[node]:
                if neighbour not in seen:
                    seen.add(neighbour)
                    previous[neighbour] = node
                    next_level.append(neighbour)
        level = next_level
    if end not in seen:
        return ()
    path = [end]
    while path[-1] != start:
        path.append(previous[path[-1]])
    return tuple(reversed(path))


def find_used_distributions(pip: PipSpec, platform: PlatformLock) -> dict[str, CondaPackage]:
    """Return the distributions that pip uses from conda packages: the conda package by the name of the distribution.

    A pip requirement of the spec or a dependency of a pip package names them. They are sorted by name.
    """
    providers = {name: package for package in platform.conda for name in package.provides}
    if not providers:
        return {}
    names = {requirement.name for requirement in pip.packages}
    names.update(parse_pip_dependency_name(text) for package in platform.pip for text in package.depends)
    return {name: providers[name] for name in sorted(names & providers.keys())}


def find_init_program(spec: Spec, platform: PlatformLock) -> str | None:
    """Return the path of the init program in the image, or None if the lock does not have it.

    It is a wheel or a conda package in the environment. Otherwise it is a Debian package, which the spec or the choice
    of the base image requests. A base image may have the package already, so the locked packages do not show it.
    """
    if INIT_PACKAGE in {*(each.name for each in platform.conda), *(each.name for each in platform.pip)}:
        return f"/env/bin/{INIT_PACKAGE}"
    decided = platform.base_decision.apt if platform.base_decision else ()
    return f"/usr/bin/{INIT_PACKAGE}" if INIT_PACKAGE in (*spec.apt.packages, *decided) else None


def sort_by_dependencies(packages: Iterable[CondaPackage]) -> list[CondaPackage]:
    """Return the packages in an order in which conda can install them: each after its dependencies, ties by name.

    Python and pip depend on each other; Python comes first.
    """
    known = {package.name: package for package in packages}
    done: dict[str, CondaPackage] = {}
    for name in sorted(known):
        _append_after_dependencies(known, name, done)
    return list(done.values())


def _append_after_dependencies(known: Mapping[str, CondaPackage], first: str, done: dict[str, CondaPackage]) -> None:
    # An explicit stack: a chain of dependencies can be longer than Python's recursion limit.
    stack = [first]
    entered: set[str] = set()
    while stack:
        name = stack[-1]
        if name in done:
            stack.pop()
        elif name in entered:
            done[name] = known[name]
            stack.pop()
        else:
            entered.add(name)
            names = sorted({parse_dependency_name(text) for text in known[name].depends} & set(known), reverse=True)
            stack += [each for each in names if each not in entered and (name, each) != ("python", "pip")]


def unrequired_packages(dependencies: Mapping[str, Iterable[str]], roots: Iterable[str]) -> list[str]:
    """Return the names that cannot be reached from `roots`, except dependencies of other such names, sorted."""
    unrequired = set(dependencies) - find_reachable_packages(dependencies, roots)
    needed = {each for name in unrequired for each in dependencies[name] if each != name}
    found = sorted(unrequired - needed)
    # The packages of a cycle all have dependents, so one of them stands for the cycle.
    for name in sorted(unrequired):
        if name not in find_reachable_packages(dependencies, found):
            found.append(name)
    return sorted(found)


def find_reachable_packages(dependencies: Mapping[str, Iterable[str]], roots: Iterable[str]) -> set[str]:
    """Return the known names among `roots`, and all names that can be reached from them."""
    seen: set[str] = set()
    stack = [name for name in roots if name in dependencies]
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack += [each for each in dependencies[name] if each in dependencies and each not in seen]
    return seen
