"""The systems, images and Python of both stages (steps 6 to 8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.plan.base import trail
from envcompile.plan.base.conflicts import gone
from envcompile.plan.base.images import OBSTACLES, Pair, against, glibc_fits, pairs, systems, wanted
from envcompile.plan.base.model import Row, Said, Stage
from envcompile.plan.base.versions import minor, number
from envcompile.plan.catalogue import PYTHON_IMAGE
from envcompile.spec.image import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.plan.base.case import Case
    from envcompile.plan.base.catalogue import Catalogue, Image
    from envcompile.plan.base.model import Locked

# nvcc up to 12.9 does not read the headers of glibc 2.41 (cuda-samples#378).
_NEW_GLIBC = (2, 41)
_NVCC_READS_IT = (13,)
_USUAL = ("debian12", "debian13")


class Choice(NamedTuple):
    """Both stages, or the errors that forbid them; and what was chosen against what."""

    build: Stage | None
    run: Stage | None
    said: tuple[Said, ...]
    trail: tuple[Row, ...]


def named_system(name: str | None, catalogue: Catalogue) -> str | None:
    """The system as the catalogue names it: `bookworm`, `debian-12` and `debian-bookworm` are `debian12`."""
    if name is None:
        return None
    word = name.lower()
    return catalogue.debian.get(word.removeprefix("debian-"), re.sub(r"[-:]", "", word))


def musl(case: Case) -> bool:
    """Whether the base asked for is Alpine."""
    return "alpine" in (case.question.system or "").lower() or "alpine" in (case.question.image or "").lower()


def choose_stages(case: Case, packages: tuple[Locked, ...]) -> Choice:
    """The stages, smallest first: a plain image unless a package needs more of it than a driver."""
    conda = any(package.kind == "conda" for package in packages)
    if case.question.image:
        return _given(case, conda)
    if case.question.system and not glibc_fits(case, case.question.system):
        return Choice(None, None, (_glibc(case, case.question.system),), ())
    return _on_nvidia(case, conda) if case.needs_image else _plain(case, conda)


def _given(case: Case, conda: bool) -> Choice:
    """The spec's own base for both stages: what it has is its author's word, unless it is one of the catalogue's."""
    image, catalogue = case.question.image or "", case.catalogue
    parts = reference(image)
    tag, python = (parts.tag if parts and parts.tag else ""), "conda" if conda else "image"
    row = Row(7, "image.given", (image,), f"{image} for both stages, as the spec says", source="the spec")
    if parts and parts.name.endswith(catalogue.repository):
        known = ((each, kind) for each in catalogue.images for kind in catalogue.flavours)
        found = next(((each, kind) for each, kind in known if catalogue.tag(each, kind) == tag), None)
        version = tag.partition("-")[0]
        if not found and gone(version, catalogue):
            message = f"the image `{image}` was deleted by NVIDIA"
            return Choice(None, None, (Said("E_TAG_DELETED", message, "take one of a newer release"),), (row,))
        if found:
            system = catalogue.systems[found[0].system]
            stage = Stage(image, system.name, system.glibc, python, found[1], found[0].cuda)
            return Choice(stage, stage, tuple(_about(case, Pair(system.name, None, found[0]))), (row,))
    words = [named_system(word, catalogue) or "" for word in reversed(tag.split("-"))]
    name = next((word for word in words if word in catalogue.systems), "")
    if name and not glibc_fits(case, name):
        return Choice(None, None, (_glibc(case, name),), (row,))
    stage = Stage(image, name, catalogue.systems[name].glibc if name else "", python)
    return Choice(stage, stage, (), (row,))


def _plain(case: Case, conda: bool) -> Choice:
    """No stage needs CUDA of its image."""
    catalogue = case.catalogue
    names = [case.question.system] if case.question.system else list(_USUAL)
    fitting = [name for name in names if glibc_fits(case, name)]
    if not fitting:
        return Choice(None, None, (_glibc(case, names[-1]),), ())
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
    said = tuple(_about(case, pair))
    return Choice(build, run, said, tuple(trail.nvidia(case, pair, build, run)))


def _stage(case: Case, pair: Pair, image: Image | None, kind: str, conda: bool) -> Stage:
    if image is None:
        return plain_stage(case, pair.system, conda, beside=True)
    tag = case.catalogue.tag(image, kind)
    system = case.catalogue.systems[pair.system]
    python = _python(case, system.python, conda)
    name = f"{case.catalogue.repository}:{tag}"
    return Stage(name, system.name, system.glibc, python, kind, image.cuda, case.catalogue.digests.get(tag))


def plain_stage(case: Case, name: str, conda: bool, *, beside: bool = False) -> Stage:
    """A system's plain image; where Python is all it needs, the one that has it. `beside` an nvidia/cuda image: no."""
    system, python = case.catalogue.systems[name], case.question.python
    release = next((word for word, debian in case.catalogue.debian.items() if debian == name), None)
    if release and python and not conda and not beside:
        return Stage(f"{PYTHON_IMAGE}:{minor(python)}-slim-{release}", name, system.glibc, "image")
    return Stage(system.image, name, system.glibc, _python(case, system.python, conda))


def _python(case: Case, own: str, conda: bool) -> str:
    """Where the interpreter is from. The system's own has no headers with it: what compiles at run takes another."""
    if conda:
        return "conda"
    python = case.question.python
    same = python is not None and minor(python) == own
    return "distribution" if same and not case.needs.headers else "standalone"


def _about(case: Case, pair: Pair) -> Iterator[Said]:
    toolkit = case.found.toolkit
    differs = next((each for each in pair[1:] if each and toolkit and minor(each.cuda) != minor(toolkit)), None)
    compiles = case.needs.build or any(name == "cuda-nvcc" for name, _ in case.needs.apt) or "devel" in case.needs.run
    if differs and toolkit and compiles:
        message = f"what is locked is for CUDA {toolkit}, and the nearest image with its nvcc is {differs.cuda}"
        yield Said("W_NVCC_MINOR_DIFFERS", message, "a difference of minor versions mostly compiles; try the result")
    old = next((each for each in pair[1:] if each and each.status in {"eol", "superseded"}), None)
    if old and not case.question.accept_old:
        word = "is superseded by a newer patch" if old.status == "superseded" else "is no longer supported"
        message = f"the image of CUDA {old.cuda} {word} and may be deleted"
        yield Said("W_EOL_TAG", message, f"ask for `{minor(old.cuda)}`, or for a newer release")


def _glibc(case: Case, name: str) -> Said:
    has = case.catalogue.systems[name].glibc if name in case.catalogue.systems else "another"
    message = f"what is locked needs glibc {case.question.glibc} or newer, and `{name}` has {has}"
    return Said("E_GLIBC", message, "take a newer system, or older releases of the packages")


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
            image, why = _obstructed(case, pair, obstacle)
            message = f"no image of CUDA {cuda} ({kinds}) on {where} fits: {why}"
            hint = f"the nearest is {image}; wheels that bring their CUDA need no such image"
            said = Said(code, message, hint)
            break
    inputs = (*case.needs.compiled, *(each.package for each in case.needs.unmet))
    return Choice(None, None, (said,), (Row(7, "image.none", inputs, said.message, source="catalogue"),))


def _obstructed(case: Case, pair: Pair, obstacle: str) -> tuple[str, str]:
    """The image that would do without the obstacle, and the obstacle in words."""
    name = ""
    for image, stage in ((pair.run, "run"), (pair.build, "build")):
        if image:
            name = f"`{case.catalogue.repository}:{case.catalogue.tag(image, wanted(case, stage))}`"
            if why := against(case, image, stage).get(obstacle):
                return name, f"{image.cuda}: {why}"
    return name, f"`{pair.system}` has an older glibc than what is locked needs"
