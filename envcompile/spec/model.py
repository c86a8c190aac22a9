"""The data model of a spec: `Spec`, and a class for each of its tables. All are immutable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envcompile.spec.conda import CondaRequirement
    from envcompile.spec.pip import PipRequirement

# The tables that request packages, in their key `packages`.
PACKAGE_TABLES = ("conda", "pip", "apt")


@dataclass(frozen=True, slots=True)
class BaseImageSpec:
    """`[image.base]`: the base image, and its properties if envcompile cannot determine them itself.

    `image` is `name[:tag][@sha256:digest]`, `os` for example `debian-12`, `glibc` X.Y, `python` X.Y.Z, and
    `python_path` the path of the interpreter in the image.
    """

    image: str
    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    python_path: str | None = None


@dataclass(frozen=True, slots=True)
class HealthCheckSpec:
    """`[image] healthcheck`: the command that checks a running container, and how often Docker runs it.

    `interval`, `timeout` and `start_period` are durations such as `1m30s`; None is Docker's default.
    """

    command: tuple[str, ...]
    interval: str | None = None
    timeout: str | None = None
    start_period: str | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """`[image]`: the repository, base, settings and start command of the final image. Mappings are sorted by key.

    `user` is (UID, GID), and `stop_signal` the name of a signal such as `SIGINT`. With `init`, a locked init program is
    the first process of a container. `allow_secret_names` are names of variables and labels that only look like those
    of secrets.
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
    init: bool = False
    stop_signal: str | None = None
    healthcheck: HealthCheckSpec | None = None
    allow_secret_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtraIndex:
    """An extra index: its name, its URL without credentials, and the names or globs of the packages that it serves."""

    name: str
    url: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SdistMetadataOverride:
    """`[pip.metadata.NAME]`: metadata from the user for an sdist without complete static metadata.

    `requires_dist` and `requires_python` (a PEP 440 range) replace the metadata of the sdist unless they are None.
    `build_requires` are added to the build requirements in its pyproject.toml. `build_env` has the environment
    variables for the build of the sdist, sorted by name.
    """

    name: str
    requires_dist: tuple[PipRequirement, ...] | None = None
    requires_python: str | None = None
    build_requires: tuple[PipRequirement, ...] = ()
    build_env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PipSpec:
    """`[pip]`: requirements, packages to leave out of the lock (`exclude`), indexes, and the handling of sdists.

    The names in `exclude`, `allow_sdist` and `allow_overlap` are normalised (PEP 503); `metadata` is sorted by name.
    `allow_overlap` has packages that may contain the same files as another package, with other content.
    """

    packages: tuple[PipRequirement, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_sdist: tuple[str, ...] = ()
    allow_overlap: tuple[str, ...] = ()
    resolver: str = "uv"
    index: str | None = None
    extra_indexes: tuple[ExtraIndex, ...] = ()
    metadata: tuple[SdistMetadataOverride, ...] = ()


@dataclass(frozen=True, slots=True)
class CondaSpec:
    """`[conda]`: channels (names, URLs or paths) in order of priority, requirements, and the resolver.

    `provides` has pairs of a conda package and the distributions in it (PEP 503 names, sorted), sorted by package. They
    override envcompile's own table.
    """

    channels: tuple[str, ...] = ()
    packages: tuple[CondaRequirement, ...] = ()
    resolver: str = "rattler"
    provides: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class AptSpec:
    """`[apt]`: packages of the final image and of the build stage, and the archive's snapshot (RFC 3339, UTC)."""

    packages: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class CudaRequest:
    """`cuda.version`: the requested CUDA version, or whether CUDA is excluded (`version = false`).

    `version` is X or X.Y, or None if the spec does not request a version.
    """

    version: str | None = None
    is_excluded: bool = False

    def __bool__(self) -> bool:
        """Return whether the spec sets `cuda.version`."""
        return self.is_excluded or self.version is not None

    def __str__(self) -> str:
        """Return the value as written in the spec, without quotes; empty if it is not set."""
        return "false" if self.is_excluded else self.version or ""


ANY_CUDA = CudaRequest()
NO_CUDA = CudaRequest(is_excluded=True)


@dataclass(frozen=True, slots=True)
class CudaSpec:
    """`[cuda]`: the requested version, the oldest driver to support, and the GPU architectures.

    With `jit`, the image gets a C compiler for packages that compile code at run time.
    """

    request: CudaRequest = ANY_CUDA
    driver: str | None = None
    compute: tuple[str, ...] = ()
    jit: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """The environment that the user requests.

    `python` is X.Y or X.Y.Z, or None, and `free_threaded` tells whether its free-threaded build is requested;
    `platforms` are conda names in the order of the spec; `exclude_newer` is RFC 3339 in UTC; `tools` has
    (tool, image) pairs; `exports` are the files that `envcompile lock` writes beside the lock.
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
    free_threaded: bool = False
