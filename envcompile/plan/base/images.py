"""Which nvidia/cuda images fit both stages, the best first, and what stands in the way of the others (step 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.plan.base.compute import compute_fits, compute_name
from envcompile.plan.base.versions import architecture, cudnn_fits, major, minor, number, older

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.plan.base.case import Case
    from envcompile.plan.base.catalogue import Image

# What can stand in the way of an image that is there otherwise, in the order in which it is told, and its code.
OBSTACLES = {
    "driver": "E_DRIVER_TOO_OLD",
    "compute": "E_SM_UNSUPPORTED",
    "cudnn": "E_NO_CUDNN_MATCH",
    "architecture": "E_ARCH_NO_IMAGE",
    "glibc": "E_GLIBC",
}


class Pair(NamedTuple):
    """The images of both stages, on one system; None where a stage needs none."""

    system: str
    build: Image | None
    run: Image | None


def flavour(features: set[str]) -> str:
    """The smallest flavour with the features; empty where none is needed."""
    if "devel" in features:
        return "cudnn-devel" if "cudnn" in features else "devel"
    if "cudnn" in features:
        return "cudnn-runtime"
    return next((each for each in ("runtime", "base") if each in features), "")


def minimum(case: Case) -> str:
    """The oldest CUDA (X.Y) that serves what is needed of the run image; empty where nothing says one."""
    bounds = [each.need.minimum for each in case.needs.unmet if each.need.minimum]
    return max(bounds, key=number, default="")


def target(case: Case) -> str:
    """The minor release (X.Y) to want for the run image."""
    toolkit = case.found.toolkit
    # What is compiled at run must fit what is locked; what is only loaded is the spec's to say.
    if toolkit and not ("." in case.cuda and case.needs.run & {"runtime", "cudnn"}):
        return minor(toolkit)
    if "." in case.cuda:
        return minor(case.cuda)
    return case.catalogue.policy.minors.get(case.major, f"{case.major}.0")


def run_minors(case: Case) -> list[str]:
    """Minor releases for the run image, the best first: the wanted one, newer ones from it on, then older ones."""
    best, low = target(case), minimum(case)
    mine = [each for each in case.catalogue.minors if str(major(each)) == case.major]
    if "." in case.cuda and best == minor(case.cuda):
        return [best] if best in mine else []
    served = [each for each in mine if not low or number(each) >= number(low)]
    newer = [each for each in served if number(each) >= number(best)]
    return newer + [each for each in reversed(served) if each not in newer]


def build_minors(case: Case, run: str) -> list[str]:
    """Minor releases for the build image: the lock's, then the nearest; where the lock has none, the run image's."""
    toolkit = case.found.toolkit
    if toolkit is None:
        return [run]
    own = number(minor(toolkit))
    mine = [each for each in case.catalogue.minors if major(each) == own[0]]
    return sorted(mine, key=lambda each: (abs(number(each)[1] - own[1]), -number(each)[1]))


def systems(case: Case, *, any_glibc: bool = False) -> list[str]:
    """The system that is asked for, or the usual ones in order; without those that are too old for the lock."""
    asked = case.question.system
    named = [asked] if asked else list(case.catalogue.policy.systems)
    return [each for each in named if any_glibc or glibc_fits(case, each)]


def glibc_fits(case: Case, system: str) -> bool:
    """Whether what is locked runs with the system's C library."""
    known, needed = case.catalogue.systems.get(system), case.question.glibc
    return not needed or known is None or number(known.glibc) >= number(needed)


def wanted(case: Case, stage: str) -> str:
    """The flavour that a stage (`build`, `run`) needs; empty where a plain image does."""
    return flavour(case.needs.build if stage == "build" else case.needs.run)


def pairs(case: Case, without: str = "") -> Iterator[Pair]:
    """Images for both stages, the best first; `without` names an obstacle that is not looked at.

    A system that has the exact release for the build goes before one that has only a near one.
    """
    build, run = wanted(case, "build"), wanted(case, "run")
    free = run or case.found.toolkit is None
    for release in run_minors(case) if free else [target(case)]:
        for other in build_minors(case, release) if build else [""]:
            for system in systems(case, any_glibc=without == "glibc"):
                first = newest(case, other, system, "build", without) if build else None
                second = newest(case, release, system, "run", without) if run else None
                if (first or not build) and (second or not run):
                    yield Pair(system, first, second)


def newest(case: Case, release: str, system: str, stage: str, without: str = "") -> Image | None:
    """The newest patch of CUDA X.Y on the system that a stage can stand on."""
    exact = case.cuda if case.cuda.count(".") > 1 and minor(case.cuda) == release else ""
    found = [
        image
        for image in case.catalogue.images
        if image.system == system
        and minor(image.cuda) == release
        and (not exact or image.cuda == exact)
        and case.catalogue.has(image, wanted(case, stage))
        and against(case, image, stage).keys() <= {without}
    ]
    return max(found, key=lambda image: number(image.cuda), default=None)


def against(case: Case, image: Image, stage: str) -> dict[str, str]:
    """What stands against an image: the obstacle and the reason."""
    found: dict[str, str] = {}
    release = minor(image.cuda)
    missing = [each for each in case.question.platforms if architecture(each) not in image.architectures]
    if missing:
        found["architecture"] = f"there is none for {' and '.join(missing)}"
    for each in case.question.compute:
        if why := compute_fits(case, compute_name(each), release):
            found["compute"] = f"GPU architecture {compute_name(each)}: {why}"
    if stage == "run":
        if why := _refuses(case, image):
            found["driver"] = why
        if why := _other_cudnn(case, image):
            found["cudnn"] = why
    return found


def _other_cudnn(case: Case, image: Image) -> str | None:
    if "cudnn" not in case.needs.run:
        return None
    has = case.catalogue.cudnn(image)
    other = next((each for each in case.needs.unmet if not cudnn_fits(has, each.need.cudnn)), None)
    return f"it has cuDNN {has}, and `{other.package}` needs {other.need.cudnn}" if other else None


def _refuses(case: Case, image: Image) -> str | None:
    """Why the image does not start on the oldest driver to support: NVIDIA_REQUIRE_CUDA asks for its own release's."""
    told, release = case.question.driver, minor(image.cuda)
    native = case.catalogue.driver(release)
    if not told or not native or not older(told, native):
        return None
    if case.question.data_centre:
        same = [toolkit for toolkit in case.catalogue.branches if minor(toolkit) == release]
        if same and told.partition(".")[0] in case.catalogue.branches[max(same, key=number)]:
            return None
    return f"driver {told} is older than {native}, and the image refuses to start on it"
