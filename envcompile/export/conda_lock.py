"""`conda-lock.yml`, version 1: conda and pip packages for all platforms, for conda-lock, mamba and micromamba.

The file follows conda-lock 4.0.3 in three details:

- Dependencies of conda packages have one version for each name, without builds and channels (`solve_conda`).
- The content hash of the requirements, with which `conda-lock --check-input-hash` recognises a current lock, is that of
  the `environment` export. In conda-lock, `content_hash.py` defines what is hashed, `src_parser/` how an
  environment.yml is read, and `virtual_package.py` with `default-virtual-packages.yaml` the assumed system.
- Markers are evaluated without a Python version, because conda-lock reads them before it knows one.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.export.common import PINS_HEADER, format_omitted_packages, format_yaml, require_file_url
from envcompile.export.environment_yml import collect_conda_requirements
from envcompile.plan.conda import format_archive_url
from envcompile.platforms import PLATFORMS
from envcompile.spec.conda import split_dependency
from envcompile.spec.pip import PipRequirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.markers import Marker

    from envcompile.export import ExportInput
    from envcompile.export.common import YamlValue
    from envcompile.lock.model import CondaPackage, PipPackage
    from envcompile.spec.conda import MatchSpec

_PACKAGE_SORT_KEYS = ("manager", "name", "platform")
_ROW_END: dict[str, YamlValue] = {"category": "main", "optional": False}

_BRACKET_VERSION = re.compile(r"""(?:^|[, ])version=(?P<quote>["']?)(?P<version>[^"']*)(?P=quote)""")
# `numpy 1.26 py312_0` or `numpy=1.26=py312_0`: a build string follows the version, and contains no operator.
_VERSION_AND_BUILD = re.compile(r"(?P<version>.*?[^ =<>!~,|])[ =] *(?P<build>[^ =<>!~,|]+)")

# Name, version and build of the virtual packages that conda-lock assumes. conda-lock 2.x and 3.0.3 or later write the
# build of `__archspec` as `x86_64_0`.
_VIRTUAL_PACKAGES = (
    ("__unix", "0", ""),
    ("__linux", "5.10", ""),
    ("__archspec", "1", "{machine}"),
    ("__glibc", "2.28", ""),
    ("__cuda", "11.4", ""),
)
_VIRTUAL_PACKAGE_TIMESTAMP = 1577854800000
# conda treats its default channels as one channel, `defaults`.
_DEFAULT_CHANNELS = ("pkgs/main", "pkgs/r")

# The marker variables that conda-lock knows (`pypi_solver.PlatformEnv`). The machine is not one of them.
_LINUX_MARKER_VALUES = {"os_name": "posix", "platform_system": "Linux", "sys_platform": "linux"}


def render_export(export_input: ExportInput) -> str:
    """The text of the file.

    Raises `InvalidInputError` if the md5 of a conda package or the URL of a pip file is not known.
    """
    spec, lock = export_input.spec, export_input.lock
    platforms = [each.platform for each in lock.platforms]
    metadata: dict[str, YamlValue] = {
        "content_hash": {each: compute_content_hash(export_input, each) for each in platforms},
        "channels": [{"url": each, "used_env_vars": []} for each in spec.conda.channels],
        "platforms": platforms,
        "sources": ["environment.yml"],
    }
    packages = sorted(
        _iter_package_rows(export_input), key=lambda row: tuple(str(row[key]) for key in _PACKAGE_SORT_KEYS)
    )
    comments = (PINS_HEADER, *format_omitted_packages(lock, "conda", "pip"))
    return "".join(f"{line}\n" for line in comments) + format_yaml(
        {"version": 1, "metadata": metadata, "package": packages}
    )


def _iter_package_rows(export_input: ExportInput) -> Iterator[Mapping[str, YamlValue]]:
    lock = export_input.lock
    channel_urls = {channel.name: channel.url for channel in lock.channels}
    for platform in lock.platforms:
        for conda in platform.conda:
            yield {
                **_create_package_row(conda, "conda", platform.platform),
                "dependencies": merge_dependencies(conda.depends),
                "url": format_archive_url(conda, channel_urls),
                "hash": {"md5": _require_md5(conda), "sha256": conda.sha256},
                **_ROW_END,
            }
        for pip in platform.pip:
            yield {
                **_create_package_row(pip, "pip", platform.platform),
                # A lock of an earlier release has only names; `*` is any version.
                "dependencies": {
                    each.name: each.format_specifier() or "*" for each in map(PipRequirement, pip.depends)
                },
                "url": require_file_url(pip, export_input.file_urls, "conda-lock.yml"),
                "hash": {"sha256": pip.sha256},
                **_ROW_END,
            }


def _create_package_row(package: CondaPackage | PipPackage, manager: str, platform: str) -> dict[str, YamlValue]:
    return {"name": package.name, "version": package.version, "manager": manager, "platform": platform}


def _require_md5(package: CondaPackage) -> str:
    if package.md5 is None:
        message = f"`conda-lock.yml` needs the md5 of `{package.file}`, which is not in the lock"
        raise InvalidInputError(message, "export `explicit`, or use a channel that publishes md5 hashes")
    return package.md5


def merge_dependencies(depends: Iterable[str]) -> dict[str, str]:
    """The version constraint of each dependency in a conda record, by name and sorted by name.

    `depends` are MatchSpecs. Several constraints for a name are joined by commas. An empty string means any version.
    """
    found: dict[str, list[str]] = {}
    for text in depends:
        name, version = _split_dependency(text)
        found.setdefault(name, []).extend([version] if version else [])
    return {name: ",".join(sorted(found[name])) for name in sorted(found)}


def _split_dependency(text: str) -> tuple[str, str]:
    name, rest = split_dependency(text)
    words, _, brackets = rest.partition("[")
    inside = _BRACKET_VERSION.search(brackets.removesuffix("]"))
    return name, _normalize_versions(inside["version"] if inside else _parse_version_text(words.strip()))


def _parse_version_text(rest: str) -> str:
    """The version constraint in the text after a name.

    `=1.2` means 1.2.*, or 1.2 if a build follows. `==1.2` means 1.2.
    """
    split = _VERSION_AND_BUILD.fullmatch(rest)
    version = (split["version"] if split else rest).replace(" ", "")
    number = version.removeprefix("=")
    if number.startswith("="):
        return version if split else number[1:]
    if number == version or re.search("[=,|]", number):
        return version
    return number if split or number.endswith("*") else f"{number}*"


def _normalize_versions(versions: str) -> str:
    """Return a version constraint with a dot before the star of each series: `1.2*` becomes `1.2.*`."""
    return "".join(_normalize_series(each.strip()) for each in re.split("([,|])", versions))


def _normalize_series(version: str) -> str:
    is_series = version[:1] not in "=<>!~" and version != "*" and version.find("*") == len(version) - 1
    return f"{version.rstrip('*').rstrip('.')}.*" if is_series else version


def compute_content_hash(export_input: ExportInput, platform: str) -> str:
    """conda-lock's hash of the `environment` export for one platform: 64 hexadecimal digits."""
    # Of two requirements for the same package, conda-lock keeps the last one.
    requirements = {(each["manager"], each["name"]): each for each in _iter_requirements(export_input)}
    content = {
        "channels": [
            json.dumps({"url": each, "used_env_vars": []}, separators=(",", ":"))
            for each in export_input.spec.conda.channels
        ],
        "specs": [requirements[key] for key in sorted(requirements)],
        "virtual_package_hash": {
            "noarch": {"info": {"subdir": "noarch"}, "packages": {}},
            platform: {"info": {"subdir": platform}, "packages": _create_virtual_packages(platform)},
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _iter_requirements(export_input: ExportInput) -> Iterator[dict[str, Any]]:
    """Yield the conda and pip requirements in the form in which conda-lock hashes them."""
    yield from (_create_conda_requirement(each) for each in collect_conda_requirements(export_input))
    packages = export_input.spec.pip.packages
    for each in packages:
        if not applies_on_linux(each.marker):
            continue
        version = each.format_specifier().replace("===", "==")
        requirement = {**_create_requirement("pip", each.name, version or "*"), "extras": list(each.extras)}
        yield {**requirement, "markers": str(each.marker)} if each.marker else requirement
    if packages:
        # conda-lock ignores the requirement for `pip` in an environment file and uses this one.
        yield _create_requirement("conda", "pip", "*")


def _create_conda_requirement(spec: MatchSpec) -> dict[str, Any]:
    version = spec.version or ("*" if spec.build else "")
    # As in conda, a `==` at the start is dropped if no build follows, even in `==1.26|==1.27`.
    version = version if spec.build else version.removeprefix("==")
    return {
        **_create_requirement("conda", spec.name, version),
        "build": spec.build,
        "conda_channel": _normalize_channel(spec.channel),
    }


def _normalize_channel(channel: str | None) -> str | None:
    """Conda's canonical name of a channel: the path of a URL, or the whole URL if it has no path."""
    if channel and "://" in channel:
        channel = channel.rstrip("/").partition("://")[2].partition("/")[2] or channel.rstrip("/")
    return "defaults" if channel in _DEFAULT_CHANNELS else channel


def _create_requirement(manager: str, name: str, version: str) -> dict[str, Any]:
    return {
        "name": name,
        "manager": manager,
        "category": "main",
        "extras": [],
        "version": version,
        "build": None,
        "conda_channel": None,
        "hash": None,
    }


def _create_virtual_packages(platform: str) -> dict[str, dict[str, Any]]:
    packages = {}
    for name, version, template in _VIRTUAL_PACKAGES:
        text = template.format(machine=PLATFORMS[platform].machine)
        build = f"{text}_0" if text else "0"
        packages[f"{name}-{version}-{build}.tar.bz2"] = {
            "name": name,
            "version": version,
            "build_string": text,
            "build_number": 0,
            "noarch": "",
            "depends": [],
            "timestamp": _VIRTUAL_PACKAGE_TIMESTAMP,
            "package_type": "virtual_system",
            "build": build,
            "subdir": platform,
        }
    return packages


def applies_on_linux(marker: Marker | None) -> bool:
    """Whether conda-lock keeps a requirement with this marker on Linux.

    A comparison with a variable that is not in `_LINUX_MARKER_VALUES` counts as true.
    """
    # packaging has no public attribute for the tree of a marker. The structure of the private one has never changed.
    return marker is None or _evaluate_marker(marker._markers)  # noqa: SLF001


def _evaluate_marker(tree: Sequence[Any]) -> bool:
    """Evaluate comparisons and nested lists that are joined by `and` and `or`. `and` binds more tightly."""
    groups: list[list[bool]] = [[]]
    for node in tree:
        if node == "or":
            groups.append([])
        elif node != "and":
            groups[-1].append(_evaluate_marker(node) if isinstance(node, list) else _evaluate_comparison(node))
    return any(all(group) for group in groups)


def _evaluate_comparison(comparison: tuple[Any, Any, Any]) -> bool:
    left, operator, right = (each.serialize() for each in comparison)
    if left in _LINUX_MARKER_VALUES:
        text: str = right.strip("'\"")
        # Poetry, whose markers conda-lock uses, reads the text in `os_name in 'posix, nt'` as a list of names, and has
        # no order of names: a comparison with `<` or `>` is false.
        is_equal = text == _LINUX_MARKER_VALUES[left]
        is_in_list = _LINUX_MARKER_VALUES[left] in re.split("[ ,|]+", text)
        results = {"==": is_equal, "!=": not is_equal, "in": is_in_list, "not in": not is_in_list}
        return results.get(operator, False)
    if right in _LINUX_MARKER_VALUES:
        is_substring = left.strip("'\"") in _LINUX_MARKER_VALUES[right]
        return {"in": is_substring, "not in": not is_substring}.get(operator, True)
    return True
