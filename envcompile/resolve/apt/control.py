"""Debian control files (deb822): an archive's Packages, dpkg's status. Only what is asked for is parsed.

An index of 64,000 packages is 50 MB of text: it is split and its names are read, and no more (0.4 s).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

_RELATION = re.compile(
    r"\s*([a-z0-9][a-z0-9.+-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s)]+)\s*\))?\s*(?:\[[^\]]*\])?\s*",
    re.IGNORECASE,
)
_FIELD = re.compile(r"^([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_PRIORITIES = ("required", "important", "standard", "optional")


class Relation(NamedTuple):
    """One alternative of a relation: a name, and a version that it must compare with (`<<`, `<=`, `=`, `>=`, `>>`)."""

    name: str
    operator: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


Alternatives: TypeAlias = "tuple[Relation, ...]"


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package, as a paragraph of a control file has it.

    `depends` holds Pre-Depends too, `conflicts` also Breaks; `provides` are names with the version provided, if any;
    `path` (from the archive's root), `size` and `sha256` are of an archive alone.
    """

    name: str
    version: str
    architecture: str
    depends: tuple[Alternatives, ...] = ()
    conflicts: tuple[Relation, ...] = ()
    provides: tuple[Relation, ...] = ()
    priority: int = len(_PRIORITIES)
    path: str = ""
    size: int | None = None
    sha256: str = ""


class Index:
    """The paragraphs of a control file, by name."""

    def __init__(self, text: str) -> None:
        self._paragraphs: dict[str, list[str]] = {}
        self._providers: dict[str, list[str]] = {}
        self._parsed: dict[str, tuple[Package, ...]] = {}
        for paragraph in text.split("\n\n"):
            # Everything that writes such files writes the name first; where not, it is searched for.
            start = 9 if paragraph.startswith("Package: ") else paragraph.find("\nPackage: ") + 10
            if start < 9:  # noqa: PLR2004 - no name at all
                continue
            end = paragraph.find("\n", start)
            name = paragraph[start : end if end >= 0 else None].strip()
            self._paragraphs.setdefault(name, []).append(paragraph)
            at = paragraph.find("\nProvides: ")
            if at >= 0:
                end = paragraph.find("\n", at + 11)
                for relation in _relations(paragraph[at + 11 : end if end >= 0 else None]):
                    self._providers.setdefault(relation.name, []).append(name)

    def names(self) -> set[str]:
        """Every real package's name."""
        return set(self._paragraphs)

    def versions(self, name: str) -> tuple[Package, ...]:
        """Every version of a package that stands in the file."""
        if name not in self._parsed:
            found = (package(text) for text in self._paragraphs.get(name, ()))
            self._parsed[name] = tuple(each for each in found if each is not None)
        return self._parsed[name]

    def providers(self, name: str) -> tuple[str, ...]:
        """The names of the packages of which some version provides a name, sorted."""
        return tuple(sorted(set(self._providers.get(name, ()))))


def fields(paragraph: str) -> dict[str, str]:
    """The fields of one paragraph, by name; of more lines, the lines."""
    return {name: value.strip() for name, value in _FIELD.findall(paragraph)}


def package(paragraph: str) -> Package | None:
    """The package of a paragraph; None for one that dpkg does not count as installed."""
    found = fields(paragraph)
    if not found.get("Status", "ok installed").endswith(" installed") or "Version" not in found:
        return None
    priority = found.get("Priority", "")
    return Package(
        name=found["Package"],
        version=found["Version"],
        architecture=found.get("Architecture", ""),
        depends=(*_clauses(found.get("Pre-Depends", "")), *_clauses(found.get("Depends", ""))),
        conflicts=(*_relations(found.get("Conflicts", "")), *_relations(found.get("Breaks", ""))),
        provides=_relations(found.get("Provides", "")),
        priority=_PRIORITIES.index(priority) if priority in _PRIORITIES else len(_PRIORITIES),
        path=found.get("Filename", ""),
        size=int(found["Size"]) if found.get("Size", "").isdecimal() else None,
        sha256=found.get("SHA256", ""),
    )


def _clauses(text: str) -> tuple[Alternatives, ...]:
    return tuple(tuple(_relation(each) for each in clause.split("|")) for clause in text.split(",") if clause.strip())


def _relations(text: str) -> tuple[Relation, ...]:
    return tuple(_relation(each) for each in text.split(",") if each.strip())


def _relation(text: str) -> Relation:
    found = _RELATION.fullmatch(text)
    if found is None:
        return Relation(text.strip())
    # `<` and `>` are the obsolete spellings of `<=` and `>=`.
    operator = {"<": "<=", ">": ">="}.get(found[2], found[2])
    return Relation(found[1], operator, found[3])
