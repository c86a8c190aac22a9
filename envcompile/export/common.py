"""What several export formats need: merging of platforms, comments about omissions, URLs of files, and YAML.

A lock identifies pip's files by their hashes. Formats that need a URL for each file get it from an earlier export, from
a server with the layout of the public index, or from the package indexes (`resolve.pip.file_urls`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.package_managers import PACKAGE_LISTS, PACKAGE_MANAGERS
from envcompile.platforms import PLATFORMS
from envcompile.project.generated_files import EXPORT_HEADER
from envcompile.spec.pip import DEFAULT_INDEX, parse_dependency_name
from envcompile.spec.values import read_index_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.export import ExportInput
    from envcompile.lock.model import Lock, PipPackage, PlatformLock

YamlValue: TypeAlias = "str | int | bool | Sequence[YamlValue] | Mapping[str, YamlValue]"

# The first line of a file with pinned packages.
PINS_HEADER = f"{EXPORT_HEADER}. Do not edit: the pins come from the lock."

# A URL without credentials and without characters that need an escape.
_URL_PATTERN = r'"(https?://[^/@"\\\s]+/[^"\\\s]*)"'
# A URL and a hash as `pylock` and `conda_lock` write them.
_EXPORTED_FILE_PATTERNS = (
    re.compile(rf'url = {_URL_PATTERN}, (?:size = [0-9]+, )?hashes = \{{ sha256 = "([0-9a-f]{{64}})" \}}'),
    re.compile(rf'url: {_URL_PATTERN}\n +hash:\n +sha256: "([0-9a-f]{{64}})"'),
)

# Strings that need no quotes in YAML, except the words that YAML 1.1 reads as booleans or null.
_YAML_PLAIN_STRING = re.compile(r"[a-z][a-z0-9_-]*")
_YAML_RESERVED_WORDS = frozenset("y n yes no on off true false null".split())


class MergedPackage(NamedTuple):
    """One version of a distribution, with its package on each platform that has it.

    `marker` selects these platforms; it is None if all platforms have the version.
    """

    name: str
    version: str
    packages: tuple[PipPackage, ...]
    marker: str | None

    def unique_files(self) -> list[PipPackage]:
        """One package for each file, sorted by the name of the file."""
        return sorted({each.sha256: each for each in self.packages}.values(), key=lambda each: each.file)

    def dependency_names(self) -> list[str]:
        """The names of the dependencies on all platforms, sorted."""
        return sorted({parse_dependency_name(text) for each in self.packages for text in each.depends})


def merge_platforms(lock: Lock) -> Iterator[MergedPackage]:
    """The pip packages of all platforms, sorted by name. Versions of a name are in the order of the platforms."""
    found: dict[tuple[str, str], list[tuple[PlatformLock, PipPackage]]] = {}
    for platform in lock.platforms:
        for package in platform.pip:
            found.setdefault((package.name, package.version), []).append((platform, package))
    for (name, version), rows in sorted(found.items(), key=lambda item: item[0][0]):
        is_everywhere = len(rows) == len(lock.platforms)
        marker = None if is_everywhere else format_platform_marker([platform for platform, _ in rows])
        yield MergedPackage(name, version, tuple(package for _, package in rows), marker)


def format_platform_marker(platforms: Sequence[PlatformLock]) -> str:
    """A PEP 508 marker that is true on these platforms and false on the other supported platforms."""
    return " or ".join(f"platform_machine == '{PLATFORMS[each.platform].machine}'" for each in platforms)


def describe_platforms(lock: Lock) -> str:
    """The Python, the machine and the C library of each platform, for a comment."""
    names = []
    for each in lock.platforms:
        python = f"CPython {each.python.version} on " if each.python else ""
        names.append(f"{python}Linux, {PLATFORMS[each.platform].machine}, glibc {each.run.glibc} or later")
    return "; ".join(names)


def format_omitted_packages(lock: Lock, *kinds: str) -> Iterator[str]:
    """Yield a comment about the packages of the lock that an export omits, if there are any.

    `kinds` are the names of the package managers whose packages the format can list.
    """
    omitted = [
        each.title
        for each in PACKAGE_MANAGERS.values()
        if each.name not in kinds and PACKAGE_LISTS[each.name].count_packages(lock.platforms)
    ]
    if omitted:
        yield f"# Omitted because this format cannot list them: {' and '.join(omitted)} packages."


def format_pip_omissions(export_input: ExportInput) -> Iterator[str]:
    """Yield comments about what a list of pip packages omits.

    These are the packages of other managers, and the distributions that conda packages provide or the spec excludes.
    """
    spec, lock = export_input.spec, export_input.lock
    yield from format_omitted_packages(lock, "pip")
    provided = sorted({name for each in lock.platforms for package in each.conda for name in package.provides})
    if provided:
        yield f"# Omitted because conda packages provide them: {', '.join(provided)}."
    if spec.pip.exclude:
        excluded = sorted(spec.pip.exclude)
        yield f"# Omitted because the spec excludes them: {', '.join(excluded)}."


def format_requirement_omissions(export_input: ExportInput) -> Iterator[str]:
    """Yield comments about what a list of requirements omits: Debian packages, and keys that affect the solution."""
    spec = export_input.spec
    yield from format_omitted_packages(export_input.lock, "conda", "pip")
    keys = {
        "exclude-newer": spec.exclude_newer is not None,
        "cuda.version": bool(spec.cuda.request),
        "pip.exclude": bool(spec.pip.exclude),
        "pip.index": spec.pip.index is not None,
        "pip.extra-indexes": bool(spec.pip.extra_indexes),
        "image.init": spec.image.init,
    }
    if omitted := [key for key, is_set in keys.items() if is_set]:
        yield f"# Omitted because this format has no such option: {', '.join(omitted)}."


def parse_server_url(url: str) -> str:
    """The URL in the option `--files`, without a slash at the end.

    Raises `InvalidInputError` if it would not be valid as the URL of an index.
    """
    mistakes: list[Diagnostic] = []
    clean = read_index_url(mistakes, (), url)
    for mistake in mistakes:
        raise InvalidInputError(f"`--files`: {mistake.message}", mistake.hint)
    return clean or ""


def derive_file_urls(lock: Lock, base_url: str) -> dict[str, str]:
    """The URLs of pip's files by sha256, on a server with the layout of the public index.

    Raises `InvalidInputError` if a package comes from another index.
    """
    urls = {}
    for package in _iter_pip_packages(lock):
        if package.index != DEFAULT_INDEX:
            message = f"`{package.name}` comes from the index `{package.index}`, so `--files` does not apply to it"
            raise InvalidInputError(message, "omit `--files`: envcompile then reads the URLs from the indexes")
        _, python_tag, _, _ = package.file.rsplit("-", 3)
        urls[package.sha256] = f"{base_url}/{python_tag}/{package.name[0]}/{package.name}/{package.file}"
    return urls


def parse_file_urls(text: str) -> dict[str, str]:
    """The URLs by sha256 in an earlier export, except those that are invalid or contain credentials."""
    return {digest: url for pattern in _EXPORTED_FILE_PATTERNS for url, digest in pattern.findall(text)}


def find_packages_without_url(lock: Lock, file_urls: Mapping[str, str]) -> list[PipPackage]:
    """The pip packages whose file has no URL yet."""
    return [package for package in _iter_pip_packages(lock) if package.sha256 not in file_urls]


def require_file_url(package: PipPackage, file_urls: Mapping[str, str], format_: str) -> str:
    """The URL of a package's file. Raises `InvalidInputError` if it is not known."""
    if package.sha256 in file_urls:
        return file_urls[package.sha256]
    message = f"`{format_}` needs the URL of `{package.file}`, which is not known"
    raise InvalidInputError(message, "add `--files URL`, or allow access to the index")


def _iter_pip_packages(lock: Lock) -> Iterator[PipPackage]:
    return (package for platform in lock.platforms for package in platform.pip)


def format_yaml(value: Mapping[str, YamlValue]) -> str:
    """The YAML text of a mapping, with the keys in their order."""
    return "".join(f"{line}\n" for line in _format_yaml_mapping(value))


def _format_yaml_mapping(value: Mapping[str, YamlValue]) -> Iterator[str]:
    for key, each in value.items():
        yield from _format_yaml_item(f"{_format_yaml_scalar(key)}:", each)


def _format_yaml_item(key: str, value: YamlValue) -> Iterator[str]:
    if isinstance(value, str | int) or not value:
        yield f"{key} {_format_yaml_scalar(value)}"
        return
    yield key
    if isinstance(value, Mapping):
        yield from (f"  {line}" for line in _format_yaml_mapping(value))
        return
    for each in value:
        lines = _format_yaml_mapping(each) if isinstance(each, Mapping) and each else iter((_format_yaml_scalar(each),))
        yield f"  - {next(lines)}"
        yield from (f"    {line}" for line in lines)


def _format_yaml_scalar(value: YamlValue) -> str:
    if isinstance(value, str) and _YAML_PLAIN_STRING.fullmatch(value) and value not in _YAML_RESERVED_WORDS:
        return value
    # Every JSON value is a YAML value in flow style.
    return json.dumps(value, ensure_ascii=False)
