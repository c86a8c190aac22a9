"""linux-64 = linux/amd64 = x86_64: the three spellings, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform in every spelling that a tool asks for.

    `name` as conda says it, `docker` as `docker --platform` takes it, `arch` as TARGETARCH spells it,
    `machine` as `uname -m`, wheel tags and the marker `platform_machine` spell it.
    """

    name: str
    docker_arch: str
    machine: str

    @property
    def docker_platform(self) -> str:
        """`linux/amd64`: what `docker build --platform` takes."""
        return f"linux/{self.docker_arch}"


PLATFORMS = {
    "linux-64": Platform("linux-64", "amd64", "x86_64"),
    "linux-aarch64": Platform("linux-aarch64", "arm64", "aarch64"),
}

# What people write for them, to be able to name the right one.
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
