"""The archives of Debian and Ubuntu, as they were at a moment: where each release's suites are, and who signs them.

Plain http on purpose: slim images have no certificates, and apt believes nothing in an archive that the distribution's
key, which is in the image, has not signed.
"""

from __future__ import annotations

from typing import NamedTuple

from envcompile.plan.catalogue import SYSTEMS


class Archive(NamedTuple):
    """One archive of a release: the host of its snapshot service, the path before the moment, its suites."""

    host: str
    path: str
    suites: tuple[str, ...]

    def url(self, snapshot: str) -> str:
        """Its address at a moment (RFC 3339, UTC)."""
        return f"http://{self.host}/{self.path}/{stamp(snapshot)}"


class Release(NamedTuple):
    """What a release's own images ask: its archives, their components, and the keyring in the image."""

    archives: tuple[Archive, ...]
    components: tuple[str, ...]
    keyring: str


def _debian(codename: str) -> Release:
    # As in the `debian` images: main alone, updates, and security from an archive of its own.
    host = "snapshot.debian.org"
    archives = (
        Archive(host, "archive/debian", (codename, f"{codename}-updates")),
        Archive(host, "archive/debian-security", (f"{codename}-security",)),
    )
    return Release(archives, ("main",), "/usr/share/keyrings/debian-archive-keyring.gpg")


def _ubuntu(codename: str) -> Release:
    # As in the `ubuntu` images. The service has all architectures under one path (Ubuntu Server documentation, "How to
    # use the Ubuntu snapshot service").
    suites = (codename, f"{codename}-updates", f"{codename}-security")
    archive = Archive("snapshot.ubuntu.com", "ubuntu", suites)
    components = ("main", "restricted", "universe", "multiverse")
    return Release((archive,), components, "/usr/share/keyrings/ubuntu-archive-keyring.gpg")


# By os-release's ID-VERSION_ID.
RELEASES = {
    system.os: (_debian if system.os.startswith("debian-") else _ubuntu)(codename)
    for codename, system in SYSTEMS.items()
}


def stamp(snapshot: str) -> str:
    """A moment (RFC 3339, UTC) as both services spell it: `20261101T000000Z`."""
    return snapshot.replace("-", "").replace(":", "")


def sources(release: Release, snapshot: str) -> tuple[str, ...]:
    """The lines of sources.list(5) for a release at a moment.

    An old index is what is wanted: that its validity has ended is no mistake here.
    """
    options = f"[signed-by={release.keyring} check-valid-until=no]"
    return tuple(
        f"deb {options} {archive.url(snapshot)} {suite} {' '.join(release.components)}"
        for archive in release.archives
        for suite in archive.suites
    )
