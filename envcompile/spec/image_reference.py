"""Image references: `[registry/]repository[:tag][@sha256:digest]`, read as Docker reads them.

The grammar is that of the distribution project: https://github.com/distribution/reference.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# References name Docker Hub as `docker.io`, or by no registry at all. The other two are older names of it.
DOCKER_HUB = "docker.io"
DOCKER_HUB_ALIASES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
# Repositories of Docker Hub without a namespace, such as `python`, are in this one.
_OFFICIAL_NAMESPACE = "library"

_PATH_PART_PATTERN = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_PATTERN = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:[0-9]+/)|\[[0-9a-f:]+\])(?::[0-9]+)?/"
_REFERENCE_PATTERN = re.compile(
    rf"(?P<name>(?:{_HOST_PATTERN})?{_PATH_PART_PATTERN}(?:/{_PATH_PART_PATTERN})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class ImageReferenceParts(NamedTuple):
    """An image reference in its parts. `name` is the registry and the repository as written."""

    name: str
    tag: str | None
    digest: str | None

    def split_registry(self) -> tuple[str, str]:
        """The registry and the repository in it: `python` is (`docker.io`, `library/python`).

        As Docker does it: the first part of the name is a registry if it contains a dot or a port, or is `localhost`.
        """
        registry, slash, repository = self.name.partition("/")
        if not slash or not (registry == "localhost" or "." in registry or ":" in registry):
            registry, repository = DOCKER_HUB, self.name
        if registry not in DOCKER_HUB_ALIASES:
            return registry, repository
        return DOCKER_HUB, repository if "/" in repository else f"{_OFFICIAL_NAMESPACE}/{repository}"


def split_image_reference(image: str) -> ImageReferenceParts | None:
    """The parts of an image reference, or None if the text is not one."""
    found = _REFERENCE_PATTERN.fullmatch(image)
    return ImageReferenceParts(found["name"], found["tag"], found["digest"]) if found else None


def remove_digest(image: str) -> str:
    """The reference without its digest: `python:3.12@sha256:…` is `python:3.12`."""
    return image.partition("@")[0]
