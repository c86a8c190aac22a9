"""The differences between two locks as values, each with its reason if the two locks show it.

A conda package records the versions of its dependencies, so a version that no longer fits is a reason. A pip package
records only the names of its dependencies, so the reason is a dependency or a dependent that changed too. Debian
packages change with the snapshot of the archive and with the base image, which are changes of their own;
`part_reasons` has their reasons.

`diff_formats` formats the changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import format_count
from envcompile.lock.activation import merge_variables
from envcompile.lock.graph import PackageNode, build_graph
from envcompile.lock.model import DEFAULT_LAYER_THRESHOLD
from envcompile.lock.package_managers import INSTALLED_KINDS, PACKAGE_LISTS, count_packages
from envcompile.lock.part_reasons import PartExplainer
from envcompile.spec.pip import DEFAULT_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.lock.model import BaseImageDecision, Lock, PlatformLock
    from envcompile.lock.package_managers import LockedPackage, PackageManager
    from envcompile.spec.model import Spec

# The kinds of changes and their labels, in the order in which changes are listed.
CHANGE_LABELS = {
    "layout": "layout of the Dockerfile",
    "platform": "platform {}",
    "image": "{} image",
    "system": "operating system of the {} image",
    "cuda": "CUDA",
    "driver": "oldest driver",
    "compute": "GPU architectures",
    "variable": "variable {}",
    "build-variable": "build variable {}",
    "conda-variable": "variable {} of conda packages",
    "facts": "catalogue of base images",
    "tool": "image of the tool {}",
    "python": "Python",
    "layers": "size from which a package has a layer of its own",
    "channel": "channel {}",
    "snapshot": "snapshot of the archive",
    **{kind: each.label for kind, each in PACKAGE_LISTS.items()},
    "index": "index of {}",
}
ADDED, REMOVED, CHANGED, FILE_CHANGED = CHANGE_STATUSES = ("added", "removed", "changed", "another file")

# The fields of a package that identify its file, besides its version.
_IDENTITY_KEYS = frozenset({"kind", "build", "channel", "subdir", "file", "sha256", "md5", "architecture"})
_MAX_LISTED_DEPENDENTS = 3
_NO_REASON_MESSAGE = "the locks do not show the reason"


@dataclass(frozen=True, slots=True)
class LockChange:
    """One difference between two locks.

    - `kind`: a key of `CHANGE_LABELS`.
    - `before`, `after`: the versions or image references, None if the entry is only in the other lock. They are equal
      if only the file of a package changed.
    - `file`: the new file name of a package whose file changed, or its sha256 if the lock has no file name.
    - `platforms`: the platforms with this change. `is_everywhere`: whether they are all platforms of both locks.
    - `reasons`: sentences without a full stop.
    """

    kind: str
    name: str
    before: str | None
    after: str | None
    file: str = ""
    platforms: tuple[str, ...] = ()
    is_everywhere: bool = True
    reasons: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What changed: `numpy`, `conda numpy`, `run image`."""
        return CHANGE_LABELS[self.kind].format(self.name)

    @property
    def status(self) -> str:
        """One of `CHANGE_STATUSES`."""
        if self.before is None:
            return ADDED
        if self.after is None:
            return REMOVED
        return FILE_CHANGED if self.before == self.after else CHANGED


class LockRequest(NamedTuple):
    """The request that led to a lock: the spec, and the packages to upgrade, or True for all packages and parts.

    `parts` are the parts to upgrade, as `-P` names them: `base`, `apt`, `tools` or `python`.
    """

    spec: Spec
    upgraded: frozenset[str] | bool = frozenset()
    parts: frozenset[str] = frozenset()


class _PinnedValue(NamedTuple):
    """A pinned version. For a package, `identity` is everything else that identifies its file, and `file` its name."""

    version: str
    identity: tuple[str | None, ...] = ()
    file: str = ""


class _ChangeKey(NamedTuple):
    """The fields of a `LockChange` that are the same on all its platforms."""

    kind: str
    name: str
    before: str | None
    after: str | None
    file: str = ""


def compare_locks(before: Lock, after: Lock, request: LockRequest | None = None) -> tuple[LockChange, ...]:
    """Return all differences, those on every platform first. The same change on several platforms is listed once.

    A platform that was added or removed is one change. `request` is the request for the second lock, if it is known.
    """
    found: dict[_ChangeKey, dict[str, tuple[str, ...]]] = {}
    for name in sorted({each.platform for each in (*before.platforms, *after.platforms)}):
        old, new = before.find_platform(name), after.find_platform(name)
        if old and new:
            explainer = ChangeExplainer(old, new, request)
            part_explainer = PartExplainer(before, after, old, new, request.parts if request else None)
            for key in _iter_changed_pins(_collect_pins(before, old), _collect_pins(after, new)):
                reasons = part_explainer.find_reasons(key.kind, key.name) or explainer.find_reasons(key.kind, key.name)
                found.setdefault(key, {})[name] = reasons
        else:
            found[_ChangeKey("platform", name, _format_package_count(old), _format_package_count(new))] = {name: ()}
    common = {each.platform for each in before.platforms} & {each.platform for each in after.platforms}
    if common and before.layout != after.layout:
        reasons = () if found else ("same packages, new layout",)
        found[_ChangeKey("layout", "", str(before.layout), str(after.layout))] = dict.fromkeys(common, reasons)
    changes = [
        LockChange(
            *key,
            platforms=tuple(reasons),
            is_everywhere=key.kind in ("layout", "platform") or set(reasons) == common,
            reasons=_merge_reasons(reasons),
        )
        for key, reasons in found.items()
    ]
    return tuple(sorted(changes, key=_change_sort_key))


def _change_sort_key(change: LockChange) -> tuple[object, ...]:
    return (
        () if change.is_everywhere else change.platforms,
        CHANGE_STATUSES.index(change.status),
        [*CHANGE_LABELS].index(change.kind),
        change.name,
        change.before,
        change.after,
    )


def _format_package_count(platform: PlatformLock | None) -> str | None:
    return format_count(count_packages(platform), "package") if platform else None


def _merge_reasons(reasons: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the reasons on all platforms. If they differ between platforms, each reason names its platform."""
    first, *others = reasons.values()
    if all(each == first for each in others):
        return first
    return tuple(f"{reason} ({platform})" for platform, found in reasons.items() for reason in found)


def _collect_pins(lock: Lock, platform: PlatformLock) -> dict[tuple[str, str], _PinnedValue]:
    """Return everything that is pinned for a platform, by kind and name."""
    pins = {("channel", each.name): _PinnedValue(each.url) for each in lock.channels}
    if lock.snapshot:
        pins["snapshot", ""] = _PinnedValue(lock.snapshot)
    for name, base in (("build", platform.build), ("run", platform.run)):
        pins["image", name] = _PinnedValue(base.image)
        pins["system", name] = _PinnedValue(f"{base.os}, glibc {base.glibc}")
    pins["layers", ""] = _PinnedValue(f"{platform.layer_threshold or DEFAULT_LAYER_THRESHOLD} MiB")
    if platform.base_decision:
        pins |= _collect_decision_pins(platform.base_decision)
    pins |= {("conda-variable", name): _PinnedValue(value) for name, value in merge_variables(platform.conda).items()}
    pins |= {("tool", each.name): _PinnedValue(each.image) for each in platform.tools}
    # A Python from conda is one of the conda packages.
    if platform.python and platform.python.source != "conda":
        python = platform.python
        identity = (python.path, *((python.build.url, python.build.sha256) if python.build else ()))
        pins["python", ""] = _PinnedValue(python.version, identity, python.build.file if python.build else python.path)
    for packages in PACKAGE_LISTS.values():
        for name, package in packages.iter_packages(platform):
            file = getattr(package, "file", package.sha256)
            index = getattr(package, "index", DEFAULT_INDEX)
            # The index of an installed package is a change of its own.
            keys = _IDENTITY_KEYS if packages.is_installed else _IDENTITY_KEYS | {"index"}
            identity = tuple(getattr(package, key) for key in packages.row_keys if key in keys)
            pins[packages.kind, name] = _PinnedValue(package.version, identity, file)
            if packages.is_installed and index != DEFAULT_INDEX:
                pins["index", name] = _PinnedValue(index)
    return pins


def _collect_decision_pins(decision: BaseImageDecision) -> dict[tuple[str, str], _PinnedValue]:
    values = {
        "cuda": decision.cuda,
        "driver": decision.driver,
        "compute": " ".join(decision.compute),
        "facts": decision.catalogue,
    }
    pins = {(kind, ""): _PinnedValue(value) for kind, value in values.items() if value}
    pins |= {("variable", name): _PinnedValue(value) for name, value in decision.env}
    return pins | {("build-variable", name): _PinnedValue(value) for name, value in decision.build_env}


def _iter_changed_pins(
    old: Mapping[tuple[str, str], _PinnedValue], new: Mapping[tuple[str, str], _PinnedValue]
) -> Iterator[_ChangeKey]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before != after:
            file = after.file if before and after and before.version == after.version else ""
            yield _ChangeKey(*key, before and before.version, after and after.version, file)


class ChangeExplainer:
    """Finds the reasons of changes of packages on one platform, from its packages in both locks."""

    def __init__(self, before: PlatformLock, after: PlatformLock, request: LockRequest | None) -> None:
        self._before, self._after, self._request = before, after, request
        self._old_graph, self._new_graph = build_graph(before), build_graph(after)

    def find_reasons(self, kind: str, name: str) -> tuple[str, ...]:
        """Return the reason of the change of a package.

        Empty if the change was requested or the locks show no reason, and for everything but packages.
        """
        node = PackageNode(name, kind)
        old, new = self._old_graph.packages.get(node), self._new_graph.packages.get(node)
        if old is None:
            return self._explain_addition(node) if new else ()
        manager = INSTALLED_KINDS[kind]
        if manager.follows_snapshot:
            return ()
        return self._explain_update(node, old, manager) if new else (self._explain_removal(node, manager),)

    def _explain_update(self, node: PackageNode, old: LockedPackage, manager: PackageManager) -> tuple[str, ...]:
        if self._request and (self._request.upgraded is True or node.name in (self._request.upgraded or ())):
            return ()
        reasons = chain(
            self._iter_unmet_requirements(node, old, manager),
            self._iter_conflicting_dependents(node, old, manager),
            self._iter_conflicting_dependencies(node, old, manager),
            self._iter_environment_changes(manager),
            self._iter_related_changes(node),
        )
        # `lock` states that there is no known reason; `diff` leaves the line out.
        return tuple(islice(chain(reasons, [_NO_REASON_MESSAGE] if self._request else []), 1))

    def _explain_removal(self, node: PackageNode, manager: PackageManager) -> str:
        if self._request and node.name in getattr(getattr(self._request.spec, manager.name), "exclude", ()):
            return "the spec excludes it"
        others = (
            each for each in self._new_graph.find_nodes(node.name) if not INSTALLED_KINDS[each.kind].follows_snapshot
        )
        if other := next(others, None):
            return f"{self._new_graph.format_label(other)} provides it now"
        return "no locked package needs it any more"

    def _explain_addition(self, node: PackageNode) -> tuple[str, ...]:
        dependents = self._new_graph.dependents[node]
        # Prefer dependents that changed too. An unchanged one can only need this package because another one is gone.
        causes = [each for each in dependents if self._has_changed(each)] or dependents
        shown = ", ".join(map(self._format_package, causes[:_MAX_LISTED_DEPENDENTS]))
        more = f" and {len(causes) - _MAX_LISTED_DEPENDENTS} more" if len(causes) > _MAX_LISTED_DEPENDENTS else ""
        return (f"needed by {shown}{more}",) if causes else ()

    def _format_package(self, node: PackageNode) -> str:
        return f"{node.name} {self._new_graph.packages[node].version}"

    def _has_changed(self, node: PackageNode) -> bool:
        """Whether the file of a package was replaced, or its dependencies changed. Sizes and texts do not count."""
        old, new = self._old_graph.packages.get(node), self._new_graph.packages.get(node)
        if old is None or new is None:
            return old is not new
        manager = INSTALLED_KINDS[node.kind]
        return any(
            read(old) != read(new)
            for read in (
                lambda package: package.version,
                manager.describe,
                lambda package: set(map(manager.parse_dependency_name, package.depends)),
            )
        )

    def _iter_unmet_requirements(self, node: PackageNode, old: LockedPackage, manager: PackageManager) -> Iterator[str]:
        """Yield the requirements of the spec that the earlier package does not satisfy."""
        for each in manager.list_requirements(self._request.spec, "packages") if self._request else ():
            if each.name == node.name and not each.allows(old):
                yield f"the spec requests `{each}`"

    def _iter_conflicting_dependents(
        self, node: PackageNode, old: LockedPackage, manager: PackageManager
    ) -> Iterator[str]:
        """Yield the dependents that do not accept the earlier version of a package, those that `-P` names first."""
        upgraded = self._request.upgraded if self._request and not isinstance(self._request.upgraded, bool) else ()
        for dependent in sorted(self._new_graph.dependents[node], key=lambda each: each.name not in upgraded):
            if dependent.kind != node.kind:
                continue
            for each in map(manager.parse_dependency, self._new_graph.packages[dependent].depends):
                if each.name == node.name and not each.allows(old):
                    yield f"{self._format_package(dependent)} needs `{each}`"

    def _iter_conflicting_dependencies(
        self, node: PackageNode, old: LockedPackage, manager: PackageManager
    ) -> Iterator[str]:
        """Yield the dependencies of the earlier version that are now locked in a version that it does not accept."""
        for each in map(manager.parse_dependency, old.depends):
            end = PackageNode(each.name, node.kind)
            new = self._new_graph.packages.get(end)
            if new and not each.allows(new):
                previous = self._old_graph.packages.get(end)
                same_version = previous and previous.version == new.version
                build = f" ({getattr(new, 'build', '')})" if same_version else ""
                yield f"{old.name} {old.version} needs `{each}`, and {new.name} is now {new.version}{build}"

    def _iter_environment_changes(self, manager: PackageManager) -> Iterator[str]:
        """Yield a change of the Python or the C library, because of which other files are selected."""
        before, after = self._before, self._after
        if not manager.has_distributions:
            return
        if before.python and after.python and before.python.version != after.python.version:
            yield f"Python is now {after.python.version}"
        if before.build.glibc != after.build.glibc:
            yield f"glibc is now {after.build.glibc}"

    def _iter_related_changes(self, node: PackageNode) -> Iterator[str]:
        """Yield the dependents and dependencies that changed too."""
        for each in (*self._new_graph.dependents[node], *self._old_graph.dependents[node]):
            if self._has_changed(each) and each in self._new_graph.packages:
                yield f"{self._format_package(each)}, which changed too, needs it"
        for each in (*self._new_graph.dependencies[node], *self._old_graph.dependencies[node]):
            if self._has_changed(each) and each in self._new_graph.packages:
                yield f"it needs {self._format_package(each)}, which changed too"
