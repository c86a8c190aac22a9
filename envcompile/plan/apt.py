"""The Debian packages of a platform as lists: what to install, and the hash of each file that apt downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.errors import Unusable
from envcompile.plan.archive import RELEASES, sources
from envcompile.plan.model import File

if TYPE_CHECKING:
    from envcompile.lock.model import AptPackage, Lock, PlatformLock


def apt_stages(lock: Lock) -> tuple[str, ...]:
    """The stages that packages are added to on some platform: `build`, `run`."""
    build = any(each.apt_build for each in lock.platforms)
    run = any(each.apt for each in lock.platforms)
    return (*(["build"] if build else []), *(["run"] if run else []))


def apt_lists(lock: Lock, platform: PlatformLock) -> tuple[File, ...]:
    """The archive's sources, and for each stage exact versions and the sha256 of every file.

    In a folder of their own: another list of pip packages does not make apt start anew.

    Raises `Unusable` for a lock whose base is of no release that has an archive.
    """
    stages = apt_stages(lock)
    if not stages or lock.snapshot is None:
        return ()
    release = RELEASES.get(platform.run.os)
    if release is None:
        raise Unusable(f"the lock adds Debian packages to `{platform.run.os}`", "run `envcompile lock`")
    packages = {"build": platform.apt_build, "run": platform.apt}
    return (
        File("/apt/sources.list", sources(release, lock.snapshot)),
        *(each for stage in stages for each in _lists(stage, packages[stage])),
    )


def _lists(stage: str, packages: tuple[AptPackage, ...]) -> tuple[File, File]:
    return (
        File(f"/apt/{stage}.txt", tuple(f"{each.name}={each.version}" for each in packages)),
        File(f"/apt/{stage}.sha256", tuple(f"{each.sha256}  {_file(each)}" for each in packages)),
    )


def _file(package: AptPackage) -> str:
    """What apt calls the file that it has downloaded (`pkgAcqArchive`, apt-pkg/acquire-item.cc)."""
    return f"{package.name}_{package.version.replace(':', '%3a')}_{package.architecture}.deb"
