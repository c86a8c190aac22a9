"""Why a package came, went or moved, as far as two locks say it: nothing is guessed.

conda's packages say in which versions they need others, so what no longer fits can be told. pip's say only whom they
need: of these it is told who moved beside them. Debian's move and go with the archive's snapshot and the base, which
are told themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import RequirementError, format_count
from envcompile.lock.graph import PACKAGE_LABELS, PackageNode, build_graph
from envcompile.lock.model import AptPackage, CondaPackage
from envcompile.spec.conda import matches_package, parse_dependency_name, parse_match_spec
from envcompile.spec.pip import DEFAULT_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.lock.model import BaseImageDecision, Lock, PipPackage, PlatformLock
    from envcompile.spec.model import Spec

_MAX_LISTED_DEPENDENTS = 3
_BASE_IMAGE_KINDS = ("cuda", "image")
_NO_REASON_MESSAGE = "no reason for it stands in the locks"


class LockRequest(NamedTuple):
    """What a lock was asked for: the spec, and the names whose pins were not to be kept, or True for all."""

    spec: Spec
    upgraded: frozenset[str] | bool = frozenset()


class ChangeExplainer:
    """The packages of one platform in the earlier lock and in the later one."""

    def __init__(self, before: PlatformLock, after: PlatformLock, asked: LockRequest | None) -> None:
        self._before, self._after, self._request = before, after, asked
        self._old_graph, self._new_graph = build_graph(before), build_graph(after)

    def find_reasons(self, kind: str, name: str) -> tuple[str, ...]:
        """Why a package moved, in one sentence; nothing where it was asked for, or no reason stands in the locks."""
        if kind in _BASE_IMAGE_KINDS:
            return self._explain_base_change(kind, name)
        node = PackageNode(name, kind)
        old, new = self._old_graph.packages.get(node), self._new_graph.packages.get(node)
        if isinstance(old, AptPackage) or isinstance(new, AptPackage):
            return () if old else self._explain_addition(node)
        if new is None:
            return (self._explain_removal(node),) if old else ()
        if old is None:
            return self._explain_addition(node)
        if self._request and (self._request.upgraded is True or name in (self._request.upgraded or ())):
            return ()
        reasons = chain(
            self._iter_unmet_requirements(node, old),
            self._iter_conflicting_dependents(node, old),
            self._iter_conflicting_dependencies(old),
            self._iter_environment_changes(node),
            self._iter_related_changes(node),
        )
        # Who asked for the lock is told that of this nothing is known.
        return tuple(islice(chain(reasons, [_NO_REASON_MESSAGE] if self._request else []), 1))

    def _explain_base_change(self, kind: str, name: str) -> tuple[str, ...]:
        """What the later lock says of its bases, where the earlier one said something else."""
        before, after = (
            each.base_decision.explanation if each.base_decision else () for each in (self._before, self._after)
        )
        rules = {"cuda": "bundled", "image": "image"}[kind]
        told = [row for row in after if row.rule.partition(".")[0] == rules and row not in before]
        mine = [row for row in told if kind == "cuda" or row.rule.partition(".")[2] not in {"build", "run"} - {name}]
        return tuple(
            f"{row.decision} ({', '.join(row.inputs)})" if row.inputs else row.decision for row in mine if row.decision
        )

    def _explain_removal(self, node: PackageNode) -> str:
        if self._request and node.kind == "pip" and node.name in self._request.spec.pip.exclude:
            return "the spec leaves it out"
        others = (
            each
            for each in self._new_graph.find_nodes(node.name)
            if not isinstance(self._new_graph.packages[each], AptPackage)
        )
        if other := next(others, None):
            return f"{self._new_graph.format_label(other)} brings it now"
        return "nothing in the lock needs it any more"

    def _explain_addition(self, node: PackageNode) -> tuple[str, ...]:
        needed = self._new_graph.dependents[node]
        # Those that moved too are why it came; one that stayed needs it where something else has gone.
        moved = [each for each in needed if self._has_changed(each)] or needed
        shown = ", ".join(map(self._format_package, moved[:_MAX_LISTED_DEPENDENTS]))
        more = f" and {len(moved) - _MAX_LISTED_DEPENDENTS} more" if len(moved) > _MAX_LISTED_DEPENDENTS else ""
        return (f"needed by {shown}{more}",) if moved else ()

    def _format_package(self, node: PackageNode) -> str:
        return f"{node.name} {self._new_graph.packages[node].version}"

    def _has_changed(self, node: PackageNode) -> bool:
        return self._old_graph.packages.get(node) != self._new_graph.packages.get(node)

    def _iter_unmet_requirements(self, node: PackageNode, old: CondaPackage | PipPackage) -> Iterator[str]:
        """A requirement of the spec that the earlier package does not meet."""
        if self._request is None:
            return
        if isinstance(old, CondaPackage):
            texts = [text for text in self._request.spec.conda.packages if parse_match_spec(text).name == node.name]
            if node.name == "python" and self._request.spec.python:
                texts.append(f"python {self._request.spec.python}.*")
            refused = [text for text in texts if not _allows_package(text, old)]
        else:
            refused = [text for text in self._request.spec.pip.packages if _excludes_package(text, old)]
        yield from (f"the spec asks for `{text}`" for text in refused)

    def _iter_conflicting_dependents(self, node: PackageNode, old: CondaPackage | PipPackage) -> Iterator[str]:
        """Who needs another version than the earlier one; those first that were to be upgraded."""
        if not isinstance(old, CondaPackage):
            return
        upgraded = self._request.upgraded if self._request and not isinstance(self._request.upgraded, bool) else ()
        for each in sorted(self._new_graph.dependents[node], key=lambda other: other.name not in upgraded):
            package = self._new_graph.packages[each]
            if isinstance(package, CondaPackage):
                for depend in package.depends:
                    if parse_dependency_name(depend) == node.name and not _allows_package(depend, old):
                        yield f"{self._format_package(each)} needs `{depend}`"

    def _iter_conflicting_dependencies(self, old: CondaPackage | PipPackage) -> Iterator[str]:
        """What the earlier one needs in another version than is there now."""
        for depend in old.depends if isinstance(old, CondaPackage) else ():
            there = self._new_graph.packages.get(PackageNode(parse_dependency_name(depend), "conda"))
            if isinstance(there, CondaPackage) and not _allows_package(depend, there):
                was = self._old_graph.packages.get(PackageNode(there.name, "conda"))
                build = f" ({there.build})" if was and was.version == there.version else ""
                yield f"{old.name} {old.version} needs `{depend}`, and {there.name} is now {there.version}{build}"

    def _iter_environment_changes(self, node: PackageNode) -> Iterator[str]:
        """What pip's files are chosen for, where that is another one."""
        before, after = self._before, self._after
        if node.kind == "pip" and before.python and after.python and before.python.version != after.python.version:
            yield f"Python is now {after.python.version}"
        if node.kind == "pip" and before.build.glibc != after.build.glibc:
            yield f"glibc is now {after.build.glibc}"

    def _iter_related_changes(self, node: PackageNode) -> Iterator[str]:
        """Who needs it or is needed by it, and moved too."""
        for each in (*self._new_graph.dependents[node], *self._old_graph.dependents[node]):
            if self._has_changed(each) and each in self._new_graph.packages:
                yield f"{self._format_package(each)}, which moved too, needs it"
        for each in (*self._new_graph.dependencies[node], *self._old_graph.dependencies[node]):
            if self._has_changed(each) and each in self._new_graph.packages:
                yield f"it needs {self._format_package(each)}, which moved too"


def _allows_package(text: str, package: CondaPackage) -> bool:
    """Whether a requirement admits a package; also where it is not of those that can be read without a solver."""
    try:
        return matches_package(parse_match_spec(text), package)
    except RequirementError:
        return True


def _excludes_package(text: str, package: PipPackage) -> bool:
    """Whether a requirement without a marker, which holds everywhere, does not admit a package."""
    from envcompile.spec.pip import parse_package_name, parse_requirement  # noqa: PLC0415 - brings `packaging`

    parsed = parse_requirement(text)
    if parsed.marker or parse_package_name(parsed.name) != package.name:
        return False
    return not parsed.specifier.contains(package.version, prereleases=True)


# What changed from one lock to the next, as a value; `forms` writes it down.


# Each kind of thing that is pinned, in the order in which its changes are told, and what one of them is called.
CHANGE_LABELS = {
    "platform": "platform {}",
    "image": "image to {} on",
    "system": "system to {} on",
    "cuda": "CUDA",
    "driver": "oldest driver",
    "compute": "GPU architectures",
    "variable": "variable {}",
    "build-variable": "variable of the build {}",
    "facts": "facts about bases",
    "tool": "image for {}",
    "python": "Python",
    "channel": "channel {}",
    "snapshot": "snapshot of the archive",
    **PACKAGE_LABELS,
    "pip-build": "for the build of {}",
    "index": "index of {}",
}
ADDED, REMOVED, CHANGED, FILE_CHANGED = CHANGE_STATUSES = ("added", "removed", "changed", "another file")


@dataclass(frozen=True, slots=True)
class LockChange:
    """One thing that came, went or moved.

    `kind` is a key of `CHANGE_LABELS`; `before` and `after` are versions, or an image's reference, None where it was
    not or is
    not there. They are equal where a package's file alone is another one: `file` is then its name, for apt, where it
    has none, its sha256. `platforms` are those on which it is so, `everywhere` tells whether these are all that are
    locked. `why` are sentences without a full stop: none where nobody asks why, or where no reason stands in the locks.
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
        """What it is called: `numpy`, `conda numpy`, `image to run on`."""
        return CHANGE_LABELS[self.kind].format(self.name)

    @property
    def status(self) -> str:
        """One of `CHANGE_STATUSES`."""
        if self.before is None:
            return ADDED
        if self.after is None:
            return REMOVED
        return FILE_CHANGED if self.before == self.after else CHANGED


class _PinnedValue(NamedTuple):
    """What is pinned, and for a package what tells two files of one version apart."""

    version: str
    sha256: str = ""
    file: str = ""


class _ChangeKey(NamedTuple):
    """The beginning of a `LockChange`."""

    kind: str
    name: str
    before: str | None
    after: str | None
    file: str = ""


def compare_locks(before: Lock, after: Lock, asked: LockRequest | None = None) -> tuple[LockChange, ...]:
    """All that changed, what is so on every platform first; a change of several platforms stands once.

    A platform that came or went is one change. `asked` is what the second lock was asked for, where that is known.
    """
    found: dict[_ChangeKey, dict[str, tuple[str, ...]]] = {}
    for name in sorted({each.platform for each in (*before.platforms, *after.platforms)}):
        old, new = before.find_platform(name), after.find_platform(name)
        if old and new:
            reasons = ChangeExplainer(old, new, asked)
            for moved in _iter_changed_pins(_collect_pins(before, old), _collect_pins(after, new)):
                found.setdefault(moved, {})[name] = reasons.find_reasons(moved.kind, moved.name)
        else:
            found[_ChangeKey("platform", name, _format_package_count(old), _format_package_count(new))] = {name: ()}
    every = {each.platform for each in before.platforms} & {each.platform for each in after.platforms}
    made = [
        LockChange(
            *moved, tuple(why), is_everywhere=moved.kind == "platform" or set(why) == every, reasons=_merge_reasons(why)
        )
        for moved, why in found.items()
    ]
    return tuple(sorted(made, key=_change_sort_key))


def _change_sort_key(change: LockChange) -> tuple[object, ...]:
    where = () if change.is_everywhere else change.platforms
    return (
        where,
        CHANGE_STATUSES.index(change.status),
        [*CHANGE_LABELS].index(change.kind),
        change.name,
        change.before,
        change.after,
    )


def _format_package_count(platform: PlatformLock | None) -> str | None:
    return format_count(platform.package_count, "package") if platform else None


def _merge_reasons(why: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The reasons of all its platforms, once; each with its platform where they differ."""
    told = list(why.values())
    if all(each == told[0] for each in told):
        return told[0]
    return tuple(f"{reason} ({platform})" for platform, reasons in why.items() for reason in reasons)


def _collect_pins(lock: Lock, platform: PlatformLock) -> dict[tuple[str, str], _PinnedValue]:
    """What is pinned for a platform, by kind and name."""
    pins = {("channel", each.name): _PinnedValue(each.url) for each in lock.channels}
    if lock.snapshot:
        pins["snapshot", ""] = _PinnedValue(lock.snapshot)
    for name, base in (("build", platform.build), ("run", platform.run)):
        pins["image", name] = _PinnedValue(base.image)
        pins["system", name] = _PinnedValue(f"{base.os}, glibc {base.glibc}")
    if platform.base_decision:
        pins |= _collect_decision_pins(platform.base_decision)
    pins |= {("tool", each.name): _PinnedValue(each.image) for each in platform.tools}
    # conda's Python is one of its packages.
    if platform.python and platform.python.source != "conda":
        pins["python", ""] = _PinnedValue(platform.python.version)
    pins |= {("conda", each.name): _PinnedValue(each.version, each.sha256, each.file) for each in platform.conda}
    pins |= {("pip", each.name): _PinnedValue(each.version, each.sha256, each.file) for each in platform.pip}
    pins |= {
        ("pip-build", f"{build.name}: {each.name}"): _PinnedValue(each.version, each.sha256, each.file)
        for build in platform.pip_build
        for each in build.packages
    }
    pins |= {("index", each.name): _PinnedValue(each.index) for each in platform.pip if each.index != DEFAULT_INDEX}
    for kind, packages in (("apt", platform.apt), ("apt-build", platform.apt_build)):
        pins |= {(kind, each.name): _PinnedValue(each.version, each.sha256, each.sha256) for each in packages}
    return pins


def _collect_decision_pins(decided: BaseImageDecision) -> dict[tuple[str, str], _PinnedValue]:
    """What follows from the bases, or they from it."""
    told = {"cuda": decided.cuda, "driver": decided.driver, "compute": " ".join(decided.compute)}
    told["facts"] = decided.catalogue
    pins = {(kind, ""): _PinnedValue(value) for kind, value in told.items() if value}
    pins |= {("variable", name): _PinnedValue(value) for name, value in decided.env}
    return pins | {("build-variable", name): _PinnedValue(value) for name, value in decided.build_env}


def _iter_changed_pins(
    old: Mapping[tuple[str, str], _PinnedValue], new: Mapping[tuple[str, str], _PinnedValue]
) -> Iterator[_ChangeKey]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before != after:
            file = after.file if before and after and before.version == after.version else ""
            yield _ChangeKey(*key, before and before.version, after and after.version, file)
