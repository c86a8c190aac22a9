"""Checks that the locked packages of a platform fit together, from facts in the lock, without a network.

Every package must accept the locked Python, each dependency must be locked in a version that its dependents accept, and
nothing may be locked twice: no distribution from both conda and pip, and no two packages that contain the same module
or library. `lock` checks a new lock before it writes it, and `verify --full` checks a lock again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.families import find_family_conflicts
from envcompile.lock.freshness_pip import find_provided_versions
from envcompile.lock.graph import PackageNode, build_graph
from envcompile.lock.package_managers import INSTALLED_KINDS, PACKAGE_LISTS
from envcompile.spec.pip import PipRequirement, normalize_name
from envcompile.spec.solver_inputs import locate_requirement
from envcompile.spec.values import display_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envcompile.diagnostics.source import KeyPath
    from envcompile.lock.families import FamilyConflict, FileOverlap
    from envcompile.lock.graph import DependencyGraph
    from envcompile.lock.model import PlatformLock
    from envcompile.spec.model import Spec


def accepts_python(requires_python: str, version: str) -> bool:
    """Whether a Requires-Python accepts an exact version of Python. As in installers, an invalid one accepts all."""
    try:
        return SpecifierSet(requires_python).contains(version, prereleases=True)
    except ValueError:  # InvalidSpecifier; or the specifier has a number of more than 4,300 digits
        return True


def check_consistency(spec: Spec, locked: PlatformLock, overlaps: Iterable[FileOverlap] = ()) -> list[Diagnostic]:
    """Return a diagnostic for each package that does not fit the others, and for content that is locked twice.

    `overlaps` are the files that several pip packages install. They are known only from the wheels, not from a lock.
    """
    graph = build_graph(locked)
    found = [
        *_check_python(spec, locked, graph),
        *_check_abi(spec, locked, graph),
        *_check_dependencies(spec, locked, graph),
        *_check_distributions(spec, locked, graph),
    ]
    conflicts = tuple(find_family_conflicts(locked))
    for conflict in conflicts:
        found += _check_family(spec, conflict, graph)
    families = [{package.name for package in conflict.pip} for conflict in conflicts]
    for overlap in overlaps:
        if not any(family.issuperset(overlap.packages) for family in families):
            found += _check_overlap(spec, overlap, graph)
    return found


def _check_python(spec: Spec, locked: PlatformLock, graph: DependencyGraph) -> Iterator[Diagnostic]:
    if locked.python is None:
        return
    build_packages = (package for build in locked.pip_build for package in build.packages)
    for package in (*locked.pip, *build_packages):
        if not accepts_python(package.requires_python, locked.python.version):
            message = (
                f"`{package.name}` {package.version} requires Python {package.requires_python}, "
                f"but the Python of `{locked.platform}` is {locked.python.version}"
            )
            hint = f"run `envcompile lock`, which selects another release of `{package.name}`"
            yield Diagnostic("inconsistent", message, _find_requirement(spec, graph, package.name), hint)


def _check_abi(spec: Spec, locked: PlatformLock, graph: DependencyGraph) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each wheel that a free-threaded Python cannot load, such as one for the ABI `abi3`."""
    abi = locked.python.abi if locked.python else ""
    for package in locked.pip if abi else ():
        with suppress(InvalidWheelFilename):
            *_, tags = parse_wheel_filename(package.file)
            if not any(tag.abi in ("none", abi) for tag in tags):
                message = f"`{package.file}` is not for the ABI `{abi}` of the locked Python"
                yield Diagnostic("inconsistent", message, _find_requirement(spec, graph, package.name))


def _check_dependencies(spec: Spec, locked: PlatformLock, graph: DependencyGraph) -> Iterator[Diagnostic]:
    labels = {package.name: (package.version, f"{package.name} {package.version}") for package in locked.pip}
    provided = find_provided_versions(locked.conda)
    labels |= {name: (version, f"conda's {name} {version}") for name, version in provided.items()}
    for package in locked.pip:
        for text in package.depends:
            need = PipRequirement(text)
            if need.name in spec.pip.exclude or need.name not in labels:
                continue
            version, label = labels[need.name]
            if not need.allows_version(version):
                message = f"`{package.name}` {package.version} needs `{need}`, but the lock has {label}"
                yield Diagnostic("inconsistent", message, _find_requirement(spec, graph, package.name))


def _check_distributions(spec: Spec, locked: PlatformLock, graph: DependencyGraph) -> Iterator[Diagnostic]:
    providers = {name: package.name for package in locked.conda for name in package.provides}
    for package in locked.pip:
        if package.name in providers:
            provider = providers[package.name]
            message = f"the lock has `{package.name}` from pip, and conda's `{provider}` contains it too"
            hint = f"if it does not, write `provides = {{ {provider} = [] }}` in `[conda]`"
            yield Diagnostic("inconsistent", message, _find_requirement(spec, graph, package.name), hint)


def _check_family(spec: Spec, conflict: FamilyConflict, graph: DependencyGraph) -> list[Diagnostic]:
    """Return one diagnostic for each requirement of the spec that leads to a package of the family."""
    family, pip, conda = conflict
    names = [package.name for package in pip]
    if set(names) & set(spec.pip.allow_overlap):
        return []
    nodes = [*(PackageNode(name, "pip") for name in names), *(PackageNode(each.name, "conda") for each in conda)]
    places: dict[KeyPath, list[PackageNode]] = {}
    for node in nodes:
        places.setdefault(_find_path(spec, graph, node), []).append(node)
    hint = _make_family_hint(spec, conflict)
    diagnostics = []
    for path, here in places.items():
        labels = [graph.format_label(node) for node in (*here, *(node for node in nodes if node not in here))]
        message = f"{_join(labels)} {'both' if len(labels) == 2 else 'all'} contain {family.content}"  # noqa: PLR2004
        diagnostics.append(Diagnostic("overlap", message, path, hint))
    return diagnostics


def _check_overlap(spec: Spec, overlap: FileOverlap, graph: DependencyGraph) -> Iterator[Diagnostic]:
    """Yield an error at each requirement that leads to one of the packages, or one warning if all packages may work."""
    if set(overlap.packages) & set(spec.pip.allow_overlap):
        return
    nodes = [PackageNode(name, "pip") for name in overlap.packages]
    last = overlap.packages[-1]
    more = f" and {overlap.path_count - 1} more" if overlap.path_count > 1 else ""
    labels = _join(map(graph.format_label, nodes))
    message = f"{labels} have different files at `{display_text(overlap.path)}`{more}"
    hint = f"remove one of them, or accept the files of `{last}`, which is installed last"
    hint += f': `allow-overlap = ["{last}"]` in `[pip]`'
    places = dict.fromkeys(_find_path(spec, graph, node) for node in nodes)
    if overlap.is_fatal:
        yield from (Diagnostic("overlap", message, place, hint) for place in places)
    else:
        yield Diagnostic("overlap", message, next(iter(places)), hint, severity="warning")


def _make_family_hint(spec: Spec, conflict: FamilyConflict) -> str:
    family, pip, conda = conflict
    requested = {requirement.name for requirement in spec.pip.packages}
    others = [package.name for package in pip if package.name not in requested]
    removal = f'leave one out with `exclude = ["{others[-1]}"]` in `[pip]`' if others else "remove one of the two"
    if conda:
        advice = f"; if conda's fits, {removal}" if others else ""
        return f"take {family.content} from conda or from pip, not from both{advice}"
    last = pip[-1].name
    return f'{removal}, or let the files of `{last}` replace the others: `allow-overlap = ["{last}"]` in `[pip]`'


def _join(texts: Iterable[str]) -> str:
    *first, last = (f"`{text}`" for text in texts)
    return f"{', '.join(first)} and {last}" if first else last


def _find_requirement(spec: Spec, graph: DependencyGraph, name: str) -> KeyPath:
    return _find_path(spec, graph, PackageNode(name, "pip"))


def _find_path(spec: Spec, graph: DependencyGraph, node: PackageNode) -> KeyPath:
    """Return the key path of the requirement that leads to a package with the fewest dependencies in between.

    If there is none, the path is that of the requirements of the package manager.
    """
    level, seen = [node], {node}
    while level:
        for each in level:
            manager = INSTALLED_KINDS[each.kind]
            requirements = manager.list_requirements(spec, PACKAGE_LISTS[each.kind].spec_key)
            for index, requirement in enumerate(requirements):
                provides = map(normalize_name, getattr(graph.packages.get(each), "provides", ()))
                if requirement.name == each.name or (manager.name == "pip" and requirement.name in provides):
                    return locate_requirement(spec, manager.name, index)
        level = [found for each in level for found in graph.dependents.get(each, ()) if found not in seen]
        seen.update(level)
    return (INSTALLED_KINDS[node.kind].name, "packages")
