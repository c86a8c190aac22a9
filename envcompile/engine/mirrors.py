"""What a build takes from mirrors: the Dockerfile has the canonical names.

BuildKit's named contexts say where images are, a secret where Debian packages are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envcompile.plan.apt import DISTRIBUTION_RELEASES
from envcompile.registry.reference import find_registry_url, locate_image

if TYPE_CHECKING:
    from collections.abc import Mapping

_FROM = re.compile(r"^FROM (?:--platform=\S+ )?(\S+@sha256:[0-9a-f]{64}) AS ", re.MULTILINE)


def contexts(dockerfile: str, mirrors: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """For each image of a Dockerfile whose registry has a mirror: its name as FROM writes it, and the mirror's.

    The digest stays, so no mirror can give anything else. `mirrors` as `locate` takes them. Raises `Unusable`.
    """
    found = []
    for image in dict.fromkeys(_FROM.findall(dockerfile)):
        place, canonical = locate_image(image, mirrors), locate_image(image, {})
        if (place.base, place.repository) != (canonical.base, canonical.repository):
            host = urlsplit(place.base).netloc
            found.append((image, f"docker-image://{host}/{place.repository}@{place.version}"))
    return tuple(found)


def archives(dockerfile: str, mirrors: Mapping[str, str]) -> str:
    """For each archive of Debian packages in a Dockerfile that has a mirror, a line `HOST URL`. Raises `Unusable`."""
    hosts = sorted({archive.host for release in DISTRIBUTION_RELEASES.values() for archive in release.archives})
    return "".join(
        f"{host} {find_registry_url(host, mirrors)}\n"
        for host in hosts
        if host in mirrors and f" http://{host}/" in dockerfile
    )
