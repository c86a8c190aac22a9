"""conda packages: the `@EXPLICIT` list (CEP 23), the hash of each archive, and the layers of the environment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.graph import find_used_distributions, sort_by_dependencies
from envcompile.plan.layers import find_layer, find_threshold
from envcompile.plan.model import LockStageFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envcompile.lock.model import CondaPackage, Lock, PlatformLock
    from envcompile.spec.model import PipSpec


def format_explicit_list(packages: Iterable[CondaPackage], urls: Mapping[str, str]) -> tuple[str, ...]:
    """The line `@EXPLICIT`, and one line for each package, dependencies first. `urls` maps channel names to URLs."""
    return ("@EXPLICIT", *_iter_explicit_lines(packages, urls))


def _iter_explicit_lines(packages: Iterable[CondaPackage], urls: Mapping[str, str]) -> Iterator[str]:
    for each in sort_by_dependencies(packages):
        yield f"{format_archive_url(each, urls)}#{_select_checksum(each)}"


def format_archive_url(package: CondaPackage, urls: Mapping[str, str]) -> str:
    """The URL of a package in its channel."""
    return f"{urls[package.channel]}/{package.subdir}/{package.file}"


def _select_checksum(package: CondaPackage) -> str:
    # All versions of conda, mamba and rattler read an md5. conda reads a sha256 since 24.9 (conda/conda#14048), and
    # mamba since 2.1 (mamba-org/mamba#3866), but mamba does not accept the prefix `sha256:`. So a sha256 is written
    # only if the channel publishes no md5. The Dockerfile checks every archive against its sha256 in a separate list.
    return package.md5 or package.sha256


# The folder in which micromamba keeps downloaded archives, below the root prefix that the Dockerfile sets.
PACKAGE_CACHE = "/root/micromamba/pkgs"


# The layer of files that no package owns, such as the output of link scripts and the history. It is the last one.
REMAINDER_LAYER = "unowned"


def find_conda_layers(lock: Lock) -> tuple[str, ...]:
    """The folders of the layers of the conda environment: those of the packages on all platforms, and the remainder.

    Empty if no platform has conda packages.
    """
    threshold = find_threshold(lock.platforms)
    used = {
        find_layer(each.name, each.size, threshold): _find_layer_folder(each, threshold)
        for platform in lock.platforms
        for each in platform.conda
    }
    ordered = sorted(used, key=lambda layer: layer.sort_key)
    return (*(used[layer] for layer in ordered), REMAINDER_LAYER) if used else ()


def create_conda_files(lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """The `@EXPLICIT` list, the sha256 of every archive, and the layer of every package. Empty without conda packages.

    The list of layers has a line `- LAYER` for each layer, and a line `RECORD LAYER` for each package. RECORD is the
    name of the package's file in `conda-meta`, without `.json`.

    Raises `InvalidInputError` for a channel in a local folder, which the build cannot read.
    """
    packages = platform.conda
    if not packages:
        return ()
    urls = {channel.name: channel.url for channel in lock.channels}
    used = {package.channel for package in packages}
    if local := sorted(name for name in used if urls[name].startswith("file:")):
        message = f"the channel `{local[0]}` is a local folder, which the build cannot read"
        raise InvalidInputError(
            message, "serve the folder over HTTP, write its URL in `channels`, and run `envcompile lock`"
        )
    sums = (
        f"{each.sha256}  {PACKAGE_CACHE}/{each.file}" for each in sorted(packages, key=lambda package: package.file)
    )
    threshold = find_threshold(lock.platforms)
    layers = (
        *(f"- {name}" for name in find_conda_layers(lock)),
        *(f"{_format_record_name(each)} {_find_layer_folder(each, threshold)}" for each in packages),
    )
    return (
        LockStageFile("/conda/explicit", format_explicit_list(packages, urls)),
        LockStageFile("/conda/sha256", tuple(sums)),
        LockStageFile("/conda/layers", layers),
    )


def create_provided_files(pip: PipSpec, lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """Return the list of the distributions in conda packages on which pip packages rely. The build looks for them.

    Each line is `DISTRIBUTION VERSION CONDA_PACKAGE`. The list is empty if the pip packages of this platform rely on
    none. There is no list if those of all platforms rely on none.
    """
    if not any(find_used_distributions(pip, each) for each in lock.platforms):
        return ()
    used = find_used_distributions(pip, platform)
    lines = (f"{name} {package.version} {package.name}" for name, package in used.items())
    return (LockStageFile("/conda/provided", tuple(lines)),)


def _find_layer_folder(package: CondaPackage, threshold: int) -> str:
    """The folder of the layer of a package. Names of conda packages may have underscores, so there are two folders."""
    layer = find_layer(package.name, package.size, threshold)
    return f"{'shared' if layer.is_shared else 'package'}/{layer.label}"


def _format_record_name(package: CondaPackage) -> str:
    """The name of the package's file in `conda-meta`, without `.json`."""
    return re.sub(r"\.(?:conda|tar\.bz2)$", "", package.file)
