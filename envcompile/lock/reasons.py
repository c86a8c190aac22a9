"""Why a package came, went or moved, as far as two locks say it: nothing is guessed.

conda's packages say in which versions they need others, so what no longer fits can be told. pip's say only whom they
need: of these it is told who moved beside them. Debian's move and go with the archive's snapshot and the base, which
are told themselves.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import RequirementError
from envcompile.lock.graph import Node, depend_name, graph
from envcompile.lock.model import AptPackage, CondaPackage
from envcompile.spec.conda import matches_package, parse_match_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import PipPackage, PlatformLock
    from envcompile.spec.model import Spec

_SHOWN = 3
_OF_BASE = ("cuda", "image")
_UNKNOWN = "no reason for it stands in the locks"


class Asked(NamedTuple):
    """What a lock was asked for: the spec, and the names whose pins were not to be kept, or True for all."""

    spec: Spec
    upgraded: frozenset[str] | bool = frozenset()


class Moves:
    """The packages of one platform in the earlier lock and in the later one."""

    def __init__(self, before: PlatformLock, after: PlatformLock, asked: Asked | None) -> None:
        self._before, self._after, self._asked = before, after, asked
        self._old, self._new = graph(before), graph(after)

    def of(self, kind: str, name: str) -> tuple[str, ...]:
        """Why a package moved, in one sentence; nothing where it was asked for, or no reason stands in the locks."""
        if kind in _OF_BASE:
            return self._base(kind, name)
        node = Node(name, kind)
        old, new = self._old.packages.get(node), self._new.packages.get(node)
        if isinstance(old, AptPackage) or isinstance(new, AptPackage):
            return () if old else self._came(node)
        if new is None:
            return (self._gone(node),) if old else ()
        if old is None:
            return self._came(node)
        if self._asked and (self._asked.upgraded is True or name in (self._asked.upgraded or ())):
            return ()
        reasons = chain(
            self._asked_otherwise(node, old),
            self._refused(node, old),
            self._unmet(old),
            self._ground(node),
            self._beside(node),
        )
        # Who asked for the lock is told that of this nothing is known.
        return tuple(islice(chain(reasons, [_UNKNOWN] if self._asked else []), 1))

    def _base(self, kind: str, name: str) -> tuple[str, ...]:
        """What the later lock says of its bases, where the earlier one said something else."""
        before, after = (each.decided.trail if each.decided else () for each in (self._before, self._after))
        rules = {"cuda": "bundled", "image": "image"}[kind]
        told = [row for row in after if row.rule.partition(".")[0] == rules and row not in before]
        mine = [row for row in told if kind == "cuda" or row.rule.partition(".")[2] not in {"build", "run"} - {name}]
        return tuple(
            f"{row.decision} ({', '.join(row.inputs)})" if row.inputs else row.decision for row in mine if row.decision
        )

    def _gone(self, node: Node) -> str:
        if self._asked and node.kind == "pip" and node.name in self._asked.spec.pip.exclude:
            return "the spec leaves it out"
        others = (each for each in self._new.find(node.name) if not isinstance(self._new.packages[each], AptPackage))
        if other := next(others, None):
            return f"{self._new.label(other)} brings it now"
        return "nothing in the lock needs it any more"

    def _came(self, node: Node) -> tuple[str, ...]:
        needed = self._new.needed[node]
        # Those that moved too are why it came; one that stayed needs it where something else has gone.
        moved = [each for each in needed if self._moved(each)] or needed
        shown = ", ".join(map(self._name, moved[:_SHOWN]))
        more = f" and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
        return (f"needed by {shown}{more}",) if moved else ()

    def _name(self, node: Node) -> str:
        return f"{node.name} {self._new.packages[node].version}"

    def _moved(self, node: Node) -> bool:
        return self._old.packages.get(node) != self._new.packages.get(node)

    def _asked_otherwise(self, node: Node, old: CondaPackage | PipPackage) -> Iterator[str]:
        """A requirement of the spec that the earlier package does not meet."""
        if self._asked is None:
            return
        if isinstance(old, CondaPackage):
            texts = [text for text in self._asked.spec.conda.packages if parse_match_spec(text).name == node.name]
            if node.name == "python" and self._asked.spec.python:
                texts.append(f"python {self._asked.spec.python}.*")
            refused = [text for text in texts if not _admits(text, old)]
        else:
            refused = [text for text in self._asked.spec.pip.packages if _excludes(text, old)]
        yield from (f"the spec asks for `{text}`" for text in refused)

    def _refused(self, node: Node, old: CondaPackage | PipPackage) -> Iterator[str]:
        """Who needs another version than the earlier one; those first that were to be upgraded."""
        if not isinstance(old, CondaPackage):
            return
        upgraded = self._asked.upgraded if self._asked and not isinstance(self._asked.upgraded, bool) else ()
        for each in sorted(self._new.needed[node], key=lambda other: other.name not in upgraded):
            package = self._new.packages[each]
            if isinstance(package, CondaPackage):
                for depend in package.depends:
                    if depend_name(depend) == node.name and not _admits(depend, old):
                        yield f"{self._name(each)} needs `{depend}`"

    def _unmet(self, old: CondaPackage | PipPackage) -> Iterator[str]:
        """What the earlier one needs in another version than is there now."""
        for depend in old.depends if isinstance(old, CondaPackage) else ():
            there = self._new.packages.get(Node(depend_name(depend), "conda"))
            if isinstance(there, CondaPackage) and not _admits(depend, there):
                was = self._old.packages.get(Node(there.name, "conda"))
                build = f" ({there.build})" if was and was.version == there.version else ""
                yield f"{old.name} {old.version} needs `{depend}`, and {there.name} is now {there.version}{build}"

    def _ground(self, node: Node) -> Iterator[str]:
        """What pip's files are chosen for, where that is another one."""
        before, after = self._before, self._after
        if node.kind == "pip" and before.python and after.python and before.python.version != after.python.version:
            yield f"Python is now {after.python.version}"
        if node.kind == "pip" and before.build.glibc != after.build.glibc:
            yield f"glibc is now {after.build.glibc}"

    def _beside(self, node: Node) -> Iterator[str]:
        """Who needs it or is needed by it, and moved too."""
        for each in (*self._new.needed[node], *self._old.needed[node]):
            if self._moved(each) and each in self._new.packages:
                yield f"{self._name(each)}, which moved too, needs it"
        for each in (*self._new.needs[node], *self._old.needs[node]):
            if self._moved(each) and each in self._new.packages:
                yield f"it needs {self._name(each)}, which moved too"


def _admits(text: str, package: CondaPackage) -> bool:
    """Whether a requirement admits a package; also where it is not of those that can be read without a solver."""
    try:
        return matches_package(parse_match_spec(text), package)
    except RequirementError:
        return True


def _excludes(text: str, package: PipPackage) -> bool:
    """Whether a requirement without a marker, which holds everywhere, does not admit a package."""
    from envcompile.spec.pip import parse_package_name, parse_requirement  # noqa: PLC0415 - brings `packaging`

    parsed = parse_requirement(text)
    if parsed.marker or parse_package_name(parsed.name) != package.name:
        return False
    return not parsed.specifier.contains(package.version, prereleases=True)
