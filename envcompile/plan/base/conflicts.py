"""What contradicts itself: versions of CUDA, and drivers (steps 3 and 5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.lock.model import Step
from envcompile.plan.base.bundled import majors
from envcompile.plan.base.model import Said
from envcompile.plan.base.versions import major, minor, number, older

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.plan.base.case import Case
    from envcompile.plan.base.catalogue import Catalogue

_VERSIONS = 3
_STEPS = {
    3: {
        "E_MIXED_CUDA_MAJOR",
        "E_CUDA_CONFLICT",
        "E_CUDA_TOO_OLD",
        "E_UNKNOWN_CUDA",
        "E_TAG_DELETED",
        "W_CUDA_MINOR_DIFFERS",
    },
    4: {"E_SM_UNSUPPORTED"},
    5: {"E_DRIVER_TOO_OLD", "W_MINOR_COMPAT_ONLY"},
}
_SOURCES = {
    3: "docs/base.md, step 3",
    4: "NVIDIA's toolkit, driver and architecture matrix; torch's wheels as measured by cog",
    5: "NVIDIA's minor version compatibility page; uv-torch backend.rs @26a9dd4b",
}
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+){0,2}")


def unknown(case: Case) -> Said | None:
    """Whether the version that the spec asks for is one at all, and one whose images are there."""
    asked, catalogue = case.cuda, case.catalogue
    if not asked:
        return None
    if case.needs_image and gone(asked, catalogue):
        message = f"the images of CUDA {asked} were deleted by NVIDIA"
        return Said("E_TAG_DELETED", message, f"ask for {_near(asked, catalogue)}")
    return unknown_release(asked, catalogue)


def unknown_release(version: str, catalogue: Catalogue) -> Said | None:
    """Whether a version is one that there is no toolkit of."""
    if _VERSION.fullmatch(version) and version in catalogue.toolkits:
        return None
    message = f"`{version}` is no version of CUDA that is known ({catalogue.date})"
    return Said("E_UNKNOWN_CUDA", message, f"ask for {_near(version, catalogue)}")


def gone(version: str, catalogue: Catalogue) -> bool:
    """Whether NVIDIA deleted the images of this version."""
    return any(f"{version}.".startswith(f"{each}.") for each in catalogue.deleted)


def _near(asked: str, catalogue: Catalogue) -> str:
    same = [each for each in catalogue.minors if major(each) == major(asked)] or catalogue.minors
    wanted = number(asked)
    close = sorted(same, key=lambda each: abs(number(each)[-1] - (wanted[1] if len(wanted) > 1 else 0)))[:2]
    return " or ".join(f"`{each}`" for each in sorted(close, key=number))


def versions(case: Case) -> Iterator[Said]:
    """Majors that differ among the packages, or from the spec's; a spec that is older than what a package needs."""
    found: dict[int, list[str]] = majors(case.found)
    for release, names in case.needs.majors.items():
        found.setdefault(release, []).extend(names)
    told = "; ".join(
        f"CUDA {release}: {', '.join(f'`{name}`' for name in found[release])}" for release in sorted(found)
    )
    if len(found) > 1:
        hint = "take releases that are built for the same major version"
        yield Said("E_MIXED_CUDA_MAJOR", f"packages of more than one CUDA are locked: {told}", hint)
    elif case.question.cuda is False and (found or case.needs_image):
        needing = ", ".join(
            f"`{name}`" for name in (*case.needs.compiled, *(each.package for each in case.needs.unmet))
        )
        message = f"the spec keeps CUDA out, and what is locked uses it: {told or needing}"
        hint = "ask for builds without it: conda's `pytorch * cpu*`, or pip's from an index of such in `extra-indexes`"
        yield Said("E_CUDA_CONFLICT", message, hint)
    elif case.cuda and found and major(case.cuda) not in found:
        message = f"the spec asks for CUDA {case.cuda}, and what is locked is for another: {told}"
        yield Said("E_CUDA_CONFLICT", message, "ask for that one, or for packages that are built for yours")
    elif "." in case.cuda:
        for package, need in case.needs.unmet:
            if need.minimum and number(minor(case.cuda)) < number(need.minimum):
                message = f"the spec asks for CUDA {case.cuda}, and `{package}` needs {need.minimum} or newer"
                yield Said("E_CUDA_TOO_OLD", message, f"ask for `{need.minimum}` or newer")


def minor_differs(case: Case) -> Said | None:
    """The lock has another minor version than the spec asks for: its own is used."""
    toolkit, asked = case.found.toolkit, case.cuda
    if toolkit and "." in asked and major(toolkit) == major(asked) and minor(toolkit) != minor(asked):
        message = f"the spec asks for CUDA {asked}, and what is locked brings {toolkit}, which is used"
        hint = f"ask for `{minor(toolkit)}`, or for packages that are built for {minor(asked)}"
        return Said("W_CUDA_MINOR_DIFFERS", message, hint)
    return None


def driver(case: Case) -> Said | None:
    """A driver below the major version's floor runs none of it; below the minor's it runs it with limits (step 5)."""
    told, toolkit = case.question.driver, case.found.toolkit
    if not told or not (toolkit or case.needs_image):
        return None
    floor = case.catalogue.floors.get(case.major)
    if floor and older(told, floor) and not case.question.data_centre:
        message = f"driver {told} cannot run CUDA {case.major}: it takes {floor} or newer"
        served = [each for each, oldest in case.catalogue.floors.items() if not older(told, oldest)]
        best = max(served, key=number, default=None)
        hint = (
            f'it runs CUDA {best}: take builds for that, by `version = "{best}"` in `[cuda]`'
            if best
            else "no CUDA that is known runs on it: take a newer driver"
        )
        return Said("E_DRIVER_TOO_OLD", message, hint)
    native = case.catalogue.driver(minor(toolkit)) if toolkit and not needs_compat(case) else None
    if native and older(told, native):
        message = f"driver {told} is older than CUDA {toolkit}, which came with {native}"
        return Said("W_MINOR_COMPAT_ONLY", message, "it runs by minor version compatibility; PTX of it does not")
    return None


def needs_compat(case: Case) -> bool:
    """Whether the run image must bring cuda-compat: a driver below the floor, and data-centre GPUs alone."""
    told, floor = case.question.driver, case.catalogue.floors.get(case.major)
    used = case.found.toolkit or case.needs_image
    return bool(told and used and floor and case.question.data_centre and older(told, floor))


def trail(case: Case, said: list[Said]) -> Iterator[Step]:
    """What was compared, with what came of it."""
    spec = (f"cuda {case.cuda}",) if case.cuda else ()
    for step, rule, inputs in (
        (3, "versions", spec),
        (4, "compute", case.question.compute),
        (5, "driver", (f"driver {case.question.driver}",) if case.question.driver else ()),
    ):
        if inputs or step == _VERSIONS:
            yield _row(step, rule, inputs, [each.message for each in said if each.code in _STEPS[step]])


def _row(step: int, rule: str, inputs: tuple[str, ...], found: list[str]) -> Step:
    return Step(step, rule, inputs, "; ".join(found) or "nothing against it", source=_SOURCES[step])
