"""The closure of Debian packages: what to add to a base image so that the requested packages can run.

It follows Depends and Pre-Depends, and makes the choices of apt (`MarkInstall` in apt-pkg/depcache.cc, 2.6): an
installed package first, then an upgrade of one, then the alternatives in their order, a real package before the
packages that provide its name. Packages are never removed or downgraded, and Recommends are ignored. A choice is
never undone (no backtracking): if only another choice could satisfy a dependency, the result is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# A number is the count of its digits and the digits, because Python cannot read numbers of more than 4,300 digits.
VersionNumber: TypeAlias = "tuple[int, str]"
VersionPart: TypeAlias = "VersionNumber | tuple[int, ...]"
VersionKey: TypeAlias = "tuple[VersionNumber, tuple[VersionPart, ...], tuple[VersionPart, ...]]"

_VERSION_RUNS = re.compile(r"([^0-9]*)([0-9]*)")
_NON_LETTER_OFFSET = 256
_RELATION_PATTERN = re.compile(
    r"([a-z0-9][a-z0-9.+-]*)(?::[a-z0-9-]+)? ?(?:\( ?(<<|<=|=|>=|>>|<|>) ?([^ )]+) ?\))? ?(?:\[[^\]]*\])?",
    re.IGNORECASE,
)
_FIELD_PATTERN = re.compile(r"^([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_SIZE_PATTERN = re.compile(r"[0-9]{1,18}")
_PRIORITIES = ("required", "important", "standard", "optional")


@lru_cache(maxsize=1 << 14)  # the same few versions are compared again and again
def version_sort_key(version: str) -> VersionKey:
    """Return a key that sorts `[epoch:]upstream[-revision]` as `dpkg --compare-versions` does; see deb-version(7)."""
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isascii() and epoch.isdecimal()):
        epoch, rest = "", version
    upstream, dash, revision = rest.rpartition("-")
    return (_number_sort_key(epoch), _split_runs(upstream if dash else rest), _split_runs(revision if dash else ""))


def _split_runs(text: str) -> tuple[VersionPart, ...]:
    """Return sort keys for the runs of letters and digits in turn. The last run of letters is empty.

    The 0 at the end of each run of letters sorts after `~` and before all other characters.
    """
    parts: list[VersionPart] = []
    # A missing revision equals revision 0.
    for letters, digits in _VERSION_RUNS.findall(text or "0"):
        parts += [(*map(_character_weight, letters), 0), _number_sort_key(digits)]
    # The last match of the regular expression is empty.
    return tuple(parts[:-1])


def _number_sort_key(digits: str) -> VersionNumber:
    significant = digits.lstrip("0")
    return len(significant), significant


def _character_weight(letter: str) -> int:
    return -1 if letter == "~" else ord(letter) + (0 if letter.isalpha() else _NON_LETTER_OFFSET)


# Control files (deb822): the Packages file of an archive, and the status file of dpkg.
#
# An index of 64,000 packages is 50 MB of text. Only the names are read at first (0.4 s), and paragraphs on request.


class PackageRelation(NamedTuple):
    """One alternative of a dependency: a name, and maybe an operator (`<<`, `<=`, `=`, `>=`, `>>`) and a version."""

    name: str
    operator: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


Alternatives: TypeAlias = "tuple[PackageRelation, ...]"


@dataclass(frozen=True, slots=True)
class ControlPackage:
    """One version of a package in a control file.

    `depends` includes Pre-Depends, and `conflicts` includes Breaks. `provides` are names with optional versions. `path`
    (relative to the root of the archive), `size` (bytes) and `sha256` are empty in the status file of dpkg.
    `installed_size` is in bytes.
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
    installed_size: int | None = None


class PackageIndex:
    """The packages in the text of a control file."""

    def __init__(self, text: str) -> None:
        self._paragraphs: dict[str, list[str]] = {}
        self._providers: dict[str, list[str]] = {}
        self._parsed: dict[str, tuple[ControlPackage, ...]] = {}
        for paragraph in text.split("\n\n"):
            # In files that dpkg and archive tools write, Package is the first field.
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
        """Return the names of all packages, without names that are only provided."""
        return set(self._paragraphs)

    def find_versions(self, name: str) -> tuple[ControlPackage, ...]:
        """Return all versions of a package."""
        if name not in self._parsed:
            packages = (parse_package(text) for text in self._paragraphs.get(name, ()))
            self._parsed[name] = tuple(package for package in packages if package is not None)
        return self._parsed[name]

    def find_providers(self, name: str) -> tuple[str, ...]:
        """Return the names of the packages that provide a name in some version, sorted."""
        return tuple(sorted(set(self._providers.get(name, ()))))


def parse_fields(paragraph: str) -> dict[str, str]:
    """Return the fields of one paragraph by name. A value can have several lines."""
    return {name: value.strip() for name, value in _FIELD_PATTERN.findall(paragraph)}


def parse_package(paragraph: str) -> ControlPackage | None:
    """Return the package of a paragraph, or None if it has no Package or Version, or a Status other than installed."""
    fields = parse_fields(paragraph)
    if not fields.get("Status", "ok installed").endswith(" installed") or not fields.keys() >= {"Package", "Version"}:
        return None
    priority = fields.get("Priority", "")
    return ControlPackage(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields.get("Architecture", ""),
        installed_size=_parse_installed_size(fields.get("Installed-Size", "")),
        depends=(*_parse_clauses(fields.get("Pre-Depends", "")), *_parse_clauses(fields.get("Depends", ""))),
        conflicts=(*_parse_relations(fields.get("Conflicts", "")), *_parse_relations(fields.get("Breaks", ""))),
        provides=_parse_relations(fields.get("Provides", "")),
        priority=_PRIORITIES.index(priority) if priority in _PRIORITIES else len(_PRIORITIES),
        path=fields.get("Filename", ""),
        size=int(fields["Size"]) if _SIZE_PATTERN.fullmatch(fields.get("Size", "")) else None,
        sha256=fields.get("SHA256", ""),
    )


def _parse_installed_size(text: str) -> int | None:
    """Return the bytes of an Installed-Size, which is in units of 1,024 bytes (Debian Policy 5.6.20)."""
    return int(text) << 10 if re.fullmatch("[0-9]{1,15}", text) else None


def _parse_clauses(text: str) -> tuple[Alternatives, ...]:
    return tuple(
        tuple(_parse_relation(each) for each in clause.split("|")) for clause in text.split(",") if clause.strip()
    )


def _parse_relations(text: str) -> tuple[PackageRelation, ...]:
    return tuple(_parse_relation(each) for each in text.split(",") if each.strip())


def _parse_relation(text: str) -> PackageRelation:
    # Runs of blanks are replaced first, so that the pattern has one way to match each blank.
    text = " ".join(text.split())
    found = _RELATION_PATTERN.fullmatch(text)
    if found is None:
        return PackageRelation(text)
    # `<` and `>` are obsolete forms of `<=` and `>=`.
    operator = {"<": "<=", ">": ">="}.get(found[2], found[2])
    return PackageRelation(found[1], operator, found[3])


# The closure.


class PackageAddition(NamedTuple):
    """A package to install, and the names of the other packages to install that it depends on, sorted."""

    package: ControlPackage
    depends: tuple[str, ...]


class UnmetDependenciesError(Exception):
    """The dependencies cannot be satisfied; `reasons` are clauses about packages."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


def find_candidate(indexes: Iterable[PackageIndex], name: str) -> ControlPackage | None:
    """Return the newest version of a package in the archive, or None if the archive does not have the package.

    If several suites have this version, the first suite wins.
    """
    versions = [version for index in indexes for version in index.find_versions(name)]
    return max(versions, key=lambda each: version_sort_key(each.version), default=None)


def compute_closure(
    requested: Iterable[str], indexes: Sequence[PackageIndex], installed: PackageIndex
) -> tuple[PackageAddition, ...]:
    """Return the packages to install for the requested names, sorted by name.

    A package of the base image is included only if it is upgraded. The caller must check that every requested name is
    in one of the indexes. Raises `UnmetDependenciesError` if a dependency cannot be satisfied, or if packages conflict.
    """
    solver = _ClosureSolver(indexes, installed)
    solver.request_packages(sorted(requested))
    if reasons := [*solver.unmet, *solver.explain_conflicts()]:
        raise UnmetDependenciesError(list(dict.fromkeys(reasons)))
    return tuple(PackageAddition(solver.chosen[name], solver.find_dependencies(name)) for name in sorted(solver.chosen))


class _ClosureSolver:
    """The packages that are present so far: those of the base image, and those chosen from the archive."""

    def __init__(self, indexes: Sequence[PackageIndex], installed: PackageIndex) -> None:
        self._indexes = indexes
        self._base_packages = {
            name: versions[0] for name in installed.list_names() if (versions := installed.find_versions(name))
        }
        self._present: dict[str, ControlPackage] = {}
        self._providers: dict[str, dict[str, PackageRelation]] = {}
        self._pending: list[tuple[ControlPackage, Alternatives]] = []
        self.chosen: dict[str, ControlPackage] = {}
        self.unmet: list[str] = []
        for package in self._base_packages.values():
            self._add_package(package)

    def request_packages(self, names: Sequence[str]) -> None:
        """Choose the newest versions of some packages, and all their dependencies."""
        for name in names:
            self._choose_alternative(name)
        while self._pending:
            package, alternatives = self._pending.pop()
            # Skip a package that was replaced meanwhile: the dependencies of the new version are pending, too.
            if self._present[package.name] is package and not self._is_satisfied(alternatives):
                self._satisfy_alternatives(package, alternatives)

    def find_dependencies(self, name: str) -> tuple[str, ...]:
        """Return the chosen packages that satisfy the dependencies of a chosen one."""
        found = {
            each
            for alternatives in self.chosen[name].depends
            for relation in alternatives
            for each in self._find_satisfying_packages(relation)
            if each in self.chosen and each != name
        }
        return tuple(sorted(found))

    def explain_conflicts(self) -> Iterator[str]:
        """Yield a reason for each conflict with a chosen package."""
        for package in self._present.values():
            for relation in package.conflicts:
                for name in self._find_satisfying_packages(relation):
                    if name != package.name and (name in self.chosen or package.name in self.chosen):
                        other = self._format_package(self._present[name])
                        yield f"{self._format_package(package)} conflicts with {other}"

    def _add_package(self, package: ControlPackage) -> None:
        before = self._present.get(package.name)
        for relation in before.provides if before else ():
            self._providers[relation.name].pop(package.name, None)
        self._present[package.name] = package
        for relation in package.provides:
            self._providers.setdefault(relation.name, {})[package.name] = relation

    def _choose_alternative(self, name: str) -> None:
        """Choose the newest version of a package in the archive, and upgrade the packages that this version breaks.

        Do nothing if the archive does not have the package, or if the present version is as new.
        """
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
            # Upgrade packages of the base image that depend on the replaced version.
            for each in self._base_packages.values():
                if self._present[each.name] is each and self._breaks_dependency(each, before):
                    self._choose_alternative(each.name)
                    self._pending += [(self._present[each.name], clause) for clause in self._present[each.name].depends]

    def _breaks_dependency(self, package: ControlPackage, replaced: ControlPackage) -> bool:
        """Whether a dependency of a package was satisfied by the replaced package, and is not satisfied any more."""
        names = {replaced.name, *(relation.name for relation in replaced.provides)}
        clauses = (clause for clause in package.depends if any(relation.name in names for relation in clause))
        return not all(self._is_satisfied(clause) for clause in clauses)

    def _satisfy_alternatives(self, package: ControlPackage, alternatives: Alternatives) -> None:
        names = [name for relation in alternatives for name in self._find_solutions(relation)]
        # An upgrade of a package in the base image comes before a new package.
        ordered = sorted(dict.fromkeys(names), key=lambda name: name not in self._base_packages)
        without_conflict = [name for name in ordered if not self._has_conflict(name)]
        for name in without_conflict or ordered:
            self._choose_alternative(name)
            if self._is_satisfied(alternatives):
                return
        self.unmet.append(self._format_unmet_dependency(package, alternatives))

    def _is_satisfied(self, alternatives: Alternatives) -> bool:
        return any(True for relation in alternatives for _ in self._find_satisfying_packages(relation))

    def _find_satisfying_packages(self, relation: PackageRelation) -> Iterator[str]:
        """Yield the names of the present packages that satisfy a relation."""
        real = self._present.get(relation.name)
        if real and _is_version_allowed(relation, real.version):
            yield real.name
        for name, provided in self._providers.get(relation.name, {}).items():
            if name != relation.name and _is_provided(relation, provided):
                yield name

    def _find_solutions(self, relation: PackageRelation) -> Iterator[str]:
        """Yield the packages whose newest version satisfies a relation: the real one, then its providers."""
        real = self._find_candidate(relation.name)
        if real and _is_version_allowed(relation, real.version):
            yield real.name
        names = {name for index in self._indexes for name in index.find_providers(relation.name)} - {relation.name}
        providers = [each for name in names if (each := self._find_candidate(name))]
        for each in sorted(providers, key=lambda each: (each.priority, each.name)):
            if any(provided.name == relation.name and _is_provided(relation, provided) for provided in each.provides):
                yield each.name

    def _has_conflict(self, name: str) -> bool:
        """Whether the newest version of a package conflicts with a chosen package."""
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
        need = f"{self._format_package(package)} needs `{' | '.join(map(str, alternatives))}`"
        names = [relation.name for relation in alternatives]
        installed = next((self._base_packages[name] for name in names if name in self._base_packages), None)
        if installed:
            return f"{need}, but the base image has {self._format_package(installed)}"
        newest = next((each for name in names if (each := self._find_candidate(name))), None)
        return f"{need}, but the archive has {self._format_package(newest) if newest else 'no such package'}"

    def _format_package(self, package: ControlPackage) -> str:
        return f"`{package.name} {package.version}`"


def _is_version_allowed(relation: PackageRelation, version: str) -> bool:
    """Whether a relation allows a version."""
    if relation.operator is None or relation.version is None:
        return True
    key, bound = version_sort_key(version), version_sort_key(relation.version)
    results: Mapping[str, bool] = {
        "<<": key < bound,
        "<=": key <= bound,
        "=": key == bound,
        ">=": key >= bound,
        ">>": key > bound,
    }
    return results[relation.operator]


def _is_provided(relation: PackageRelation, provided: PackageRelation) -> bool:
    """Whether a provided name satisfies a relation. A relation with a version needs a provided version."""
    return relation.operator is None or (
        provided.version is not None and _is_version_allowed(relation, provided.version)
    )
