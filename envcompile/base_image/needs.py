"""Determines what the locked packages need from the base images, and what of that the lock has already (step 2).

A need may be CUDA libraries, a compiler, a variable or a Debian package.

The needs of each package are rows of the catalogue. `DecisionInputs` collects the request, the needs and the
locked CUDA for the later steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.locked_cuda import check_nvcc_release, group_by_major
from envcompile.base_image.model import is_cudnn_compatible, parse_local_release, platform_architecture
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import Step
from envcompile.versions import is_in_range, major_version, minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.base_image.catalogue import Catalogue, PackageNeed
    from envcompile.base_image.locked_cuda import LockedCuda
    from envcompile.base_image.model import BaseImageRequest, PackageSummary


class DecisionInputs(NamedTuple):
    """The inputs of the later steps."""

    request: BaseImageRequest
    locked_cuda: LockedCuda
    needs: ImageNeeds
    catalogue: Catalogue

    @property
    def requested_cuda(self) -> str:
        """The CUDA version that the spec requests, or "" if it requests none."""
        return self.request.cuda.version or ""

    @property
    def needs_cuda_image(self) -> bool:
        """Whether a stage needs an nvidia/cuda image."""
        return bool(self.needs.run_features or self.needs.build_features)

    @property
    def cuda_major(self) -> str:
        """The major version of CUDA: that of the lock, of the packages or of the spec, otherwise the default one."""
        known = [*group_by_major(self.locked_cuda), *self.needs.cuda_majors]
        return str(known[0]) if known else self.requested_cuda.partition(".")[0] or self.catalogue.policy.default_major


# Gathering the needs.


_CMAKE_TRUE_PATTERN = r"=(?:on|true|yes|y|1)\b"
# Wheels for CUDA 13 and later share a folder for their libraries, except cuDNN.
_FIRST_SHARED_FOLDER_MAJOR = 13


_LIBRARY_SEARCH_DECISIONS = {
    "own": "finds the locked CUDA libraries itself; of the image it needs the driver alone",
    "preload": "can be told to load the locked CUDA libraries; of the image it needs the driver alone",
    "path": "finds the locked CUDA libraries through LD_LIBRARY_PATH; of the image it needs the driver alone",
    "home": "finds the locked nvcc through CUDA_HOME; of the image it needs the driver alone",
}


class NeedContext(NamedTuple):
    """The facts that decide whether a need applies and is met."""

    request: BaseImageRequest
    locked_cuda: LockedCuda
    catalogue: Catalogue


class UnmetNeed(NamedTuple):
    """A need of a package that the lock does not meet."""

    package: str
    need: PackageNeed


@dataclass(slots=True)
class ImageNeeds:
    """The needs of all packages.

    - `run_features`, `build_features`: the features that the images must have (base, runtime, cudnn, devel).
    - `unmet_needs`: the needs because of which the run image must have its features.
    - `cuda_majors`: the packages that need each major version of CUDA, whether the lock contains it or not.
    - `apt_packages`: Debian packages, each with the oldest CUDA release (X.Y) for which it is needed, or "".
    - `compute_minimums`: packages, each with the oldest GPU architecture that it supports.
    - `toolchain`: `conda` or `pip` if a locked nvcc compiles the packages, otherwise "".
    """

    run_features: set[str] = field(default_factory=set)
    build_features: set[str] = field(default_factory=set)
    unmet_needs: list[UnmetNeed] = field(default_factory=list)
    cuda_majors: dict[int, list[str]] = field(default_factory=dict)
    apt_packages: list[tuple[str, str]] = field(default_factory=list)
    library_folders: list[str] = field(default_factory=list)
    self_locating_packages: list[str] = field(default_factory=list)
    compiled_packages: list[str] = field(default_factory=list)
    compute_minimums: list[tuple[str, str]] = field(default_factory=list)
    toolchain: str = ""
    needs_headers: bool = False
    needs_driver: bool = False
    cuda_home: str = ""
    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)
    explanation: list[Step] = field(default_factory=list)


def gather_needs(
    request: BaseImageRequest, packages: Iterable[PackageSummary], found: LockedCuda, catalogue: Catalogue
) -> ImageNeeds:
    """Apply the rows of the catalogue that are about locked packages, and return the needs.

    If no GPU is used, only compilers that need no CUDA remain among them.
    """
    needs, context = ImageNeeds(), NeedContext(request, found, catalogue)
    packages = sorted(packages)
    names = {package.name for package in packages}
    for package in packages:
        for need in catalogue.package_needs.get(package.name, ()):
            if not _is_applicable(need, package, context):
                continue
            if spared := next((each for each in need.unless if names.issuperset(each.split())), None):
                decision = f"what it would need otherwise comes with {' and '.join(spared.split())}"
                needs.explanation.append(Step(2, "spared", (str(package),), decision, source=need.source))
            else:
                _apply_need(needs, need, package, context)
    for package in packages:
        _apply_signs_of_cuda(needs, package, context)
    if needs.compiled_packages and (toolchain := _find_toolchain(needs, names, context)):
        needs.toolchain, needs.build_features = toolchain, set()
    if needs.toolchain == "conda" and (error := check_nvcc_release(found)):
        needs.warnings.append(error)
    return needs


def _is_applicable(need: PackageNeed, package: PackageSummary, context: NeedContext) -> bool:
    request = context.request
    if (need.kinds and package.kind not in need.kinds) or not is_in_range(package.version, need.low, need.below):
        return False
    if need.architecture and need.architecture not in {platform_architecture(each) for each in request.platforms}:
        return False
    if request.gpu is False and (need.when != "jit" or need.run):
        return False
    if need.when == "jit":
        return request.jit or (need.warns and request.gpu is not False)
    if need.when == "alone":
        # Many CPU environments contain numba, so it counts only if a GPU is requested and no package contains CUDA.
        return is_gpu_requested(request) and not context.locked_cuda.pins
    return not need.when or bool(
        re.search(f"-D(?:{'|'.join(need.when.split())}){_CMAKE_TRUE_PATTERN}", request.cmake, re.IGNORECASE)
    )


def is_gpu_requested(request: BaseImageRequest) -> bool:
    """Whether the spec requests a GPU, whatever its packages need."""
    return bool(request.gpu or request.cuda.version or request.driver or request.compute)


def _apply_need(needs: ImageNeeds, need: PackageNeed, package: PackageSummary, context: NeedContext) -> None:
    if need.warns and not context.request.jit:
        needs.warnings.append(_create_run_time_compiler_warning(need, package))
        return
    inputs = (str(package),)
    kind = "cpu" if need.kind == "bundled" and package.version.endswith("+cpu") else need.kind
    if kind == "cpu":
        if parse_local_release(package.version) is None:
            _apply_cpu_only_need(needs, need, package, context)
    elif kind == "conda":
        _apply_conda_need(needs, need, package)
    elif kind == "bundled":
        decision = "brings its CUDA libraries, or shares those of the lock; of the image it needs the driver alone"
        needs.explanation.append(Step(2, "bundled", inputs, decision, source=need.source))
        needs.needs_driver |= need.driver
    else:
        if need.minimum:
            needs.cuda_majors.setdefault(major_version(need.minimum), []).append(str(package))
        if need.compute:
            needs.compute_minimums.append((str(package), need.compute))
        if kind == "compile":
            needs.compiled_packages.append(str(package))
            needs.build_features |= {"devel", *need.build}
            decision = "compiles CUDA code: nvcc in the build stage"
            needs.explanation.append(Step(2, "compiled", inputs, decision, source=need.source))
        _apply_run_need(needs, need, package, context)


def _create_run_time_compiler_warning(need: PackageNeed, package: PackageSummary) -> Diagnostic:
    compiler = "nvcc" if need.run else "a C compiler"
    message = f"`{package.name}` {package.version} compiles code when it runs, which needs {compiler} in the image"
    hint = f"write `jit = true` in `[cuda]`, which adds {compiler} to the image"
    return Diagnostic("run-time-compiler", message, hint=hint)


# Values of a variable that switch something off.
_OFF = ("", "0", "false", "off", "no")


def find_cuda_sign(variables: Iterable[tuple[str, str]]) -> bool | None:
    """Whether the environment variables of a build request CUDA code (True) or exclude it (False); None if neither."""
    known = dict(variables)
    if "FORCE_CUDA" in known:
        return known["FORCE_CUDA"].lower() not in _OFF
    if any(known.get(name, "").lower() not in _OFF for name in ("WITH_CUDA", "USE_CUDA", "BUILD_CUDA_EXT")):
        return True
    if "TORCH_CUDA_ARCH_LIST" in known or "CUDA_HOME" in known:
        return True
    options = re.findall(rf"-D(\w+){_CMAKE_TRUE_PATTERN}", known.get("CMAKE_ARGS", ""), re.IGNORECASE)
    return True if any("CUDA" in name.upper() for name in options) else None


def _apply_signs_of_cuda(needs: ImageNeeds, package: PackageSummary, context: NeedContext) -> None:
    """Add nvcc to the build stage for an sdist that appears to compile CUDA code, with a warning.

    The needs of sdists with a row in the catalogue are already known.
    """
    request = context.request
    is_known = any("sdist" in need.kinds for need in context.catalogue.package_needs.get(package.name, ()))
    if package.kind != "sdist" or is_known or request.gpu is False or request.cuda.is_excluded:
        return
    is_declared = package.name in request.cuda_sdists
    if not is_declared and not (package.name in request.torch_sdists and context.locked_cuda.pins):
        return
    sign = "its build environment asks for CUDA" if is_declared else "it is built with a torch that has CUDA"
    needs.compiled_packages.append(str(package))
    needs.build_features.add("devel")
    decision = f"appears to compile CUDA code, because {sign}: nvcc in the build stage"
    needs.explanation.append(Step(2, "compiled", (str(package),), decision, source="docs/base.md, signs of CUDA"))
    message = f"`{package.name}` {package.version} appears to compile CUDA code: {sign}"
    hint = (
        f'the build stage has nvcc; if it compiles none, write `build-env = {{ FORCE_CUDA = "0" }}` in '
        f"`[pip.metadata.{package.name}]`"
    )
    needs.warnings.append(Diagnostic("cuda-sdist", message, hint=hint))


def _apply_cpu_only_need(needs: ImageNeeds, need: PackageNeed, package: PackageSummary, context: NeedContext) -> None:
    request = context.request
    is_surprise = need.surprise or is_gpu_requested(request)
    decision = "has no CUDA and runs on the CPU"
    needs.explanation.append(Step(2, "cpu-only", (str(package),), decision, source=need.source))
    if is_surprise:
        message = f"the locked wheel of `{package.name}` {package.version} has no CUDA"
        hint = (
            "take a release or an index that has builds with CUDA; or keep CUDA out with `version = false` in `[cuda]`"
        )
        if need.surprise and request.compute and not (context.locked_cuda.pins or context.locked_cuda.libraries):
            # No other package uses a GPU, so none of the requested architectures is supported.
            wanted = " and ".join(request.compute)
            message += f", so nothing in the lock supports GPU architecture {wanted}"
            needs.errors.append(Diagnostic("compute-unsupported", message, hint=hint))
            return
        needs.warnings.append(Diagnostic("cpu-only-wheel", message, hint=hint))


def _apply_conda_need(needs: ImageNeeds, need: PackageNeed, package: PackageSummary) -> None:
    if "cpu" in package.build.split("_"):
        message = f"conda locked `{package.name}` {package.version} as `{package.build}`, a build without CUDA"
        hint = "request a CUDA version in `[cuda]`, or exclude CUDA with `version = false`"
        needs.errors.append(Diagnostic("conda-cpu-build", message, hint=hint))
    else:
        decision = "conda brings the CUDA libraries; of the image it needs the driver alone"
        needs.explanation.append(Step(2, "bundled", (str(package),), decision, source=need.source))


def _apply_run_need(needs: ImageNeeds, need: PackageNeed, package: PackageSummary, context: NeedContext) -> None:
    if not need.run:
        _add_run_time_compiler(needs, need, package)
        return
    inputs, finds = (str(package),), need.finds
    if need.libraries and finds and _is_met_by_lock(need, context.locked_cuda):
        needs.explanation.append(
            Step(2, f"found-{finds}", inputs, _LIBRARY_SEARCH_DECISIONS[finds], source=need.source)
        )
        if finds == "own":
            needs.self_locating_packages.append(str(package))
        if finds == "path":
            needs.library_folders += [each for name in need.path if (each := _find_library_folder(name, context))]
        if finds == "home":
            _set_cuda_home(needs, need, package, context.locked_cuda)
        if finds == "preload":
            message = f"`{package.name}` {package.version} does not find the locked CUDA libraries by itself"
            hint = "call `onnxruntime.preload_dlls()`, from 1.21 on, or import torch first"
            needs.warnings.append(Diagnostic("onnxruntime-preload", message, hint=hint))
        return
    needs.run_features |= set(need.run)
    needs.unmet_needs.append(UnmetNeed(str(package), need))
    _add_run_time_compiler(needs, need, package)
    wanted = " and ".join([*need.run, *(name for name in need.apt if name.startswith("cuda-"))])
    bound = (f", CUDA {need.minimum} or newer" if need.minimum else "") + (
        f", cuDNN {need.cudnn}" if need.cudnn else ""
    )
    needs.explanation.append(Step(2, "system", inputs, f"needs of the run image: {wanted}{bound}", source=need.source))


def _set_cuda_home(needs: ImageNeeds, need: PackageNeed, package: PackageSummary, found: LockedCuda) -> None:
    """Set CUDA_HOME to the folder of the locked nvcc.

    The conda package of nvcc has its own host compiler; the wheels use the host compiler of the system.
    """
    nvcc = found.libraries["nvcc"]
    if nvcc.is_conda:
        needs.cuda_home = "<environment>"
        return
    needs.cuda_home = f"<site-packages>/nvidia/cu{nvcc.major}"
    own = tuple(each for each in need.apt if not each.startswith("cuda-"))
    _add_run_time_compiler(needs, need._replace(apt=own, run=()), package)


def _add_run_time_compiler(needs: ImageNeeds, need: PackageNeed, package: PackageSummary) -> None:
    needs.apt_packages += [(name, need.apt_from) for name in need.apt]
    needs.needs_headers |= need.headers
    if need.apt and not need.run:
        decision = f"compiles at run time: {', '.join(need.apt)}"
        needs.explanation.append(Step(2, "run-time-compiler", (str(package),), decision, source=need.source))


def _is_met_by_lock(need: PackageNeed, found: LockedCuda) -> bool:
    """Whether the lock contains the needed libraries for the right major version of CUDA, in sufficient versions."""
    versions = [found.libraries.get(name) for name in need.libraries]
    if not all(versions) or (
        need.minimum and any(each and each.major != major_version(need.minimum) for each in versions)
    ):
        return False
    toolkit = found.toolkit
    if need.minimum and toolkit and version_numbers(minor_release(toolkit)) < version_numbers(need.minimum):
        return False
    cudnn = found.libraries["cudnn"].version if "cudnn" in need.libraries else ""
    return need.resolved or not cudnn or is_cudnn_compatible(cudnn, need.cudnn)


def _find_library_folder(name: str, context: NeedContext) -> str | None:
    library = context.locked_cuda.libraries.get(name)
    if library is None:
        return None
    if library.is_conda:
        return "<environment>/lib"
    folder = (
        f"cu{library.major}"
        if library.major >= _FIRST_SHARED_FOLDER_MAJOR and name != "cudnn"
        else context.catalogue.libraries[name].folder
    )
    return f"<site-packages>/nvidia/{folder}/lib"


def _find_toolchain(needs: ImageNeeds, names: set[str], context: NeedContext) -> str:
    """Return `conda` or `pip` if an nvcc in the lock can compile the packages; "" if a devel image is needed."""
    libraries, toolkit = context.locked_cuda.libraries, context.locked_cuda.toolkit
    nvcc, wheel = libraries.get("nvcc"), libraries.get("ptxas")
    if "cudnn" in needs.build_features:  # the headers of cuDNN are in its devel images
        return ""
    if nvcc and nvcc.is_conda and (not toolkit or major_version(nvcc.version) in {major_version(toolkit), 0}):
        return "conda"
    # Only wheels of CUDA 13 and later contain a complete nvcc, which needs headers of the same minor version.
    wanted = set(
        context.catalogue.nvcc_wheels if context.request.has_all_packages else context.catalogue.nvcc_wheels[:1]
    )
    if (
        wheel
        and not wheel.is_conda
        and toolkit
        and wanted <= names
        and minor_release(wheel.version) == minor_release(toolkit)
    ):
        return "pip"
    return ""
