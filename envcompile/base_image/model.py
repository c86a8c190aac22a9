"""Versions of CUDA, drivers and packages, compared by their numbers alone: no range here ends at a pre-release."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from envcompile.spec.model import ANY_CUDA, CudaRequest
from envcompile.versions import major_version, minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.lock.model import CondaPackage, PipPackage, SizeSaving, Step


def platform_architecture(platform: str) -> str:
    """`linux/arm64/v8` is `arm64`."""
    return (*platform.split("/"), platform)[1]


def is_older_driver(version: str, bound: str) -> bool:
    """Whether a driver is older than `bound`, as far as it is told: `525` is no older than 525.60.13."""
    told = version_numbers(version)
    return told < version_numbers(bound)[: len(told)]


def is_cudnn_compatible(version: str, needed: str) -> bool:
    """Same major version, and at least the minor."""
    return not needed or (
        major_version(version) == major_version(needed) and version_numbers(version) >= version_numbers(needed)
    )


# The C library that the file name of a wheel requires.


_MANYLINUX_TAG = re.compile(r"manylinux(?:_([0-9]+)_([0-9]+)|(1|2010|2014))_")
_LEGACY_GLIBC = {"1": "2.5", "2010": "2.12", "2014": "2.17"}


def find_wheel_glibc(file: str) -> str | None:
    """The oldest glibc (X.Y) that the wheel says it runs with; None where it says none."""
    if not file.endswith(".whl"):
        return None
    found = [_LEGACY_GLIBC[old] if old else f"{one}.{two}" for one, two, old in _MANYLINUX_TAG.findall(file)]
    return min(found, key=version_numbers, default=None)


# Which CUDA the locked packages bring or are built for: read off their versions, never off what was asked.


# Packages whose own version is that of the CUDA runtime they hold or stand for, the surest first.
PIP_RUNTIME_PATTERNS = (re.compile(r"nvidia-cuda-runtime(?:-cu[0-9]+)?"), re.compile(r"cuda-toolkit"))
CONDA_RUNTIME_PACKAGES = ("cuda-cudart", "cudatoolkit", "cuda-version")
_LOCAL_VERSION_PATTERN = re.compile(r"\+cu([0-9]{2})([0-9]+)$")


def find_cuda_releases(conda: Iterable[CondaPackage], pip: Iterable[PipPackage]) -> dict[str, str]:
    """Package name to the release of CUDA (X.Y) that it says, of the packages that say one."""
    found = {each.name: minor_release(each.version) for each in conda if each.name in CONDA_RUNTIME_PACKAGES}
    for each in pip:
        if any(pattern.fullmatch(each.name) for pattern in PIP_RUNTIME_PATTERNS):
            found[each.name] = minor_release(each.version)
        elif release := parse_local_release(each.version):
            found[each.name] = release
    return found


def parse_local_release(version: str) -> str | None:
    """The release of CUDA (X.Y) in a local version such as `2.6.0+cu124`."""
    found = _LOCAL_VERSION_PATTERN.search(version)
    return f"{found[1]}.{found[2]}" if found else None


# The request, the locked packages and the decision, as frozen values.


@dataclass(frozen=True, slots=True)
class BaseImageRequest:
    """What the spec says of the base. None and () are: not said.

    `python` X.Y; `platforms` as Docker names them; `cuda` the requested version or none;
    `system` as the catalogue names it (`ubuntu22.04`) or a Debian code name; `image` a base to be taken as it is;
    `driver` the oldest one to support, as far as it is known (`535`); `data_centre` whether all GPUs are, so that newer
    CUDA runs on older drivers through cuda-compat; `compute` GPU architectures (`8.0`); `jit` a compiler at run time;
    `gpu` False where none is wanted; `glibc` the oldest that everything locked runs with (X.Y); `cmake` CMAKE_ARGS of
    the build; `accept_old` says that superseded images are known to be. `whole` is False where the packages are only
    some of the lock's: then a runtime's pin stands for the libraries that come with it.
    """

    python: str | None = None
    platforms: tuple[str, ...] = ("linux/amd64",)
    cuda: CudaRequest = ANY_CUDA
    system: str | None = None
    image: str | None = None
    driver: str | None = None
    data_centre: bool = False
    compute: tuple[str, ...] = ()
    jit: bool = False
    gpu: bool | None = None
    glibc: str | None = None
    cmake: str = ""
    accept_old: bool = False
    has_all_packages: bool = True


class PackageSummary(NamedTuple):
    """One locked package: `kind` is `wheel`, `sdist` or `conda`, `build` conda's, `file` pip's, as far as known."""

    name: str
    version: str
    kind: str
    build: str = ""
    file: str = ""

    def __str__(self) -> str:
        """As it stands in the trail."""
        return f"{self.name}=={self.version}" + (f" ({self.kind})" if self.kind == "sdist" else "")


def summarize_packages(pip: tuple[PipPackage, ...], conda: tuple[CondaPackage, ...]) -> tuple[PackageSummary, ...]:
    """What a lock holds for one platform, as far as it matters here."""
    return (
        *(PackageSummary(each.name, each.version, each.kind, file=each.file) for each in pip),
        *(PackageSummary(each.name, each.version, "conda", each.build) for each in conda),
    )


class StageImage(NamedTuple):
    """A stage's base: its image by tag, the digest where one is known, its system, glibc (X.Y) and what Python it has.

    `python` is `image` (the base's own), `distribution` (the system's package), `standalone` or `conda`; `flavour` is
    that of an nvidia/cuda image, and `cuda` its version.
    """

    image: str
    system: str
    glibc: str
    python_source: str
    flavour: str = ""
    cuda: str = ""
    digest: str | None = None

    @property
    def os(self) -> str:
        """The system as a lock names it: `ubuntu-24.04`."""
        return re.sub(r"(?<=[a-z])(?=[0-9])", "-", self.system, count=1)


@dataclass(frozen=True, slots=True)
class BaseImageResult:
    """What was decided, and the way to it. `build` and `run` are None where an error forbids them.

    `cuda` is the toolkit's release that is used (X.Y.Z; X.Y where the lock says no more). `driver` is the oldest one
    that runs it at all, `image_driver` the oldest that the run image starts with on every GPU, None where it does not
    look. `compute` are the GPU architectures that CUDA and the frameworks have in common. `<environment>` and
    `<site-packages>` in `env` stand for what is known later.
    """

    build: StageImage | None = None
    run: StageImage | None = None
    cuda: str | None = None
    driver: str | None = None
    image_driver: str | None = None
    compute: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    build_env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    apt_build: tuple[str, ...] = ()
    apt_run: tuple[str, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    explanation: tuple[Step, ...] = ()
    saving: SizeSaving | None = None


# Constants of every image: the path of the environment, and the labels.


ENVIRONMENT_PATH = "/env"


def make_image_labels(cuda: str | None, driver: str | None) -> dict[str, str]:
    """What a reader of the image should know without running it: its CUDA, and the oldest driver that runs it."""
    told = {"envcompile.cuda": cuda, "envcompile.driver": driver}
    return {name: value for name, value in told.items() if value}
