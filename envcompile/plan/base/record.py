"""A decision as the lock keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.model import BaseImageDecision, RecordedDiagnostic
from envcompile.plan.base.codes import CODES
from envcompile.plan.image import ENVIRONMENT

if TYPE_CHECKING:
    from envcompile.lock.model import Step
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.model import Decision


def facts(catalogue: Catalogue) -> str:
    """Which catalogue decided: its day and the beginning of its digest, which tells two of one day apart."""
    return f"{catalogue.date} {catalogue.digest[:19]}"


def recorded(decision: Decision, known: str, python: str | None, before: tuple[Step, ...] = ()) -> BaseImageDecision:
    """The decision by what is `known`; `python` is the environment's X.Y, `before` the rows of earlier steps.

    Packages of NVIDIA's own archive, which has no snapshot, are left out: what they hold comes as wheels.
    """
    places = {"<environment>": ENVIRONMENT, "<site-packages>": f"{ENVIRONMENT}/lib/python{python}/site-packages"}
    env, build_env = (
        tuple((name, _placed(value, places)) for name, value in each) for each in (decision.env, decision.build_env)
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
        warnings=tuple(
            RecordedDiagnostic(CODES[each.code].slug, each.message, each.hint) for each in decision.warnings
        ),
        explanation=tuple(sorted((*before, *decision.trail), key=lambda row: row.step)),
    )


def _placed(value: str, places: dict[str, str]) -> str:
    for word, path in places.items():
        value = value.replace(word, path)
    return value
