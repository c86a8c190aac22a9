"""Which packages are installed together: the layers of the environment, and their lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.errors import Unusable
from envcompile.plan.model import File, Layer
from envcompile.spec.indexes import index_of, urls

if TYPE_CHECKING:
    from envcompile.lock.model import Lock, PipPackage, PlatformLock
    from envcompile.spec.model import Pip


def layers(lock: Lock) -> tuple[Layer, ...]:
    """The pip layers of an environment, one for each index that a package comes from, sorted by its name.

    What is installed together comes from one index: of several, an installer takes whichever has the name.
    """
    used = sorted({package.index for platform in lock.platforms for package in platform.pip if package.kind == "wheel"})
    return tuple(
        Layer(f"pip-{number}", f"/pip-{number}.txt", index, index in lock.private_indexes)
        for number, index in enumerate(used, 1)
    )


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
                *(
                    _line(package)
                    for package in platform.pip
                    if package.index == layer.index and package.kind == "wheel"
                ),
            ),
        )
        for layer in layers(lock)
    )


def _line(package: PipPackage) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"
