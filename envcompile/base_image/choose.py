"""Chooses the base images of the build and the run stage (steps 6 to 8).

If the spec names an image, it is used. Otherwise, plain images are chosen if no package needs CUDA from the image, and
else the smallest nvidia/cuda images that fit.

If no image fits, the error names the obstacle and suggests another request.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from envcompile.base_image.candidates import (
    OBSTACLES,
    ImagePair,
    StageChoice,
    choose_python_source,
    find_candidate_systems,
    find_obstacles,
    find_stage_flavour,
    image_candidates,
    image_warnings,
    is_glibc_sufficient,
    make_glibc_error,
    make_plain_stage,
    normalize_system_name,
)
from envcompile.base_image.compatibility import is_image_deleted
from envcompile.base_image.explain import explain_nvidia_images, explain_plain_image, explain_python
from envcompile.base_image.model import StageImage
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import Step
from envcompile.spec.model import CudaRequest
from envcompile.spec.values import split_image_reference
from envcompile.versions import minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.base_image.catalogue import CudaImage
    from envcompile.base_image.model import PackageSummary
    from envcompile.base_image.needs import DecisionInputs

# Official images of Docker Hub, which contain no CUDA.
_IMAGES_WITHOUT_CUDA = {"python", "debian", "ubuntu"}


def choose_requested_image(case: DecisionInputs, conda: bool) -> StageChoice:
    """Return the base image of the spec for both stages, or the reason why it cannot be used.

    An image whose content is unknown is assumed to contain what the packages need.
    """
    image, catalogue = case.request.image or "", case.catalogue
    parts = split_image_reference(image)
    name, tag = (parts.name, parts.tag or "") if parts else (image, "")
    found = _find_tagged_image(case, tag) if name.endswith(catalogue.repository) else None
    words = [normalize_system_name(remark, catalogue) or "" for remark in reversed(tag.split("-"))]
    system = found[0].system if found else next((remark for remark in words if remark in catalogue.systems), "")
    glibc = catalogue.systems[system].glibc if system else ""
    kind, cuda = (found[1], found[0].cuda) if found else ("", "")
    python_source = "conda" if conda else "standalone" if case.request.has_standalone_python else "image"
    stage = StageImage(image, system, glibc, python_source, kind, cuda)
    is_known = found is not None or name.rpartition("/")[2] in _IMAGES_WITHOUT_CUDA
    diagnostics = list(_iter_requested_image_diagnostics(case, stage, found[0] if found else None, sure=is_known))
    if name.endswith(catalogue.repository) and not found and is_image_deleted(tag.partition("-")[0], catalogue):
        message = f"the image `{image}` was deleted by NVIDIA"
        diagnostics = [Diagnostic("cuda-deleted", message, hint="take one of a newer release")]
    needed = sorted(case.needs.run_features | case.needs.build_features)
    remark = f"; that it has {' and '.join(needed)} is the spec's word" if needed and not is_known else ""
    row = Step(7, "image.given", (image,), f"both stages: {image}, as the spec says{remark}", source="the spec")
    if any(each.is_error for each in diagnostics):
        return StageChoice(None, None, tuple(diagnostics), (row,))
    return StageChoice(stage, stage, tuple(diagnostics), (row, explain_python(("both stages", stage))))


def _find_tagged_image(case: DecisionInputs, tag: str) -> tuple[CudaImage, str] | None:
    """Return the image and the flavour of the catalogue that a tag names."""
    known = ((each, kind) for each in case.catalogue.images for kind in case.catalogue.flavours)
    return next((each for each in known if case.catalogue.format_tag(*each) == tag), None)


def _iter_requested_image_diagnostics(
    case: DecisionInputs, stage: StageImage, image: CudaImage | None, *, sure: bool
) -> Iterator[Diagnostic]:
    if stage.system and not is_glibc_sufficient(case, stage.system):
        yield make_glibc_error(case, stage.system)
    features = case.catalogue.family.find_features(stage.flavour)
    missing = sorted((case.needs.run_features | case.needs.build_features) - features)
    if missing and sure:
        names = [*case.needs.compiled_packages, *(each.package for each in case.needs.unmet_needs)]
        message = f"`{stage.image}` has no {' and no '.join(missing)}, which {' and '.join(names)} needs"
        yield Diagnostic(
            "cuda-no-image", message, hint="remove `base` from `[image]`, and envcompile chooses an image that fits"
        )
    elif image:
        for obstacle, why in find_obstacles(case, image, "run").items():
            yield Diagnostic(obstacle, f"`{stage.image}` cannot be used: {why}", hint="remove `base` from `[image]`")
        yield from image_warnings(case, ImagePair(stage.system, None, image))


# The systems, images and Python of both stages (steps 6 to 8).


# nvcc up to 12.9 does not read the headers of glibc 2.41 (cuda-samples#378).
_GLIBC_WITH_NEW_HEADERS = (2, 41)
_MIN_NVCC_FOR_NEW_HEADERS = (13,)
_DEFAULT_SYSTEMS = ("debian12", "debian13")


def choose_stages(case: DecisionInputs, packages: tuple[PackageSummary, ...]) -> StageChoice:
    """Return the requested image for both stages, otherwise the smallest images that fit.

    Those are plain images unless a package needs more than a driver from its image.
    """
    conda = any(package.kind == "conda" for package in packages)
    if case.request.image:
        return choose_requested_image(case, conda)
    if case.request.system and not is_glibc_sufficient(case, case.request.system):
        return StageChoice(None, None, (make_glibc_error(case, case.request.system),), ())
    return _choose_nvidia_images(case, conda) if case.needs_cuda_image else _choose_plain_image(case, conda)


def _choose_plain_image(case: DecisionInputs, conda: bool) -> StageChoice:
    """Return plain images for both stages, because no stage needs CUDA from its image."""
    catalogue = case.catalogue
    names = [case.request.system] if case.request.system else list(_DEFAULT_SYSTEMS)
    fitting = [name for name in names if is_glibc_sufficient(case, name)]
    if not fitting:
        return StageChoice(None, None, (make_glibc_error(case, names[-1]),), ())
    name = fitting[0]
    if name not in catalogue.systems:
        return StageChoice(None, None, (_make_unknown_system_error(name, case),), ())
    stage = make_plain_stage(case, name, conda)
    toolkit = case.locked_cuda.toolkit
    old_nvcc = case.needs.toolchain and toolkit and version_numbers(toolkit) < _MIN_NVCC_FOR_NEW_HEADERS
    if old_nvcc and version_numbers(stage.glibc) >= _GLIBC_WITH_NEW_HEADERS:
        message = f"nvcc of CUDA {toolkit} does not read the headers of glibc {stage.glibc}, which `{stage.image}` has"
        return StageChoice(
            None, None, (Diagnostic("base-glibc", message, hint="take an older system, such as `bookworm`"),), ()
        )
    return StageChoice(stage, stage, (), tuple(explain_plain_image(case, stage)))


def _choose_nvidia_images(case: DecisionInputs, conda: bool) -> StageChoice:
    pair = next(image_candidates(case), None)
    if pair is None:
        return _explain_missing_image(case)
    build = _make_stage(case, pair, pair.build, find_stage_flavour(case, "build"), conda)
    run = _make_stage(case, pair, pair.run, find_stage_flavour(case, "run"), conda)
    warnings = tuple(image_warnings(case, pair))
    return StageChoice(build, run, warnings, tuple(explain_nvidia_images(case, pair, build, run)))


def _make_stage(case: DecisionInputs, pair: ImagePair, image: CudaImage | None, kind: str, conda: bool) -> StageImage:
    if image is None:
        return make_plain_stage(case, pair.system, conda, beside=True)
    tag = case.catalogue.format_tag(image, kind)
    system = case.catalogue.systems[pair.system]
    name, digest = f"{case.catalogue.repository}:{tag}", case.catalogue.digests.get(tag)
    has = choose_python_source(case, system.python_version, conda)
    return StageImage(name, system.name, system.glibc, has, kind, image.cuda, digest)


def _make_unknown_system_error(name: str, case: DecisionInputs) -> Diagnostic:
    known = ", ".join(f"`{each}`" for each in case.catalogue.systems)
    return Diagnostic(
        "cuda-no-image", f"`{name}` is not a known operating system", hint=f"the known systems are {known}"
    )


def _explain_missing_image(case: DecisionInputs) -> StageChoice:
    """Return why no image fits: the first obstacle without which an image would fit, or that there is no candidate."""
    kinds = " and ".join(
        dict.fromkeys(each for each in (find_stage_flavour(case, "build"), find_stage_flavour(case, "run")) if each)
    )
    where = " or ".join(f"`{each}`" for each in find_candidate_systems(case, any_glibc=True))
    cuda = case.requested_cuda or (
        minor_release(case.locked_cuda.toolkit) if case.locked_cuda.toolkit else case.cuda_major
    )
    error = Diagnostic(
        "cuda-no-image",
        f"there is no image of CUDA {cuda} ({kinds}) on {where} that is known with enough confidence",
        hint="request another `version` or system, or wheels that contain CUDA: they need no such image",
    )
    for obstacle in OBSTACLES:
        if pair := next(image_candidates(case, without=obstacle), None):
            _, why = _find_obstructed_image(case, pair, obstacle)
            message = f"no image of CUDA {cuda} ({kinds}) on {where} fits: {why}"
            hint = f"{_suggest_request(case, obstacle)}; wheels that bring their CUDA need no such image"
            error = Diagnostic(obstacle, message, hint=hint)
            break
    inputs = (*case.needs.compiled_packages, *(each.package for each in case.needs.unmet_needs))
    return StageChoice(None, None, (error,), (Step(7, "image.none", inputs, error.message, source="catalogue"),))


def _suggest_request(case: DecisionInputs, obstacle: str) -> str:
    """Return a hint that suggests a request that an image fits: another CUDA release, system, driver or platform.

    If there is no such request, the hint names the image that would fit without the obstacle.
    """
    request = case.request
    any_minor = dataclasses.replace(request, cuda=CudaRequest(case.cuda_major))
    for asked, words in (
        (any_minor, "request CUDA `{release}`, which has `{image}`"),
        (dataclasses.replace(any_minor, system=None), "request CUDA `{release}`, which has `{image}`"),
        (dataclasses.replace(request, platforms=("linux/amd64",)), "for linux/amd64 there is `{image}`"),
        (dataclasses.replace(request, driver=None), "newer drivers can start `{image}`"),
    ):
        if pair := next(image_candidates(case._replace(request=asked)), None):
            image, kind = (
                (pair.run, find_stage_flavour(case, "run"))
                if pair.run
                else (pair.build, find_stage_flavour(case, "build"))
            )
            if image:
                name = f"{case.catalogue.repository}:{case.catalogue.format_tag(image, kind)}"
                return words.format(release=minor_release(image.cuda), image=name)
    return f"the nearest is {_find_obstructed_image(case, next(image_candidates(case, without=obstacle)), obstacle)[0]}"


def _find_obstructed_image(case: DecisionInputs, pair: ImagePair, obstacle: str) -> tuple[str, str]:
    """Return the image that would fit without the obstacle, and the obstacle in words."""
    name = ""
    for image, stage in ((pair.run, "run"), (pair.build, "build")):
        if image:
            name = f"`{case.catalogue.repository}:{case.catalogue.format_tag(image, find_stage_flavour(case, stage))}`"
            if why := find_obstacles(case, image, stage).get(obstacle):
                return name, f"{image.cuda}: {why}"
    return name, f"`{pair.system}` has an older glibc than the locked packages need"
