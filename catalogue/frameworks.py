"""The CUDA runtime and the cuDNN of each release of a framework, from the metadata of its wheels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from catalogue.metadata import requirements
from envcompile.base_image.model import PIP_RUNTIME_PATTERNS
from envcompile.diagnostics.errors import UnavailableError
from envcompile.spec.pip import normalize_name

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from packaging.requirements import Requirement

    from envcompile.resolve.pip.simple_index import IndexFile, SimpleIndex

# The frameworks, and the extra with which each brings CUDA.
FRAMEWORKS = {"torch": "", "tensorflow": "and-cuda"}
TOOLKIT = "cuda-toolkit"
_RUNTIME_OF_TOOLKIT = "cudart"
# The environment for which markers are evaluated: the platform whose wheels have had CUDA in every release that the
# catalogue has a row for.
_PLACE = {
    "platform_system": "Linux",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
}


class Bundled(NamedTuple):
    """A release of a framework, and the CUDA runtime and cuDNN on which it depends."""

    package: str
    version: str
    runtime: str
    cudnn: str


class Index:
    """A package index. The page of each project is read only once."""

    def __init__(self, index: SimpleIndex) -> None:
        self._index = index
        self._pages: dict[str, dict[Version, IndexFile]] = {}

    def releases(self, project: str) -> dict[Version, IndexFile]:
        """Return the final releases with a wheel for Linux on x86_64, oldest first.

        The value of each release is such a wheel: the one whose file is the last in the sorted list.
        """
        if project not in self._pages:
            found: dict[Version, IndexFile] = {}
            for file in sorted(self._index.fetch_files([project])[project]):
                version = _version(file)
                if version is not None:
                    found[version] = file
            self._pages[project] = dict(sorted(found.items()))
        return self._pages[project]

    def bundled(self, package: str, version: Version, extra: str) -> Bundled | None:
        """Return the CUDA runtime and cuDNN of a release, or None if it depends on no CUDA runtime or no cuDNN."""
        rows = self._required(package, version, extra)
        runtime = self._runtime(rows)
        cudnn = next((each for each in rows if normalize_name(each.name).startswith("nvidia-cudnn")), None)
        if runtime is None or cudnn is None:
            return None
        return Bundled(package, str(version), runtime, self._newest(cudnn))

    def toolkit(self, version: Version) -> str | None:
        """Return the version of the CUDA runtime in a release of the toolkit, from its metapackage, or None."""
        return self._runtime(self._required(TOOLKIT, version, _RUNTIME_OF_TOOLKIT))

    def _runtime(self, rows: Iterable[Requirement]) -> str | None:
        plain, toolkit = PIP_RUNTIME_PATTERNS
        if own := _named(rows, plain):
            return self._newest(own)
        if whole := _named(rows, toolkit):
            return self.toolkit(Version(self._newest(whole)))
        return None

    def _required(self, package: str, version: Version, extra: str) -> list[Requirement]:
        file = self.releases(package).get(version)
        if file is None:
            raise UnavailableError(f"the package index has no wheel of `{package}` {version} for Linux on x86_64")
        rows = requirements(self._index, package, file)
        return [each for each in rows if each.marker is None or each.marker.evaluate({**_PLACE, "extra": extra})]

    def _newest(self, requirement: Requirement) -> str:
        """Return the version that a resolver locks for a requirement today: the stated one or the newest allowed."""
        exact = [each.version for each in requirement.specifier if each.operator == "==" and "*" not in each.version]
        if exact:
            return exact[0]
        found = list(requirement.specifier.filter(self.releases(normalize_name(requirement.name))))
        if not found:
            raise UnavailableError(f"the package index has no wheel for `{requirement}`")
        return str(max(found))


def _named(rows: Iterable[Requirement], pattern: re.Pattern[str]) -> Requirement | None:
    return next((each for each in rows if pattern.fullmatch(normalize_name(each.name))), None)


def _version(file: IndexFile) -> Version | None:
    """Return the version if the file is a wheel of a final release for Linux on x86_64, otherwise None."""
    try:
        _, version, _, tags = parse_wheel_filename(file.name)
    except InvalidWheelFilename:
        return None
    here = any(
        tag.platform == "any" or tag.platform.endswith("linux_x86_64") or _manylinux(tag.platform) for tag in tags
    )
    return version if here and not file.is_yanked and not version.is_prerelease and not version.local else None


def _manylinux(platform: str) -> bool:
    return platform.startswith("manylinux") and platform.endswith("_x86_64")


def bundles(index: Index, known: list[list[str]], *, again: bool) -> list[list[str]]:
    """Return the rows of `bundles`, with new rows for the releases that are newer than the oldest known one.

    With `again`, known releases are read again. A row whose release is no longer in the index is kept.
    """
    rows = {(package, Version(version)): [package, version, *rest] for package, version, *rest in known}
    for package, extra in FRAMEWORKS.items():
        oldest = min((version for name, version in rows if name == package), default=Version("0"))
        for version in index.releases(package):
            if version < oldest or ((package, version) in rows and not again):
                continue
            if found := index.bundled(package, version, extra):
                rows[package, version] = list(found)
    order = list(FRAMEWORKS)
    order += sorted({package for package, _ in rows} - {*order})
    return [rows[key] for key in sorted(rows, key=lambda key: (order.index(key[0]), key[1]))]


def toolkits(index: Index, known: Iterable[str], *, again: bool) -> dict[str, str]:
    """Return the CUDA runtime of each release of the toolkit that is not in `known`; with `again`, of all releases."""
    there = set(known)
    found = {}
    for version in index.releases(TOOLKIT):
        label = ".".join(str(part) for part in version.release[:3])
        if (again or label not in there) and (runtime := index.toolkit(version)):
            found[label] = runtime
    return found
