"""conda packages: the list that the build installs, the layers of the environment, and `@EXPLICIT` lists (CEP 23)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.graph import find_used_distributions, sort_by_dependencies
from envcompile.plan.layers import find_layer, find_threshold
from envcompile.plan.model import LockStageFile
from envcompile.plan.pip import format_requirements

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
    # only if the channel publishes no md5. The Dockerfile has a list of its own, with the sha256 of every archive.
    return package.md5 or package.sha256


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


def create_conda_files(pip: PipSpec, lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """The requirement of the program that installs conda packages, and their list. Empty without conda packages.

    The list has a line `URL#SHA256 LAYER` for each package, and a line `- LAYER` for a layer that none of them is in.

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
    threshold = find_threshold(lock.platforms)
    layers = {each.name: _find_layer_folder(each, threshold) for each in packages}
    unused = [each for each in find_conda_layers(lock) if each not in layers.values()]
    return (
        LockStageFile("/conda/installer", format_requirements(pip, platform.conda_installer)),
        LockStageFile(
            "/conda/packages",
            (
                *(f"{format_archive_url(each, urls)}#{each.sha256} {layers[each.name]}" for each in packages),
                *(f"- {name}" for name in unused),
            ),
        ),
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
