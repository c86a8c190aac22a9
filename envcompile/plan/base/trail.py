"""Why these images and not others: the rows of steps 6 to 8, each rejected image with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.model import RejectedImage, Step
from envcompile.plan.base.images import against, minimum, run_minors, systems, target, wanted
from envcompile.plan.base.versions import minor, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.plan.base.case import Case
    from envcompile.plan.base.catalogue import Image
    from envcompile.plan.base.images import Pair
    from envcompile.plan.base.model import Stage


_POLICY = "docs/base.md, what is chosen and not known"
_NEEDS = "docs/base.md, what packages need"
_PYTHON = {
    "image": "the image's own Python",
    "distribution": "the Python of its distribution",
    "standalone": "a Python of its own, brought along",
    "conda": "conda's Python",
}


def plain(case: Case, stage: Stage) -> Iterator[Step]:
    """Both stages stand on a plain image."""
    asked = (f"system {case.question.system}",) if case.question.system else ()
    source = "the spec" if asked else _POLICY
    yield Step(6, "system.plain", asked, f"{stage.system}, glibc {stage.glibc}, for both stages", source=source)
    toolkit = case.found.toolkit
    if toolkit is None:
        yield Step(7, "image.plain", (), f"{stage.image}: nothing needs CUDA of the image", source=_NEEDS)
        yield python(("both stages", stage))
        return
    repository, release = case.catalogue.repository, minor(toolkit)
    compiler = "nvcc is in the lock" if case.needs.toolchain else "nothing compiles CUDA code"
    rejected = (
        RejectedImage(f"{repository}:{release}-base", "a plain image starts on more drivers, and needs no cuda-compat"),
        RejectedImage(f"{repository}:{release}-runtime", "its libraries are in the lock already"),
        RejectedImage(f"{repository}:{release}-devel", f"{compiler}, and its libraries are in the lock already"),
    )
    inputs = (str(case.found.pins[0].package),)
    yield Step(7, "image.plain", inputs, f"{stage.image}: of the image only a driver is needed", rejected, _NEEDS)
    yield python(("both stages", stage))


def nvidia(case: Case, pair: Pair, build: Stage, run: Stage) -> Iterator[Step]:
    """At least one stage stands on an nvidia/cuda image."""
    names = systems(case)
    before = names[: names.index(pair.system)]
    kinds = "/".join(each for each in (wanted(case, "build"), wanted(case, "run")) if each)
    release = minor((pair.run or pair.build or case.catalogue.images[0]).cuda)
    rejected = [
        RejectedImage(f"{case.catalogue.repository}:{release}-{kinds}-{name}", "there is none that fits")
        for name in before
    ]
    yield Step(6, "system.first", (), f"{pair.system}, glibc {run.glibc}, for both stages", tuple(rejected), _POLICY)
    for word, stage, image in (("build", build, pair.build), ("run", run, pair.run)):
        inputs = tuple(case.needs.compiled if word == "build" else [each.package for each in case.needs.unmet])
        if image is None:
            decision = f"{word}: {stage.image}: this stage needs no CUDA of its image"
            yield Step(7, f"image.{word}", inputs, decision, _larger(case, pair, ""), _NEEDS)
        else:
            decision = f"{word}: {stage.image}: newest patch of {minor(image.cuda)} that fits"
            others = (*_patches(case, image, word), *_passed_over(case, image, word))
            rejected = [*others, *_larger(case, pair, stage.flavour)]
            yield Step(7, f"image.{word}", inputs, decision, tuple(rejected), "catalogue")
    yield python(("build", build), ("run", run))


def python(*stages: tuple[str, Stage]) -> Step:
    """Where each stage has its interpreter from."""
    decision = "; ".join(f"{word}: {_PYTHON[stage.python]}" for word, stage in stages)
    return Step(8, "python", (), decision, source="docs/base.md, step 8")


def _patches(case: Case, image: Image, word: str) -> Iterator[RejectedImage]:
    """Other patches of the same release: superseded, in the way of something, or without an image."""
    kind, catalogue = wanted(case, word), case.catalogue
    known = {each.cuda: each for each in catalogue.images if each.system == image.system}
    labels = {name for names in catalogue.runtimes.values() for name in names} | set(known)
    for name in sorted(labels, key=number):
        if minor(name) != minor(image.cuda) or name in {image.cuda, minor(name)}:
            continue
        if name not in known or not catalogue.has(known[name], kind):
            because = "no such image is known with enough confidence"
        elif number(name) < number(image.cuda):
            because = f"{image.cuda} is newer"
        else:
            because = "; ".join(against(case, known[name], word).values()) or "the spec asks for another patch"
        yield RejectedImage(f"{catalogue.repository}:{catalogue.tag(image._replace(cuda=name), kind)}", because)


def _passed_over(case: Case, image: Image, word: str) -> Iterator[RejectedImage]:
    """Releases that were wanted more, or that are older than a package needs."""
    if word != "run":
        return
    order, low = run_minors(case), minimum(case)
    first = target(case)
    if low and number(first) < number(low):
        yield RejectedImage(f"{case.catalogue.repository}:{first}", f"a package needs CUDA {low} or newer")
    for release in order[: order.index(minor(image.cuda))]:
        because = _because(case, release) or "no image of it has what is needed"
        yield RejectedImage(f"{case.catalogue.repository}:{release}", because)


def _because(case: Case, release: str) -> str | None:
    images = [each for each in case.catalogue.images if minor(each.cuda) == release and each.system in systems(case)]
    reasons = [why for each in images for why in against(case, each, "run").values()]
    return reasons[-1] if reasons else None


def _larger(case: Case, pair: Pair, kind: str) -> tuple[RejectedImage, ...]:
    """The next larger flavours, which nothing needs."""
    order = ["", "base", "runtime", "cudnn-runtime", "devel", "cudnn-devel"]
    release = (pair.run or pair.build or case.catalogue.images[0]).cuda
    larger = [each for each in order[order.index(kind) + 1 :] if each in {"runtime", "devel"}]
    return tuple(
        RejectedImage(
            f"{case.catalogue.repository}:{release}-{each}-{pair.system}", "larger, and nothing needs it here"
        )
        for each in larger
    )
