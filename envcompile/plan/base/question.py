"""What a spec asks of the base, given what is locked for one platform."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from envcompile.plan.base.bundled import bundled
from envcompile.plan.base.model import Question, locked
from envcompile.plan.base.needs import needs
from envcompile.platforms import PLATFORMS

if TYPE_CHECKING:
    from envcompile.lock.model import PlatformLock
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.model import Locked
    from envcompile.spec.model import Spec


def asks(spec: Spec) -> bool:
    """Whether the spec itself speaks of a GPU."""
    return bool(spec.cuda.version or spec.cuda.driver or spec.cuda.compute)


def packages(spec: Spec, platform: PlatformLock, catalogue: Catalogue) -> tuple[Locked, ...]:
    """What is locked, as far as it matters for the base.

    Where no GPU is asked for, conda's builds for the processor are what was meant, and what runs without a GPU as well
    asks for none: both need nothing.
    """
    held = locked(platform.pip, platform.conda)
    if asks(spec):
        return held
    idle = set(without_gpu(spec, platform, catalogue))
    return tuple(each for each in held if "cpu" not in each.build.split("_") and each not in idle)


def without_gpu(spec: Spec, platform: PlatformLock, catalogue: Catalogue) -> tuple[Locked, ...]:
    """Packages that could use a GPU and run without: nobody asks for one, and the lock has no CUDA that they find."""
    if asks(spec):
        return ()
    held, alone = locked(platform.pip, platform.conda), Question()
    found = bundled(alone, held, catalogue)
    able = (each for each in held if _runs_without(each, catalogue))
    return tuple(each for each in able if needs(alone, (each,), found, catalogue).run)


def question(spec: Spec, platform: PlatformLock, catalogue: Catalogue, system: str | None = None) -> Question:
    """The question about one platform; `system` as the catalogue names it, where only that one may be taken."""
    python = platform.python.version if platform.python else spec.python
    asked = Question(
        python=".".join(python.split(".")[:2]) if python else None,
        platforms=(PLATFORMS[platform.platform].docker_platform,),
        cuda=spec.cuda.version,
        system=system,
        image=spec.image.base.image if spec.image.base else None,
        driver=spec.cuda.driver,
        compute=spec.cuda.compute,
        jit=spec.cuda.jit,
        gpu=True if asks(spec) else None,
        cmake=" ".join(value for each in spec.pip.metadata for name, value in each.build_env if name == "CMAKE_ARGS"),
    )
    if not asks(spec) and not uses_cuda(asked, packages(spec, platform, catalogue), catalogue, surely=True):
        return dataclasses.replace(asked, gpu=False)
    return asked


def uses_cuda(asked: Question, held: tuple[Locked, ...], catalogue: Catalogue, *, surely: bool) -> bool:
    """Whether something locked brings CUDA or needs it. `surely`: what runs as well without it does not count."""
    found = bundled(asked, held, catalogue)
    if found.pins or found.libraries:
        return True
    counted = tuple(each for each in held if not (surely and _runs_without(each, catalogue)))
    needed = needs(asked, counted, found, catalogue)
    return bool(needed.run or needed.build or needed.majors or needed.driver)


def _runs_without(package: Locked, catalogue: Catalogue) -> bool:
    return any(need.cpu for need in catalogue.needs.get(package.name, ()))
