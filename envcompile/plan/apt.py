"""The archives of Debian and Ubuntu, as they were at a moment: where each release's suites are, and who signs them.

Plain http on purpose: slim images have no certificates, and apt believes nothing in an archive that the distribution's
key, which is in the image, has not signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.default import SYSTEM_RELEASES
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.plan.model import LockStageFile

if TYPE_CHECKING:
    from envcompile.lock.model import AptPackage, Lock, PlatformLock


class SnapshotArchive(NamedTuple):
    """One archive of a release: the host of its snapshot service, the path before the moment, its suites."""

    host: str
    path: str
    suites: tuple[str, ...]

    def format_url(self, snapshot: str) -> str:
        """Its address at a moment (RFC 3339, UTC)."""
        return f"http://{self.host}/{self.path}/{format_snapshot_timestamp(snapshot)}"


class DistributionRelease(NamedTuple):
    """What a release's own images ask: its archives, their components, and the keyring in the image."""

    archives: tuple[SnapshotArchive, ...]
    components: tuple[str, ...]
    keyring: str


def _create_debian_release(codename: str) -> DistributionRelease:
    # As in the `debian` images: main alone, updates, and security from an archive of its own.
    host = "snapshot.debian.org"
    archives = (
        SnapshotArchive(host, "archive/debian", (codename, f"{codename}-updates")),
        SnapshotArchive(host, "archive/debian-security", (f"{codename}-security",)),
    )
    return DistributionRelease(archives, ("main",), "/usr/share/keyrings/debian-archive-keyring.gpg")


def _create_ubuntu_release(codename: str) -> DistributionRelease:
    # As in the `ubuntu` images. The service has all architectures under one path (Ubuntu Server documentation, "How to
    # use the Ubuntu snapshot service").
    suites = (codename, f"{codename}-updates", f"{codename}-security")
    archive = SnapshotArchive("snapshot.ubuntu.com", "ubuntu", suites)
    components = ("main", "restricted", "universe", "multiverse")
    return DistributionRelease((archive,), components, "/usr/share/keyrings/ubuntu-archive-keyring.gpg")


# By os-release's ID-VERSION_ID.
DISTRIBUTION_RELEASES = {
    system.os: (_create_debian_release if system.os.startswith("debian-") else _create_ubuntu_release)(codename)
    for codename, system in SYSTEM_RELEASES.items()
}


def format_snapshot_timestamp(snapshot: str) -> str:
    """A moment (RFC 3339, UTC) as both services spell it: `20261101T000000Z`."""
    return snapshot.replace("-", "").replace(":", "")


def format_sources_list(release: DistributionRelease, snapshot: str) -> tuple[str, ...]:
    """The lines of sources.list(5) for a release at a moment.

    An old index is what is wanted: that its validity has ended is no mistake here.
    """
    options = f"[signed-by={release.keyring} check-valid-until=no]"
    return tuple(
        f"deb {options} {archive.format_url(snapshot)} {suite} {' '.join(release.components)}"
        for archive in release.archives
        for suite in archive.suites
    )


# The Debian packages of a platform as lists: what to install, and the hash of each file that apt downloads.


def find_apt_stages(lock: Lock) -> tuple[str, ...]:
    """The stages that packages are added to on some platform: `build`, `run`."""
    build = any(each.apt_build for each in lock.platforms)
    run = any(each.apt for each in lock.platforms)
    return (*(["build"] if build else []), *(["run"] if run else []))


def create_apt_files(lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """The archive's sources, and for each stage exact versions and the sha256 of every file.

    In a folder of their own: another list of pip packages does not make apt start anew.

    Raises `InvalidInputError` for a lock whose base is of no release that has an archive.
    """
    stages = find_apt_stages(lock)
    if not stages or lock.snapshot is None:
        return ()
    release = DISTRIBUTION_RELEASES.get(platform.run.os)
    if release is None:
        raise InvalidInputError(f"the lock adds Debian packages to `{platform.run.os}`", "run `envcompile lock`")
    packages = {"build": platform.apt_build, "run": platform.apt}
    return (
        LockStageFile("/apt/sources.list", format_sources_list(release, lock.snapshot)),
        *(each for stage in stages for each in _create_stage_files(stage, packages[stage])),
    )


def _create_stage_files(stage: str, packages: tuple[AptPackage, ...]) -> tuple[LockStageFile, LockStageFile]:
    return (
        LockStageFile(f"/apt/{stage}.txt", tuple(f"{each.name}={each.version}" for each in packages)),
        LockStageFile(
            f"/apt/{stage}.sha256", tuple(f"{each.sha256}  {_format_archive_name(each)}" for each in packages)
        ),
    )


def _format_archive_name(package: AptPackage) -> str:
    """What apt calls the file that it has downloaded (`pkgAcqArchive`, apt-pkg/acquire-item.cc)."""
    return f"{package.name}_{package.version.replace(':', '%3a')}_{package.architecture}.deb"
