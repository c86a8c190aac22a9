"""What a spec says, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envcompile.spec.conda import CondaRequirement
    from envcompile.spec.pip import PipRequirement

# The tables that request packages, each by its key `packages`.
PACKAGE_TABLES = ("conda", "pip", "apt")


@dataclass(frozen=True, slots=True)
class BaseImageSpec:
    """A base image as the spec gives it.

    `image` is `name[:tag][@sha256:digest]`. The rest is what the user says of an image that nobody knows:
    `os` such as `debian-12`, `glibc` X.Y, `python` X.Y.Z and `python_path`, the interpreter in the image.
    """

    image: str
    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    python_path: str | None = None


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """`[image]`: what the final image is called and how it starts. Mappings are sorted by key.

    `slim` asks to take away what is not needed to run.
    """

    repository: str | None = None
    base: BaseImageSpec | None = None
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    user: tuple[int, int] = (1000, 1000)
    workdir: str | None = None
    expose: tuple[int, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    slim: bool = False


@dataclass(frozen=True, slots=True)
class ExtraIndex:
    """An extra index: its name, its URL without userinfo, and the only packages (names or globs) it serves."""

    name: str
    url: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SdistMetadataOverride:
    """What the user says of an sdist whose own metadata only its code could tell.

    `requires_python` is a range (PEP 440). None, or ()
    for `build_requires`, leaves what the sdist says; `build_requires` are added to what its pyproject.toml asks for.
    `make_build_environment`, sorted by name, is set while it is built.
    """

    name: str
    requires_dist: tuple[PipRequirement, ...] | None = None
    requires_python: str | None = None
    build_requires: tuple[PipRequirement, ...] = ()
    build_env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PipSpec:
    """`[pip]`: requirements, and names of packages that are deliberately left out of the lock.

    The names in `exclude` and `allow_sdist` are normalised (PEP 503); `metadata` is sorted by name.
    """

    packages: tuple[PipRequirement, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_sdist: tuple[str, ...] = ()
    resolver: str = "uv"
    index: str | None = None
    extra_indexes: tuple[ExtraIndex, ...] = ()
    metadata: tuple[SdistMetadataOverride, ...] = ()


@dataclass(frozen=True, slots=True)
class CondaSpec:
    """`[conda]`: channels in order of priority (a name, a URL or a path), and requirements."""

    channels: tuple[str, ...] = ()
    packages: tuple[CondaRequirement, ...] = ()
    resolver: str = "rattler"


@dataclass(frozen=True, slots=True)
class AptSpec:
    """`[apt]`: packages of the run stage and of the build stage, from the archive at one moment (RFC 3339, UTC)."""

    packages: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class CudaRequest:
    """`cuda.version`: the CUDA version that the spec requests, or that CUDA is excluded (`version = false`).

    `version` is X or X.Y, None if the spec requests no particular version.
    """

    version: str | None = None
    is_excluded: bool = False

    def __bool__(self) -> bool:
        """Return whether the spec sets `cuda.version`."""
        return self.is_excluded or self.version is not None

    def __str__(self) -> str:
        """Return the value as the spec has it, without quotes; empty if it is not set."""
        return "false" if self.is_excluded else self.version or ""


ANY_CUDA = CudaRequest()
NO_CUDA = CudaRequest(is_excluded=True)


@dataclass(frozen=True, slots=True)
class CudaSpec:
    """`[cuda]`: the requested version, the oldest driver to support, GPU architectures, a compiler at run time."""

    request: CudaRequest = ANY_CUDA
    driver: str | None = None
    compute: tuple[str, ...] = ()
    jit: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """One environment as asked for.

    `python` is X.Y or X.Y.Z, None where no Python is asked for; `platforms` conda names in the order asked;
    `exclude_newer` RFC 3339 in UTC; `tools` maps a tool's name to its image; `exports` names files kept by the lock.
    """

    name: str
    python: str | None = None
    platforms: tuple[str, ...] = ("linux-64",)
    exclude_newer: str | None = None
    conda: CondaSpec = field(default_factory=CondaSpec)
    pip: PipSpec = field(default_factory=PipSpec)
    apt: AptSpec = field(default_factory=AptSpec)
    cuda: CudaSpec = field(default_factory=CudaSpec)
    image: ImageSpec = field(default_factory=ImageSpec)
    tools: tuple[tuple[str, str], ...] = ()
    exports: tuple[str, ...] = ()
