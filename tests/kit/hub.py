"""A hub on loopback that has every image that may be chosen, and the archives of Debian and Ubuntu beside it.

An image is made when it is first asked for: with the keyrings, what dpkg has installed, and the Python of its name.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.kit import registry as registry_server
from tests.kit.archive import KEYRING, UBUNTU, MadeArchive, made_archive, paragraph, status

if TYPE_CHECKING:
    from collections.abc import Iterator

PATCHES = {"3.10": "3.10.19", "3.11": "3.11.14", "3.12": "3.12.12", "3.13": "3.13.11"}
# What compiles at run time, an init, and the Python of each release.
DEBIAN = ("gcc", "libc6-dev", "g++", "dumb-init")
NOBLE = {"python3.12": "3.12.3-1ubuntu0.8", "python3.12-dev": "3.12.3-1ubuntu0.8"}
JAMMY = {"python3.10": "3.10.12-1~22.04.11", "python3.10-dev": "3.10.12-1~22.04.11"}
CREATED = "2025-12-01T00:00:00Z"
_TAG = re.compile(r"python:([0-9.]+)-slim")


class Hub(registry_server.Server):
    """Every tag is there; `tags` are those that were asked for."""

    def __init__(self, archive: MadeArchive) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.archive = archive
        self._made = _Made(self, archive)
        self.manifests = self._made

    def move(self, name: str, tag: str, python: str = "", created: str = CREATED) -> None:
        """Let a tag refer to a new image, with another Python if one is given."""
        self._made.make(name, tag, python, created)


class _Made(dict[tuple[str, str], tuple[str, bytes]]):
    """Manifests that come into being."""

    def __init__(self, hub: Hub, archive: MadeArchive) -> None:
        super().__init__()
        self._hub, self._archive = hub, archive

    def get(self, key: tuple[str, str], default: object = None) -> tuple[str, bytes]:
        del default
        if key not in self:
            self.make(*key)
        return self[key]

    def make(self, name: str, tag: str, python: str = "", created: str = CREATED) -> None:
        reference = f"{name.removeprefix('library/')}:{tag}"
        self._hub.tags.append(reference)
        found = _TAG.match(reference)
        version = python or (PATCHES.get(found[1], found[1]) if found else "")
        env = (f"PYTHON_VERSION={version}", "PATH=/usr/local/bin:/usr/bin") if found else ()
        files: dict[str, str | bytes] = {"var/lib/dpkg/status": status("libc6", "zlib1g")}
        files["usr/local/x"] = f"{reference} {len(self._hub.tags)}"
        files |= dict.fromkeys((KEYRING, UBUNTU), self._archive.keyring)
        if found:
            files["usr/local/bin/python3"] = "python"
        layers = [registry_server.layer(files)]
        rows = [
            {
                "mediaType": registry_server.MANIFEST,
                "digest": self._hub.image(layers, env, name, architecture, created),
                "size": 1,
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture in ("amd64", "arm64")
        ]
        self._hub.document(name, tag, registry_server.INDEX, {"manifests": rows})


@contextmanager
def made_hub() -> Iterator[tuple[Hub, str]]:
    """The hub, served, and the user's settings by which it is asked."""
    with made_archive() as archive:
        packages = {"bookworm": dict.fromkeys(DEBIAN, "1.0"), "noble": dict.fromkeys(DEBIAN, "1.0") | NOBLE}
        packages["jammy"] = dict.fromkeys(DEBIAN, "1.0") | JAMMY
        archive.suites.update(
            {suite: [paragraph(*each) for each in found.items()] for suite, found in packages.items()}
        )
        hub = Hub(archive)
        web = registry_server.start(hub)
        try:
            hosts = {"docker.io": hub.url, "snapshot.debian.org": archive.url, "snapshot.ubuntu.com": archive.url}
            yield hub, "[mirrors]\n" + "".join(f'"{host}" = "{url}"\n' for host, url in hosts.items())
        finally:
            web.shutdown()
            web.server_close()
