"""Lists the nvidia/cuda images that fit both stages, the best first, and why the others do not fit (step 7).

It ranks CUDA releases and systems, selects the flavour that each stage needs, and finds out where the Python of each
stage comes from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.compatibility import explain_unsupported_compute, normalize_compute
from envcompile.base_image.default import PYTHON_IMAGE
from envcompile.base_image.model import StageImage, is_cudnn_compatible, is_older_driver, platform_architecture
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.versions import major_version, minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.base_image.catalogue import Catalogue, CudaImage
    from envcompile.base_image.needs import DecisionInputs
    from envcompile.lock.model import Step

# The rules that can exclude an existing image. If no image fits, the error names the first of these rules without which
# an image would fit.
OBSTACLES = ("driver-too-old", "compute-unsupported", "cudnn-no-match", "cuda-no-platform", "base-glibc")


class ImagePair(NamedTuple):
    """The images of both stages, on one system. An image is None if its stage needs no nvidia/cuda image."""

    system: str
    build: CudaImage | None
    run: CudaImage | None


def find_minimum_cuda(case: DecisionInputs) -> str:
    """Return the oldest CUDA release (X.Y) that meets the needs for the run image, or "" if there is no bound."""
    bounds = [each.need.minimum for each in case.needs.unmet_needs if each.need.minimum]
    return max(bounds, key=version_numbers, default="")


def find_target_release(case: DecisionInputs) -> str:
    """Return the CUDA release (X.Y) that the run image should have."""
    toolkit = case.locked_cuda.toolkit
    # Code that is compiled at run time must fit the locked CUDA. If libraries are only loaded, the version in the spec
    # takes precedence.
    if toolkit and not ("." in case.requested_cuda and case.needs.run_features & {"runtime", "cudnn"}):
        return minor_release(toolkit)
    if "." in case.requested_cuda:
        return minor_release(case.requested_cuda)
    return case.catalogue.policy.default_minors.get(case.cuda_major, f"{case.cuda_major}.0")


def rank_run_releases(case: DecisionInputs) -> list[str]:
    """Return the CUDA releases (X.Y) for the run image: first the target, then newer ones, then older ones.

    If the spec requests the target with its minor version, there are no others.
    """
    best, low = find_target_release(case), find_minimum_cuda(case)
    releases = [each for each in case.catalogue.minor_releases if str(major_version(each)) == case.cuda_major]
    if "." in case.requested_cuda and best == minor_release(case.requested_cuda):
        return [best] if best in releases else []
    sufficient = [each for each in releases if not low or version_numbers(each) >= version_numbers(low)]
    newer = [each for each in sufficient if version_numbers(each) >= version_numbers(best)]
    return newer + [each for each in reversed(sufficient) if each not in newer]


def rank_build_releases(case: DecisionInputs, run: str) -> list[str]:
    """Return the CUDA releases (X.Y) for the build image, the best first.

    If the lock contains CUDA, they are the releases of its major version, beginning with those whose minor version is
    nearest to that of the lock. Otherwise, the only one is the release of the run image.
    """
    toolkit = case.locked_cuda.toolkit
    if toolkit is None:
        return [run]
    target = version_numbers(minor_release(toolkit))
    releases = [each for each in case.catalogue.minor_releases if major_version(each) == target[0]]
    return sorted(releases, key=lambda each: (abs(version_numbers(each)[1] - target[1]), -version_numbers(each)[1]))


def find_candidate_systems(case: DecisionInputs, *, any_glibc: bool = False) -> list[str]:
    """Return the requested system, or the default ones in order, except systems whose glibc is too old.

    With `any_glibc`, the version of the glibc does not matter.
    """
    requested = case.request.system
    systems = [requested] if requested else list(case.catalogue.policy.systems)
    return [each for each in systems if any_glibc or is_glibc_sufficient(case, each)]


def is_glibc_sufficient(case: DecisionInputs, system: str) -> bool:
    """Whether the locked packages run with the glibc of the system."""
    known, needed = case.catalogue.systems.get(system), case.request.glibc
    return not needed or known is None or version_numbers(known.glibc) >= version_numbers(needed)


def find_stage_flavour(case: DecisionInputs, stage: str) -> str:
    """Return the flavour that a stage (`build` or `run`) needs, or "" if a plain image is sufficient."""
    features = case.needs.build_features if stage == "build" else case.needs.run_features
    return case.catalogue.family.find_smallest_flavour(features)


def image_candidates(case: DecisionInputs, without: str = "") -> Iterator[ImagePair]:
    """Yield the images for both stages, the best first. The obstacle `without` is ignored.

    A system that has the best release for the build stage ranks before a system that has only another one.
    """
    build, run = find_stage_flavour(case, "build"), find_stage_flavour(case, "run")
    free = run or case.locked_cuda.toolkit is None
    for release in rank_run_releases(case) if free else [find_target_release(case)]:
        for other in rank_build_releases(case, release) if build else [""]:
            for system in find_candidate_systems(case, any_glibc=without == "base-glibc"):
                first = find_newest_image(case, other, system, "build", without) if build else None
                second = find_newest_image(case, release, system, "run", without) if run else None
                if (first or not build) and (second or not run):
                    yield ImagePair(system, first, second)


def find_newest_image(
    case: DecisionInputs, release: str, system: str, stage: str, without: str = ""
) -> CudaImage | None:
    """Return the image with the newest patch of CUDA X.Y on the system that a stage can use, or None."""
    exact = (
        case.requested_cuda
        if case.requested_cuda.count(".") > 1 and minor_release(case.requested_cuda) == release
        else ""
    )
    found = [
        image
        for image in case.catalogue.images
        if image.system == system
        and minor_release(image.cuda) == release
        and (not exact or image.cuda == exact)
        and case.catalogue.has_flavour(image, find_stage_flavour(case, stage))
        and find_obstacles(case, image, stage).keys() <= {without}
    ]
    return max(found, key=lambda image: version_numbers(image.cuda), default=None)


def find_obstacles(case: DecisionInputs, image: CudaImage, stage: str) -> dict[str, str]:
    """Return the obstacles that exclude an image from a stage, each with its reason."""
    found: dict[str, str] = {}
    release = minor_release(image.cuda)
    missing = [each for each in case.request.platforms if platform_architecture(each) not in image.architectures]
    if missing:
        found["cuda-no-platform"] = f"there is none for {' and '.join(missing)}"
    for each in case.request.compute:
        if why := explain_unsupported_compute(case, normalize_compute(each), release):
            found["compute-unsupported"] = f"GPU architecture {normalize_compute(each)}: {why}"
    if stage == "run":
        if why := _explain_driver_refusal(case, image):
            found["driver-too-old"] = why
        if why := _explain_cudnn_mismatch(case, image):
            found["cudnn-no-match"] = why
    return found


def _explain_cudnn_mismatch(case: DecisionInputs, image: CudaImage) -> str | None:
    if "cudnn" not in case.needs.run_features:
        return None
    has = case.catalogue.find_cudnn(image)
    other = next((each for each in case.needs.unmet_needs if not is_cudnn_compatible(has, each.need.cudnn)), None)
    return f"it has cuDNN {has}, and `{other.package}` needs {other.need.cudnn}" if other else None


def _explain_driver_refusal(case: DecisionInputs, image: CudaImage) -> str | None:
    """Return why an image does not start with the oldest driver to support, or None.

    NVIDIA_REQUIRE_CUDA in the image requires a driver that is at least as new as the one of its CUDA release. On
    data-centre GPUs, it also accepts some older driver branches.
    """
    driver, release = case.request.driver, minor_release(image.cuda)
    native = case.catalogue.find_native_driver(release)
    if not driver or not native or not is_older_driver(driver, native):
        return None
    if case.request.data_centre:
        toolkits = [toolkit for toolkit in case.catalogue.driver_branches if minor_release(toolkit) == release]
        if toolkits and driver.partition(".")[0] in case.catalogue.driver_branches[max(toolkits, key=version_numbers)]:
            return None
    return f"driver {driver} is older than {native}, and the image refuses to start on it"


# Functions for both requested and chosen images: they turn an image into a stage, and find its warnings (steps 6 to 8).


class StageChoice(NamedTuple):
    """The images of both stages or the errors that prevent a choice, and the steps of the explanation."""

    build: StageImage | None
    run: StageImage | None
    diagnostics: tuple[Diagnostic, ...]
    explanation: tuple[Step, ...]


def normalize_system_name(name: str | None, catalogue: Catalogue) -> str | None:
    """Return the name of a system in the catalogue: `debian12` for `bookworm`, `debian-12` and `debian-bookworm`."""
    if name is None:
        return None
    word = name.lower()
    return catalogue.debian_code_names.get(word.removeprefix("debian-"), re.sub(r"[-:]", "", word))


def is_musl_requested(case: DecisionInputs) -> bool:
    """Whether the requested base image is Alpine, which has musl instead of glibc."""
    return "alpine" in (case.request.system or "").lower() or "alpine" in (case.request.image or "").lower()


def make_plain_stage(case: DecisionInputs, name: str, conda: bool, *, beside: bool = False) -> StageImage:
    """Return a stage with a plain image of a system, which is a `python` image if the system is a Debian release.

    It is not a `python` image if conda or a standalone build provides Python, or if the other stage has an nvidia/cuda
    image (`beside`).
    """
    system, python = case.catalogue.systems[name], case.request.python
    release = next((word for word, debian in case.catalogue.debian_code_names.items() if debian == name), None)
    if release and python and not conda and not beside and not case.request.has_standalone_python:
        return StageImage(f"{PYTHON_IMAGE}:{python}-slim-{release}", name, system.glibc, "image")
    return StageImage(system.image, name, system.glibc, choose_python_source(case, system.python_version, conda))


def choose_python_source(case: DecisionInputs, own: str, conda: bool) -> str:
    """Return where the interpreter of a stage comes from: `conda`, `distribution` or `standalone`.

    `own` is the version of the system's own Python. That Python has no headers, so a stage that compiles at run time
    uses a standalone build. So does a stage for an exact version, because the system's Python changes with its archive.
    """
    if conda:
        return "conda"
    is_own = case.request.python == own and not case.request.has_standalone_python
    return "distribution" if is_own and not case.needs.needs_headers else "standalone"


def image_warnings(case: DecisionInputs, pair: ImagePair) -> Iterator[Diagnostic]:
    """Yield the warnings about images that fit: another CUDA release than the locked one, and lack of maintenance."""
    toolkit = case.locked_cuda.toolkit
    differs = next(
        (each for each in pair[1:] if each and toolkit and minor_release(each.cuda) != minor_release(toolkit)), None
    )
    compiles = (
        case.needs.build_features
        or any(name == "cuda-nvcc" for name, _ in case.needs.apt_packages)
        or "devel" in case.needs.run_features
    )
    if differs and toolkit and compiles:
        message = f"the locked packages are for CUDA {toolkit}, but the nearest image with nvcc has {differs.cuda}"
        yield Diagnostic(
            "nvcc-minor-differs", message, hint="a difference of minor versions mostly compiles; try the result"
        )
    old = next((each for each in pair[1:] if each and each.status in {"eol", "superseded"}), None)
    if old and not case.request.accept_old:
        word = "is superseded by a newer patch" if old.status == "superseded" else "is no longer supported"
        message = f"the image of CUDA {old.cuda} {word} and may be deleted"
        yield Diagnostic("cuda-old-image", message, hint="another release may have an image that is maintained")


def make_glibc_error(case: DecisionInputs, name: str) -> Diagnostic:
    """Return the error that the glibc of a system is older than the locked packages need."""
    has = case.catalogue.systems[name].glibc if name in case.catalogue.systems else "another"
    message = f"the locked packages need glibc {case.request.glibc} or newer, but `{name}` has {has}"
    return Diagnostic("base-glibc", message, hint="take a newer system, or older releases of the packages")
