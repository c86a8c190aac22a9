"""The layers of the environment: the lists of what is installed together, and the stages that do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.errors import Unusable
from envcompile.plan.groups import GROUPS, KINDS, group
from envcompile.plan.model import File, Layer
from envcompile.spec.indexes import DEFAULT, index_of, urls

if TYPE_CHECKING:
    from envcompile.lock.model import Lock, PipPackage, PlatformLock
    from envcompile.spec.model import Pip

# In this order they are copied into the image.
_ORDER = {name: place for place, name in enumerate((*GROUPS, *(kind.name for kind in KINDS)))}


def layers(pip: Pip, lock: Lock) -> tuple[Layer, ...]:
    """The pip layers of an environment: one for each group of packages of each index that some platform has.

    What is installed together comes from one index: of several, an installer takes whichever has the name.
    """
    numbers = _numbers(pip)
    used = {(each.index, _group(each)) for platform in lock.platforms for each in wheels(platform)}
    ordered = sorted(used, key=lambda each: (numbers.get(each[0], 0), _ORDER[each[1]]))
    return tuple(_layer(index, name, numbers.get(index, 0), lock) for index, name in ordered)


def wheels(platform: PlatformLock) -> tuple[PipPackage, ...]:
    """What is installed as it is; sdists have stages of their own."""
    return tuple(each for each in platform.pip if each.kind == "wheel")


def lists(pip: Pip, lock: Lock, platform: PlatformLock) -> tuple[File, ...]:
    """The requirement list of each layer on one platform: its index, then one file and one hash per line.

    Raises `Unusable` for a package that the lock has from another index than the one that the spec names it for.
    """
    for package in platform.pip:
        if package.index != (named := index_of(package.name, pip.extra_indexes)):
            said = f"the lock has `{package.name}` from the index `{package.index}`, and the spec from `{named}`"
            raise Unusable(said, "run `envcompile lock`")
    known = urls(pip)
    return tuple(
        File(
            layer.requirements,
            (
                *([f"--index-url {known[layer.index]}"] if layer.index in known else []),
                *(_line(each) for each in wheels(platform) if (each.index, _group(each)) == (layer.index, layer.group)),
            ),
        )
        for layer in layers(pip, lock)
    )


def _layer(index: str, name: str, number: int, lock: Lock) -> Layer:
    stage = f"pip-{name}" if number == 0 else f"pip-{number}-{name}"
    return Layer(stage, f"/pip/{stage.removeprefix('pip-')}.txt", name, index, index in lock.private_indexes)


def _group(package: PipPackage) -> str:
    """An index of one's own serves few packages: one layer of each kind."""
    return group(package.name, package.size, several=package.index == DEFAULT)


def _numbers(pip: Pip) -> dict[str, int]:
    """A number for each index, as no name of the user's stands in a stage: 0 is the default, then by their names."""
    return {
        DEFAULT: 0,
        **{name: number for number, name in enumerate(sorted(each.name for each in pip.extra_indexes), 1)},
    }


def _line(package: PipPackage) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"
