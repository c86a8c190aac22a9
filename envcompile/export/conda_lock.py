"""Markers as conda-lock takes them when it reads an environment.yml: before it knows any Python."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.export.common import omitted_packages_comment, require_file_url
from envcompile.export.environment_yml import collect_conda_requirements, format_yaml
from envcompile.plan.conda import format_archive_url
from envcompile.platforms import PLATFORMS
from envcompile.project.generated_files import EXPORT_HEADER
from envcompile.spec.conda import split_dependency
from envcompile.spec.pip import canonicalize_requirement, parse_requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.markers import Marker

    from envcompile.export import ExportInput
    from envcompile.export.environment_yml import YamlValue
    from envcompile.lock.model import CondaPackage, PipPackage
    from envcompile.spec.conda import MatchSpec

# What it knows of a target (`pypi_solver.PlatformEnv`): not its processor, and the same for every linux.
_LINUX_MARKER_VALUES = {"os_name": "posix", "platform_system": "Linux", "sys_platform": "linux"}


def applies_on_linux(marker: Marker | None) -> bool:
    """Whether a requirement with this marker applies there.

    A comparison with anything but `_LINUX_MARKER_VALUES` is taken to hold.
    """
    # The tree of a marker has no public name, and packaging has kept its shape since there are markers.
    return marker is None or _evaluate_marker(marker._markers)  # noqa: SLF001


def _evaluate_marker(tree: Sequence[Any]) -> bool:
    """Lists of comparisons between which stand the words `and`, which binds closer, and `or`."""
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
        # To poetry, whose markers these are, what a name is `in` is a list of names, and no name is below another.
        same, among = text == _LINUX_MARKER_VALUES[left], _LINUX_MARKER_VALUES[left] in re.split("[ ,|]+", text)
        return {"==": same, "!=": not same, "in": among, "not in": not among}.get(operator, False)
    if right in _LINUX_MARKER_VALUES:
        within = left.strip("'\"") in _LINUX_MARKER_VALUES[right]
        return {"in": within, "not in": not within}.get(operator, True)
    return True


# What a conda package needs, as conda-lock writes it: one version for each name, without builds and channels.


_BRACKET_VERSION = re.compile(r"""(?:^|[, ])version=(?P<quote>["']?)(?P<version>[^"']*)(?P=quote)""")
# A build follows a version, never an operator, and holds none.
_VERSION_AND_BUILD = re.compile(r"(?P<version>.*?[^ =<>!~,|])[ =] *(?P<build>[^ =<>!~,|]+)")


def merge_dependencies(depends: Iterable[str]) -> dict[str, str]:
    """Name -> versions, sorted by name, of the MatchSpecs of a channel's record; of several for a name all hold.

    The version is empty where any will do. As conda's own MatchSpec has them in `solve_conda` of conda-lock 4.0.3.
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
    """The version beside a name: `=1.2` means 1.2.*, and 1.2 where a build follows; `==1.2` means 1.2."""
    split = _VERSION_AND_BUILD.fullmatch(rest)
    version = (split["version"] if split else rest).replace(" ", "")
    number = version.removeprefix("=")
    if number.startswith("="):
        return version if split else number[1:]
    if number == version or re.search("[=,|]", number):
        return version
    return number if split or number.endswith("*") else f"{number}*"


def _normalize_versions(versions: str) -> str:
    """A series always with a dot before its star."""
    return "".join(_normalize_series(each.strip()) for each in re.split("([,|])", versions))


def _normalize_series(version: str) -> str:
    series = version[:1] not in "=<>!~" and version != "*" and version.find("*") == len(version) - 1
    return f"{version.rstrip('*').rstrip('.')}.*" if series else version


# conda-lock's hash of what was asked for, by which `conda-lock --check-input-hash` knows that a lock is current.
#
# As conda-lock 4.0.3 has it: `content_hash.py` (what is hashed), `src_parser/` (what it makes of an environment.yml),
# `virtual_package.py` and `default-virtual-packages.yaml` (what it takes the target for, unless it is told).


# Name, version and build of what every target is taken to have. `{machine}_0`: releases since 3.0.3 write the build as
# 2.x did.
_VIRTUAL_PACKAGES = (
    ("__unix", "0", ""),
    ("__linux", "5.10", ""),
    ("__archspec", "1", "{machine}"),
    ("__glibc", "2.28", ""),
    ("__cuda", "11.4", ""),
)
_VIRTUAL_PACKAGE_TIMESTAMP = 1577854800000
# Channels of conda's own defaults are one channel to it.
_DEFAULT_CHANNELS = ("pkgs/main", "pkgs/r")


def compute_content_hash(given: ExportInput, platform: str) -> str:
    """The hash of the `environment` export for one platform: 64 hexadecimal digits."""
    asked = {(each["manager"], each["name"]): each for each in _iter_requirements(given)}
    content = {
        "channels": [
            json.dumps({"url": each, "used_env_vars": []}, separators=(",", ":")) for each in given.spec.conda.channels
        ],
        "specs": [asked[key] for key in sorted(asked)],
        "virtual_package_hash": {
            "noarch": {"info": {"subdir": "noarch"}, "packages": {}},
            platform: {"info": {"subdir": platform}, "packages": _create_virtual_packages(platform)},
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _iter_requirements(given: ExportInput) -> Iterator[dict[str, Any]]:
    """Each requirement as conda-lock has it; of two for one package the last one counts."""
    yield from (_create_conda_requirement(each) for each in collect_conda_requirements(given))
    if not given.spec.pip.packages:
        return
    for text in given.spec.pip.packages:
        parsed = parse_requirement(canonicalize_requirement(text))
        if not applies_on_linux(parsed.marker):
            continue
        version = ",".join(sorted(str(each) for each in parsed.specifier)).replace("===", "==")
        found = {**_create_requirement("pip", parsed.name, version or "*"), "extras": sorted(parsed.extras)}
        yield {**found, "markers": str(parsed.marker)} if parsed.marker else found
    # In the place of what the file asks of it.
    yield _create_requirement("conda", "pip", "*")


def _create_conda_requirement(asked: MatchSpec) -> dict[str, Any]:
    version = asked.version or ("*" if asked.build else "")
    # conda drops the operator of `==1.26|==1.27` too, and only where no build follows.
    version = version if asked.build else version.removeprefix("==")
    return {
        **_create_requirement("conda", asked.name, version),
        "build": asked.build,
        "conda_channel": _normalize_channel(asked.channel),
    }


def _normalize_channel(channel: str | None) -> str | None:
    """What conda calls a channel: of a URL its path, or all of it where it has none."""
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


# `conda-lock.yml`, version 1: what conda-lock, mamba and micromamba install for any of its platforms.


_HEADER = f"{EXPORT_HEADER}; the pins are those of envcompile's own lock.\n"


def render_export(given: ExportInput) -> str:
    """The file.

    Raises `InvalidInputError` where it needs what the lock does not hold: an md5, the place of pip's files.
    """
    platforms = [each.platform for each in given.lock.platforms]
    metadata: dict[str, YamlValue] = {
        "content_hash": {each: compute_content_hash(given, each) for each in platforms},
        "channels": [{"url": each, "used_env_vars": []} for each in given.spec.conda.channels],
        "platforms": platforms,
        "sources": ["environment.yml"],
    }
    # The kinds one after the other, and within them by name, then platform.
    packages = sorted(_iter_package_rows(given), key=lambda each: tuple(str(each[key]) for key in _PACKAGE_SORT_KEYS))
    return (
        _HEADER
        + "".join(f"{line}\n" for line in omitted_packages_comment(given, "conda", "pip"))
        + format_yaml({"version": 1, "metadata": metadata, "package": packages})
    )


_PACKAGE_SORT_KEYS = ("manager", "name", "platform")


def _iter_package_rows(given: ExportInput) -> Iterator[Mapping[str, YamlValue]]:
    urls = {channel.name: channel.url for channel in given.lock.channels}
    for platform in given.lock.platforms:
        for conda in platform.conda:
            hashes = {"md5": _require_md5(conda), "sha256": conda.sha256}
            dependencies = merge_dependencies(conda.depends)
            yield _create_package_row(
                conda, "conda", platform.platform, dependencies, format_archive_url(conda, urls), hashes
            )
        for pip in platform.pip:
            # conda-lock writes the range that the wheel asks for; the lock knows the name, and `*` is any version.
            dependencies = dict.fromkeys(pip.depends, "*")
            url = require_file_url(pip, given.file_urls, "conda-lock.yml")
            yield _create_package_row(pip, "pip", platform.platform, dependencies, url, {"sha256": pip.sha256})


def _create_package_row(  # noqa: PLR0913, PLR0917 - the columns of a row
    package: CondaPackage | PipPackage,
    manager: str,
    platform: str,
    dependencies: Mapping[str, str],
    url: str,
    hashes: Mapping[str, str],
) -> Mapping[str, YamlValue]:
    return {
        "name": package.name,
        "version": package.version,
        "manager": manager,
        "platform": platform,
        "dependencies": dependencies,
        "url": url,
        "hash": hashes,
        "category": "main",
        "optional": False,
    }


def _require_md5(package: CondaPackage) -> str:
    if package.md5 is None:
        message = f"the lock holds no md5 of `{package.file}`, and every package in a `conda-lock.yml` needs one"
        raise InvalidInputError(message, "export `explicit`, or take the package from a channel that tells its md5")
    return package.md5
