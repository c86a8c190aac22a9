"""pip requirements (PEP 508): read, refused with the right word, and written in one canonical form."""

from __future__ import annotations

import re
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.diagnostic import Diagnostic, RequirementError, redact_secrets
from envcompile.spec.model import ExtraIndex
from envcompile.spec.values import (
    ARCHIVE_SUFFIXES,
    LOCAL_CODE_HINT,
    MAX_REQUIREMENT_DEPTH,
    MAX_REQUIREMENT_LENGTH,
    display_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.requirements import Requirement

    from envcompile.diagnostics.source import KeyPath
    from envcompile.spec.model import PipSpec

_PACKAGE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION_CONTROL_URL = re.compile(r"(?:^|@\s*)(?:git|hg|svn|bzr)\+")


def parse_package_name(text: str) -> str:
    """The normalised name (PEP 503) of a package. Raises `RequirementError`."""
    if not _PACKAGE_NAME.fullmatch(text) or text.endswith(ARCHIVE_SUFFIXES):
        raise RequirementError(
            "package-name", f"`{display_text(text)}` is not the name of a package", "write the bare name"
        )
    return normalize_name(text)


def normalize_name(text: str) -> str:
    """A name, a glob or a text with names in it, normalised as PEP 503 says.

    `packaging.utils.canonicalize_name` does the same, but importing it takes longer than reading a spec without pip
    packages.
    """
    return re.sub(r"[-_.]+", "-", text).lower()


def parse_requirement(text: str) -> Requirement:
    """One requirement as `packaging` reads it. Raises `RequirementError` with the rule that says what it is instead."""
    stripped = text.strip()
    quoted = f"`{display_text(stripped)}`"
    if len(text) > MAX_REQUIREMENT_LENGTH or text.count("(") > MAX_REQUIREMENT_DEPTH:
        raise RequirementError(
            "requirement", f"{quoted} is longer or deeper than any requirement", "write a name and a range"
        )
    if stripped.startswith("-") and not re.match(r"-e\b|--editable\b", stripped):
        hint = "write a name and a range, such as `numpy >=2`; indexes and files have keys of their own"
        raise RequirementError("requirement-option", f"{quoted} is an option of pip, not a requirement", hint)
    if redact_secrets(stripped) != stripped:
        hint = "take the URL out of the spec, and give credentials where the package client keeps them, such as netrc"
        raise RequirementError("userinfo", f"{quoted} holds a user name or a password", hint)
    local = stripped.startswith((".", "/", "~", "file:", "-e", "--editable")) or re.match(r"[A-Za-z]:\\", stripped)
    if local or _VERSION_CONTROL_URL.search(stripped) or "file:" in stripped:
        raise RequirementError(
            "requirement-path", f"{quoted} is code of one's own, which no lock can pin", LOCAL_CODE_HINT
        )
    if "://" in stripped:
        hint = "write the package's name and version, so that any mirror can serve the file by its hash"
        raise RequirementError("requirement-url", f"{quoted} is a URL, not a requirement", hint)
    if stripped.endswith(ARCHIVE_SUFFIXES) or ("/" in stripped.split(";", maxsplit=1)[0]):
        raise RequirementError("requirement-path", f"{quoted} is a file, which no lock can pin", LOCAL_CODE_HINT)
    return _parse_valid_requirement(stripped, quoted)


def _parse_valid_requirement(stripped: str, quoted: str) -> Requirement:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - 14 ms, for pip packages only

    try:
        return Requirement(stripped)
    except InvalidRequirement:
        reason, hint = _explain_parse_failure(stripped)
        raise RequirementError("requirement", f"{quoted} is not a requirement: {reason}", hint) from None


def _explain_parse_failure(text: str) -> tuple[str, str]:
    """What is wrong with a requirement that `packaging` does not read, and what mends it.

    Our own words: those of `packaging` speak of its grammar, and change from release to release.
    """
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - as above

    if not text:
        return "it is empty", "name a package, or take it out"
    head, semicolon, _ = text.partition(";")
    if head.count("[") != head.count("]"):
        return "its bracket is not closed", 'write extras as `"transformers[torch] >=5"`'
    if equals := re.fullmatch(rf"({_PACKAGE_NAME.pattern}(?:\[.*\])?)\s*=?\s*([0-9]\S*)\s*", head):
        return "a version stands without a comparison", f"write `{equals[1]} =={equals[2]}`"
    if re.search(r"[<>=!~]=?\s*[^\s,]+\s+[<>=!~]", head):
        return "two ranges stand without a comma", "put a comma between them: `numpy >=2,<3`"
    if semicolon:
        with suppress(InvalidRequirement):
            Requirement(head)
            return "its marker cannot be read", "write it as `; python_version < '3.13'`"
    return "it cannot be read", 'write it as pip does, such as `"numpy >=2,<3"` or `"transformers[torch] >=5"`'


def canonicalize_requirement(text: str) -> str:
    """One text for one requirement: normalised name, sorted extras and specifiers, one spacing."""
    return format_requirement(parse_requirement(text))


def format_requirement(parsed: Requirement) -> str:
    """The canonical text of a parsed requirement."""
    extras = f"[{','.join(sorted(normalize_name(extra) for extra in parsed.extras))}]" if parsed.extras else ""
    specifiers = ",".join(sorted(str(specifier) for specifier in parsed.specifier))
    marker = f" ; {parsed.marker}" if parsed.marker else ""
    return f"{normalize_name(parsed.name)}{extras}{specifiers}{marker}"


# Which index serves a package: the first extra index with a pattern for its name, else the default one; no other.


# What the lock calls the index that serves whatever no other is named for.
DEFAULT_INDEX = "default"


def find_index(package: str, indexes: Iterable[ExtraIndex]) -> ExtraIndex:
    """The one index that serves a package, which is named as PEP 503 normalises it."""
    by_name = (each for each in indexes if any(_matches_name(pattern, package) for pattern in each.packages))
    return next(by_name, ExtraIndex(DEFAULT_INDEX, "", ()))


def find_index_name(package: str, indexes: Iterable[ExtraIndex]) -> str:
    """The name of that index."""
    return find_index(package, indexes).name


def collect_index_urls(pip: PipSpec) -> dict[str, str]:
    """The URLs that the spec gives, by the names of the indexes."""
    given = {DEFAULT_INDEX: pip.index} if pip.index else {}
    return given | {each.name: each.url for each in pip.extra_indexes}


def _matches_name(pattern: str, package: str) -> bool:
    return fnmatchcase(package, normalize_name(pattern))


def check_indexes(tables: object) -> Iterator[Diagnostic]:
    """What is wrong with the value of `extra-indexes`, beside its shape."""
    rows = tables if isinstance(tables, list) else []
    seen: dict[str, str] = {}
    names: set[str] = set()
    for place, row in enumerate(each if isinstance(each, dict) else {} for each in rows):
        path: KeyPath = ("pip", "extra-indexes", place)
        given = row.get("name")
        name = given if isinstance(given, str) else ""
        if name == DEFAULT_INDEX:
            message = f"`{DEFAULT_INDEX}` is the index that serves what no other is named for"
            yield Diagnostic("index", message, (*path, "name"), "give this one another name, or write it as `index`")
        elif name and name in names:
            yield Diagnostic(
                "duplicate", f"the index `{display_text(name)}` is there twice", (*path, "name"), "rename one"
            )
        names.add(name)
        if row.get("packages") == []:
            message = f"no package is named for the index `{display_text(name)}`, so it serves none"
            yield Diagnostic("index", message, (*path, "packages"), 'name them: `packages = ["acme-*"]`')
        yield from _check_patterns(row.get("packages"), (*path, "packages"), name, seen)


def _check_patterns(patterns: Any, path: KeyPath, name: str, seen: dict[str, str]) -> Iterator[Diagnostic]:
    """Names and globs that are there twice, or that an earlier index covers; `seen` maps each to its index."""
    texts = enumerate(patterns if isinstance(patterns, list) else ())
    for item, text in ((item, text) for item, text in texts if isinstance(text, str)):
        pattern, where = normalize_name(text), (*path, item)
        if seen.get(pattern) == name:
            yield Diagnostic("duplicate", f"`{display_text(text)}` is named twice for one index", where, "keep one")
            continue
        # Of two globs one may cover the other in part, which is what the order is for.
        first = next((each for each in seen if each == pattern or _is_covered(each, pattern)), None)
        if first is not None and seen[first] != name:
            message = f"`{display_text(text)}` is served by the index `{display_text(seen[first])}`, which comes first"
            hint = f"put this index before it, or take `{display_text(text if first == pattern else first)}` out of one"
            yield Diagnostic("index", message, where, hint)
        seen.setdefault(pattern, name)


def _is_covered(earlier: str, pattern: str) -> bool:
    return not set(pattern) & set("*?") and fnmatchcase(pattern, earlier)
