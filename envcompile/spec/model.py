"""What a spec says, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Base:
    """A base image as the spec gives it.

    `image` is `name[:tag]@sha256:digest`. The rest is what the user says of an image that nobody knows:
    `os` such as `debian-12`, `glibc` X.Y, `python` X.Y.Z and `python_path`, the interpreter in the image.
    """

    image: str
    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    python_path: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """`[image]`: what the final image is called and how it starts. Mappings are sorted by key."""

    repository: str | None = None
    base: Base | None = None
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    user: tuple[int, int] = (1000, 1000)
    workdir: str | None = None
    expose: tuple[int, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pip:
    """`[pip]`: requirements as written (PEP 508), and names of packages knowingly left out of the lock."""

    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """One environment as asked for.

    `python` is X.Y or X.Y.Z; `platforms` conda names in the order asked; `exclude_newer` RFC 3339 in UTC;
    `tools` maps a tool's name to its image.
    """

    name: str
    python: str
    platforms: tuple[str, ...] = ("linux-64",)
    exclude_newer: str | None = None
    pip: Pip = field(default_factory=Pip)
    image: Image = field(default_factory=Image)
    tools: tuple[tuple[str, str], ...] = ()
