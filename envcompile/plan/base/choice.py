"""The systems, images and Python of both stages (steps 6 to 8)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from envcompile.lock.model import Step
from envcompile.plan.base import trail
from envcompile.plan.base.given import given
from envcompile.plan.base.images import OBSTACLES, against, glibc_fits, pairs, systems, wanted
from envcompile.plan.base.model import Said, Stage
from envcompile.plan.base.stages import Choice, about, plain_stage, python, too_old
from envcompile.plan.base.versions import minor, number

if TYPE_CHECKING:
    from envcompile.plan.base.case import Case
    from envcompile.plan.base.catalogue import Image
    from envcompile.plan.base.images import Pair
    from envcompile.plan.base.model import Locked

# nvcc up to 12.9 does not read the headers of glibc 2.41 (cuda-samples#378).
_NEW_GLIBC = (2, 41)
_NVCC_READS_IT = (13,)
_USUAL = ("debian12", "debian13")


def choose_stages(case: Case, packages: tuple[Locked, ...]) -> Choice:
    """The stages, smallest first: a plain image unless a package needs more of it than a driver."""
    conda = any(package.kind == "conda" for package in packages)
    if case.question.image:
        return given(case, conda)
    if case.question.system and not glibc_fits(case, case.question.system):
        return Choice(None, None, (too_old(case, case.question.system),), ())
    return _on_nvidia(case, conda) if case.needs_image else _plain(case, conda)


def _plain(case: Case, conda: bool) -> Choice:
    """No stage needs CUDA of its image."""
    catalogue = case.catalogue
    names = [case.question.system] if case.question.system else list(_USUAL)
    fitting = [name for name in names if glibc_fits(case, name)]
    if not fitting:
        return Choice(None, None, (too_old(case, names[-1]),), ())
    name = fitting[0]
    if name not in catalogue.systems:
        return Choice(None, None, (_no_system(name, case),), ())
    stage = plain_stage(case, name, conda)
    toolkit = case.found.toolkit
    old_nvcc = case.needs.toolchain and toolkit and number(toolkit) < _NVCC_READS_IT
    if old_nvcc and number(stage.glibc) >= _NEW_GLIBC:
        message = f"nvcc of CUDA {toolkit} does not read the headers of glibc {stage.glibc}, which `{stage.image}` has"
        return Choice(None, None, (Said("E_GLIBC", message, "take an older system, such as `bookworm`"),), ())
    return Choice(stage, stage, (), tuple(trail.plain(case, stage)))


def _on_nvidia(case: Case, conda: bool) -> Choice:
    pair = next(pairs(case), None)
    if pair is None:
        return _none(case)
    build = _stage(case, pair, pair.build, wanted(case, "build"), conda)
    run = _stage(case, pair, pair.run, wanted(case, "run"), conda)
    said = tuple(about(case, pair))
    return Choice(build, run, said, tuple(trail.nvidia(case, pair, build, run)))


def _stage(case: Case, pair: Pair, image: Image | None, kind: str, conda: bool) -> Stage:
    if image is None:
        return plain_stage(case, pair.system, conda, beside=True)
    tag = case.catalogue.tag(image, kind)
    system = case.catalogue.systems[pair.system]
    name, digest = f"{case.catalogue.repository}:{tag}", case.catalogue.digests.get(tag)
    has = python(case, system.python, conda)
    return Stage(name, system.name, system.glibc, has, kind, image.cuda, digest)


def _no_system(name: str, case: Case) -> Said:
    known = ", ".join(f"`{each}`" for each in case.catalogue.systems)
    return Said("E_NO_IMAGE", f"`{name}` is no system that is known", f"known are {known}")


def _none(case: Case) -> Choice:
    """What stands in the way of every image: the one obstacle without which there would be one, or there is none."""
    kinds = " and ".join(dict.fromkeys(each for each in (wanted(case, "build"), wanted(case, "run")) if each))
    where = " or ".join(f"`{each}`" for each in systems(case, any_glibc=True))
    cuda = case.cuda or (minor(case.found.toolkit) if case.found.toolkit else case.major)
    said = Said(
        "E_NO_IMAGE",
        f"there is no image of CUDA {cuda} ({kinds}) on {where} that is known with enough confidence",
        "ask for another `version` or another system; or take wheels that bring their CUDA, which need no such image",
    )
    for obstacle, code in OBSTACLES.items():
        if pair := next(pairs(case, without=obstacle), None):
            _, why = _obstructed(case, pair, obstacle)
            message = f"no image of CUDA {cuda} ({kinds}) on {where} fits: {why}"
            hint = f"{_nearest(case, obstacle)}; wheels that bring their CUDA need no such image"
            said = Said(code, message, hint)
            break
    inputs = (*case.needs.compiled, *(each.package for each in case.needs.unmet))
    return Choice(None, None, (said,), (Step(7, "image.none", inputs, said.message, source="catalogue"),))


def _nearest(case: Case, obstacle: str) -> str:
    """What could be asked for instead: another release of the same major version, another driver, another platform."""
    question = case.question
    free = dataclasses.replace(question, cuda=case.major)
    for asked, words in (
        (free, "ask for CUDA `{release}`, which has `{image}`"),
        (dataclasses.replace(free, system=None), "ask for CUDA `{release}`, which has `{image}`"),
        (dataclasses.replace(question, platforms=("linux/amd64",)), "for linux/amd64 there is `{image}`"),
        (dataclasses.replace(question, driver=None), "newer drivers can start `{image}`"),
    ):
        if pair := next(pairs(case._replace(question=asked)), None):
            image, kind = (pair.run, wanted(case, "run")) if pair.run else (pair.build, wanted(case, "build"))
            if image:
                name = f"{case.catalogue.repository}:{case.catalogue.tag(image, kind)}"
                return words.format(release=minor(image.cuda), image=name)
    return f"the nearest is {_obstructed(case, next(pairs(case, without=obstacle)), obstacle)[0]}"


def _obstructed(case: Case, pair: Pair, obstacle: str) -> tuple[str, str]:
    """The image that would do without the obstacle, and the obstacle in words."""
    name = ""
    for image, stage in ((pair.run, "run"), (pair.build, "build")):
        if image:
            name = f"`{case.catalogue.repository}:{case.catalogue.tag(image, wanted(case, stage))}`"
            if why := against(case, image, stage).get(obstacle):
                return name, f"{image.cuda}: {why}"
    return name, f"`{pair.system}` has an older glibc than what is locked needs"
