"""Which layer a package belongs to: a question about the package alone, whatever else is installed.

So another package never moves it, and a change of one package changes one layer. What is large is kept apart from what
is small, because a layer is fetched, packed and installed as a whole: a small package that changes, and of these there
are the most, then costs a small layer. Of packages of one kind the name's hash decides, because nothing else about a
package is as lasting.
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
    """Packages whose archive is of `least` bytes or more, in at most `layers` layers."""

    name: str
    min_bytes: int
    layer_count: int


# Bounds and numbers are part of the Dockerfile's layout: another one moves packages of every lock.
SIZE_CLASSES = (
    SizeClass("large", 64 << 20, 4),
    SizeClass("medium", 8 << 20, 3),
    SizeClass("small", 1 << 20, 2),
    SizeClass("tiny", 0, 3),
)


def find_layer_group(name: str, size: int | None, *, several: bool = True) -> str:
    """The group of a package with this canonical name and size in bytes, such as `medium-2`.

    A size that nobody knows counts as the smallest. Without `several` a kind is one group, such as `medium`.
    """
    kind = next(kind for kind in SIZE_CLASSES if (size or 0) >= kind.min_bytes)
    if not several:
        return kind.name
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % kind.layer_count + 1
    return f"{kind.name}-{number}"


# Every group there can be, the largest packages first.
LAYER_GROUPS = tuple(f"{kind.name}-{number}" for kind in SIZE_CLASSES for number in range(1, kind.layer_count + 1))


# The layers of the environment: the lists of what is installed together, and the stages that do it.


# In this order they are copied into the image.
_GROUP_ORDER = {name: place for place, name in enumerate((*LAYER_GROUPS, *(kind.name for kind in SIZE_CLASSES)))}


def create_pip_layers(pip: PipSpec, lock: Lock) -> tuple[PipLayer, ...]:
    """The pip layers of an environment: one for each group of packages of each index that some platform has.

    What is installed together comes from one index: of several, an installer takes whichever has the name.
    """
    numbers = _number_indexes(pip)
    used = {(each.index, _find_package_group(each)) for platform in lock.platforms for each in select_wheels(platform)}
    ordered = sorted(used, key=lambda each: (numbers.get(each[0], 0), _GROUP_ORDER[each[1]]))
    return tuple(_create_pip_layer(index, name, numbers.get(index, 0), lock) for index, name in ordered)


def select_wheels(platform: PlatformLock) -> tuple[PipPackage, ...]:
    """What is installed as it is; sdists have stages of their own."""
    return tuple(each for each in platform.pip if each.kind == "wheel")


def create_pip_files(pip: PipSpec, lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """The requirement list of each layer on one platform: its index, then one file and one hash per line.

    Raises `InvalidInputError` for a package that the lock has from another index than the one that the spec names it
    for.
    """
    for package in platform.pip:
        if package.index != (named := find_index_name(package.name, pip.extra_indexes)):
            said = f"the lock has `{package.name}` from the index `{package.index}`, and the spec from `{named}`"
            raise InvalidInputError(said, "run `envcompile lock`")
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
    """An index of one's own serves few packages: one layer of each kind."""
    return find_layer_group(package.name, package.size, several=package.index == DEFAULT_INDEX)


def _number_indexes(pip: PipSpec) -> dict[str, int]:
    """A number for each index, as no name of the user's stands in a stage: 0 is the default, then by their names."""
    return {
        DEFAULT_INDEX: 0,
        **{name: number for number, name in enumerate(sorted(each.name for each in pip.extra_indexes), 1)},
    }


def _format_requirement(package: PipPackage) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"


# Sdists: a stage for each, and the lists of what it is built with and of the sdist itself.


def create_sdist_layers(lock: Lock) -> tuple[SdistLayer, ...]:
    """A layer for each sdist that some platform has, sorted by its name.

    No name of the user's stands in a stage or a path: sdists and indexes are numbered.
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
    """The lists of each layer on one platform; where it does not have the sdist, they are empty."""
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
    """What is set while an sdist is built: what follows from the lock, and what the spec says of it."""
    decided = dict(platform.base_decision.build_env) if platform.base_decision else {}
    said = next((dict(each.build_env) for each in pip.metadata if each.name == name), {})
    return tuple(f"{key}={value}" for key, value in sorted({**decided, **said}.items()))


def _format_index_option(index: str, given: dict[str, str]) -> tuple[str, ...]:
    return (f"--index-url {given[index]}",) if index in given else ()


def _format_build_requirement(package: PipPackage) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"
