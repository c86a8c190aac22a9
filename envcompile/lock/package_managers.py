"""The package managers, one row for each: what `diff`, `tree`, the counts, exports and the disk estimate need to know.

A package manager has one table in the spec and one or more lists of packages for each platform of the lock. Code that
works for every package manager iterates over `PACKAGE_MANAGERS` or `PACKAGE_LISTS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from envcompile.lock.model import SdistBuild
from envcompile.spec import conda, pip
from envcompile.spec.conda import CondaDependency, parse_conda_requirement
from envcompile.spec.pip import DEFAULT_INDEX, PipRequirement, parse_requirement
from envcompile.spec.solver_inputs import list_conda_requirements, list_pip_requirements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from envcompile.lock.model import ActivationVariable, AptPackage, CondaPackage, Lock, Pins, PipPackage, PlatformLock
    from envcompile.project.toml_writer import TomlTable
    from envcompile.spec.conda import CondaRequirement
    from envcompile.spec.model import Spec

    LockedPackage = CondaPackage | PipPackage | AptPackage


class Requirement(Protocol):
    """A requirement of the spec or a dependency of a package. `str` returns its text."""

    @property
    def name(self) -> str:
        """The name of the required package."""

    def allows(self, package: Any) -> bool:
        """Whether a package of that name satisfies the requirement, as far as this is known without a resolver."""


class NameRequirement(NamedTuple):
    """A requirement for a package in any version."""

    name: str

    def __str__(self) -> str:
        return self.name

    def allows(self, _: LockedPackage) -> bool:
        """Every version satisfies the requirement."""
        return True


class PackageList(NamedTuple):
    """One list of packages of a platform.

    - `kind`: the key of the list in the lock, and the kind of its packages in a graph or a diff.
    - `label`: the form in which messages name a package; `{}` stands for its name.
    - `row_keys`: the fields of a package in the order of its row in the lock.
    - `spec_key`: the key of the list's requirements in the manager's table of the spec.
    - `is_installed`: whether the packages are installed in a stage, so that they belong in the dependency graph.
    """

    kind: str
    label: str
    row_keys: tuple[str, ...]
    spec_key: str = "packages"
    is_installed: bool = True

    def iter_packages(self, pins: PlatformLock | Pins) -> Iterator[tuple[str, LockedPackage]]:
        """Yield the name and the package. The name of a build dependency has the form `SDIST: NAME`."""
        for each in getattr(pins, self.kind.replace("-", "_"), ()):
            if isinstance(each, SdistBuild):
                yield from ((f"{each.name}: {package.name}", package) for package in each.packages)
            else:
                yield each.name, each

    def iter_rows(self, platform: PlatformLock) -> Iterator[TomlTable]:
        """Yield the packages as rows of the lock. The row of a build dependency begins with the name of the sdist."""
        for name, package in self.iter_packages(platform):
            sdist, colon, _ = name.partition(": ")
            row = {"sdist": sdist} if colon else {}
            values = {key: getattr(package, key.replace("-", "_")) for key in self.row_keys}
            if values.get("build-env"):
                values["build-env"] = [{"name": name, "value": value} for name, value in values["build-env"]]
            if values.get("env"):
                values["env"] = [_row_from_variable(each) for each in values["env"]]
            yield {**row, **{key: None if value in ((), "") else value for key, value in values.items()}}

    def count_packages(self, platforms: Iterable[PlatformLock | Pins]) -> int:
        """Return the number of packages in this list on all platforms."""
        return sum(1 for platform in platforms for _ in self.iter_packages(platform))


def _row_from_variable(variable: ActivationVariable) -> TomlTable:
    when = "unset" if variable.is_default else None
    return {"name": variable.name, "value": variable.value, "script": variable.script, "when": when}


class PackageManager(NamedTuple):
    """One package manager.

    - `name`: the name of its table in the spec.
    - `title`: its name in the phrase "… packages".
    - `describe`: returns a text with everything that identifies the file of a package; hashes are shortened.
    - `list_requirements`: returns the requirements for the list with this `spec_key`, in the order of the spec.
    - `parse_requirement`: returns the requirement in a text that a user wrote. Raises `RequirementError` if the text is
      not a requirement.
    - `parse_dependency`: returns the requirement in an item of `depends`; `parse_dependency_name`: only its name.
    - `has_distributions`: whether the packages are Python distributions. They depend on the Python and the C library,
      and conda packages can provide them.
    - `follows_snapshot`: whether all versions come from one snapshot of an archive, so that single changes have no
      reason of their own.
    """

    name: str
    title: str
    lists: tuple[PackageList, ...]
    describe: Callable[[Any], str]
    list_requirements: Callable[[Spec, str], Sequence[Requirement]]
    parse_requirement: Callable[[str], Requirement]
    parse_dependency: Callable[[str], Requirement] = NameRequirement
    parse_dependency_name: Callable[[str], str] = str
    has_distributions: bool = False
    follows_snapshot: bool = False


def _list_conda_requirements(spec: Spec, _: str) -> tuple[CondaRequirement, ...]:
    """Return the conda requirements and the Python of the spec, which conda installs if it installs anything."""
    return list_conda_requirements(spec) if spec.conda.packages else ()


def _list_pip_requirements(spec: Spec, _: str) -> tuple[PipRequirement, ...]:
    return list_pip_requirements(spec)


def _list_debian_requirements(spec: Spec, key: str) -> tuple[NameRequirement, ...]:
    return tuple(map(NameRequirement, spec.apt.build if key == "build" else spec.apt.packages))


def _describe_conda_package(package: CondaPackage) -> str:
    digests = " ".join(digest[:12] for digest in (package.sha256, package.md5) if digest)
    return f"{package.build} {package.channel}/{package.subdir}/{package.file} {digests}"


def _describe_distribution(package: PipPackage) -> str:
    index = "" if package.index == DEFAULT_INDEX else f" {package.index}"
    file = "" if package.kind == "wheel" else f" {package.file}"
    variables = "".join(f" {name}={value}" for name, value in package.build_env)
    return f"{package.sha256[:12]}{index}{file}{variables}"


def _describe_debian_package(package: AptPackage) -> str:
    return f"{package.architecture} {package.sha256[:12]}"


_CONDA_ROW_KEYS = (
    *("name", "version", "build", "channel", "subdir", "file", "sha256", "md5", "size", "depends", "provides"),
    *("env", "activate"),
)
_PIP_ROW_KEYS = (
    *("name", "version", "kind", "file", "sha256", "size", "unpacked", "index", "requires-python", "depends"),
    "build-env",
)
_APT_ROW_KEYS = ("name", "version", "architecture", "sha256", "size", "unpacked", "depends")

# In the order in which the lock lists their packages.
PACKAGE_MANAGERS = {
    row.name: row
    for row in (
        PackageManager(
            "conda",
            "conda",
            (PackageList("conda", "conda {}", _CONDA_ROW_KEYS),),
            describe=_describe_conda_package,
            list_requirements=_list_conda_requirements,
            parse_requirement=parse_conda_requirement,
            parse_dependency=CondaDependency,
            parse_dependency_name=conda.parse_dependency_name,
        ),
        PackageManager(
            "pip",
            "pip",
            (
                PackageList("pip", "{}", _PIP_ROW_KEYS),
                PackageList("pip-build", "build dependency of {}", _PIP_ROW_KEYS, is_installed=False),
                PackageList("conda-installer", "installer of conda packages {}", _PIP_ROW_KEYS, is_installed=False),
            ),
            describe=_describe_distribution,
            list_requirements=_list_pip_requirements,
            parse_requirement=parse_requirement,
            parse_dependency=PipRequirement,
            parse_dependency_name=pip.parse_dependency_name,
            has_distributions=True,
        ),
        PackageManager(
            "apt",
            "Debian",
            (
                PackageList("apt", "apt {}", _APT_ROW_KEYS),
                PackageList("apt-build", "apt (build stage) {}", _APT_ROW_KEYS, "build"),
            ),
            describe=_describe_debian_package,
            list_requirements=_list_debian_requirements,
            parse_requirement=NameRequirement,
            follows_snapshot=True,
        ),
    )
}
PACKAGE_LISTS = {each.kind: each for manager in PACKAGE_MANAGERS.values() for each in manager.lists}
# The kinds of packages in the dependency graph, with the package managers that install them.
INSTALLED_KINDS = {
    each.kind: manager for manager in PACKAGE_MANAGERS.values() for each in manager.lists if each.is_installed
}


def count_packages(*pins: PlatformLock | Pins) -> int:
    """Return the number of packages of all kinds."""
    return sum(each.count_packages(pins) for each in PACKAGE_LISTS.values())


def count_by_kind(lock: Lock) -> dict[str, int]:
    """Return the numbers of platforms and packages for the header of the lock. Kinds without packages are left out.

    The only exception is pip, whose number can be 0.
    """
    counts = {kind: each.count_packages(lock.platforms) for kind, each in PACKAGE_LISTS.items()}
    # pip was the first package manager of the format, so its counts come first.
    first = {kind: counts.pop(kind) for kind in ("pip", "pip-build")}
    return {
        "platforms": len(lock.platforms),
        **{kind: count for kind, count in {**first, **counts}.items() if count or kind == "pip"},
    }
