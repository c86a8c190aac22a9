"""Decides about the base images of one platform, from the spec, the locked packages and the catalogue.

`decide_base_images` runs the steps of the other modules in order and returns the images of both stages, with the
environment variables, Debian packages and drivers that go with them. The first functions make its request from a
spec and a lock.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from envcompile.base_image.candidates import is_musl_requested, normalize_system_name
from envcompile.base_image.choose import choose_stages
from envcompile.base_image.compatibility import (
    Conflicts,
    check_requested_cuda,
    explain_conflicts,
    find_common_compute,
    find_conflicts,
    needs_cuda_compat,
    normalize_compute,
)
from envcompile.base_image.locked_cuda import cuda_in_lock, explain_locked_cuda
from envcompile.base_image.model import (
    BaseImageRequest,
    BaseImageResult,
    PackageSummary,
    find_wheel_glibc,
    make_image_labels,
    summarize_packages,
)
from envcompile.base_image.needs import DecisionInputs, find_cuda_sign, gather_needs, is_gpu_requested
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import SizeSaving, Step
from envcompile.platforms import PLATFORMS
from envcompile.versions import major_version, minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.base_image.candidates import StageChoice
    from envcompile.base_image.catalogue import Catalogue
    from envcompile.base_image.model import StageImage
    from envcompile.lock.model import PlatformLock
    from envcompile.spec.model import Spec


def spec_requests_gpu(spec: Spec) -> bool:
    """Whether the spec requests a GPU, with a key of `[cuda]`."""
    return bool(spec.cuda.request.version or spec.cuda.driver or spec.cuda.compute)


def select_packages(spec: Spec, platform: PlatformLock, catalogue: Catalogue) -> tuple[PackageSummary, ...]:
    """Return the locked packages that can affect the base image.

    If the spec requests no GPU, CPU builds from conda and packages that also run without a GPU need nothing of
    the image, so they are left out.
    """
    packages = summarize_packages(platform.pip, platform.conda)
    if spec_requests_gpu(spec):
        return packages
    idle = set(find_idle_gpu_packages(spec, platform, catalogue))
    return tuple(each for each in packages if "cpu" not in each.build.split("_") and each not in idle)


def find_idle_gpu_packages(spec: Spec, platform: PlatformLock, catalogue: Catalogue) -> tuple[PackageSummary, ...]:
    """Return the packages that could use a GPU but will run on the CPU.

    They do if the spec requests no GPU and the lock has no CUDA libraries that they find.
    """
    if spec_requests_gpu(spec):
        return ()
    packages, alone = summarize_packages(platform.pip, platform.conda), BaseImageRequest()
    found = cuda_in_lock(alone, packages, catalogue)
    able = (each for each in packages if _runs_without_gpu(each, catalogue))
    return tuple(each for each in able if gather_needs(alone, (each,), found, catalogue).run_features)


def find_build_environments(spec: Spec, platform: PlatformLock) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the environment variables with which each locked sdist is built, by its name.

    Those that the decision about the base images sets are not included.
    """
    stated = {each.name: each.build_env for each in spec.pip.metadata}
    sdists = (package for package in platform.pip if package.kind == "sdist")
    return {each.name: tuple({**dict(each.build_env), **dict(stated.get(each.name, ()))}.items()) for each in sdists}


def make_base_image_request(
    spec: Spec, platform: PlatformLock, catalogue: Catalogue, system: str | None = None
) -> BaseImageRequest:
    """Return the request for one platform.

    If `system` (a name of the catalogue) is given, no other system is allowed.
    """
    python, is_exact = platform.python, spec.python is not None and spec.python.count(".") > 1
    is_standalone = python is not None and python.source == "standalone"
    environments = find_build_environments(spec, platform)
    signs = {name: find_cuda_sign(variables) for name, variables in environments.items()}
    request = BaseImageRequest(
        python=spec.python if is_exact else minor_release(python.version) if python else spec.python,
        has_standalone_python=spec.free_threaded or (is_standalone and spec.image.base is not None),
        platforms=(PLATFORMS[platform.platform].docker_platform,),
        cuda=spec.cuda.request,
        system=system,
        image=spec.image.base.image if spec.image.base else None,
        driver=spec.cuda.driver,
        compute=spec.cuda.compute,
        jit=spec.cuda.jit,
        gpu=True if spec_requests_gpu(spec) else None,
        cmake=" ".join(value for env in environments.values() for name, value in env if name == "CMAKE_ARGS"),
        cuda_sdists=tuple(name for name, sign in signs.items() if sign),
        torch_sdists=tuple(
            build.name
            for build in platform.pip_build
            if signs.get(build.name) is not False and any(each.name == "torch" for each in build.packages)
        ),
    )
    if not spec_requests_gpu(spec) and not uses_cuda(
        request, select_packages(spec, platform, catalogue), catalogue, surely=True
    ):
        return dataclasses.replace(request, gpu=False)
    return request


def uses_cuda(
    request: BaseImageRequest, packages: tuple[PackageSummary, ...], catalogue: Catalogue, *, surely: bool
) -> bool:
    """Whether a locked package contains or needs CUDA.

    With `surely`, the needs of packages that also run without a GPU do not count.
    """
    found = cuda_in_lock(request, packages, catalogue)
    if found.pins or found.libraries:
        return True
    counted = tuple(each for each in packages if not (surely and _runs_without_gpu(each, catalogue)))
    needed = gather_needs(request, counted, found, catalogue)
    return bool(needed.run_features or needed.build_features or needed.cuda_majors or needed.needs_driver)


def _runs_without_gpu(package: PackageSummary, catalogue: Catalogue) -> bool:
    return any(need.cpu for need in catalogue.package_needs.get(package.name, ()))


# Wheels in place of packages from the apt archive of NVIDIA, which has no snapshots.


_CUDA_APT_NAME = re.compile(r"(cuda-[a-z-]+)-([0-9]+)-([0-9]+)")
# The wheels of the CUDA runtime contain its headers. Some wheels of CUDA 13 and later contain nvcc.
_HEADERS_PACKAGE, _COMPILER_PACKAGE = "cuda-cudart-dev", "cuda-nvcc"
_FIRST_UNSUFFIXED_MAJOR = 13


def find_replacement_wheels(decision: BaseImageResult, catalogue: Catalogue) -> tuple[str, ...] | Diagnostic:
    """Return requirements for wheels that replace NVIDIA's Debian packages in a decision, sorted.

    NVIDIA's apt archive has no snapshots, so its packages cannot be locked. Returns a diagnostic if no wheel can
    replace a package.
    """
    wheels: set[str] = set()
    for found in filter(None, map(_CUDA_APT_NAME.fullmatch, decision.apt_run)):
        name, major, release = found[1], int(found[2]), f"{found[2]}.{found[3]}"
        if name == _HEADERS_PACKAGE:
            wheel = "nvidia-cuda-runtime" if major >= _FIRST_UNSUFFIXED_MAJOR else f"nvidia-cuda-runtime-cu{major}"
            wheels.add(f"{wheel} =={release}.*")
        elif name == _COMPILER_PACKAGE and major >= _FIRST_UNSUFFIXED_MAJOR:
            wheels |= {f"{each} =={release}.*" for each in catalogue.nvcc_wheels}
        else:
            message = f"a locked package compiles CUDA {release} code at run time, and no wheel contains the compiler"
            hint = f"add `cuda-nvcc {release}.*` to `packages` in `[conda]`, or select releases for CUDA 13 or newer"
            return Diagnostic("cuda-unpinned", message, hint=hint)
    return tuple(sorted(wheels))


def predict_packages(wheels: tuple[str, ...], catalogue: Catalogue) -> tuple[PackageSummary, ...]:
    """Return the packages that these requirements will add to the lock, as far as they can affect the base image."""
    found = []
    for each in wheels:
        name, _, bound = each.partition(" ==")
        release = bound.removesuffix(".*")
        known = [version for version in catalogue.runtimes if minor_release(version) == release]
        found.append(PackageSummary(name, max(known, key=version_numbers, default=f"{release}.0"), "wheel"))
    return tuple(found)


def explain_replacement_wheels(wheels: tuple[str, ...]) -> Step:
    """Return the step of the explanation about replacement wheels."""
    decision = "resolved together with these wheels: NVIDIA's own archive of Debian packages has no snapshot"
    return Step(0, "supplement", wheels, decision, source="docs/base.md, wheels in the place of apt packages")


def find_following_wheels(
    packages: Iterable[PackageSummary], cuda: str | None, catalogue: Catalogue
) -> tuple[str, ...]:
    """Return a requirement for each locked package that should have the major version of CUDA but has another one."""
    if not cuda:
        return ()
    followers = (each for each in packages if any(need.follows for need in catalogue.package_needs.get(each.name, ())))
    wanted = major_version(cuda)
    return tuple(sorted(f"{each.name} =={wanted}.*" for each in followers if major_version(each.version) != wanted))


def is_following_wheel(requirement: str, catalogue: Catalogue) -> bool:
    """Whether `find_following_wheels` can return a requirement for this package."""
    name = requirement.partition(" ")[0]
    return any(need.follows for need in catalogue.package_needs.get(name, ()))


def explain_following_wheels(wheels: tuple[str, ...]) -> Step:
    """Return the step of the explanation about packages that follow the version of CUDA."""
    decision = "resolved together with these requirements: the major version of these packages is that of CUDA"
    return Step(0, "follow-cuda", wheels, decision, source="docs/base.md, packages that follow CUDA")


# What the images need besides: variables, labels, Debian packages and drivers; and the space that is saved (step 9).


_SYSTEM_CUDA_HOME = "/usr/local/cuda"
# NVIDIA's images set the same values. They are set here because the defaults of the container toolkit have changed.
_GPU_VARIABLES = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
# All variables that a decision can set.
VARIABLES = frozenset({*_GPU_VARIABLES, "LD_LIBRARY_PATH", "CUDA_HOME", "TORCH_CUDA_ARCH_LIST"})
_FIRST_WITHOUT_CUDNN_SIZE = (12, 8)
# g++ depends on both. The devel images contain all three, because cuda-nvcc depends on them.
_INSTALLED_WITH_CXX = {"gcc", "libc6-dev"}


def find_used_cuda(case: DecisionInputs, run: StageImage | None) -> str | None:
    """Return the CUDA version in use: that of the lock, otherwise that of the run image, or None.

    It is X.Y if the lock has no patch version, otherwise X.Y.Z.
    """
    return case.locked_cuda.toolkit or (run.cuda if run and run.cuda else None)


def make_run_environment(case: DecisionInputs, run: StageImage) -> dict[str, str]:
    """Return the environment variables of the run image."""
    found: dict[str, str] = {}
    if (
        not run.flavour
        and case.request.gpu is not False
        and (_uses_locked_cuda(case) or is_gpu_requested(case.request))
    ):
        found |= _GPU_VARIABLES
    if case.needs.library_folders:
        found["LD_LIBRARY_PATH"] = ":".join(dict.fromkeys(case.needs.library_folders))
    elif run.flavour and case.needs.self_locating_packages:
        # NVIDIA's images set LD_LIBRARY_PATH to their own libraries. JAX and TensorFlow would load these.
        found["LD_LIBRARY_PATH"] = ""
    if run.flavour and (_has_compiler(case, run) or any(name == "cuda-nvcc" for name, _ in case.needs.apt_packages)):
        found["CUDA_HOME"] = _SYSTEM_CUDA_HOME
    elif case.needs.cuda_home:
        found["CUDA_HOME"] = case.needs.cuda_home
    return found


def _uses_locked_cuda(case: DecisionInputs) -> bool:
    return bool(case.locked_cuda.pins or case.locked_cuda.libraries or case.needs.needs_driver)


def make_build_environment(case: DecisionInputs, build: StageImage) -> dict[str, str]:
    """Return the environment variables for compilers in the build stage.

    That stage has no GPU whose architecture the compilers could detect.
    """
    if not case.needs.compiled_packages:
        return {}
    homes = {"conda": "<environment>", "pip": f"<site-packages>/nvidia/cu{case.cuda_major}", "": _SYSTEM_CUDA_HOME}
    found = {"CUDA_HOME": homes[case.needs.toolchain]}
    if case.locked_cuda.torch:
        release = minor_release(case.locked_cuda.toolkit or build.cuda)
        wanted = [normalize_compute(each) for each in case.request.compute] or list(find_common_compute(case, release))
        found["TORCH_CUDA_ARCH_LIST"] = ";".join(wanted)
    return found


def _has_compiler(case: DecisionInputs, image: StageImage) -> bool:
    return "devel" in case.catalogue.family.find_features(image.flavour)


def find_run_apt_packages(case: DecisionInputs, run: StageImage) -> tuple[str, ...]:
    """Return the Debian packages of the run stage. Names of CUDA packages contain the CUDA version."""
    if _has_compiler(case, run):
        return ()
    toolkit = run.cuda or case.locked_cuda.toolkit or ""
    names = [
        f"{name}-{minor_release(toolkit).replace('.', '-')}" if name.startswith("cuda-") else name
        for name, since in case.needs.apt_packages
        if (not since or version_numbers(minor_release(toolkit)) >= version_numbers(since))
        and not _has_runtime_headers(case, name)
    ]
    spared = _INSTALLED_WITH_CXX if "g++" in names else set()
    return tuple(name for name in dict.fromkeys(names) if name not in spared)


def _has_runtime_headers(case: DecisionInputs, name: str) -> bool:
    """Whether the Debian package `name` contains the CUDA headers and is not needed, because a locked wheel has them.

    Only an nvcc from a Debian package does not find the headers in the wheel of the CUDA runtime.
    """
    runtime = case.locked_cuda.libraries.get("runtime")
    found = runtime is not None and str(runtime.major) == case.cuda_major
    return name == "cuda-cudart-dev" and found and not any(each == "cuda-nvcc" for each, _ in case.needs.apt_packages)


def find_build_apt_packages(case: DecisionInputs) -> tuple[str, ...]:
    """Return the Debian packages of the host compiler that a locked nvcc needs."""
    return ("g++", "gcc") if case.needs.toolchain else ()


def find_minimum_driver(case: DecisionInputs, cuda: str | None) -> str | None:
    """Return the oldest driver for the major version of CUDA. It runs every minor version of it, with limits."""
    return case.catalogue.minimum_drivers.get(str(major_version(cuda))) if cuda else None


def estimate_size_saving(case: DecisionInputs, cuda: str | None, run: StageImage) -> SizeSaving | None:
    """Return how much smaller the run image is than the devel image of the same CUDA version.

    None if the run image is the devel image, or if a size is unknown.
    """
    if cuda is None or _has_compiler(case, run):
        return None
    with_cudnn = "cudnn" in case.needs.run_features or "cudnn" in case.locked_cuda.libraries
    # The known sizes of newer devel images without cuDNN exceed those of older ones with it.
    against = "cudnn-devel" if with_cudnn and version_numbers(cuda) < _FIRST_WITHOUT_CUDNN_SIZE else "devel"
    large, small = _estimate_size(case, against, cuda), _estimate_size(case, run.flavour.removeprefix("cudnn-"), cuda)
    if large is None or small is None or large <= small:
        return None
    return SizeSaving(f"{large - small:.1f}", f"{case.catalogue.repository}:{minor_release(cuda)}-{against}")


def _estimate_size(case: DecisionInputs, flavour: str, cuda: str) -> float | None:
    """Return the unpacked size of an image in gigabytes; None if no size of its flavour is known.

    It is the size for the known CUDA version that is nearest to `cuda`. A plain image has less than 0.1 gigabytes.
    """
    if not flavour:
        return 0.1
    known = [(version_numbers(release), size) for release, kind, size in case.catalogue.image_sizes if kind == flavour]
    wanted = version_numbers(cuda)
    near = sorted(known, key=lambda row: (abs(row[0][0] - wanted[0]), abs(row[0][1] - (*wanted, 0)[1])))
    return near[0][1] if near else None


def explain_environment(env: dict[str, str], apt: tuple[str, ...], driver: str | None) -> Step:
    """Return the last step of the explanation: variables, Debian packages and driver."""
    lines = [*(f"{name}={value}" for name, value in env.items()), *(f"apt {name}" for name in apt)]
    decision = "; ".join([*lines, *([f"driver {driver} or newer"] if driver else [])]) or "nothing to add"
    return Step(9, "emit", (), decision, source="docs/base.md, step 9")


# The decision. It depends on the request, the locked packages and the catalogue only.


def decide_base_images(
    request: BaseImageRequest, packages: Iterable[PackageSummary], catalogue: Catalogue
) -> BaseImageResult:
    """Return the images of both stages and what goes with them, or all errors at once.

    The order of the packages does not matter. A package that is not in the catalogue matters only if it contains CUDA,
    if the name of its wheel states a glibc, or if it is an sdist that appears to compile CUDA code.
    """
    packages = tuple(sorted(packages))
    request = dataclasses.replace(
        request,
        system=normalize_system_name(request.system, catalogue),
        glibc=_find_required_glibc(request, packages),
    )
    found = cuda_in_lock(request, packages, catalogue)
    needed = gather_needs(request, packages, found, catalogue)
    case = DecisionInputs(request, found, needed, catalogue)
    if request.gpu is False:
        case = case._replace(locked_cuda=found._replace(pins=(), libraries={}))
    elif needs_cuda_compat(case):
        needed.run_features.add("base")
    diagnostics, conflicts = _find_diagnostics(case)
    rows = [explain_locked_cuda(case.locked_cuda), *needed.explanation, *explain_conflicts(case, conflicts)]
    if any(each.is_error for each in diagnostics):
        return _make_result(case, None, diagnostics, rows)
    choice = choose_stages(case, packages)
    return _make_result(case, choice, [*diagnostics, *choice.diagnostics], [*rows, *choice.explanation])


def _find_diagnostics(case: DecisionInputs) -> tuple[list[Diagnostic], Conflicts]:
    """Return all diagnostics of steps 1 to 5, and those among them that are conflicts."""
    if is_musl_requested(case):
        message = "the requested base image has musl, but the packages are locked for glibc"
        return [Diagnostic("base-musl", message, hint="take a base of Debian or Ubuntu")], Conflicts()
    if wrong := check_requested_cuda(case):
        return [wrong], Conflicts(versions=(wrong,))
    conflicts = find_conflicts(case)
    found = (case.needs.errors, *conflicts, case.needs.warnings)
    return [each for group in found for each in group], conflicts


def _find_required_glibc(request: BaseImageRequest, packages: tuple[PackageSummary, ...]) -> str | None:
    """Return the oldest glibc that all wheels run with: the newest of the requested one and those in the wheel tags."""
    versions = [request.glibc, *(find_wheel_glibc(each.file) for each in packages if each.file)]
    return max((each for each in versions if each), key=version_numbers, default=None)


def _make_result(
    case: DecisionInputs, choice: StageChoice | None, diagnostics: list[Diagnostic], rows: list[Step]
) -> BaseImageResult:
    errors = tuple(each for each in diagnostics if each.is_error)
    warnings = tuple(each for each in diagnostics if not each.is_error)
    build, run = (choice.build, choice.run) if choice else (None, None)
    cuda = find_used_cuda(case, run)
    driver = find_minimum_driver(case, cuda)
    if build is None or run is None:
        return BaseImageResult(cuda=cuda, driver=driver, errors=errors, warnings=warnings, explanation=tuple(rows))
    env, apt = make_run_environment(case, run), find_run_apt_packages(case, run)
    return BaseImageResult(
        build=build,
        run=run,
        cuda=cuda,
        driver=driver,
        image_driver=case.catalogue.find_native_driver(minor_release(run.cuda)) if run.cuda else None,
        compute=find_common_compute(case, minor_release(cuda)) if cuda else (),
        env=tuple(sorted(env.items())),
        build_env=tuple(sorted(make_build_environment(case, build).items())),
        labels=tuple(sorted(make_image_labels(cuda, driver).items())),
        apt_build=find_build_apt_packages(case),
        apt_run=apt,
        errors=errors,
        warnings=warnings,
        explanation=(*rows, explain_environment(env, apt, driver)),
        saving=estimate_size_saving(case, cuda, run),
    )
