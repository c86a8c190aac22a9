"""Explains a decision about base images: its steps, its record in the lock, and the places of diagnostics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from envcompile.base_image.candidates import (
    find_candidate_systems,
    find_minimum_cuda,
    find_obstacles,
    find_stage_flavour,
    find_target_release,
    rank_run_releases,
)
from envcompile.base_image.model import ENVIRONMENT_PATH
from envcompile.diagnostics.rules import RULES
from envcompile.lock.model import BaseImageDecision, RejectedImage, Step
from envcompile.versions import minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.base_image.candidates import ImagePair
    from envcompile.base_image.catalogue import Catalogue, CudaImage
    from envcompile.base_image.model import BaseImageResult, StageImage
    from envcompile.base_image.needs import DecisionInputs
    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.diagnostics.source import KeyPath
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec
    from envcompile.spec.pip import PipRequirement


def locate_in_spec(diagnostic: Diagnostic, spec: Spec) -> Diagnostic:
    """Return the diagnostic at the key of the spec that its rule is about, or at the nearest key that the spec has."""
    rule = RULES.get(diagnostic.rule)  # None for a warning in a lock of another release
    path: KeyPath = _find_spec_key(rule.key, spec) if rule else ()
    if path == ("pip", "packages"):
        path = (*path, *_find_requirement_index(diagnostic.message, spec.pip.packages))
    return replace(diagnostic, path=path)


def collect_warnings(lock: Lock, spec: Spec) -> list[Diagnostic]:
    """Return the warnings of all platforms about their base images, without duplicates."""
    decided = (each.base_decision for each in lock.platforms if each.base_decision)
    return list(dict.fromkeys(locate_in_spec(warned, spec) for each in decided for warned in each.warnings))


def _find_requirement_index(message: str, requirements: tuple[PipRequirement, ...]) -> tuple[int, ...]:
    """Return the index of the first requirement whose package a message names, as a part of a key path."""
    return next(((index,) for index, each in enumerate(requirements) if f"`{each.name}`" in message), ())


def _find_spec_key(key: tuple[str, ...], spec: Spec) -> tuple[str, ...]:
    there: dict[tuple[str, ...], object] = {
        ("image", "base"): spec.image.base,
        ("cuda", "version"): bool(spec.cuda.request),
        ("pip", "packages"): spec.pip.packages,
        ("conda", "packages"): spec.conda.packages,
    }
    return key if there.get(key, key) else next((each for each, is_there in there.items() if is_there), key)


# Why these images and no others: steps 6 to 8, with the reason for each rejected image.


_POLICY_SOURCE = "docs/base.md, what is chosen and not known"
_NEEDS_SOURCE = "docs/base.md, what packages need"
_PYTHON_DESCRIPTIONS = {
    "image": "the image's own Python",
    "distribution": "the Python of its distribution",
    "standalone": "a standalone build of Python",
    "conda": "conda's Python",
}


def explain_plain_image(case: DecisionInputs, stage: StageImage) -> Iterator[Step]:
    """Yield the steps for a decision in which both stages have a plain image."""
    requested = (f"system {case.request.system}",) if case.request.system else ()
    source = "the spec" if requested else _POLICY_SOURCE
    yield Step(6, "system.plain", requested, f"{stage.system}, glibc {stage.glibc}, for both stages", source=source)
    toolkit = case.locked_cuda.toolkit
    if toolkit is None:
        yield Step(7, "image.plain", (), f"{stage.image}: nothing needs CUDA of the image", source=_NEEDS_SOURCE)
        yield explain_python(("both stages", stage))
        return
    repository, release = case.catalogue.repository, minor_release(toolkit)
    compiler = "nvcc is in the lock" if case.needs.toolchain else "nothing compiles CUDA code"
    rejected = (
        RejectedImage(f"{repository}:{release}-base", "a plain image starts on more drivers, and needs no cuda-compat"),
        RejectedImage(f"{repository}:{release}-runtime", "its libraries are in the lock already"),
        RejectedImage(f"{repository}:{release}-devel", f"{compiler}, and its libraries are in the lock already"),
    )
    inputs = (str(case.locked_cuda.pins[0].package),)
    yield Step(
        7, "image.plain", inputs, f"{stage.image}: of the image only a driver is needed", rejected, _NEEDS_SOURCE
    )
    yield explain_python(("both stages", stage))


def explain_nvidia_images(case: DecisionInputs, pair: ImagePair, build: StageImage, run: StageImage) -> Iterator[Step]:
    """Yield the steps for a decision in which at least one stage has an nvidia/cuda image."""
    names = find_candidate_systems(case)
    before = names[: names.index(pair.system)]
    kinds = "/".join(each for each in (find_stage_flavour(case, "build"), find_stage_flavour(case, "run")) if each)
    release = minor_release((pair.run or pair.build or case.catalogue.images[0]).cuda)
    rejected = [
        RejectedImage(f"{case.catalogue.repository}:{release}-{kinds}-{name}", "there is none that fits")
        for name in before
    ]
    yield Step(
        6, "system.first", (), f"{pair.system}, glibc {run.glibc}, for both stages", tuple(rejected), _POLICY_SOURCE
    )
    for word, stage, image in (("build", build, pair.build), ("run", run, pair.run)):
        inputs = tuple(
            case.needs.compiled_packages if word == "build" else [each.package for each in case.needs.unmet_needs]
        )
        if image is None:
            decision = f"{word}: {stage.image}: this stage needs no CUDA of its image"
            yield Step(7, f"image.{word}", inputs, decision, _list_larger_flavours(case, pair, ""), _NEEDS_SOURCE)
        else:
            decision = f"{word}: {stage.image}: newest patch of {minor_release(image.cuda)} that fits"
            others = (*_iter_rejected_patches(case, image, word), *_iter_rejected_releases(case, image, word))
            rejected = [*others, *_list_larger_flavours(case, pair, stage.flavour)]
            yield Step(7, f"image.{word}", inputs, decision, tuple(rejected), "catalogue")
    yield explain_python(("build", build), ("run", run))


def explain_python(*stages: tuple[str, StageImage]) -> Step:
    """Return the step about the interpreter of each stage."""
    decision = "; ".join(f"{word}: {_PYTHON_DESCRIPTIONS[stage.python_source]}" for word, stage in stages)
    return Step(8, "python", (), decision, source="docs/base.md, step 8")


def _iter_rejected_patches(case: DecisionInputs, image: CudaImage, word: str) -> Iterator[RejectedImage]:
    """Yield the other patch versions of the same CUDA release, and why each was rejected."""
    kind, catalogue = find_stage_flavour(case, word), case.catalogue
    known = {each.cuda: each for each in catalogue.images if each.system == image.system}
    labels = {name for names in catalogue.runtimes.values() for name in names} | set(known)
    for name in sorted(labels, key=version_numbers):
        if minor_release(name) != minor_release(image.cuda) or name in {image.cuda, minor_release(name)}:
            continue
        if name not in known or not catalogue.has_flavour(known[name], kind):
            because = "no such image is known with enough confidence"
        elif version_numbers(name) < version_numbers(image.cuda):
            because = f"{image.cuda} is newer"
        else:
            because = "; ".join(find_obstacles(case, known[name], word).values()) or "the spec asks for another patch"
        yield RejectedImage(f"{catalogue.repository}:{catalogue.format_tag(image._replace(cuda=name), kind)}", because)


def _iter_rejected_releases(case: DecisionInputs, image: CudaImage, word: str) -> Iterator[RejectedImage]:
    """Yield the rejected CUDA releases for the run stage, each with the reason.

    They are the releases that rank above the chosen one, and the target release if a package needs a newer one.
    """
    if word != "run":
        return
    order, low = rank_run_releases(case), find_minimum_cuda(case)
    first = find_target_release(case)
    if low and version_numbers(first) < version_numbers(low):
        yield RejectedImage(f"{case.catalogue.repository}:{first}", f"a package needs CUDA {low} or newer")
    for release in order[: order.index(minor_release(image.cuda))]:
        because = _find_rejection_reason(case, release) or "no image of it has what is needed"
        yield RejectedImage(f"{case.catalogue.repository}:{release}", because)


def _find_rejection_reason(case: DecisionInputs, release: str) -> str | None:
    images = [
        each
        for each in case.catalogue.images
        if minor_release(each.cuda) == release and each.system in find_candidate_systems(case)
    ]
    reasons = [why for each in images for why in find_obstacles(case, each, "run").values()]
    return reasons[-1] if reasons else None


def _list_larger_flavours(case: DecisionInputs, pair: ImagePair, kind: str) -> tuple[RejectedImage, ...]:
    """Return the images with larger flavours, which no package needs."""
    release = (pair.run or pair.build or case.catalogue.images[0]).cuda
    # The explanation is long enough without the variants that have cuDNN.
    larger = (each for each in case.catalogue.family.list_larger_flavours(kind) if "cudnn" not in each.features)
    return tuple(
        RejectedImage(
            f"{case.catalogue.repository}:{release}-{each.name}-{pair.system}", "larger, and nothing needs it here"
        )
        for each in larger
        if "runtime" in each.features
    )


# The decision as the lock records it.


def format_catalogue_version(catalogue: Catalogue) -> str:
    """Return the version of a catalogue for the lock: its date and the beginning of its digest."""
    return f"{catalogue.date} {catalogue.digest[:19]}"


def record_decision(
    decision: BaseImageResult, known: str, python: str | None, before: tuple[Step, ...] = ()
) -> BaseImageDecision:
    """Return the decision in the form that the lock stores.

    `known` is the version of the catalogue. `python` is the version (X.Y) of the environment's Python, with `t` if it
    is free-threaded. `before` are the steps of earlier passes. Debian packages from NVIDIA's archive, which has no
    snapshots, are left out: wheels replace them.
    """
    places = {
        "<environment>": ENVIRONMENT_PATH,
        "<site-packages>": f"{ENVIRONMENT_PATH}/lib/python{python}/site-packages",
    }
    env, build_env = (
        tuple((name, _expand_paths(value, places)) for name, value in each)
        for each in (decision.env, decision.build_env)
    )
    return BaseImageDecision(
        catalogue=known,
        cuda=decision.cuda,
        driver=decision.driver,
        image_driver=decision.image_driver,
        compute=decision.compute,
        env=env,
        build_env=build_env,
        apt=tuple(sorted(each for each in decision.apt_run if not each.startswith("cuda-"))),
        apt_build=tuple(sorted(decision.apt_build)),
        saving=decision.saving,
        warnings=decision.warnings,
        explanation=tuple(sorted((*before, *decision.explanation), key=lambda row: row.step)),
    )


def _expand_paths(value: str, places: dict[str, str]) -> str:
    for word, path in places.items():
        value = value.replace(word, path)
    return value
