"""pip requirements (PEP 508): parsing, package names (PEP 503), marker environments, and the index of each package."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from envcompile.diagnostics.diagnostic import Diagnostic, RequirementError, contains_credentials
from envcompile.spec.model import ExtraIndex
from envcompile.spec.values import (
    ARCHIVE_SUFFIXES,
    LOCAL_CODE_HINT,
    MAX_REQUIREMENT_DEPTH,
    MAX_REQUIREMENT_LENGTH,
    display_text,
)
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.markers import Marker
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    from envcompile.diagnostics.source import KeyPath
    from envcompile.spec.model import PipSpec

# The lock's name for the index of all packages that no extra index serves.
DEFAULT_INDEX = "default"
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION_CONTROL_URL = re.compile(r"(?:^|@\s*)(?:git|hg|svn|bzr)\+")


def parse_package_name(text: str) -> str:
    """Check a package name and normalise it (PEP 503). Raises `RequirementError` if the name is not valid."""
    if not _PACKAGE_NAME.fullmatch(text) or text.endswith(ARCHIVE_SUFFIXES):
        raise RequirementError("package-name", f"`{display_text(text)}` is not a package name", "write only the name")
    return normalize_name(text)


def normalize_name(text: str) -> str:
    """Normalise a name, or all names in a text such as a glob (PEP 503).

    `packaging.utils.canonicalize_name` does the same, but importing `packaging` takes longer than reading a spec.
    """
    return re.sub(r"[-_.]+", "-", text).lower()


def parse_dependency_name(text: str) -> str:
    """The package name in a dependency of the lock: `urllib3` in `urllib3[socks] >=2`.

    `PipRequirement.name` returns the same, but imports `packaging`.
    """
    return re.split(r"[ \[]", text, maxsplit=1)[0]


class VersionedPackage(Protocol):
    """A package with a version (PEP 440), such as a `PipPackage` of the lock."""

    @property
    def version(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class PipRequirement:
    """A pip requirement: the text as written, and its parts, which are parsed when first used.

    Parsing imports `packaging`, which takes longer than starting Python, and most runs of `verify`, `dockerfile` and
    `tag` use no part. For an invalid text, the parts raise `RequirementError`; `check_spec` reports such texts first.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def validate(self) -> None:
        """Raise `RequirementError` if the text is not a requirement that can be locked."""
        _ = self._parsed

    @cached_property
    def _parsed(self) -> Requirement:
        return _parse_text(self.text)

    @cached_property
    def name(self) -> str:
        """The normalised name (PEP 503)."""
        return normalize_name(self._parsed.name)

    @cached_property
    def extras(self) -> tuple[str, ...]:
        """The normalised names of the extras, sorted."""
        return tuple(sorted(map(normalize_name, self._parsed.extras)))

    @property
    def specifier(self) -> SpecifierSet:
        """The allowed versions."""
        return self._parsed.specifier

    @property
    def marker(self) -> Marker | None:
        """The environment marker."""
        return self._parsed.marker

    def allows_version(self, version: str) -> bool:
        """Whether a version satisfies the requirement.

        A prerelease may satisfy it, because the resolver has already decided whether to allow prereleases.
        """
        return self.specifier.contains(version, prereleases=True)

    def allows(self, package: VersionedPackage) -> bool:
        """Whether a package with the requirement's name satisfies it.

        True if the requirement has a marker, because the marker may be false.
        """
        return self.marker is not None or self.allows_version(package.version)

    def applies_to(self, environment: Mapping[str, str]) -> bool:
        """Whether the requirement applies in a marker environment, see `make_marker_environment`."""
        return self.marker is None or self.marker.evaluate(dict(environment))

    def format_canonical(self) -> str:
        """Format the requirement in one canonical spelling: normalised name, sorted extras, sorted specifiers."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}{extras}{self.format_specifier()}{marker}"

    def format_specifier(self) -> str:
        """Format the version specifiers, sorted and joined by commas."""
        return ",".join(sorted(map(str, self.specifier)))


def parse_requirement(text: str) -> PipRequirement:
    """Parse a requirement. Raises `RequirementError` if it is not one that can be locked."""
    requirement = PipRequirement(text)
    requirement.validate()
    return requirement


@cache
def _parse_text(text: str) -> Requirement:
    stripped = text.strip()
    quoted = f"`{display_text(stripped)}`"
    _reject_other_syntax(text, stripped, quoted)
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - 34 ms, for pip packages only

    try:
        requirement = Requirement(stripped)
    except InvalidRequirement:
        reason, hint = _explain_parse_failure(stripped)
        raise RequirementError("requirement", f"{quoted} is not a requirement: {reason}", hint) from None
    if requirement.marker:
        _check_marker(requirement.marker, quoted)
    return requirement


def _reject_other_syntax(text: str, stripped: str, quoted: str) -> None:
    """Raise `RequirementError` for options, URLs, paths and credentials, and for texts that are too long."""
    if len(text) > MAX_REQUIREMENT_LENGTH or text.count("(") > MAX_REQUIREMENT_DEPTH:
        raise RequirementError(
            "requirement", f"{quoted} is too long or has too many parentheses", "write a name and a version range"
        )
    if stripped.startswith("-") and not re.match(r"-e\b|--editable\b", stripped):
        hint = "write a name and a version range, such as `numpy >=2`; set indexes with `index` and `extra-indexes`"
        raise RequirementError("requirement-option", f"{quoted} is an option of pip, not a requirement", hint)
    if contains_credentials(stripped):
        hint = "remove the URL, and store the credentials where the package client reads them, such as in netrc"
        raise RequirementError("userinfo", f"{quoted} contains a user name or a password", hint)
    is_path = stripped.startswith((".", "/", "~", "file:", "-e", "--editable")) or re.match(r"[A-Za-z]:\\", stripped)
    if is_path or "file:" in stripped:
        raise RequirementError(
            "requirement-path", f"{quoted} is a local path, which a lock cannot pin", LOCAL_CODE_HINT
        )
    if _VERSION_CONTROL_URL.search(stripped):
        raise RequirementError(
            "requirement-path", f"{quoted} is a version-control URL, which a lock cannot pin", LOCAL_CODE_HINT
        )
    if "://" in stripped:
        hint = "write the package's name and version, so that any mirror can serve the file by its hash"
        raise RequirementError("requirement-url", f"{quoted} is a URL, not a requirement", hint)
    if stripped.endswith(ARCHIVE_SUFFIXES) or ("/" in stripped.split(";", maxsplit=1)[0]):
        raise RequirementError("requirement-path", f"{quoted} is a file, which a lock cannot pin", LOCAL_CODE_HINT)


def _explain_parse_failure(text: str) -> tuple[str, str]:
    """The reason and the hint for a requirement that `packaging` rejects.

    They replace the messages of `packaging`, which describe its grammar and change from release to release.
    """
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - as above

    if not text:
        return "it is empty", "write the name of a package, or remove it"
    head, semicolon, _ = text.partition(";")
    if head.count("[") != head.count("]"):
        return "its bracket is not closed", 'write extras as `"transformers[torch] >=5"`'
    if equals := re.fullmatch(rf"({_PACKAGE_NAME.pattern}(?:\[.*\])?)\s*=?\s*([0-9]\S*)\s*", head):
        return "the version has no comparison operator", f"write `{equals[1]} =={equals[2]}`"
    if re.search(r"[<>=!~]=?\s*[^\s,]+\s+[<>=!~]", head):
        return "there is no comma between two ranges", "put a comma between them: `numpy >=2,<3`"
    if semicolon:
        with suppress(InvalidRequirement):
            Requirement(head)
            return "its marker cannot be read", "write it as `; python_version < '3.13'`"
    return "it cannot be read", 'write it as pip does, such as `"numpy >=2,<3"` or `"transformers[torch] >=5"`'


def _check_marker(marker: Marker, quoted: str) -> None:
    """Raise `RequirementError` for a marker that `packaging` cannot evaluate or resolvers evaluate differently."""
    from packaging.markers import UndefinedEnvironmentName  # noqa: PLC0415 - loaded with the requirement

    try:
        marker.evaluate(make_marker_environment("x86_64", "3.12.0"))
    except UndefinedEnvironmentName:
        reason, hint = "it uses an undefined variable", "use a variable such as `python_version` or `sys_platform`"
    except ValueError:  # UndefinedComparison; releases of `packaging` before 26 also raise InvalidVersion
        reason, hint = "it compares values that are not versions", "compare with `==` or `!=`"
    else:
        for comparison in iter_marker_comparisons(marker):
            if found := _find_ambiguity(*comparison):
                raise RequirementError("requirement", f"{quoted} has a marker that {found[0]}", found[1])
        return
    raise RequirementError("requirement", f"{quoted} has a marker that cannot be evaluated: {reason}", hint)


class MarkerComparison(NamedTuple):
    """One comparison of a marker: its variable, operator and value. If `is_reversed`, the value is on the left."""

    variable: str
    operator: str
    value: str
    is_reversed: bool


def iter_marker_comparisons(marker: Marker) -> Iterator[MarkerComparison]:
    """Yield the comparisons of a marker, in its order."""
    # packaging has no public name for the tree of a marker. The structure of the tree has never changed.
    waiting: list[Any] = [marker._markers]  # noqa: SLF001
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(reversed(node))
        elif isinstance(node, tuple):
            left, operator, right = node
            is_reversed = type(right).__name__ == "Variable"
            variable, value = (right, left) if is_reversed else (left, right)
            yield MarkerComparison(variable.value, operator.value, value.value, is_reversed)


_VERSION_VARIABLES = {"python_version": 2, "python_full_version": 3, "implementation_version": 3}
_KERNEL_VARIABLES = ("platform_release", "platform_version")


def _find_ambiguity(variable: str, operator: str, value: str, is_reversed: bool) -> tuple[str, str] | None:
    """Return the problem and a hint if resolvers and installers read a comparison differently, otherwise None.

    uv 0.13.9 and packaging 26 were compared on 700 markers: tests/resolve/pip/test_marker_vectors.py.
    """
    if variable in _KERNEL_VARIABLES:
        return f"uses `{variable}`, the kernel of a machine, which a lock does not know", "remove the comparison"
    if variable not in _VERSION_VARIABLES:
        return None
    hint = f"write it as `{variable} >= '{'.'.join(['3', '12', '0'][: _VERSION_VARIABLES[variable]])}'`"
    if operator in ("in", "not in"):
        parts = r"\.".join(["[0-9]+"] * _VERSION_VARIABLES[variable])
        is_clear = not is_reversed and all(re.fullmatch(parts, each) for each in value.split())
    else:
        series = r"(?:\.\*)?" if operator in ("==", "!=") and not is_reversed else ""
        is_clear = bool(re.fullmatch(rf"[0-9]+(?:\.[0-9]+)*{series}", value)) and not (is_reversed and operator == "~=")
    return None if is_clear else ("installers and resolvers read differently", hint)


def make_marker_environment(machine: str, python: str) -> dict[str, str]:
    """The values of the PEP 508 marker variables on a Linux platform, as resolvers set them for another machine.

    `machine` is the value of `platform_machine`; `python` is X.Y.Z.
    """
    return {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": minor_release(python),
        "sys_platform": "linux",
        "extra": "",
    }


def find_index(package: str, indexes: Iterable[ExtraIndex]) -> ExtraIndex:
    """The first extra index that serves a package (normalised name), or else an index named `DEFAULT_INDEX`."""
    matches = (index for index in indexes if any(_matches_name(pattern, package) for pattern in index.packages))
    return next(matches, ExtraIndex(DEFAULT_INDEX, "", ()))


def find_index_name(package: str, indexes: Iterable[ExtraIndex]) -> str:
    """The name of the index that serves a package (normalised name)."""
    return find_index(package, indexes).name


def collect_index_urls(pip: PipSpec) -> dict[str, str]:
    """The URLs of the indexes in the spec, by index name. The default index is included only if `pip.index` is set."""
    default = {DEFAULT_INDEX: pip.index} if pip.index else {}
    return default | {each.name: each.url for each in pip.extra_indexes}


def _matches_name(pattern: str, package: str) -> bool:
    return fnmatchcase(package, normalize_name(pattern))


def check_indexes(tables: object) -> Iterator[Diagnostic]:
    """Find mistakes in the value of `extra-indexes`.

    The mistakes are reserved and duplicate names, indexes without packages, and packages that are listed twice.
    """
    rows = tables if isinstance(tables, list) else []
    seen: dict[str, str] = {}
    names: set[str] = set()
    for place, row in enumerate(each if isinstance(each, dict) else {} for each in rows):
        path: KeyPath = ("pip", "extra-indexes", place)
        name = row.get("name")
        if not isinstance(name, str):
            name = ""
        if name == DEFAULT_INDEX:
            message = f"`{DEFAULT_INDEX}` is the name of the index that serves all other packages"
            yield Diagnostic(
                "index", message, (*path, "name"), "rename this index, or set its URL as `index` in `[pip]`"
            )
        elif name and name in names:
            yield Diagnostic(
                "duplicate", f"two indexes have the name `{display_text(name)}`", (*path, "name"), "rename one"
            )
        names.add(name)
        if row.get("packages") == []:
            message = f"the index `{display_text(name)}` serves no packages, because its `packages` is empty"
            yield Diagnostic("index", message, (*path, "packages"), 'list packages or globs: `packages = ["acme-*"]`')
        yield from _check_patterns(row.get("packages"), (*path, "packages"), name, seen)


def _check_patterns(patterns: Any, path: KeyPath, name: str, seen: dict[str, str]) -> Iterator[Diagnostic]:
    """Report the patterns (names and globs) that this index lists twice or that an earlier index already covers.

    `name` is the name of this index. `seen` maps each earlier pattern to the name of its index, and is extended.
    """
    texts = enumerate(patterns if isinstance(patterns, list) else ())
    for item, text in ((item, text) for item, text in texts if isinstance(text, str)):
        pattern, where = normalize_name(text), (*path, item)
        if seen.get(pattern) == name:
            yield Diagnostic(
                "duplicate", f"`{display_text(text)}` is listed twice for this index", where, "remove one of the two"
            )
            continue
        # Two globs may overlap: the order of the indexes decides.
        first = next((other for other in seen if other == pattern or _is_covered(other, pattern)), None)
        if first is not None and seen[first] != name:
            message = f"`{display_text(text)}` is already served by the earlier index `{display_text(seen[first])}`"
            shared = display_text(text if first == pattern else first)
            hint = f"move this index before it, or list `{shared}` for one index only"
            yield Diagnostic("index", message, where, hint)
        seen.setdefault(pattern, name)


def _is_covered(earlier: str, pattern: str) -> bool:
    return not set(pattern) & set("*?") and fnmatchcase(pattern, earlier)
