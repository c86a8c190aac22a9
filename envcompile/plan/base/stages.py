"""What both ways to a base share: a stage from an image, and what is to be said of one (steps 6 to 8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.plan.base.model import Said, Stage
from envcompile.plan.base.versions import minor
from envcompile.plan.catalogue import PYTHON_IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import Step
    from envcompile.plan.base.case import Case
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.images import Pair


class Choice(NamedTuple):
    """Both stages, or the errors that forbid them; and what was chosen against what."""

    build: Stage | None
    run: Stage | None
    said: tuple[Said, ...]
    trail: tuple[Step, ...]


def named_system(name: str | None, catalogue: Catalogue) -> str | None:
    """The system as the catalogue names it: `bookworm`, `debian-12` and `debian-bookworm` are `debian12`."""
    if name is None:
        return None
    word = name.lower()
    return catalogue.debian.get(word.removeprefix("debian-"), re.sub(r"[-:]", "", word))


def musl(case: Case) -> bool:
    """Whether the base asked for is Alpine."""
    return "alpine" in (case.question.system or "").lower() or "alpine" in (case.question.image or "").lower()


def plain_stage(case: Case, name: str, conda: bool, *, beside: bool = False) -> Stage:
    """A system's plain image; where Python is all it needs, the one that has it. `beside` an nvidia/cuda image: no."""
    system, asked = case.catalogue.systems[name], case.question.python
    release = next((word for word, debian in case.catalogue.debian.items() if debian == name), None)
    if release and asked and not conda and not beside:
        return Stage(f"{PYTHON_IMAGE}:{minor(asked)}-slim-{release}", name, system.glibc, "image")
    return Stage(system.image, name, system.glibc, python(case, system.python, conda))


def python(case: Case, own: str, conda: bool) -> str:
    """Where the interpreter is from. The system's own has no headers with it: what compiles at run takes another."""
    if conda:
        return "conda"
    asked = case.question.python
    same = asked is not None and minor(asked) == own
    return "distribution" if same and not case.needs.headers else "standalone"


def about(case: Case, pair: Pair) -> Iterator[Said]:
    """What is to be said of the images although they fit."""
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
        yield Said("W_EOL_TAG", message, "another release may have an image that is maintained")


def too_old(case: Case, name: str) -> Said:
    """The system has an older C library than what is locked needs."""
    has = case.catalogue.systems[name].glibc if name in case.catalogue.systems else "another"
    message = f"what is locked needs glibc {case.question.glibc} or newer, and `{name}` has {has}"
    return Said("E_GLIBC", message, "take a newer system, or older releases of the packages")
