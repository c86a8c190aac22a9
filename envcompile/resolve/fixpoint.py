"""The bases that follow from what is locked: decided by the rules, by digest, with what must be added to them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.compatibility import check_cuda_release, is_image_deleted
from envcompile.base_image.decide import (
    decide_base_images,
    explain_replacement_wheels,
    find_idle_gpu_packages,
    find_replacement_wheels,
    make_base_image_request,
    predict_packages,
    select_packages,
    spec_requests_gpu,
    uses_cuda,
)
from envcompile.base_image.default import find_base_image, uses_base_python
from envcompile.base_image.explain import format_catalogue_version, locate_in_spec, record_decision
from envcompile.base_image.locked_cuda import iter_unused_libraries
from envcompile.base_image.model import BaseImageRequest
from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED, CheckFailedError
from envcompile.lock.model import BaseImage, PythonInterpreter, Step
from envcompile.resolve.environment import solve_environment
from envcompile.resolve.images import BuildContext, collect_pinned_images, pin_image, pin_tools, resolve_base_images
from envcompile.resolve.model import UnsolvableError
from envcompile.spec.image_reference import remove_digest
from envcompile.versions import is_release_of, minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.base_image.model import BaseImageResult, PackageSummary, StageImage
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import BaseImageDecision, Channel, PlatformLock
    from envcompile.resolve.apt.resolver import AptResolution
    from envcompile.resolve.environment import EarlierLock, Solvers, UpgradeRequest
    from envcompile.resolve.images import ImageReader
    from envcompile.spec.model import Spec

# Where a base has no Python of its own, it is its distribution's package; with its headers where they are needed.
_APT_PYTHON_SOURCES = ("distribution", "standalone")


class BaseImageInputs(NamedTuple):
    """What choosing needs: the facts, who knows digests, and those that are kept (`name:tag` to the same with it)."""

    catalogue: Catalogue
    images: ImageReader
    pinned_images: Mapping[str, str]
    systems: Mapping[str, str]  # by platform: the one that was chosen before, and stays
    earlier_steps: Mapping[str, tuple[Step, ...]]  # by platform: how it came to this pass
    requested_wheels: Mapping[
        str, tuple[str, ...]
    ]  # by platform: requirements of pip that were resolved with for the base's sake


def choose_base_images(
    source: TomlSource, spec: Spec, platforms: Iterable[PlatformLock], choosing: BaseImageInputs
) -> tuple[PlatformLock, ...]:
    """The same packages on the bases that they need.

    Raises `DiagnosticsError` where there are none, with what can be had.
    """
    found: list[Diagnostic] = []
    chosen = []
    for platform in platforms:
        decision, wheels = _decide_with_wheels(spec, platform, choosing)
        found += [locate_in_spec(each, spec) for each in decision.errors]
        if decision.build and decision.run:
            chosen.append(_apply_decision(spec, platform, decision, wheels, choosing))
    if found:
        raise DiagnosticsError(source, dict.fromkeys(found), EXIT_FAILED)
    return tuple(chosen)


def _decide_with_wheels(
    spec: Spec, platform: PlatformLock, choosing: BaseImageInputs
) -> tuple[BaseImageResult, tuple[str, ...]]:
    """The decision, and what pip must bring for it: then it is the one that follows when pip has."""
    catalogue = choosing.catalogue
    asked = make_base_image_request(spec, platform, catalogue, choosing.systems.get(platform.platform))
    held = select_packages(spec, platform, catalogue)
    decision = _check_requested_cuda(
        asked, held, platform, _decide_with_python(spec, asked, held, catalogue), catalogue
    )
    if decision.errors:
        return decision, ()
    wheels = find_replacement_wheels(decision, catalogue)
    if isinstance(wheels, Diagnostic):
        return _create_rejection(decision, wheels), ()
    if not wheels:
        return decision, choosing.requested_wheels.get(platform.platform, ())
    if not spec.pip.packages:
        return _create_rejection(decision, _create_unpinned_error(wheels)), ()
    expected = predict_packages(wheels, catalogue)
    names = {each.name for each in expected}
    then = tuple(each for each in held if each.name not in names)
    return _decide_with_python(spec, asked, (*then, *expected), catalogue), wheels


def _check_requested_cuda(
    asked: BaseImageRequest,
    held: tuple[PackageSummary, ...],
    platform: PlatformLock,
    decision: BaseImageResult,
    catalogue: Catalogue,
) -> BaseImageResult:
    """What is asked is what is locked: another release of CUDA, or none, is a mistake here."""
    if isinstance(asked.cuda, str) and not decision.errors and not uses_cuda(asked, held, catalogue, surely=False):
        where = f"what is locked for `{platform.platform}`"
        message = f"`cuda.version` asks for {asked.cuda}, and nothing of {where} uses CUDA"
        hint = "ask for a build that does, such as `pytorch * cuda*` of conda; or take `version` out of `[cuda]`"
        return _create_rejection(decision, Diagnostic("cuda-conflict", message, hint=hint))
    if wrong := next((each for each in decision.warnings if each.rule == "cuda-minor-differs"), None):
        return _create_rejection(decision, replace(wrong, severity="error"))
    return decision


def _decide_with_python(
    spec: Spec, asked: BaseImageRequest, held: tuple[PackageSummary, ...], catalogue: Catalogue
) -> BaseImageResult:
    """The decision, on a system of NVIDIA's images that has the Python where the base must have it."""
    decision = _retry_with_older_glibc(asked, held, catalogue)
    run = decision.run
    if (
        run is None
        or run.python_source not in _APT_PYTHON_SOURCES
        or not _needs_interpreter(spec)
        or _has_python(run.system, asked.python, catalogue)
    ):
        return decision
    others = (each for each in catalogue.policy.systems if _has_python(each, asked.python, catalogue))
    answers = (_retry_with_older_glibc(replace(asked, system=each), held, catalogue) for each in others)
    fitting = next((each for each in answers if not each.errors), None)
    return fitting or _create_rejection(decision, _create_missing_python_error(asked.python, run, catalogue))


def _retry_with_older_glibc(
    asked: BaseImageRequest, held: tuple[PackageSummary, ...], catalogue: Catalogue
) -> BaseImageResult:
    """The decision; where the locked wheels alone are too new for every system that has the images, without them.

    Then an older C library is resolved for, and other wheels, or none, fit it.
    """
    decision = decide_base_images(asked, held, catalogue)
    if asked.image or [each.rule for each in decision.errors] != ["base-glibc"]:
        return decision
    older = decide_base_images(asked, tuple(each._replace(file="") for each in held), catalogue)
    return decision if older.errors else older


def _create_rejection(decision: BaseImageResult, said: Diagnostic) -> BaseImageResult:
    return replace(decision, build=None, run=None, errors=(*decision.errors, said))


def _needs_interpreter(spec: Spec) -> bool:
    return uses_base_python(spec) and spec.image.base is None


def _has_python(system: str, python: str | None, catalogue: Catalogue) -> bool:
    return catalogue.systems[system].python_version == python


def _create_missing_python_error(python: str | None, stage: StageImage, catalogue: Catalogue) -> Diagnostic:
    message = f"the environment needs `{stage.image}`, and no system of NVIDIA's images has Python {python}"
    known = ", ".join(f"`{catalogue.systems[each].python_version}`" for each in catalogue.policy.systems)
    hint = f"ask for Python {known}; or take Python from conda: `python {python}.*` in `packages` of `[conda]`"
    return Diagnostic("base-python", message, hint=hint)


def _create_unpinned_error(wheels: tuple[str, ...]) -> Diagnostic:
    message = f"a locked package needs what {' and '.join(f'`{each}`' for each in wheels)} holds, of pip"
    return Diagnostic(
        "cuda-unpinned", message, hint="add conda's package of the same, such as `cuda-cudart-dev`, to `packages`"
    )


def _apply_decision(
    spec: Spec, platform: PlatformLock, decision: BaseImageResult, wheels: tuple[str, ...], choosing: BaseImageInputs
) -> PlatformLock:
    catalogue = choosing.catalogue
    if decision.build is None or decision.run is None:
        raise AssertionError("a decision without errors has both stages")
    build, run = (_pin_stage_image(stage, platform.run, choosing) for stage in (decision.build, decision.run))
    python = minor_release(platform.python.version) if platform.python else ""
    before = choosing.earlier_steps.get(platform.platform, ())
    if idle := find_idle_gpu_packages(spec, platform, catalogue):
        said = "no GPU is asked for, and no CUDA that it finds is locked: it runs on the processor"
        before = (*before, Step(2, "without-gpu", tuple(map(str, idle)), said, source="docs/base.md, step 2"))
    idle_gpu = not spec_requests_gpu(spec) and not uses_cuda(
        BaseImageRequest(), select_packages(spec, platform, catalogue), catalogue, surely=True
    )
    warned = (*decision.warnings, *(iter_unused_libraries(platform) if idle_gpu else ()))
    decided = record_decision(replace(decision, warnings=warned), format_catalogue_version(catalogue), python, before)
    decided = _add_compiler(spec, decision.run, replace(decided, wheels=wheels))
    if _needs_interpreter(spec) and decision.run.python_source in _APT_PYTHON_SOURCES:
        decided = _use_distribution_python(f"python{python}", platform, decision.run, decided)
    return replace(platform, build=build, run=run, base_decision=decided)


def _use_distribution_python(
    python: str, platform: PlatformLock, run: StageImage, decided: BaseImageDecision
) -> BaseImageDecision:
    """The distribution's Python in both stages; with its headers where something compiles against them."""
    headers = {f"{python}-dev"}
    at_run = headers if run.python_source == "standalone" else set()
    at_build = headers if any(each.kind == "sdist" for each in platform.pip) else set()
    return replace(
        decided,
        apt=tuple(sorted({*decided.apt, python, *at_run})),
        apt_build=tuple(sorted({*decided.apt_build, python, *at_build})),
    )


def _add_compiler(spec: Spec, run: StageImage, decided: BaseImageDecision) -> BaseImageDecision:
    """The compiler that the spec asks for, also where no locked package is known to need it."""
    if not spec.cuda.jit or run.flavour.endswith("devel") or {"gcc", "g++"} & {*decided.apt}:
        return decided
    row = Step(2, "jit", ("jit",), "compiles at run time: gcc, libc6-dev", source="the spec")
    trail = tuple(sorted((*decided.explanation, row), key=lambda each: each.step))
    return replace(decided, apt=tuple(sorted({*decided.apt, "gcc", "libc6-dev"})), explanation=trail)


def _pin_stage_image(stage: StageImage, ground: BaseImage, choosing: BaseImageInputs) -> BaseImage:
    """By digest; the ground that everything was resolved for is known already."""
    if stage.image == remove_digest(ground.image) or stage.image == ground.image:
        return ground
    return BaseImage(pin_image(stage.image, choosing.pinned_images, choosing.images), stage.os, stage.glibc)


# Packages and bases together: resolved for the usual base, and once more where the packages need another one.


_FIRST_PASS_RULE, _SECOND_PASS_RULE = "resolved", "resolved-again"
_PATCH_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


class ResolvedEnvironment(NamedTuple):
    """What is pinned for each platform, the channels it comes from, and what is added to the bases."""

    platforms: tuple[PlatformLock, ...]
    channels: tuple[Channel, ...]
    apt: AptResolution | None


class _ResolveInputs(NamedTuple):
    """The whole question."""

    source: TomlSource
    spec: Spec
    earlier: EarlierLock
    solvers: Solvers
    upgrade: UpgradeRequest


def resolve_until_stable(
    source: TomlSource, spec: Spec, earlier: EarlierLock, solvers: Solvers, upgrade: UpgradeRequest
) -> ResolvedEnvironment:
    """Two passes at most; both stand in the trail.

    The ground of an earlier lock that stands elsewhere is tried first: a lock that is current asks for nothing anew.
    Raises `DiagnosticsError`, `UnsolvableError`, `UnavailableError`, and `CheckFailedError` where two passes do not
    settle
    it.
    """
    _check_known_cuda(source, spec, solvers.catalogue)
    asked = _ResolveInputs(source, spec, earlier, solvers, upgrade)
    if grounds := _contexts_of_earlier_lock(asked):
        # What the spec asks for now may need another ground: then this one is no answer, and no mistake either.
        with suppress(UnsolvableError, DiagnosticsError):
            found = _run_pass(asked, grounds, {}, {name: _steps_of_earlier_lock(earlier, name) for name in grounds})
            if not _find_changed_contexts(found, grounds) and all(
                _keeps_images(each, earlier) for each in found.platforms
            ):
                return found
    renew = upgrade.names is True
    grounds = resolve_base_images(source, spec, earlier.lock, solvers.images, upgrade=renew, broken=earlier.images)
    rows: dict[str, tuple[Step, ...]] = {name: (_create_pass_step(ground),) for name, ground in grounds.items()}
    found = _run_pass(asked, grounds, {}, rows)
    reasons = _find_changed_contexts(found, grounds)
    if not reasons:
        return found
    # What NVIDIA's images stand on stays as it was resolved for.
    stand = (each for each in found.platforms if each.run.image.startswith(f"{solvers.catalogue.repository}:"))
    systems = {each.platform: each.run.os.replace("-", "", 1) for each in stand}
    again = {each.platform: _context_from_choice(each, grounds[each.platform]) for each in found.platforms}
    for name, why in reasons.items():
        rows[name] = (*rows[name], *([explain_replacement_wheels(again[name].wheels)] if again[name].wheels else []))
        rows[name] = (*rows[name], _create_pass_step(again[name], why))
    found = _run_pass(asked, again, systems, rows)
    if more := _find_changed_contexts(found, again):
        name, why = next(iter(more.items()))
        message = f"two passes do not settle the base for `{name}`: it would be resolved once more {why[0]}"
        raise CheckFailedError(message, "give the base in `[image]`, or narrow the versions of the packages")
    return found


def _check_known_cuda(source: TomlSource, spec: Spec, catalogue: Catalogue) -> None:
    """A CUDA that never was is a mistake of the spec, before a resolver says that nothing is built for it."""
    version = spec.cuda.version
    if (
        isinstance(version, str)
        and not is_image_deleted(version, catalogue)
        and (said := check_cuda_release(version, catalogue))
    ):
        raise DiagnosticsError(source, [locate_in_spec(said, spec)])


def _run_pass(
    asked: _ResolveInputs,
    grounds: Mapping[str, BuildContext],
    systems: Mapping[str, str],
    rows: Mapping[str, tuple[Step, ...]],
) -> ResolvedEnvironment:
    """Resolve, choose the bases, and add to them what they lack."""
    source, spec, earlier, solvers, upgrade = asked
    renew = upgrade.names is True
    platforms, channels = solve_environment(source, spec, grounds, earlier, solvers, upgrade)
    kept = {} if renew else collect_pinned_images(earlier.lock, earlier.images)
    kept |= {remove_digest(image): image for each in platforms for image in (each.build.image, each.run.image)}
    held = {name: ground.wheels for name, ground in grounds.items()}
    choosing = BaseImageInputs(solvers.catalogue, solvers.images, kept, systems, rows, held)
    platforms = tuple(
        _keep_earlier_decision(each, earlier) for each in choose_base_images(source, spec, platforms, choosing)
    )
    added = any(each.base_decision and (each.base_decision.apt or each.base_decision.apt_build) for each in platforms)
    if not (spec.apt.packages or spec.apt.build or added):
        return ResolvedEnvironment(platforms, channels, None)
    from envcompile.resolve.apt.resolver import resolve_apt_packages  # noqa: PLC0415 - for Debian packages only

    apt = resolve_apt_packages(source, spec, platforms, earlier, solvers.create_apt_sources(), upgrade=renew)
    return ResolvedEnvironment(tuple(_with_locked_python(each, apt) for each in platforms), channels, apt)


def _keep_earlier_decision(platform: PlatformLock, earlier: EarlierLock) -> PlatformLock:
    """The same decision by newer facts is the earlier one: a lock does not change for a date."""
    before = earlier.lock.find_platform(platform.platform) if earlier.lock else None
    if not (before and before.base_decision and platform.base_decision):
        return platform
    same = replace(platform.base_decision, catalogue=before.base_decision.catalogue)
    return replace(platform, base_decision=same) if same == before.base_decision else platform


def _with_locked_python(platform: PlatformLock, apt: AptResolution) -> PlatformLock:
    """The interpreter, where it is a Debian package: its patch level is the package's."""
    minor = minor_release(platform.python.version) if platform.python else ""
    name = f"python{minor}"
    if not platform.base_decision or name not in platform.base_decision.apt:
        return platform
    found = next((each for each in apt.packages[platform.platform][0] if each.name == name), None)
    patch = _PATCH_VERSION.match(found.version) if found else None
    if patch is None:
        raise CheckFailedError(
            f"the archive has `{name}` in no version that is one of Python's", "take Python from conda"
        )
    return replace(platform, python=PythonInterpreter(patch[0], f"/usr/bin/{name}", "apt"))


def _find_changed_contexts(
    found: ResolvedEnvironment, grounds: Mapping[str, BuildContext]
) -> dict[str, tuple[str, ...]]:
    """For each platform that was resolved for something else than what was chosen: what."""
    reasons = {each.platform: _has_changed_base(each, grounds[each.platform]) for each in found.platforms}
    return {name: why for name, why in reasons.items() if why}


def _has_changed_base(platform: PlatformLock, ground: BuildContext) -> tuple[str, ...]:
    found = []
    if version_numbers(platform.run.glibc) < version_numbers(ground.base.glibc):
        found.append(f"for glibc {platform.run.glibc}, which `{platform.run.os}` has")
    if platform.python and platform.python.source == "apt" and platform.python != ground.python:
        found.append(f"for Python {platform.python.version}, which `{platform.run.os}` has")
    if platform.base_decision and platform.base_decision.wheels != ground.wheels:
        found.append(f"with {', '.join(f'`{each}`' for each in platform.base_decision.wheels)}")
    return tuple(found)


def _context_from_choice(platform: PlatformLock, before: BuildContext) -> BuildContext:
    """What the second pass is resolved for."""
    apt = platform.python is not None and platform.python.source == "apt"
    wheels = platform.base_decision.wheels if platform.base_decision else ()
    return before._replace(base=platform.run, python=platform.python if apt else before.python, wheels=wheels)


def _create_pass_step(ground: BuildContext, why: tuple[str, ...] = ()) -> Step:
    python = f", Python {ground.python.version}" if ground.python else ""
    decision = f"for {ground.base.os}, glibc {ground.base.glibc}{python}"
    said = f"resolved once more {decision}: {'; '.join(why)}" if why else f"resolved {decision}"
    return Step(0, _SECOND_PASS_RULE if why else _FIRST_PASS_RULE, (), said, source="docs/base.md, before and after")


def _contexts_of_earlier_lock(asked: _ResolveInputs) -> dict[str, BuildContext]:
    """What the earlier lock was resolved for, where some platform of it does not simply stand on the usual base."""
    spec, lock = asked.spec, asked.earlier.lock
    if lock is None or asked.upgrade.names is True or spec.image.base:
        return {}
    if any(each.key == "image.base" for each in lock.recorded_inputs or ()):
        return {}
    twice = {}
    for name in spec.platforms:
        before = lock.find_platform(name)
        if before and _uses_other_base(before, spec) and _is_context_compatible(before.python, spec.python):
            tools = pin_tools(spec, lock, asked.solvers.images)
            twice[name] = BuildContext(
                before.run, before.python, tools, before.base_decision.wheels if before.base_decision else ()
            )
    others = tuple(name for name in spec.platforms if name not in twice)
    if not twice or not others:
        return twice
    rest = replace(spec, platforms=others)
    return twice | resolve_base_images(asked.source, rest, lock, asked.solvers.images, upgrade=False)


def _uses_other_base(platform: PlatformLock, spec: Spec) -> bool:
    """Whether it does not simply stand on the usual base."""
    if platform.base_decision is None:
        return False
    again = any(row.rule == _SECOND_PASS_RULE for row in platform.base_decision.explanation)
    return again or remove_digest(platform.run.image) != find_base_image(spec).image


def _is_context_compatible(python: PythonInterpreter | None, asked: str | None) -> bool:
    return python is None or asked is None or is_release_of(python.version, asked)


def _steps_of_earlier_lock(earlier: EarlierLock, name: str) -> tuple[Step, ...]:
    before = earlier.lock.find_platform(name) if earlier.lock else None
    return (
        tuple(row for row in before.base_decision.explanation if row.step == 0)
        if before and before.base_decision
        else ()
    )


def _keeps_images(platform: PlatformLock, earlier: EarlierLock) -> bool:
    """Whether it stands on the images of the earlier lock."""
    before = earlier.lock.find_platform(platform.platform) if earlier.lock else None
    return before is not None and (before.build, before.run, before.python) == (
        platform.build,
        platform.run,
        platform.python,
    )
