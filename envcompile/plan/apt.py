"""Debian packages: the snapshot archives of each distribution release, and the files of the lock stage for apt.

The archives use plain HTTP on purpose. Slim images have no certificates, and apt accepts only archives that are signed
with the distribution's key, which is in the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.default import SYSTEM_RELEASES
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.plan.model import LockStageFile

if TYPE_CHECKING:
    from envcompile.lock.model import AptPackage, Lock, PlatformLock


class SnapshotArchive(NamedTuple):
    """One archive of a release: the host of its snapshot service, the path before the timestamp, and its suites."""

    host: str
    path: str
    suites: tuple[str, ...]

    def format_url(self, snapshot: str) -> str:
        """The URL of the archive at a snapshot (RFC 3339, UTC)."""
        return f"http://{self.host}/{self.path}/{format_snapshot_timestamp(snapshot)}"


class DistributionRelease(NamedTuple):
    """The sources that the official images of a release use: archives, components, and the keyring in the image."""

    archives: tuple[SnapshotArchive, ...]
    components: tuple[str, ...]
    keyring: str


def _create_debian_release(codename: str) -> DistributionRelease:
    # As in the `debian` images: only main, with updates, and security updates from a separate archive.
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


# ID-VERSION_ID of os-release, such as `debian-12` -> the release.
DISTRIBUTION_RELEASES = {
    system.os: (_create_debian_release if system.os.startswith("debian-") else _create_ubuntu_release)(codename)
    for codename, system in SYSTEM_RELEASES.items()
}


def format_snapshot_timestamp(snapshot: str) -> str:
    """A snapshot (RFC 3339, UTC) in the form that both snapshot services use: `20261101T000000Z`."""
    return snapshot.replace("-", "").replace(":", "")


def format_sources_list(release: DistributionRelease, snapshot: str) -> tuple[str, ...]:
    """The lines of sources.list(5) for a release at a snapshot.

    The package index of a snapshot is old by design, so apt must not check its expiry date.
    """
    options = f"[signed-by={release.keyring} check-valid-until=no]"
    return tuple(
        f"deb {options} {archive.format_url(snapshot)} {suite} {' '.join(release.components)}"
        for archive in release.archives
        for suite in archive.suites
    )


def find_apt_stages(lock: Lock) -> tuple[str, ...]:
    """The stages, of `build` and `run`, that have additional Debian packages on at least one platform."""
    build = any(each.apt_build for each in lock.platforms)
    run = any(each.apt for each in lock.platforms)
    return (*(["build"] if build else []), *(["run"] if run else []))


def create_apt_files(lock: Lock, platform: PlatformLock) -> tuple[LockStageFile, ...]:
    """The list of sources, and for each stage the exact versions and the sha256 of its packages. Empty without stages.

    Each stage has a folder of its own, so that a change of other packages does not invalidate it in the build cache.

    Raises `InvalidInputError` if the base image has a distribution without a snapshot archive.
    """
    stages = find_apt_stages(lock)
    if not stages or lock.snapshot is None:
        return ()
    release = DISTRIBUTION_RELEASES.get(platform.run.os)
    if release is None:
        raise InvalidInputError(f"the lock adds Debian packages to `{platform.run.os}`", "run `envcompile lock`")
    packages = {"build": platform.apt_build, "run": platform.apt}
    sources = format_sources_list(release, lock.snapshot)
    return tuple(each for stage in stages for each in _create_stage_files(stage, packages[stage], sources))


def _create_stage_files(
    stage: str, packages: tuple[AptPackage, ...], sources: tuple[str, ...]
) -> tuple[LockStageFile, ...]:
    return (
        LockStageFile(f"/apt/{stage}/sources.list", sources),
        LockStageFile(f"/apt/{stage}/list", tuple(f"{each.name}={each.version}" for each in packages)),
        LockStageFile(
            f"/apt/{stage}/sha256", tuple(f"{each.sha256}  {_format_archive_name(each)}" for each in packages)
        ),
    )


def _format_archive_name(package: AptPackage) -> str:
    """The name that apt gives to the downloaded file (`pkgAcqArchive`, apt-pkg/acquire-item.cc)."""
    return f"{package.name}_{package.version.replace(':', '%3a')}_{package.architecture}.deb"
