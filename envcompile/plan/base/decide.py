"""The decision: which images, from the question, the locked packages and the catalogue, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from envcompile.plan.base import bundled as step1
from envcompile.plan.base import compute, conflicts, environment
from envcompile.plan.base.case import Case
from envcompile.plan.base.choice import choose_stages
from envcompile.plan.base.model import Decision, Said
from envcompile.plan.base.needs import needs
from envcompile.plan.base.stages import musl, named_system
from envcompile.plan.base.versions import minor, number
from envcompile.plan.base.wheels import glibc
from envcompile.plan.image import labels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import Step
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.model import Locked, Question
    from envcompile.plan.base.stages import Choice


def decide(question: Question, packages: Iterable[Locked], catalogue: Catalogue) -> Decision:
    """The images of both stages and what goes with them; errors instead, all at once, where they contradict.

    The order of the packages does not matter, and a package that the catalogue says nothing of changes nothing.
    """
    packages = tuple(sorted(packages))
    question = dataclasses.replace(
        question, system=named_system(question.system, catalogue), glibc=_glibc(question, packages)
    )
    found = step1.bundled(question, packages, catalogue)
    needed = needs(question, packages, found, catalogue)
    case = Case(question, found, needed, catalogue)
    if question.gpu is False:
        case = case._replace(found=found._replace(pins=(), libraries={}))
    elif conflicts.needs_compat(case):
        needed.run.add("base")
    said = list(_said(case))
    rows = [step1.trail(case.found), *needed.trail, *conflicts.trail(case, said)]
    if any(each.code.startswith("E_") for each in said):
        return _decision(case, None, said, rows)
    choice = choose_stages(case, packages)
    return _decision(case, choice, [*said, *choice.said], [*rows, *choice.trail])


def _said(case: Case) -> Iterable[Said]:
    """Every mistake and warning before the images are looked for."""
    if musl(case):
        message = "the base asked for has musl, and everything is locked for glibc"
        yield Said("E_MUSL", message, "take a base of Debian or Ubuntu")
        return
    if said := conflicts.unknown(case):
        yield said
        return
    yield from case.needs.errors
    wrong = list(conflicts.versions(case))
    yield from wrong
    if not any(each.code == "E_MIXED_CUDA_MAJOR" for each in wrong):
        yield from compute.compute(case)
        yield from (said for said in [conflicts.driver(case), conflicts.minor_differs(case)] if said)
    yield from case.needs.warnings


def _glibc(question: Question, packages: tuple[Locked, ...]) -> str | None:
    """The oldest glibc that all wheels run with: as told, or by the tags of their files."""
    told = [question.glibc, *(glibc(each.file) for each in packages if each.file)]
    return max((each for each in told if each), key=number, default=None)


def _decision(case: Case, choice: Choice | None, said: list[Said], rows: list[Step]) -> Decision:
    errors = tuple(each for each in said if each.code.startswith("E_"))
    warnings = tuple(each for each in said if each.code.startswith("W_"))
    build, run = (choice.build, choice.run) if choice else (None, None)
    cuda = environment.used(case, run)
    driver = environment.floor(case, cuda)
    if build is None or run is None:
        return Decision(cuda=cuda, driver=driver, errors=errors, warnings=warnings, trail=tuple(rows))
    env, apt = environment.env(case, run), environment.apt_run(case, run)
    return Decision(
        build=build,
        run=run,
        cuda=cuda,
        driver=driver,
        image_driver=case.catalogue.driver(minor(run.cuda)) if run.cuda else None,
        compute=compute.architectures(case, minor(cuda)) if cuda else (),
        env=tuple(sorted(env.items())),
        build_env=tuple(sorted(environment.build_env(case, build).items())),
        labels=tuple(sorted(labels(cuda, driver).items())),
        apt_build=environment.apt_build(case),
        apt_run=apt,
        errors=errors,
        warnings=warnings,
        trail=(*rows, environment.trail(env, apt, driver)),
        saving=environment.saving(case, cuda, run),
    )
