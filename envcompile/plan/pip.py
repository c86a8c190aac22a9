"""pip packages: the layer of each package, the stages that install them, and their files in the lock stage.

The layer of a package depends only on its name and size. So another package never moves it, and a change of one package
changes one layer. Large and small packages have separate layers, because a layer is downloaded and unpacked as a whole:
a change of a small package, which is the most frequent one, then costs a small layer. Within a size class the hash of
the name selects the layer, because the name does not change with the version.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.plan.model import LockStageFile, PipLayer, SdistLayer
from envcompile.spec.pip import DEFAULT_INDEX, collect_index_urls, find_index_name

if TYPE_CHECKING:
    from envcompile.lock.model import Lock, PipPackage, PlatformLock
    from envcompile.spec.model import PipSpec


class SizeClass(NamedTuple):
    """Packages whose archive has at least `min_bytes` bytes, in at most `layer_count` layers."""

    name: str
    min_bytes: int
    layer_count: int


# These numbers are part of the layout of the Dockerfile. A change moves packages of every lock to other layers.
SIZE_CLASSES = (
    SizeClass("large", 64 << 20, 4),
    SizeClass("medium", 8 << 20, 3),
    SizeClass("small", 1 << 20, 2),
    SizeClass("tiny", 0, 3),
)


def find_layer_group(name: str, size: int | None, *, several: bool = True) -> str:
    """Return the group of a package with this canonical name and size in bytes, such as `medium-2`.

    A package of unknown size (None) is in the class `tiny`. If `several` is False, each size class is one group, such
    as `medium`.
    """
    kind = next(kind for kind in SIZE_CLASSES if (size or 0) >= kind.min_bytes)
    if not several:
        return kind.name
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % kind.layer_count + 1
    return f"{kind.name}-{number}"


# All possible groups, the largest packages first.
LAYER_GROUPS = tuple(f"{kind.name}-{number}" for kind in SIZE_CLASSES for number in range(1, kind.layer_count + 1))


# The order in which the layers are copied into the image.
_GROUP_ORDER = {name: place for place, name in enumerate((*LAYER_GROUPS, *(kind.name for kind in SIZE_CLASSES)))}


def create_pip_layers(pip: PipSpec, lock: Lock) -> tuple[PipLayer, ...]:
    """Return the pip layers of an environment: one for each index and group that a wheel on any platform has.

    The packages of a layer come from one index, because with several an installer may take a package from the
    wrong one.
    """
    numbers = _number_indexes(pip)
    used = {(each.index, _find_package_group(each)) for platform in lock.platforms for each in select_wheels(platform)}
    ordered = sorted(used, key=lambda each: (numbers.get(each[0], 0), _GROUP_ORDER[each[1]]))
    return tuple(_create_pip_layer(index, name, numbers.get(index, 0), lock) for index, name in ordered)


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
    known = collect_index_urls(pip)
    return tuple(
        LockStageFile(
            layer.requirements,
            (
                *([f"--index-url {known[layer.index]}"] if layer.index in known else []),
                *(
                    _format_requirement(each)
                    for each in select_wheels(platform)
                    if (each.index, _find_package_group(each)) == (layer.index, layer.group)
                ),
            ),
        )
        for layer in create_pip_layers(pip, lock)
    )


def _create_pip_layer(index: str, name: str, number: int, lock: Lock) -> PipLayer:
    stage = f"pip-{name}" if number == 0 else f"pip-{number}-{name}"
    return PipLayer(stage, f"/pip/{stage.removeprefix('pip-')}.txt", name, index, index in lock.private_indexes)


def _find_package_group(package: PipPackage) -> str:
    """Return the group of a package. An extra index has few packages, so each size class is one group."""
    return find_layer_group(package.name, package.size, several=package.index == DEFAULT_INDEX)


def _number_indexes(pip: PipSpec) -> dict[str, int]:
    """Return index -> its number, which is 0 for the default index.

    The Dockerfile's stages are named by these numbers, because names from the spec must not appear there.
    """
    return {
        DEFAULT_INDEX: 0,
        **{name: number for number, name in enumerate(sorted(each.name for each in pip.extra_indexes), 1)},
    }


def _format_requirement(package: PipPackage) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"


def create_sdist_layers(lock: Lock) -> tuple[SdistLayer, ...]:
    """A layer for each sdist on any platform, sorted by name.

    Names from the spec must not appear in the names of stages and paths, so sdists and indexes have numbers.
    """
    private = set(lock.private_indexes)
    return tuple(
        SdistLayer(
            f"sdist-{number}",
            f"/sdist-{number}",
            tuple((place, index in private) for place, index in enumerate(_list_build_indexes(lock, name), 1)),
            any(each.index in private for each in _find_sdists(lock, name)),
        )
        for number, name in enumerate(_list_sdist_names(lock), 1)
    )


def create_sdist_files(pip: PipSpec, lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """The files of each sdist's layer on one platform: build dependencies, the sdist, and the variables of its build.

    If the platform does not have the sdist, its layer has only the lists of build dependencies, without packages.
    """
    built = {each.name: each.packages for each in platform.pip_build}
    given = collect_index_urls(pip)
    files = []
    for number, name in enumerate(_list_sdist_names(lock), 1):
        for place, index in enumerate(_list_build_indexes(lock, name), 1):
            of = tuple(each for each in built.get(name, ()) if each.index == index)
            path = f"/sdist-{number}/build-{place}.txt"
            files.append(
                LockStageFile(
                    path, (*_format_index_option(index, given), *(_format_build_requirement(each) for each in of))
                )
            )
        for sdist in (each for each in platform.pip if each.name == name and each.kind == "sdist"):
            line = f"{sdist.name} {sdist.sha256} {sdist.file}"
            files.append(LockStageFile(f"/sdist-{number}/sdist.txt", (line, given.get(sdist.index, ""))))
            if env := _format_build_environment(pip, name, platform):
                files.append(LockStageFile(f"/sdist-{number}/environment.txt", env))
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


def _format_build_requirement(package: PipPackage) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"
