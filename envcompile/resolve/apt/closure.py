"""The order of Debian versions (Debian policy, "Version"; deb-version(7)), as a key to sort by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

VersionPart: TypeAlias = "int | tuple[int, ...]"
VersionKey: TypeAlias = "tuple[int, tuple[VersionPart, ...], tuple[VersionPart, ...]]"

_VERSION_RUNS = re.compile(r"([^0-9]*)([0-9]*)")
_NON_LETTER_OFFSET = 256


@lru_cache(maxsize=1 << 14)  # the same few versions are compared again and again
def version_sort_key(version: str) -> VersionKey:
    """What sorts as `dpkg --compare-versions` does: [epoch:]upstream[-revision]."""
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isdecimal()):
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (int(epoch), _split_runs(upstream if dash else rest), _split_runs(revision if dash else ""))


def _split_runs(text: str) -> tuple[VersionPart, ...]:
    """Letters and numbers by turns, the last run of letters empty: an end is more than `~` and less than all else."""
    found: list[VersionPart] = []
    # No revision is as good as revision 0.
    for letters, digits in _VERSION_RUNS.findall(text or "0"):
        found += [(*map(_character_weight, letters), 0), int(digits or 0)]
    # The regular expression's last match is empty.
    return tuple(found[:-1])


def _character_weight(letter: str) -> int:
    return -1 if letter == "~" else ord(letter) + (0 if letter.isalpha() else _NON_LETTER_OFFSET)


# Debian control files (deb822): an archive's Packages, dpkg's status. Only what is asked for is parsed.
#
# An index of 64,000 packages is 50 MB of text: it is split and its names are read, and no more (0.4 s).


_RELATION_PATTERN = re.compile(
    r"\s*([a-z0-9][a-z0-9.+-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s)]+)\s*\))?\s*(?:\[[^\]]*\])?\s*",
    re.IGNORECASE,
)
_FIELD_PATTERN = re.compile(r"^([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_PRIORITIES = ("required", "important", "standard", "optional")


class PackageRelation(NamedTuple):
    """One alternative of a relation: a name, and a version that it must compare with (`<<`, `<=`, `=`, `>=`, `>>`)."""

    name: str
    operator: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


Alternatives: TypeAlias = "tuple[PackageRelation, ...]"


@dataclass(frozen=True, slots=True)
class ControlPackage:
    """One version of a package, as a paragraph of a control file has it.

    `depends` holds Pre-Depends too, `conflicts` also Breaks; `provides` are names with the version provided, if any;
    `path` (from the archive's root), `size` and `sha256` are of an archive alone.
    """

    name: str
    version: str
    architecture: str
    depends: tuple[Alternatives, ...] = ()
    conflicts: tuple[PackageRelation, ...] = ()
    provides: tuple[PackageRelation, ...] = ()
    priority: int = len(_PRIORITIES)
    path: str = ""
    size: int | None = None
    sha256: str = ""


class PackageIndex:
    """The paragraphs of a control file, by name."""

    def __init__(self, text: str) -> None:
        self._paragraphs: dict[str, list[str]] = {}
        self._providers: dict[str, list[str]] = {}
        self._parsed: dict[str, tuple[ControlPackage, ...]] = {}
        for paragraph in text.split("\n\n"):
            # Programs write the name first.
            at = 0 if paragraph.startswith("Package: ") else paragraph.find("\nPackage: ")
            if at < 0:
                continue
            start = paragraph.find(": ", at) + 2
            end = paragraph.find("\n", start)
            name = paragraph[start : end if end >= 0 else None].strip()
            self._paragraphs.setdefault(name, []).append(paragraph)
            at = paragraph.find("\nProvides: ")
            if at >= 0:
                end = paragraph.find("\n", at + 11)
                for relation in _parse_relations(paragraph[at + 11 : end if end >= 0 else None]):
                    self._providers.setdefault(relation.name, []).append(name)

    def list_names(self) -> set[str]:
        """Every real package's name."""
        return set(self._paragraphs)

    def find_versions(self, name: str) -> tuple[ControlPackage, ...]:
        """Every version of a package that stands in the file."""
        if name not in self._parsed:
            found = (parse_package(text) for text in self._paragraphs.get(name, ()))
            self._parsed[name] = tuple(each for each in found if each is not None)
        return self._parsed[name]

    def find_providers(self, name: str) -> tuple[str, ...]:
        """The names of the packages of which some version provides a name, sorted."""
        return tuple(sorted(set(self._providers.get(name, ()))))


def parse_fields(paragraph: str) -> dict[str, str]:
    """The fields of one paragraph, by name; of more lines, the lines."""
    return {name: value.strip() for name, value in _FIELD_PATTERN.findall(paragraph)}


def parse_package(paragraph: str) -> ControlPackage | None:
    """The package of a paragraph; None for one that dpkg does not count as installed."""
    found = parse_fields(paragraph)
    if not found.get("Status", "ok installed").endswith(" installed") or "Version" not in found:
        return None
    priority = found.get("Priority", "")
    return ControlPackage(
        name=found["Package"],
        version=found["Version"],
        architecture=found.get("Architecture", ""),
        depends=(*_parse_clauses(found.get("Pre-Depends", "")), *_parse_clauses(found.get("Depends", ""))),
        conflicts=(*_parse_relations(found.get("Conflicts", "")), *_parse_relations(found.get("Breaks", ""))),
        provides=_parse_relations(found.get("Provides", "")),
        priority=_PRIORITIES.index(priority) if priority in _PRIORITIES else len(_PRIORITIES),
        path=found.get("Filename", ""),
        size=int(found["Size"]) if found.get("Size", "").isdecimal() else None,
        sha256=found.get("SHA256", ""),
    )


def _parse_clauses(text: str) -> tuple[Alternatives, ...]:
    return tuple(
        tuple(_parse_relation(each) for each in clause.split("|")) for clause in text.split(",") if clause.strip()
    )


def _parse_relations(text: str) -> tuple[PackageRelation, ...]:
    return tuple(_parse_relation(each) for each in text.split(",") if each.strip())


def _parse_relation(text: str) -> PackageRelation:
    found = _RELATION_PATTERN.fullmatch(text)
    if found is None:
        return PackageRelation(text.strip())
    # `<` and `>` are the obsolete spellings of `<=` and `>=`.
    operator = {"<": "<=", ">": ">="}.get(found[2], found[2])
    return PackageRelation(found[1], operator, found[3])


# What has to be added to a base so that the packages that are asked for can run: Depends and Pre-Depends, closed.
#
# The choices are apt's own (`MarkInstall` in apt-pkg/depcache.cc, 2.6), as far as they are choices: what is installed
# comes first, then an older version of it, then the alternatives in their order, a real package before those that
# provide its name. Nothing is removed, nothing is downgraded, and no Recommends are taken. There is no way back from a
# choice: archives of a release are made so that none is needed, and where one is, the answer is an error.


class PackageAddition(NamedTuple):
    """One package to install, and the names of the others of the list that it needs, sorted."""

    package: ControlPackage
    depends: tuple[str, ...]


class UnmetDependenciesError(Exception):
    """The packages do not go together; `reasons` are sentences."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


def find_candidate(indexes: Iterable[PackageIndex], name: str) -> ControlPackage | None:
    """The newest version of a package that the archive has; of the same in two suites, that of the first."""
    found = [each for index in indexes for each in index.find_versions(name)]
    return max(found, key=lambda each: version_sort_key(each.version), default=None)


def compute_closure(
    asked: Iterable[str], indexes: Sequence[PackageIndex], installed: PackageIndex
) -> tuple[PackageAddition, ...]:
    """What to install for the names that are asked for, sorted by name; of what is there already, only newer versions.

    Every name must be in one of the indexes. Raises `UnmetNeed`.
    """
    work = _ClosureSolver(indexes, installed)
    work.request_packages(sorted(asked))
    if reasons := [*work.unmet, *work.explain_conflicts()]:
        raise UnmetDependenciesError(list(dict.fromkeys(reasons)))
    return tuple(PackageAddition(work.chosen[name], work.find_dependencies(name)) for name in sorted(work.chosen))


class _ClosureSolver:
    def __init__(self, indexes: Sequence[PackageIndex], installed: PackageIndex) -> None:
        self._indexes = indexes
        self._base_packages = {
            name: found[0] for name in installed.list_names() if (found := installed.find_versions(name))
        }
        self._present: dict[str, ControlPackage] = {}
        self._providers: dict[str, dict[str, PackageRelation]] = {}
        self._pending: list[tuple[ControlPackage, Alternatives]] = []
        self.chosen: dict[str, ControlPackage] = {}
        self.unmet: list[str] = []
        for package in self._base_packages.values():
            self._add_package(package)

    def request_packages(self, names: Sequence[str]) -> None:
        """Choose these, as new as the archive has them, and all they need."""
        for name in names:
            self._choose_alternative(name)
        while self._pending:
            package, alternatives = self._pending.pop()
            # What was put in the place of this very package has clauses of its own.
            if self._present[package.name] is package and not self._is_satisfied(alternatives):
                self._satisfy_alternatives(package, alternatives)

    def find_dependencies(self, name: str) -> tuple[str, ...]:
        """The chosen packages by which the dependencies of a chosen one are met."""
        found = {
            each
            for alternatives in self.chosen[name].depends
            for relation in alternatives
            for each in self._find_satisfying_packages(relation)
            if each in self.chosen and each != name
        }
        return tuple(sorted(found))

    def explain_conflicts(self) -> Iterator[str]:
        """Sentences on what can not be there together, as far as something chosen has a part in it."""
        for package in self._present.values():
            for relation in package.conflicts:
                for name in self._find_satisfying_packages(relation):
                    if name != package.name and (name in self.chosen or package.name in self.chosen):
                        other = self._format_package(self._present[name])
                        yield f"{self._format_package(package)} cannot be beside {other}"

    def _add_package(self, package: ControlPackage) -> None:
        before = self._present.get(package.name)
        for relation in before.provides if before else ():
            self._providers[relation.name].pop(package.name, None)
        self._present[package.name] = package
        for relation in package.provides:
            self._providers.setdefault(relation.name, {})[package.name] = relation

    def _choose_alternative(self, name: str) -> None:
        """Put the archive's newest version, unless what is there is as new; with it goes what would break by it."""
        package, before = self._find_candidate(name), self._present.get(name)
        if package is None or (before and version_sort_key(before.version) >= version_sort_key(package.version)):
            return
        self._add_package(package)
        self.chosen[name] = package
        self._pending += [(package, clause) for clause in reversed(package.depends)]
        for relation in package.conflicts:
            for other in list(self._find_satisfying_packages(relation)):
                if other in self._base_packages and other != name:
                    self._choose_alternative(other)
        if before:
            # Those of the base that needed the very version that was replaced.
            for each in self._base_packages.values():
                if self._present[each.name] is each and self._breaks_dependency(each, before):
                    self._choose_alternative(each.name)
                    self._pending += [(self._present[each.name], clause) for clause in self._present[each.name].depends]

    def _breaks_dependency(self, package: ControlPackage, replaced: ControlPackage) -> bool:
        """Whether something that a package needs, and that another was, is not there any more."""
        names = {replaced.name, *(relation.name for relation in replaced.provides)}
        clauses = (clause for clause in package.depends if any(relation.name in names for relation in clause))
        return not all(self._is_satisfied(clause) for clause in clauses)

    def _satisfy_alternatives(self, package: ControlPackage, alternatives: Alternatives) -> None:
        found = [name for relation in alternatives for name in self._find_solutions(relation)]
        # What the base has in an older version is upgraded before anything new is brought in.
        ordered = sorted(dict.fromkeys(found), key=lambda name: name not in self._base_packages)
        fitting = [name for name in ordered if not self._has_conflict(name)]
        for name in fitting or ordered:
            self._choose_alternative(name)
            if self._is_satisfied(alternatives):
                return
        self.unmet.append(self._format_unmet_dependency(package, alternatives))

    def _is_satisfied(self, alternatives: Alternatives) -> bool:
        return any(True for relation in alternatives for _ in self._find_satisfying_packages(relation))

    def _find_satisfying_packages(self, relation: PackageRelation) -> Iterator[str]:
        """The names of what is there and answers a relation."""
        real = self._present.get(relation.name)
        if real and _is_version_allowed(relation, real.version):
            yield real.name
        for name, provided in self._providers.get(relation.name, {}).items():
            if name != relation.name and _is_provided(relation, provided):
                yield name

    def _find_solutions(self, relation: PackageRelation) -> Iterator[str]:
        """The packages of the archive whose newest version answers a relation: the real one, then its providers."""
        real = self._find_candidate(relation.name)
        if real and _is_version_allowed(relation, real.version):
            yield real.name
        names = {name for index in self._indexes for name in index.find_providers(relation.name)} - {relation.name}
        providers = [each for name in names if (each := self._find_candidate(name))]
        for each in sorted(providers, key=lambda each: (each.priority, each.name)):
            if any(provided.name == relation.name and _is_provided(relation, provided) for provided in each.provides):
                yield each.name

    def _has_conflict(self, name: str) -> bool:
        """Whether the newest version of a package cannot be beside what is chosen already."""
        package = self._find_candidate(name)
        if package is None:
            return True
        if any(
            other in self.chosen
            for relation in package.conflicts
            for other in self._find_satisfying_packages(relation)
            if other != name
        ):
            return True
        others = (each for each in self.chosen.values() if each.name != name)
        excluded = (relation for other in others for relation in other.conflicts if relation.name == name)
        return any(_is_version_allowed(relation, package.version) for relation in excluded)

    def _find_candidate(self, name: str) -> ControlPackage | None:
        return find_candidate(self._indexes, name)

    def _format_unmet_dependency(self, package: ControlPackage, alternatives: Alternatives) -> str:
        said = f"{self._format_package(package)} needs `{' | '.join(map(str, alternatives))}`"
        names = [relation.name for relation in alternatives]
        there = next((self._base_packages[name] for name in names if name in self._base_packages), None)
        if there:
            return f"{said}, and the base has {self._format_package(there)}"
        newest = next((each for name in names if (each := self._find_candidate(name))), None)
        return f"{said}, and the archive has {self._format_package(newest) if newest else 'no such package'}"

    def _format_package(self, package: ControlPackage) -> str:
        return f"`{package.name} {package.version}`"


def _is_version_allowed(relation: PackageRelation, version: str) -> bool:
    """Whether a version is one that a relation allows."""
    if relation.operator is None or relation.version is None:
        return True
    one, other = version_sort_key(version), version_sort_key(relation.version)
    fits: Mapping[str, bool] = {
        "<<": one < other,
        "<=": one <= other,
        "=": one == other,
        ">=": one >= other,
        ">>": one > other,
    }
    return fits[relation.operator]


def _is_provided(relation: PackageRelation, provided: PackageRelation) -> bool:
    """Whether a provided name answers a relation: one with a version is answered by a provided version alone."""
    return relation.operator is None or (
        provided.version is not None and _is_version_allowed(relation, provided.version)
    )
