"""pip packages: the stages that install them, and their lists in the Dockerfile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.plan.layers import Layer, find_layer, find_threshold
from envcompile.plan.model import LockStageFile, PipLayer, SdistLayer
from envcompile.spec.pip import DEFAULT_INDEX, collect_index_urls, find_index_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import Lock, PipPackage, PlatformLock
    from envcompile.spec.model import PipSpec


def create_pip_layers(pip: PipSpec, lock: Lock) -> tuple[PipLayer, ...]:
    """Return the pip layers of an environment: one for each index and layer that a wheel on any platform has.

    The packages of a layer come from one index, because with several an installer may take a package from the
    wrong one.
    """
    layers = _PipLayers(pip, lock)
    used = {layers.find_key(each) for platform in lock.platforms for each in select_wheels(platform)}
    return tuple(layers.create_layer(*key) for key in sorted(used, key=lambda key: (*key[1].sort_key, key[0])))


def sort_as_installed(pip: PipSpec, lock: Lock, platform: PlatformLock, names: Iterable[str]) -> tuple[str, ...]:
    """Sort names of pip packages in the order in which the image gets them: a later one replaces equal paths."""
    layers, packages = _PipLayers(pip, lock), {each.name: each for each in platform.pip}

    def find_place(name: str) -> tuple[object, ...]:
        number, layer = layers.find_key(packages[name])
        return packages[name].kind == "sdist", *layer.sort_key, number, name

    return tuple(sorted(names, key=find_place))


class _PipLayers:
    """Assigns packages to layers. A layer is known by the number of its index and its place in it."""

    def __init__(self, pip: PipSpec, lock: Lock) -> None:
        self._threshold = find_threshold(lock.platforms)
        # The Dockerfile's stages are named by these numbers, because names from the spec must not appear there.
        extra = sorted(each.name for each in pip.extra_indexes)
        self._numbers = {DEFAULT_INDEX: 0, **{name: number for number, name in enumerate(extra, 1)}}
        self._names = {number: name for name, number in self._numbers.items()}
        self._private = set(lock.private_indexes)

    def find_key(self, package: PipPackage) -> tuple[int, Layer]:
        """Return the number of the index and the layer."""
        number = self._numbers.get(package.index, 0)
        return number, find_wheel_layer(package, self._threshold, number)

    def create_layer(self, number: int, layer: Layer) -> PipLayer:
        """Return the layer of the packages with this key."""
        index = self._names[number]
        return PipLayer(f"pip-{layer.label}", f"/pip/{layer.label}", layer.is_shared, index, index in self._private)


def find_wheel_layer(package: PipPackage, threshold: int, index_number: int) -> Layer:
    """Return the layer of a wheel. An extra index, whose number is above 0, has few packages and one shared layer."""
    layer = find_layer(package.name, package.size, threshold)
    return Layer("index", index_number) if index_number and layer.is_shared else layer


def select_wheels(platform: PlatformLock) -> tuple[PipPackage, ...]:
    """Return the wheels of a platform. Sdists are left out, because each has a stage of its own."""
    return tuple(each for each in platform.pip if each.kind == "wheel")


def create_pip_files(pip: PipSpec, lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """Return the requirement list of each layer on one platform.

    A list has a line with the URL of its index, if that is known, and one line for each package: its version and the
    hash of its file.

    Raises `InvalidInputError` if the lock has a package from another index than the spec assigns to it.
    """
    for package in platform.pip:
        if package.index != (named := find_index_name(package.name, pip.extra_indexes)):
            message = f"the lock has `{package.name}` from the index `{package.index}`, and the spec from `{named}`"
            raise InvalidInputError(message, "run `envcompile lock`")
    layers, urls = _PipLayers(pip, lock), collect_index_urls(pip)
    packages: dict[str, list[PipPackage]] = {layer.requirements: [] for layer in create_pip_layers(pip, lock)}
    for each in select_wheels(platform):
        packages[layers.create_layer(*layers.find_key(each)).requirements].append(each)
    return tuple(
        LockStageFile(
            layer.requirements,
            (*_format_index_option(layer.index, urls), *map(_format_requirement, packages[layer.requirements])),
        )
        for layer in create_pip_layers(pip, lock)
    )


def format_requirements(pip: PipSpec, packages: tuple[PipPackage, ...]) -> tuple[str, ...]:
    """The lines of a list of packages from one index: the URL of the index, if it is known, and the requirements."""
    urls = collect_index_urls(pip)
    options = dict.fromkeys(option for each in packages for option in _format_index_option(each.index, urls))
    return (*options, *map(_format_requirement, packages))


def _format_requirement(package: PipPackage) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"


def create_sdist_layers(lock: Lock) -> tuple[SdistLayer, ...]:
    """A layer for each sdist on any platform, sorted by name. Indexes have numbers, because the spec names them."""
    private = set(lock.private_indexes)
    return tuple(
        SdistLayer(
            f"sdist-{name}",
            f"/sdist/{name}",
            tuple((place, index in private) for place, index in enumerate(_list_build_indexes(lock, name), 1)),
            any(each.index in private for each in _find_sdists(lock, name)),
        )
        for name in _list_sdist_names(lock)
    )


def create_sdist_files(pip: PipSpec, lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """The files of each sdist's layer on one platform: build dependencies, the sdist, and the variables of its build.

    If the platform does not have the sdist, its layer has only the lists of build dependencies, without packages.
    """
    built = {each.name: each.packages for each in platform.pip_build}
    given = collect_index_urls(pip)
    files = []
    for name in _list_sdist_names(lock):
        for place, index in enumerate(_list_build_indexes(lock, name), 1):
            of = tuple(each for each in built.get(name, ()) if each.index == index)
            path = f"/sdist/{name}/build-{place}"
            files.append(LockStageFile(path, (*_format_index_option(index, given), *map(_format_requirement, of))))
        for sdist in (each for each in platform.pip if each.name == name and each.kind == "sdist"):
            line = f"{sdist.name} {sdist.sha256} {sdist.file}"
            files.append(LockStageFile(f"/sdist/{name}/sdist", (line, given.get(sdist.index, ""))))
            if env := _format_build_environment(pip, name, platform):
                files.append(LockStageFile(f"/sdist/{name}/environment", env))
    return tuple(files)


def _list_sdist_names(lock: Lock) -> list[str]:
    return sorted({each.name for platform in lock.platforms for each in platform.pip if each.kind == "sdist"})


def _find_sdists(lock: Lock, name: str) -> list[PipPackage]:
    return [each for platform in lock.platforms for each in platform.pip if (each.name, each.kind) == (name, "sdist")]


def _list_build_indexes(lock: Lock, name: str) -> list[str]:
    rows = (row for platform in lock.platforms for row in platform.pip_build if row.name == name)
    return sorted({each.index for row in rows for each in row.packages})


def _format_build_environment(pip: PipSpec, name: str, platform: PlatformLock) -> tuple[str, ...]:
    """Return the environment variables for building an sdist, sorted by name.

    A variable of the sdist replaces one of the same name in the locked decision about the base image, and one in the
    spec replaces both.
    """
    decided = dict(platform.base_decision.build_env) if platform.base_decision else {}
    locked = next((dict(each.build_env) for each in platform.pip if each.name == name), {})
    stated = next((dict(each.build_env) for each in pip.metadata if each.name == name), {})
    return tuple(f"{key}={value}" for key, value in sorted({**decided, **locked, **stated}.items()))


def _format_index_option(index: str, given: dict[str, str]) -> tuple[str, ...]:
    return (f"--index-url {given[index]}",) if index in given else ()
