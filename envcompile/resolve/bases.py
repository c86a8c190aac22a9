"""The bases that follow from what is locked: decided by the rules, by digest, with what must be added to them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED
from envcompile.lock.model import BaseImage, Step
from envcompile.plan.base import own_python
from envcompile.plan.base.codes import diagnostic
from envcompile.plan.base.decide import decide
from envcompile.plan.base.model import Question, Said
from envcompile.plan.base.question import asks, packages, question, uses_cuda, without_gpu
from envcompile.plan.base.record import facts, recorded
from envcompile.plan.base.supplement import expect, supplement
from envcompile.plan.base.unused import unused
from envcompile.resolve.images import pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import BaseImageDecision, PlatformLock
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.model import Decision, Locked, Stage
    from envcompile.resolve.images import Images
    from envcompile.spec.model import Spec


# Where a base has no Python of its own, it is its distribution's package; with its headers where they are needed.
_BY_APT = ("distribution", "standalone")


class Choosing(NamedTuple):
    """What choosing needs: the facts, who knows digests, and those that are kept (`name:tag` to the same with it)."""

    catalogue: Catalogue
    images: Images
    kept: Mapping[str, str]
    systems: Mapping[str, str]  # by platform: the one that was chosen before, and stays
    before: Mapping[str, tuple[Step, ...]]  # by platform: how it came to this pass
    held: Mapping[str, tuple[str, ...]]  # by platform: requirements of pip that were resolved with for the base's sake


def choose_bases(
    source: TomlSource, spec: Spec, platforms: Iterable[PlatformLock], choosing: Choosing
) -> tuple[PlatformLock, ...]:
    """The same packages on the bases that they need. Raises `Problems` where there are none, with what can be had."""
    found: list[Diagnostic] = []
    chosen = []
    for platform in platforms:
        decision, wheels = _decided(spec, platform, choosing)
        found += [diagnostic(each, spec) for each in decision.errors]
        if decision.build and decision.run:
            chosen.append(_standing(spec, platform, decision, wheels, choosing))
    if found:
        raise DiagnosticsError(source, dict.fromkeys(found), EXIT_FAILED)
    return tuple(chosen)


def _decided(spec: Spec, platform: PlatformLock, choosing: Choosing) -> tuple[Decision, tuple[str, ...]]:
    """The decision, and what pip must bring for it: then it is the one that follows when pip has."""
    catalogue = choosing.catalogue
    asked = question(spec, platform, catalogue, choosing.systems.get(platform.platform))
    held = packages(spec, platform, catalogue)
    decision = _otherwise(asked, held, platform, _with_python(spec, asked, held, catalogue), catalogue)
    if decision.errors:
        return decision, ()
    wheels = supplement(decision, catalogue)
    if isinstance(wheels, Said):
        return _refused(decision, wheels), ()
    if not wheels:
        return decision, choosing.held.get(platform.platform, ())
    if not spec.pip.packages:
        return _refused(decision, _for_conda(wheels)), ()
    expected = expect(wheels, catalogue)
    names = {each.name for each in expected}
    then = tuple(each for each in held if each.name not in names)
    return _with_python(spec, asked, (*then, *expected), catalogue), wheels


def _otherwise(
    asked: Question, held: tuple[Locked, ...], platform: PlatformLock, decision: Decision, catalogue: Catalogue
) -> Decision:
    """What is asked is what is locked: another release of CUDA, or none, is a mistake here."""
    if isinstance(asked.cuda, str) and not decision.errors and not uses_cuda(asked, held, catalogue, surely=False):
        where = f"what is locked for `{platform.platform}`"
        message = f"`cuda.version` asks for {asked.cuda}, and nothing of {where} uses CUDA"
        hint = "ask for a build that does, such as `pytorch * cuda*` of conda; or take `version` out of `[cuda]`"
        return _refused(decision, Said("E_CUDA_CONFLICT", message, hint))
    if wrong := next((each for each in decision.warnings if each.code == "W_CUDA_MINOR_DIFFERS"), None):
        return _refused(decision, wrong)
    return decision


def _with_python(spec: Spec, asked: Question, held: tuple[Locked, ...], catalogue: Catalogue) -> Decision:
    """The decision, on a system of NVIDIA's images that has the Python where the base must have it."""
    decision = _with_older(asked, held, catalogue)
    run = decision.run
    if run is None or run.python not in _BY_APT or not _needs_python(spec) or _has(run.system, asked.python, catalogue):
        return decision
    others = (each for each in catalogue.policy.systems if _has(each, asked.python, catalogue))
    answers = (_with_older(replace(asked, system=each), held, catalogue) for each in others)
    fitting = next((each for each in answers if not each.errors), None)
    return fitting or _refused(decision, _no_python(asked.python, run, catalogue))


def _with_older(asked: Question, held: tuple[Locked, ...], catalogue: Catalogue) -> Decision:
    """The decision; where the locked wheels alone are too new for every system that has the images, without them.

    Then an older C library is resolved for, and other wheels, or none, fit it.
    """
    decision = decide(asked, held, catalogue)
    if asked.image or [each.code for each in decision.errors] != ["E_GLIBC"]:
        return decision
    older = decide(asked, tuple(each._replace(file="") for each in held), catalogue)
    return decision if older.errors else older


def _refused(decision: Decision, said: Said) -> Decision:
    return replace(decision, build=None, run=None, errors=(*decision.errors, said))


def _needs_python(spec: Spec) -> bool:
    return own_python(spec) and spec.image.base is None


def _has(system: str, python: str | None, catalogue: Catalogue) -> bool:
    return catalogue.systems[system].python == python


def _no_python(python: str | None, stage: Stage, catalogue: Catalogue) -> Said:
    message = f"the environment needs `{stage.image}`, and no system of NVIDIA's images has Python {python}"
    known = ", ".join(f"`{catalogue.systems[each].python}`" for each in catalogue.policy.systems)
    hint = f"ask for Python {known}; or take Python from conda: `python {python}.*` in `packages` of `[conda]`"
    return Said("E_NO_PYTHON", message, hint)


def _for_conda(wheels: tuple[str, ...]) -> Said:
    message = f"a locked package needs what {' and '.join(f'`{each}`' for each in wheels)} holds, of pip"
    return Said("E_UNPINNED", message, "add conda's package of the same, such as `cuda-cudart-dev`, to `packages`")


def _standing(
    spec: Spec, platform: PlatformLock, decision: Decision, wheels: tuple[str, ...], choosing: Choosing
) -> PlatformLock:
    catalogue = choosing.catalogue
    if decision.build is None or decision.run is None:
        raise AssertionError("a decision without errors has both stages")
    build, run = (_image(stage, platform.run, choosing) for stage in (decision.build, decision.run))
    python = ".".join((platform.python.version if platform.python else "").split(".")[:2])
    before = choosing.before.get(platform.platform, ())
    if idle := without_gpu(spec, platform, catalogue):
        said = "no GPU is asked for, and no CUDA that it finds is locked: it runs on the processor"
        before = (*before, Step(2, "without-gpu", tuple(map(str, idle)), said, source="docs/base.md, step 2"))
    idle_gpu = not asks(spec) and not uses_cuda(Question(), packages(spec, platform, catalogue), catalogue, surely=True)
    warned = (*decision.warnings, *(unused(platform) if idle_gpu else ()))
    decided = recorded(replace(decision, warnings=warned), facts(catalogue), python, before)
    decided = _with_compiler(spec, decision.run, replace(decided, wheels=wheels))
    if _needs_python(spec) and decision.run.python in _BY_APT:
        decided = _with_distribution(f"python{python}", platform, decision.run, decided)
    return replace(platform, build=build, run=run, base_decision=decided)


def _with_distribution(
    python: str, platform: PlatformLock, run: Stage, decided: BaseImageDecision
) -> BaseImageDecision:
    """The distribution's Python in both stages; with its headers where something compiles against them."""
    headers = {f"{python}-dev"}
    at_run = headers if run.python == "standalone" else set()
    at_build = headers if any(each.kind == "sdist" for each in platform.pip) else set()
    return replace(
        decided,
        apt=tuple(sorted({*decided.apt, python, *at_run})),
        apt_build=tuple(sorted({*decided.apt_build, python, *at_build})),
    )


def _with_compiler(spec: Spec, run: Stage, decided: BaseImageDecision) -> BaseImageDecision:
    """The compiler that the spec asks for, also where no locked package is known to need it."""
    if not spec.cuda.jit or run.flavour.endswith("devel") or {"gcc", "g++"} & {*decided.apt}:
        return decided
    row = Step(2, "jit", ("jit",), "compiles at run time: gcc, libc6-dev", source="the spec")
    trail = tuple(sorted((*decided.explanation, row), key=lambda each: each.step))
    return replace(decided, apt=tuple(sorted({*decided.apt, "gcc", "libc6-dev"})), explanation=trail)


def _image(stage: Stage, ground: BaseImage, choosing: Choosing) -> BaseImage:
    """By digest; the ground that everything was resolved for is known already."""
    if stage.image == ground.image.partition("@")[0] or stage.image == ground.image:
        return ground
    return BaseImage(pin(stage.image, choosing.kept, choosing.images), stage.os, stage.glibc)
