"""One question with everything that the later steps look at."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.locked_cuda import check_nvcc_release, group_by_major
from envcompile.base_image.model import BaseImageDiagnostic
from envcompile.base_image.versions import (
    is_cudnn_compatible,
    is_in_range,
    major_version,
    minor_release,
    parse_local_release,
    platform_architecture,
    version_numbers,
)
from envcompile.lock.model import Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.base_image.catalogue import Catalogue, PackageNeed
    from envcompile.base_image.locked_cuda import LockedCuda
    from envcompile.base_image.model import BaseImageRequest, PackageSummary


class DecisionInputs(NamedTuple):
    """All that the later steps look at."""

    question: BaseImageRequest
    found: LockedCuda
    needs: ImageNeeds
    catalogue: Catalogue

    @property
    def cuda(self) -> str:
        """The version that the spec asks for; empty where it asks for none."""
        return self.question.cuda if isinstance(self.question.cuda, str) else ""

    @property
    def needs_image(self) -> bool:
        """Whether a stage stands on an nvidia/cuda image."""
        return bool(self.needs.run or self.needs.build)

    @property
    def major(self) -> str:
        """The major version of CUDA: the lock's, the packages', the spec's, or the usual one."""
        known = [*group_by_major(self.found), *self.needs.majors]
        return str(known[0]) if known else self.cuda.partition(".")[0] or self.catalogue.policy.major


# What the locked packages need of an image, at build and at run, and which of it the lock brings already (step 2).


_CMAKE_TRUE_PATTERN = r"=(?:on|true|yes|y|1)\b"
# Where the wheels for CUDA 13 and later have their libraries; cuDNN kept a folder of its own.
_FIRST_SHARED_FOLDER_MAJOR = 13


_LIBRARY_SEARCH_DECISIONS = {
    "own": "finds the locked CUDA libraries itself; of the image it needs the driver alone",
    "preload": "can be told to load the locked CUDA libraries; of the image it needs the driver alone",
    "path": "finds the locked CUDA libraries through LD_LIBRARY_PATH; of the image it needs the driver alone",
    "home": "finds the locked nvcc through CUDA_HOME; of the image it needs the driver alone",
}


class NeedContext(NamedTuple):
    """What a need is held against."""

    question: BaseImageRequest
    found: LockedCuda
    catalogue: Catalogue


class UnmetNeed(NamedTuple):
    """A package's need that the lock does not meet."""

    package: str
    need: PackageNeed


@dataclass(slots=True)
class ImageNeeds:
    """What was found, gathered package by package.

    `run` and `build` are features of an image (base, runtime, cudnn, devel); `unmet` the needs behind those of the run;
    `majors` the major versions of CUDA that packages need, met or not; `toolchain` is `conda` or `pip` where nvcc is
    locked.
    """

    run: set[str] = field(default_factory=set)
    build: set[str] = field(default_factory=set)
    unmet: list[UnmetNeed] = field(default_factory=list)
    majors: dict[int, list[str]] = field(default_factory=dict)
    apt: list[tuple[str, str]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    own_search: list[str] = field(default_factory=list)
    compiled: list[str] = field(default_factory=list)
    compute: list[tuple[str, str]] = field(default_factory=list)
    toolchain: str = ""
    headers: bool = False
    driver: bool = False
    home: str = ""
    errors: list[BaseImageDiagnostic] = field(default_factory=list)
    warnings: list[BaseImageDiagnostic] = field(default_factory=list)
    trail: list[Step] = field(default_factory=list)


def gather_needs(
    question: BaseImageRequest, packages: Iterable[PackageSummary], found: LockedCuda, catalogue: Catalogue
) -> ImageNeeds:
    """Every row of the catalogue's table that is about a locked package, applied. No GPU wanted: nothing is needed."""
    gathered, about = ImageNeeds(), NeedContext(question, found, catalogue)
    packages = sorted(packages)
    names = {package.name for package in packages}
    for package in packages:
        for need in catalogue.needs.get(package.name, ()):
            if not _is_applicable(need, package, about):
                continue
            if spared := next((each for each in need.unless if names.issuperset(each.split())), None):
                decision = f"what it would need otherwise comes with {' and '.join(spared.split())}"
                gathered.trail.append(Step(2, "spared", (str(package),), decision, source=need.source))
            else:
                _apply_need(gathered, need, package, about)
    if gathered.compiled and (toolchain := _find_toolchain(gathered, names, about)):
        gathered.toolchain, gathered.build = toolchain, set()
    if gathered.toolchain == "conda" and (said := check_nvcc_release(found)):
        gathered.warnings.append(said)
    return gathered


def _is_applicable(need: PackageNeed, package: PackageSummary, about: NeedContext) -> bool:
    question = about.question
    if (need.kinds and package.kind not in need.kinds) or not is_in_range(package.version, need.low, need.below):
        return False
    if need.architecture and need.architecture not in {platform_architecture(each) for each in question.platforms}:
        return False
    if question.gpu is False and need.when != "jit":
        return False
    if need.when == "jit":
        return question.jit
    if need.when == "alone":
        # numba is in many locks for the CPU: it counts only where CUDA is asked for and nothing else uses it.
        return is_gpu_requested(question) and not about.found.pins
    return not need.when or bool(
        re.search(f"-D(?:{'|'.join(need.when.split())}){_CMAKE_TRUE_PATTERN}", question.cmake, re.IGNORECASE)
    )


def is_gpu_requested(question: BaseImageRequest) -> bool:
    """Whether the spec itself speaks of a GPU."""
    return bool(question.gpu or question.cuda or question.driver or question.compute)


def _apply_need(gathered: ImageNeeds, need: PackageNeed, package: PackageSummary, about: NeedContext) -> None:
    inputs = (str(package),)
    kind = "cpu" if need.kind == "bundled" and package.version.endswith("+cpu") else need.kind
    if kind == "cpu":
        if parse_local_release(package.version) is None:
            _apply_cpu_only_need(gathered, need, package, about.question)
    elif kind == "conda":
        _apply_conda_need(gathered, need, package)
    elif kind == "bundled":
        decision = "brings its CUDA libraries, or shares those of the lock; of the image it needs the driver alone"
        gathered.trail.append(Step(2, "bundled", inputs, decision, source=need.source))
        gathered.driver |= need.driver
    else:
        if need.minimum:
            gathered.majors.setdefault(major_version(need.minimum), []).append(str(package))
        if need.compute:
            gathered.compute.append((str(package), need.compute))
        if kind == "compile":
            gathered.compiled.append(str(package))
            gathered.build |= {"devel", *need.build}
            decision = "compiles CUDA code: nvcc in the build stage"
            gathered.trail.append(Step(2, "compiled", inputs, decision, source=need.source))
        _apply_run_need(gathered, need, package, about)


def _apply_cpu_only_need(
    gathered: ImageNeeds, need: PackageNeed, package: PackageSummary, question: BaseImageRequest
) -> None:
    said = need.surprise or is_gpu_requested(question)
    decision = "has no CUDA and runs on the CPU"
    gathered.trail.append(Step(2, "cpu-only", (str(package),), decision, source=need.source))
    if said:
        message = f"the locked wheel of `{package.name}` {package.version} has no CUDA"
        hint = (
            "take a release or an index that has builds with CUDA; or keep CUDA out with `version = false` in `[cuda]`"
        )
        gathered.warnings.append(BaseImageDiagnostic("W_CPU_ONLY_WHEEL", message, hint))


def _apply_conda_need(gathered: ImageNeeds, need: PackageNeed, package: PackageSummary) -> None:
    if "cpu" in package.build.split("_"):
        message = f"conda locked `{package.name}` {package.version} as `{package.build}`, a build without CUDA"
        hint = "ask for a CUDA in `[cuda]`, so that the solver is told of one; or keep it out with `version = false`"
        gathered.errors.append(BaseImageDiagnostic("E_CONDA_CPU_BUILD", message, hint))
    else:
        decision = "conda brings the CUDA libraries; of the image it needs the driver alone"
        gathered.trail.append(Step(2, "bundled", (str(package),), decision, source=need.source))


def _apply_run_need(gathered: ImageNeeds, need: PackageNeed, package: PackageSummary, about: NeedContext) -> None:
    if not need.run:
        _add_run_time_compiler(gathered, need, package)
        return
    inputs, finds = (str(package),), need.finds
    if need.libraries and finds and _is_met_by_lock(need, about.found):
        gathered.trail.append(Step(2, f"found-{finds}", inputs, _LIBRARY_SEARCH_DECISIONS[finds], source=need.source))
        if finds == "own":
            gathered.own_search.append(str(package))
        if finds == "path":
            gathered.folders += [each for name in need.path if (each := _find_library_folder(name, about))]
        if finds == "home":
            _set_cuda_home(gathered, need, package, about.found)
        if finds == "preload":
            message = f"`{package.name}` {package.version} does not find the locked CUDA libraries by itself"
            hint = "call `onnxruntime.preload_dlls()`, from 1.21 on, or import torch first"
            gathered.warnings.append(BaseImageDiagnostic("W_ORT_PRELOAD", message, hint))
        return
    gathered.run |= set(need.run)
    gathered.unmet.append(UnmetNeed(str(package), need))
    _add_run_time_compiler(gathered, need, package)
    wanted = " and ".join([*need.run, *(name for name in need.apt if name.startswith("cuda-"))])
    bound = (f", CUDA {need.minimum} or newer" if need.minimum else "") + (
        f", cuDNN {need.cudnn}" if need.cudnn else ""
    )
    gathered.trail.append(Step(2, "system", inputs, f"needs of the run image: {wanted}{bound}", source=need.source))


def _set_cuda_home(gathered: ImageNeeds, need: PackageNeed, package: PackageSummary, found: LockedCuda) -> None:
    """Where the locked nvcc is. conda's brings its host compiler along; the wheels' takes the system's."""
    nvcc = found.libraries["nvcc"]
    if nvcc.conda:
        gathered.home = "<environment>"
        return
    gathered.home = f"<site-packages>/nvidia/cu{nvcc.major}"
    own = tuple(each for each in need.apt if not each.startswith("cuda-"))
    _add_run_time_compiler(gathered, need._replace(apt=own, run=()), package)


def _add_run_time_compiler(gathered: ImageNeeds, need: PackageNeed, package: PackageSummary) -> None:
    gathered.apt += [(name, need.apt_from) for name in need.apt]
    gathered.headers |= need.headers
    if need.apt and not need.run:
        decision = f"compiles at run time: {', '.join(need.apt)}"
        gathered.trail.append(Step(2, "run-time-compiler", (str(package),), decision, source=need.source))


def _is_met_by_lock(need: PackageNeed, found: LockedCuda) -> bool:
    """Whether the lock holds what is needed, of the right major versions and new enough."""
    held = [found.libraries.get(name) for name in need.libraries]
    if not all(held) or (need.minimum and any(each and each.major != major_version(need.minimum) for each in held)):
        return False
    toolkit = found.toolkit
    if need.minimum and toolkit and version_numbers(minor_release(toolkit)) < version_numbers(need.minimum):
        return False
    cudnn = found.libraries["cudnn"].version if "cudnn" in need.libraries else ""
    return need.resolved or not cudnn or is_cudnn_compatible(cudnn, need.cudnn)


def _find_library_folder(name: str, about: NeedContext) -> str | None:
    held = about.found.libraries.get(name)
    if held is None:
        return None
    if held.conda:
        return "<environment>/lib"
    folder = (
        f"cu{held.major}"
        if held.major >= _FIRST_SHARED_FOLDER_MAJOR and name != "cudnn"
        else about.catalogue.libraries[name].folder
    )
    return f"<site-packages>/nvidia/{folder}/lib"


def _find_toolchain(gathered: ImageNeeds, names: set[str], about: NeedContext) -> str:
    """`conda` or `pip` where the lock has an nvcc that can compile what must be: then no devel image is needed."""
    libraries, toolkit = about.found.libraries, about.found.toolkit
    nvcc, wheel = libraries.get("nvcc"), libraries.get("ptxas")
    if "cudnn" in gathered.build:  # the headers of cuDNN are in its devel images
        return ""
    if nvcc and nvcc.conda and (not toolkit or major_version(nvcc.version) in {major_version(toolkit), 0}):
        return "conda"
    # Only the wheels of CUDA 13 and later hold a real nvcc, and only with the headers of the same minor version.
    wanted = set(about.catalogue.nvcc_wheel if about.question.whole else about.catalogue.nvcc_wheel[:1])
    if (
        wheel
        and not wheel.conda
        and toolkit
        and wanted <= names
        and minor_release(wheel.version) == minor_release(toolkit)
    ):
        return "pip"
    return ""
