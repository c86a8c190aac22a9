"""The values of a decision about base images: the request, the locked packages and the result.

The module also compares versions of CUDA, drivers and packages, by their numbers alone.
"""

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
    """Return the architecture of a Docker platform: `arm64` for `linux/arm64/v8`."""
    return (*platform.split("/"), platform)[1]


def is_older_driver(version: str, bound: str) -> bool:
    """Whether a driver is older than `bound`.

    Only the parts that `version` has are compared: `525` is not older than 525.60.13.
    """
    numbers = version_numbers(version)
    return numbers < version_numbers(bound)[: len(numbers)]


def is_cudnn_compatible(version: str, needed: str) -> bool:
    """Whether a version of cuDNN has the same major and at least the same minor version as `needed`."""
    return not needed or (
        major_version(version) == major_version(needed) and version_numbers(version) >= version_numbers(needed)
    )


# The glibc that a wheel requires, from its file name.


_MANYLINUX_TAG = re.compile(r"manylinux(?:_([0-9]+)_([0-9]+)|(1|2010|2014))_")
_LEGACY_GLIBC = {"1": "2.5", "2010": "2.12", "2014": "2.17"}


def find_wheel_glibc(file: str) -> str | None:
    """Return the oldest glibc (X.Y) that a wheel supports according to its file name; None if the name states none."""
    if not file.endswith(".whl"):
        return None
    found = [_LEGACY_GLIBC[old] if old else f"{one}.{two}" for one, two, old in _MANYLINUX_TAG.findall(file)]
    return min(found, key=version_numbers, default=None)


# The CUDA version that locked packages contain or are built for. It is read from the packages, not from the spec.


# Packages that have the version of the CUDA runtime, the most reliable first.
PIP_RUNTIME_PATTERNS = (re.compile(r"nvidia-cuda-runtime(?:-cu[0-9]+)?"), re.compile(r"cuda-toolkit"))
CONDA_RUNTIME_PACKAGES = ("cuda-cudart", "cudatoolkit", "cuda-version")
_LOCAL_VERSION_PATTERN = re.compile(r"\+cu([0-9]{2})([0-9]+)$")


def find_cuda_releases(conda: Iterable[CondaPackage], pip: Iterable[PipPackage]) -> dict[str, str]:
    """Return the CUDA release (X.Y) of each package whose name, version or build states one, by name."""
    found = {each.name: minor_release(each.version) for each in conda if each.name in CONDA_RUNTIME_PACKAGES}
    for each in pip:
        if any(pattern.fullmatch(each.name) for pattern in PIP_RUNTIME_PATTERNS):
            found[each.name] = minor_release(each.version)
        elif release := parse_local_release(each.version):
            found[each.name] = release
    return found


def parse_local_release(version: str) -> str | None:
    """Return the CUDA release (X.Y) in a local version such as `2.6.0+cu124`."""
    found = _LOCAL_VERSION_PATTERN.search(version)
    return f"{found[1]}.{found[2]}" if found else None


# The request, the locked packages and the decision, as frozen values.


@dataclass(frozen=True, slots=True)
class BaseImageRequest:
    """The requirements of a spec for its base images. None and () mean that the spec states nothing.

    - `python`: X.Y, or X.Y.Z if exactly that version is requested.
    - `has_standalone_python`: whether a standalone build provides Python, because it is free-threaded or because the
      requested image has none.
    - `platforms`: the platforms, by the names that Docker uses.
    - `cuda`: the requested version, or that CUDA is excluded.
    - `system`: the name of the system in the catalogue (`ubuntu22.04`), or a code name of Debian.
    - `image`: the image that must be used.
    - `driver`: the oldest driver to support, with any number of parts (`535`, `535.54.03`).
    - `data_centre`: whether all GPUs are data-centre GPUs, on which cuda-compat runs newer CUDA with older
      drivers.
    - `compute`: GPU architectures (`8.0`).
    - `jit`: whether a compiler is needed at run time.
    - `gpu`: False if no GPU is used.
    - `glibc`: the oldest glibc (X.Y) that all locked packages run with.
    - `cmake`: the CMAKE_ARGS of the build.
    - `cuda_sdists`: the names of sdists whose build environment requests CUDA code.
    - `torch_sdists`: the names of sdists that are built with torch: they compile CUDA code if torch has CUDA.
    - `accept_old`: whether superseded images cause no warning.
    - `has_all_packages`: False if only some of the locked packages are known. Then a pin of the CUDA runtime
      stands for all libraries that usually come with it.
    """

    python: str | None = None
    has_standalone_python: bool = False
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
    cuda_sdists: tuple[str, ...] = ()
    torch_sdists: tuple[str, ...] = ()
    accept_old: bool = False
    has_all_packages: bool = True


class PackageSummary(NamedTuple):
    """One locked package.

    `kind` is `wheel`, `sdist` or `conda`, `build` the build string of a conda package, and `file` the file name
    of a pip package, if known.
    """

    name: str
    version: str
    kind: str
    build: str = ""
    file: str = ""

    def __str__(self) -> str:
        """Return the package as the explanation shows it."""
        return f"{self.name}=={self.version}" + (f" ({self.kind})" if self.kind == "sdist" else "")


def summarize_packages(pip: tuple[PipPackage, ...], conda: tuple[CondaPackage, ...]) -> tuple[PackageSummary, ...]:
    """Return the facts about the locked packages of one platform that the decision uses."""
    return (
        *(PackageSummary(each.name, each.version, each.kind, file=each.file) for each in pip),
        *(PackageSummary(each.name, each.version, "conda", each.build) for each in conda),
    )


class StageImage(NamedTuple):
    """The base image of a stage: tag, digest if known, system, glibc (X.Y) and the source of its Python.

    `python_source` is `image` (the image contains it), `distribution` (a package of the system), `standalone` or
    `conda`. `flavour` is the flavour of an nvidia/cuda image, and `cuda` its CUDA version; "" for other images.
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
        """The system as the lock names it: `ubuntu-24.04`."""
        return re.sub(r"(?<=[a-z])(?=[0-9])", "-", self.system, count=1)


@dataclass(frozen=True, slots=True)
class BaseImageResult:
    """The decision and its explanation. `build` and `run` are None if there are errors.

    `cuda` is the CUDA version in use (X.Y.Z, or X.Y if the lock has no patch version). `driver` is the oldest
    driver that supports it, and `image_driver` the oldest driver with which the run image starts on every GPU,
    None if the image does not check. `compute` are the GPU architectures that CUDA and the frameworks have in
    common. `<environment>` and `<site-packages>` in `env` are placeholders for paths that are known later.
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
    """Return the labels that show the CUDA version and the oldest supported driver without running the image."""
    labels = {"envcompile.cuda": cuda, "envcompile.driver": driver}
    return {name: value for name, value in labels.items() if value}
