"""The supported platforms with their names in conda, Docker and wheel tags, and the aliases that users write."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform and its names: `linux-64`, `amd64`, `x86_64`.

    `name` is conda's and the spec's name, `docker_arch` the value of TARGETARCH in a Dockerfile, and `machine` the
    architecture in `uname -m`, in wheel tags and in the marker `platform_machine`.
    """

    name: str
    docker_arch: str
    machine: str

    @property
    def docker_platform(self) -> str:
        """The value of `docker build --platform`: `linux/amd64`."""
        return f"linux/{self.docker_arch}"


PLATFORMS = {
    "linux-64": Platform("linux-64", "amd64", "x86_64"),
    "linux-aarch64": Platform("linux-aarch64", "arm64", "aarch64"),
}

# Other names that users write, and the platform that a hint suggests instead.
PLATFORM_ALIASES = {
    "linux/amd64": "linux-64",
    "amd64": "linux-64",
    "x86_64": "linux-64",
    "linux-x86_64": "linux-64",
    "linux-amd64": "linux-64",
    "linux/arm64": "linux-aarch64",
    "arm64": "linux-aarch64",
    "aarch64": "linux-aarch64",
    "linux-arm64": "linux-aarch64",
}
