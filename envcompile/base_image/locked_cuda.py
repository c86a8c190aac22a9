"""Finds the CUDA version and the CUDA libraries in the locked packages (step 1), and warns about unused libraries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.model import CONDA_RUNTIME_PACKAGES, PIP_RUNTIME_PATTERNS, parse_local_release
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import Step
from envcompile.spec.pip import parse_dependency_name
from envcompile.versions import major_version, minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.base_image.model import BaseImageRequest, PackageSummary
    from envcompile.lock.model import PlatformLock

# Build strings of conda-forge, `cuda126_py311h…`, and of pytorch's own channel, `py3.10_cuda11.8_cudnn8.7.0_0`.
_BUILD_PATTERN = re.compile(r"cuda_?([0-9]{2})\.?([0-9])")
_SUFFIX_PATTERN = re.compile(r"-cu([0-9]{2})$")
# Placeholder releases such as nvidia-cuda-runtime-cu13 0.0.1 contain no CUDA.
_MIN_CUDA_MAJOR = 9
_FIRST_UNSUFFIXED_MAJOR = 13
# Libraries that torch does not depend on: Triton contains ptxas, and torch needs neither libNVVM nor nvcc.
_LIBRARIES_NOT_WITH_TORCH = ("nvvm", "nvcc")


class CudaPin(NamedTuple):
    """A locked package that states a CUDA version.

    `rank` is 0 for the most reliable kind of pin; `toolkit` is X.Y.Z or X.Y.
    """

    rank: int
    package: PackageSummary
    toolkit: str


class LockedLibrary(NamedTuple):
    """A library in the lock: its version ("" if unknown), and the major version of CUDA that it is for."""

    version: str
    major: int
    is_conda: bool = False


class LockedCuda(NamedTuple):
    """The CUDA in a lock: the pins, the most reliable first, the libraries by name, and the package of torch."""

    pins: tuple[CudaPin, ...]
    libraries: dict[str, LockedLibrary]
    torch: PackageSummary | None

    @property
    def toolkit(self) -> str | None:
        """The CUDA release of the most reliable pin, or None if there is no pin."""
        return self.pins[0].toolkit if self.pins else None


def cuda_in_lock(request: BaseImageRequest, packages: Iterable[PackageSummary], catalogue: Catalogue) -> LockedCuda:
    """Return the pins and libraries among the packages.

    The pin of the most reliable kind decides about the CUDA version, even if another one has a higher version.
    """
    packages = sorted(packages)
    pins = sorted(pin for package in packages if (pin := _find_pin(package, catalogue)))
    torch = next((each for each in packages if each.name in {"torch", "pytorch"}), None)
    return LockedCuda(tuple(pins), _find_libraries(request, packages, pins, catalogue), torch)


def _find_pin(package: PackageSummary, catalogue: Catalogue) -> CudaPin | None:
    name, version = package.name, package.version
    if package.kind == "conda":
        if name in CONDA_RUNTIME_PACKAGES:
            toolkit = minor_release(version) if name == "cuda-version" else _find_toolkit_release(version, catalogue)
            return CudaPin(3 if name == "cuda-version" else 2, package, toolkit)
        build = _BUILD_PATTERN.search(package.build)
        return CudaPin(5, package, f"{build[1]}.{build[2]}") if build else None
    for rank, pattern in enumerate(PIP_RUNTIME_PATTERNS):
        if pattern.fullmatch(name):
            toolkit = (
                _find_toolkit_release(version, catalogue)
                if rank == 0
                else ".".join(str(part) for part in version_numbers(version)[:3])
            )
            return CudaPin(rank, package, toolkit) if major_version(version) >= _MIN_CUDA_MAJOR else None
    release = parse_local_release(version)
    return CudaPin(4, package, release) if release else None


def _find_toolkit_release(runtime: str, catalogue: Catalogue) -> str:
    """Return the newest toolkit with this runtime, or X.Y of the runtime if it is unknown."""
    known = catalogue.runtimes.get(runtime)
    return max(known, key=version_numbers) if known else minor_release(runtime)


def _find_libraries(
    request: BaseImageRequest, packages: list[PackageSummary], pins: list[CudaPin], catalogue: Catalogue
) -> dict[str, LockedLibrary]:
    found = {} if request.has_all_packages else _infer_libraries(packages, pins, catalogue)
    first = major_version(pins[0].toolkit) if pins else 0
    # Since CUDA 13, the names of wheels have no suffix, and not all of these wheels have the version of CUDA.
    plain = next(
        (major_version(each.version) for each in packages if each.name == "nvidia-cuda-runtime"),
        _FIRST_UNSUFFIXED_MAJOR,
    )
    for package in packages:
        suffix = _SUFFIX_PATTERN.search(package.name)
        name = package.name[: suffix.start()] if suffix else package.name
        for library, row in catalogue.libraries.items():
            if package.kind == "conda":
                if name in row.conda_names:
                    found[library] = LockedLibrary(package.version, first, is_conda=True)
            elif name in row.pip_names or package.name in row.pip_names:
                found[library] = LockedLibrary(package.version, int(suffix[1]) if suffix else plain)
    if nvcc := _find_wheel_nvcc(packages, pins, catalogue):
        found.setdefault("nvcc", nvcc)
    return found


def _find_wheel_nvcc(packages: list[PackageSummary], pins: list[CudaPin], catalogue: Catalogue) -> LockedLibrary | None:
    """Return the nvcc in wheels of CUDA 13 and later, if all its parts have the minor version of the locked CUDA."""
    versions = {each.name: each.version for each in packages if each.kind != "conda"}
    parts = [versions.get(name, "") for name in catalogue.nvcc_wheels]
    if not pins or any(minor_release(each) != minor_release(pins[0].toolkit) for each in parts):
        return None
    return LockedLibrary(parts[0], major_version(parts[0]))


def _infer_libraries(
    packages: list[PackageSummary], pins: list[CudaPin], catalogue: Catalogue
) -> dict[str, LockedLibrary]:
    """Return the libraries that usually come with a pinned runtime, for a request with only some of the packages."""
    pin = next((pin for pin in pins if pin.rank in {0, 2}), None)
    if pin is None:
        return {}
    versions = {each.name: each.version for each in packages}
    rows = (row for row in catalogue.bundles if versions.get(row.package) == row.version)
    cudnn = next((row.cudnn for row in rows if row.runtime == pin.package.version), "")
    left_out = _LIBRARIES_NOT_WITH_TORCH if "torch" in versions else ("nvcc",)
    release, conda = major_version(pin.toolkit), pin.rank != 0
    return {
        name: LockedLibrary(cudnn if name == "cudnn" else "", release, conda)
        for name in catalogue.libraries
        if name not in left_out
    }


def check_nvcc_release(found: LockedCuda) -> Diagnostic | None:
    """Return a warning if nvcc has another minor version than the locked CUDA. torch only warns about this, too."""
    nvcc, toolkit = found.libraries.get("nvcc"), found.toolkit
    if not nvcc or not toolkit or minor_release(nvcc.version) == minor_release(toolkit):
        return None
    message = f"the locked packages are for CUDA {toolkit}, but the locked nvcc is {nvcc.version}"
    return Diagnostic("nvcc-minor-differs", message, hint="pin `cuda-nvcc` to the same release")


def group_by_major(found: LockedCuda) -> dict[int, list[str]]:
    """Return the packages that contain CUDA, by its major version."""
    by_major: dict[int, list[str]] = {}
    for pin in found.pins:
        by_major.setdefault(major_version(pin.toolkit), []).append(str(pin.package))
    return by_major


def explain_locked_cuda(found: LockedCuda) -> Step:
    """Return the step of the explanation about the CUDA in the lock."""
    inputs = tuple(str(pin.package) for pin in found.pins)
    decision = f"CUDA {found.toolkit} is in the lock" if found.pins else "no locked package brings CUDA"
    return Step(1, "bundled", inputs, decision, source="versions of the locked packages; runtime to toolkit: catalogue")


# Unused libraries: packages of NVIDIA in an environment that uses no GPU.


_GPU_LIBRARY_PATTERN = re.compile(
    r"nvidia-(?:nccl|nvshmem|nvjitlink|nvtx|nvvm|cufile|cusparselt|cuda-[a-z-]+|cublas|cudnn|cufft|curand|cusolver"
    r"|cusparse)(?:-cu[0-9]+)?"
)
# CPU-only distributions with a name of their own (metadata of the package index, 2026-11-22).
_CPU_ALTERNATIVES = {"xgboost": "xgboost-cpu"}


def iter_unused_libraries(platform: PlatformLock) -> Iterator[Diagnostic]:
    """Yield a warning for each CUDA library in an environment that uses no GPU, which the caller has checked."""
    for package in platform.pip:
        if not _GPU_LIBRARY_PATTERN.fullmatch(package.name):
            continue
        needing = [each.name for each in platform.pip if package.name in map(parse_dependency_name, each.depends)]
        size = f" ({package.size / 1e6:.0f} MB)" if package.size else ""
        by = f", for {' and '.join(f'`{each}`' for each in needing)}" if needing else ""
        message = f"`{package.name}` {package.version}{size} is locked{by}, and nothing here uses a GPU"
        leave = f'write `exclude = ["{package.name}"]` in `[pip]`'
        twins = [
            f"request `{_CPU_ALTERNATIVES[each]}` instead of `{each}`" for each in needing if each in _CPU_ALTERNATIVES
        ]
        yield Diagnostic("gpu-unused", message, hint=", or ".join([*twins, leave]))
