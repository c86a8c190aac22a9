"""Resolve packages and base images together, in at most two passes.

The packages depend on the base image (its glibc and its Python), and the base image depends on the packages (the CUDA
libraries that they need). The first pass resolves for the default base image, or for the one in the earlier lock. If
the locked packages need another base image, a second pass resolves for that one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.compatibility import check_cuda_release, is_image_deleted
from envcompile.base_image.decide import explain_following_wheels, explain_replacement_wheels, is_following_wheel
from envcompile.base_image.default import find_base_image
from envcompile.base_image.explain import locate_in_spec
from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import CheckFailedError
from envcompile.lock.model import PythonInterpreter, Step
from envcompile.resolve.base_images import (
    BaseImageInputs,
    BuildContext,
    check_image_platforms,
    choose_base_images,
    collect_pinned_images,
    collect_pinned_tools,
    pin_tools,
    resolve_base_images,
)
from envcompile.resolve.environment import solve_environment
from envcompile.resolve.model import UnsolvableError
from envcompile.spec.values import remove_digest
from envcompile.versions import is_release_of, minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.families import FileOverlap
    from envcompile.lock.model import Channel, PlatformLock
    from envcompile.resolve.apt.resolver import AptResolution
    from envcompile.resolve.environment import EarlierLock, Solvers
    from envcompile.resolve.upgrade import UpgradeRequest
    from envcompile.spec.model import Spec

# Locks hold these names, and the texts of the steps below: do not change them.
_FIRST_PASS_RULE, _SECOND_PASS_RULE = "resolved", "resolved-again"
# The sources of a Python that follows from the choice of base images.
_DECIDED_PYTHON_SOURCES = ("apt", "standalone")
_PATCH_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


class ResolvedEnvironment(NamedTuple):
    """The pins of each platform, the conda channels that they come from, and the Debian packages, if there are any.

    `overlaps` are the files that several pip packages install, by platform.
    """

    platforms: tuple[PlatformLock, ...]
    channels: tuple[Channel, ...]
    apt: AptResolution | None
    overlaps: Mapping[str, tuple[FileOverlap, ...]]


class _ResolveInputs(NamedTuple):
    """The arguments of `resolve_until_stable`, which every pass needs."""

    source: TomlSource
    spec: Spec
    earlier: EarlierLock
    solvers: Solvers
    upgrade: UpgradeRequest


def resolve_until_stable(
    source: TomlSource, spec: Spec, earlier: EarlierLock, solvers: Solvers, upgrade: UpgradeRequest
) -> ResolvedEnvironment:
    """Resolve a spec, and choose base images that fit the packages. Each pass adds a step to the explanation.

    Raises `DiagnosticsError` if no base image fits, `UnsolvableError` if no packages satisfy the requirements,
    `UnavailableError` if a service or a program is missing, and `CheckFailedError` if a third pass would be needed.
    """
    _check_known_cuda(source, spec, solvers.catalogue)
    check_image_platforms(source, spec, None if upgrade.names is True else earlier.lock, solvers.images)
    inputs = _ResolveInputs(source, spec, earlier, solvers, upgrade)
    if environment := _try_earlier_contexts(inputs):
        return environment
    contexts = resolve_base_images(
        source,
        spec,
        earlier.lock,
        solvers.images,
        upgrade=upgrade,
        recovered_images=earlier.recovered_images,
    )
    steps: dict[str, tuple[Step, ...]] = {name: (_create_pass_step(each),) for name, each in contexts.items()}
    environment = _run_pass(inputs, contexts, {}, steps)
    changes = _find_changed_contexts(environment, contexts)
    if not changes:
        return environment
    # The second pass must keep the system of the nvidia/cuda image that the first pass chose.
    cuda_image_prefix = f"{solvers.catalogue.repository}:"
    systems = {
        platform.platform: platform.run.os.replace("-", "", 1)
        for platform in environment.platforms
        if platform.run.image.startswith(cuda_image_prefix)
    }
    contexts = {
        platform.platform: _context_from_choice(platform, contexts[platform.platform])
        for platform in environment.platforms
    }
    for name, reasons in changes.items():
        wheels = contexts[name].wheels
        wheels_steps = _explain_wheels(wheels, solvers.catalogue)
        steps[name] = (*steps[name], *wheels_steps, _create_pass_step(contexts[name], reasons))
    environment = _run_pass(inputs, contexts, systems, steps)
    if changes := _find_changed_contexts(environment, contexts):
        name, reasons = next(iter(changes.items()))
        message = f"the base image of `{name}` still changes after two passes: a third one would resolve {reasons[0]}"
        raise CheckFailedError(message, "set `base` in `[image]`, or narrow the versions of the packages")
    return environment


def _explain_wheels(wheels: tuple[str, ...], catalogue: Catalogue) -> tuple[Step, ...]:
    """Return a step for each kind of requirement that the choice of base images adds."""
    following = tuple(wheel for wheel in wheels if is_following_wheel(wheel, catalogue))
    replacing = tuple(wheel for wheel in wheels if wheel not in following)
    return (
        *((explain_replacement_wheels(replacing),) if replacing else ()),
        *((explain_following_wheels(following),) if following else ()),
    )


def _check_known_cuda(source: TomlSource, spec: Spec, catalogue: Catalogue) -> None:
    """Reject a CUDA version that does not exist, before a resolver reports that no package is built for it."""
    version = spec.cuda.request.version
    if version and not is_image_deleted(version, catalogue) and (diagnostic := check_cuda_release(version, catalogue)):
        raise DiagnosticsError(source, [locate_in_spec(diagnostic, spec)])


def _run_pass(
    inputs: _ResolveInputs,
    contexts: Mapping[str, BuildContext],
    systems: Mapping[str, str],
    steps: Mapping[str, tuple[Step, ...]],
) -> ResolvedEnvironment:
    """Resolve the packages for the contexts, choose base images for them, and resolve the Debian packages.

    `systems` are the systems that the choice must keep, and `steps` the explanation steps so far, both by platform.
    """
    source, spec, earlier, solvers, upgrade = inputs
    platforms, channels, overlaps = solve_environment(source, spec, contexts, earlier, solvers, upgrade)
    pinned_images = collect_pinned_images(earlier.lock, earlier.recovered_images, upgrade)
    context_images = (image for platform in platforms for image in (platform.build.image, platform.run.image))
    pinned_images |= {remove_digest(image): image for image in context_images}
    wheels = {name: context.wheels for name, context in contexts.items()}
    pythons = {} if upgrade.includes("python") else _collect_standalone_pythons(earlier)
    choice_inputs = BaseImageInputs(solvers.catalogue, solvers.images, pinned_images, systems, steps, wheels, pythons)
    platforms = tuple(
        _keep_earlier_decision(platform, earlier)
        for platform in choose_base_images(source, spec, platforms, choice_inputs)
    )
    decisions = [platform.base_decision for platform in platforms if platform.base_decision]
    has_decided_packages = any(decision.apt or decision.apt_build for decision in decisions)
    if not (spec.apt.packages or spec.apt.build or has_decided_packages):
        return ResolvedEnvironment(platforms, channels, None, overlaps)
    from envcompile.resolve.apt.resolver import resolve_apt_packages  # noqa: PLC0415 - for Debian packages only

    apt = resolve_apt_packages(source, spec, platforms, earlier, solvers.create_apt_sources(), upgrade=upgrade)
    platforms = tuple(_with_locked_python(platform, apt) for platform in platforms)
    return ResolvedEnvironment(platforms, channels, apt, overlaps)


def _collect_standalone_pythons(earlier: EarlierLock) -> dict[str, PythonInterpreter]:
    """Return the standalone Pythons of the earlier lock, by platform."""
    platforms = earlier.lock.platforms if earlier.lock else ()
    return {each.platform: each.python for each in platforms if each.python and each.python.build}


def _keep_earlier_decision(platform: PlatformLock, earlier: EarlierLock) -> PlatformLock:
    """Return the platform with the earlier decision, if the new one differs only in the version of the catalogue.

    A newer catalogue alone therefore does not change a lock.
    """
    locked = _find_locked_platform(earlier, platform.platform)
    if not (locked and locked.base_decision and platform.base_decision):
        return platform
    redated = replace(platform.base_decision, catalogue=locked.base_decision.catalogue)
    return replace(platform, base_decision=redated) if redated == locked.base_decision else platform


def _with_locked_python(platform: PlatformLock, apt: AptResolution) -> PlatformLock:
    """Return the platform with the patch version of the Debian package, if its Python is a Debian package."""
    minor = minor_release(platform.python.version) if platform.python else ""
    name = f"python{minor}"
    if not platform.base_decision or name not in platform.base_decision.apt:
        return platform
    run_packages, _ = apt.packages[platform.platform]
    package = next((package for package in run_packages if package.name == name), None)
    patch = _PATCH_VERSION.match(package.version) if package else None
    if patch is None:
        message = f"cannot read the patch version of Python from the Debian package `{name}`"
        raise CheckFailedError(message, f"install Python from conda: add `python {minor}.*` to `packages` in `[conda]`")
    return replace(platform, python=PythonInterpreter(patch[0], f"/usr/bin/{name}", "apt"))


# Build contexts that a pass has changed.


def _find_changed_contexts(
    environment: ResolvedEnvironment, contexts: Mapping[str, BuildContext]
) -> dict[str, tuple[str, ...]]:
    """Return the differences between the context of the pass and the chosen base image, for each changed platform."""
    reasons = {
        platform.platform: _explain_changed_base(platform, contexts[platform.platform])
        for platform in environment.platforms
    }
    return {name: texts for name, texts in reasons.items() if texts}


def _explain_changed_base(platform: PlatformLock, context: BuildContext) -> tuple[str, ...]:
    """Return a phrase for each relevant difference between the chosen base image and the context.

    A difference is relevant if another pass of the solvers may select other packages.
    """
    reasons = []
    if version_numbers(platform.run.glibc) < version_numbers(context.base.glibc):
        reasons.append(f"for glibc {platform.run.glibc}, which `{platform.run.os}` has")
    python = platform.python
    if python and python.source in _DECIDED_PYTHON_SOURCES and python != context.python:
        origin = "a standalone build" if python.build else f"which `{platform.run.os}` has"
        reasons.append(f"for Python {python.version}, {origin}")
    if platform.base_decision and platform.base_decision.wheels != context.wheels:
        reasons.append(f"with {', '.join(f'`{wheel}`' for wheel in platform.base_decision.wheels)}")
    return tuple(reasons)


def _context_from_choice(platform: PlatformLock, context: BuildContext) -> BuildContext:
    """Return the context of the second pass. `context` is that of the first."""
    is_decided = platform.python is not None and platform.python.source in _DECIDED_PYTHON_SOURCES
    wheels = platform.base_decision.wheels if platform.base_decision else ()
    python = platform.python if is_decided else context.python
    return context._replace(base=platform.run, python=python, wheels=wheels)


def _create_pass_step(context: BuildContext, reasons: tuple[str, ...] = ()) -> Step:
    """Return the explanation step of a pass. `reasons` say why there is a second pass; empty for the first."""
    python = f", Python {context.python.version}" if context.python else ""
    target = f"for {context.base.os}, glibc {context.base.glibc}{python}"
    text = f"resolved once more {target}: {'; '.join(reasons)}" if reasons else f"resolved {target}"
    rule = _SECOND_PASS_RULE if reasons else _FIRST_PASS_RULE
    return Step(0, rule, (), text, source="docs/base.md, before and after")


# The build contexts of an earlier lock.


def _try_earlier_contexts(inputs: _ResolveInputs) -> ResolvedEnvironment | None:
    """Resolve for the base images of the earlier lock, so that an up-to-date lock needs one pass and no network.

    Returns None if `_contexts_of_earlier_lock` finds no contexts, or if the packages need other base images now.
    """
    contexts = _contexts_of_earlier_lock(inputs)
    if not contexts:
        return None
    steps = {name: _steps_of_earlier_lock(inputs.earlier, name) for name in contexts}
    # An error is not reported here: the spec may have changed so that it needs another base image.
    with suppress(UnsolvableError, DiagnosticsError):
        environment = _run_pass(inputs, contexts, {}, steps)
        keeps_images = all(_keeps_images(platform, inputs.earlier) for platform in environment.platforms)
        if keeps_images and not _find_changed_contexts(environment, contexts):
            return environment
    return None


def _contexts_of_earlier_lock(inputs: _ResolveInputs) -> dict[str, BuildContext]:
    """Return the contexts of the earlier lock.

    They are empty if all its platforms use the default base image, if `base` in `[image]` is set or was set when it was
    locked, if the base images or the Python are to be upgraded, or if there is no earlier lock.
    """
    spec, lock, upgrade = inputs.spec, inputs.earlier.lock, inputs.upgrade
    if lock is None or upgrade.includes("base") or upgrade.includes("python") or spec.image.base:
        return {}
    if any(recorded.key == "image.base" for recorded in lock.recorded_inputs or ()):
        return {}
    contexts = {}
    for name in spec.platforms:
        locked = lock.find_platform(name)
        if locked and _uses_other_base(locked, spec) and _is_context_compatible(locked.python, spec):
            tools = pin_tools(
                spec,
                collect_pinned_tools(lock, (), upgrade),
                inputs.solvers.images,
                has_standalone_python=bool(locked.python and locked.python.build),
            )
            wheels = locked.base_decision.wheels if locked.base_decision else ()
            contexts[name] = BuildContext(locked.run, locked.python, tools, wheels)
    other_names = tuple(name for name in spec.platforms if name not in contexts)
    if not contexts or not other_names:
        return contexts
    other_spec = replace(spec, platforms=other_names)
    return contexts | resolve_base_images(inputs.source, other_spec, lock, inputs.solvers.images, upgrade=upgrade)


def _uses_other_base(locked: PlatformLock, spec: Spec) -> bool:
    """Whether the platform was locked in two passes, or does not use the default base image."""
    if locked.base_decision is None:
        return False
    has_second_pass = any(step.rule == _SECOND_PASS_RULE for step in locked.base_decision.explanation)
    return has_second_pass or remove_digest(locked.run.image) != find_base_image(spec).image


def _is_context_compatible(python: PythonInterpreter | None, spec: Spec) -> bool:
    if python is None or spec.python is None:
        return True
    is_same_build = python.source == "conda" or bool(python.abi) == spec.free_threaded
    return is_release_of(python.version, spec.python) and is_same_build


def _steps_of_earlier_lock(earlier: EarlierLock, name: str) -> tuple[Step, ...]:
    """Return the explanation steps in the earlier lock that describe its passes."""
    locked = _find_locked_platform(earlier, name)
    explanation = locked.base_decision.explanation if locked and locked.base_decision else ()
    return tuple(step for step in explanation if step.step == 0)


def _keeps_images(platform: PlatformLock, earlier: EarlierLock) -> bool:
    """Whether both stages have the images and the Python of the earlier lock."""
    locked = _find_locked_platform(earlier, platform.platform)
    return locked is not None and (locked.build, locked.run, locked.python) == (
        platform.build,
        platform.run,
        platform.python,
    )


def _find_locked_platform(earlier: EarlierLock, name: str) -> PlatformLock | None:
    return earlier.lock.find_platform(name) if earlier.lock else None
