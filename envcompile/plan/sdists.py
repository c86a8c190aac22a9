"""Sdists: a stage for each, and the lists of what it is built with and of the sdist itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.plan.model import File, SdistLayer
from envcompile.spec.indexes import urls

if TYPE_CHECKING:
    from envcompile.lock.model import Lock, PipPackage, PlatformLock
    from envcompile.spec.model import Pip


def sdist_layers(lock: Lock) -> tuple[SdistLayer, ...]:
    """A layer for each sdist that some platform has, sorted by its name.

    No name of the user's stands in a stage or a path: sdists and indexes are numbered.
    """
    private = set(lock.private_indexes)
    return tuple(
        SdistLayer(
            f"sdist-{number}",
            f"/sdist-{number}",
            tuple((place, index in private) for place, index in enumerate(_of_build(lock, name), 1)),
            any(each.index in private for each in _sdists(lock, name)),
        )
        for number, name in enumerate(_names(lock), 1)
    )


def sdist_lists(pip: Pip, lock: Lock, platform: PlatformLock) -> tuple[File, ...]:
    """The lists of each layer on one platform; where it does not have the sdist, they are empty."""
    built = {each.name: each.packages for each in platform.pip_build}
    given = urls(pip)
    files = []
    for number, name in enumerate(_names(lock), 1):
        for place, index in enumerate(_of_build(lock, name), 1):
            of = tuple(each for each in built.get(name, ()) if each.index == index)
            path = f"/sdist-{number}/build-{place}.txt"
            files.append(File(path, (*_url(index, given), *(_line(each) for each in of))))
        for sdist in (each for each in platform.pip if each.name == name and each.kind == "sdist"):
            line = f"{sdist.name} {sdist.sha256} {sdist.file}"
            files.append(File(f"/sdist-{number}/sdist.txt", (line, given.get(sdist.index, ""))))
            if env := _environment(pip, name, platform):
                files.append(File(f"/sdist-{number}/environment.txt", env))
    return tuple(files)


def _names(lock: Lock) -> list[str]:
    return sorted({each.name for platform in lock.platforms for each in platform.pip if each.kind == "sdist"})


def _sdists(lock: Lock, name: str) -> list[PipPackage]:
    return [each for platform in lock.platforms for each in platform.pip if (each.name, each.kind) == (name, "sdist")]


def _of_build(lock: Lock, name: str) -> list[str]:
    rows = (row for platform in lock.platforms for row in platform.pip_build if row.name == name)
    return sorted({each.index for row in rows for each in row.packages})


def _environment(pip: Pip, name: str, platform: PlatformLock) -> tuple[str, ...]:
    """What is set while an sdist is built: what follows from the lock, and what the spec says of it."""
    decided = dict(platform.decided.build_env) if platform.decided else {}
    said = next((dict(each.build_env) for each in pip.metadata if each.name == name), {})
    return tuple(f"{key}={value}" for key, value in sorted({**decided, **said}.items()))


def _url(index: str, given: dict[str, str]) -> tuple[str, ...]:
    return (f"--index-url {given[index]}",) if index in given else ()


def _line(package: PipPackage) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"
