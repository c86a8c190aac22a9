"""Packages and bases together: resolved for the usual base, and once more where the packages need another one."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import CheckFailedError
from envcompile.lock.model import PythonInterpreter, Step
from envcompile.plan.base import wanted
from envcompile.plan.base.codes import diagnostic
from envcompile.plan.base.conflicts import gone, unknown_release
from envcompile.plan.base.supplement import trail as supplemented
from envcompile.plan.base.versions import number
from envcompile.resolve.bases import Choosing, choose_bases
from envcompile.resolve.environment import solve
from envcompile.resolve.images import Ground, kept_images, lay_ground, pinned_tools
from envcompile.resolve.protocol import Unsolvable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import Channel, PlatformLock
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.resolve.apt.resolver import Answer
    from envcompile.resolve.environment import Earlier, Solvers, Upgrade
    from envcompile.spec.model import Spec

_FIRST, _AGAIN = "resolved", "resolved-again"
_PATCH = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


class Settled(NamedTuple):
    """What is pinned for each platform, the channels it comes from, and what is added to the bases."""

    platforms: tuple[PlatformLock, ...]
    channels: tuple[Channel, ...]
    apt: Answer | None


class _Asked(NamedTuple):
    """The whole question."""

    source: TomlSource
    spec: Spec
    earlier: Earlier
    solvers: Solvers
    upgrade: Upgrade


def settle_bases(source: TomlSource, spec: Spec, earlier: Earlier, solvers: Solvers, upgrade: Upgrade) -> Settled:
    """Two passes at most; both stand in the trail.

    The ground of an earlier lock that stands elsewhere is tried first: a lock that is current asks for nothing anew.
    Raises `Problems`, `Unsolvable`, `MissingOutside`, and `NotFine` where two passes do not settle it.
    """
    _refuse_unknown(source, spec, solvers.catalogue)
    asked = _Asked(source, spec, earlier, solvers, upgrade)
    if grounds := _grounds_of_earlier(asked):
        # What the spec asks for now may need another ground: then this one is no answer, and no mistake either.
        with suppress(Unsolvable, DiagnosticsError):
            found = _pass(asked, grounds, {}, {name: _rows_of_earlier(earlier, name) for name in grounds})
            if not _again(found, grounds) and all(_stays(each, earlier) for each in found.platforms):
                return found
    renew = upgrade.names is True
    grounds = lay_ground(source, spec, earlier.lock, solvers.images, upgrade=renew, broken=earlier.images)
    rows: dict[str, tuple[Step, ...]] = {name: (_row(ground),) for name, ground in grounds.items()}
    found = _pass(asked, grounds, {}, rows)
    reasons = _again(found, grounds)
    if not reasons:
        return found
    # What NVIDIA's images stand on stays as it was resolved for.
    stand = (each for each in found.platforms if each.run.image.startswith(f"{solvers.catalogue.repository}:"))
    systems = {each.platform: each.run.os.replace("-", "", 1) for each in stand}
    again = {each.platform: _ground(each, grounds[each.platform]) for each in found.platforms}
    for name, why in reasons.items():
        rows[name] = (*rows[name], *([supplemented(again[name].wheels)] if again[name].wheels else []))
        rows[name] = (*rows[name], _row(again[name], why))
    found = _pass(asked, again, systems, rows)
    if more := _again(found, again):
        name, why = next(iter(more.items()))
        message = f"two passes do not settle the base for `{name}`: it would be resolved once more {why[0]}"
        raise CheckFailedError(message, "give the base in `[image]`, or narrow the versions of the packages")
    return found


def _refuse_unknown(source: TomlSource, spec: Spec, catalogue: Catalogue) -> None:
    """A CUDA that never was is a mistake of the spec, before a resolver says that nothing is built for it."""
    version = spec.cuda.version
    if isinstance(version, str) and not gone(version, catalogue) and (said := unknown_release(version, catalogue)):
        raise DiagnosticsError(source, [diagnostic(said, spec)])


def _pass(
    asked: _Asked, grounds: Mapping[str, Ground], systems: Mapping[str, str], rows: Mapping[str, tuple[Step, ...]]
) -> Settled:
    """Resolve, choose the bases, and add to them what they lack."""
    source, spec, earlier, solvers, upgrade = asked
    renew = upgrade.names is True
    platforms, channels = solve(source, spec, grounds, earlier, solvers, upgrade)
    kept = {} if renew else kept_images(earlier.lock, earlier.images)
    kept |= {image.partition("@")[0]: image for each in platforms for image in (each.build.image, each.run.image)}
    held = {name: ground.wheels for name, ground in grounds.items()}
    choosing = Choosing(solvers.catalogue, solvers.images, kept, systems, rows, held)
    platforms = tuple(_dated(each, earlier) for each in choose_bases(source, spec, platforms, choosing))
    added = any(each.base_decision and (each.base_decision.apt or each.base_decision.apt_build) for each in platforms)
    if not (spec.apt.packages or spec.apt.build or added):
        return Settled(platforms, channels, None)
    from envcompile.resolve.apt.resolver import lock_apt  # noqa: PLC0415 - for Debian packages only

    apt = lock_apt(source, spec, platforms, earlier, solvers.apt(), upgrade=renew)
    return Settled(tuple(_with_python(each, apt) for each in platforms), channels, apt)


def _dated(platform: PlatformLock, earlier: Earlier) -> PlatformLock:
    """The same decision by newer facts is the earlier one: a lock does not change for a date."""
    before = earlier.lock.find_platform(platform.platform) if earlier.lock else None
    if not (before and before.base_decision and platform.base_decision):
        return platform
    same = replace(platform.base_decision, catalogue=before.base_decision.catalogue)
    return replace(platform, base_decision=same) if same == before.base_decision else platform


def _with_python(platform: PlatformLock, apt: Answer) -> PlatformLock:
    """The interpreter, where it is a Debian package: its patch level is the package's."""
    minor = ".".join((platform.python.version if platform.python else "").split(".")[:2])
    name = f"python{minor}"
    if not platform.base_decision or name not in platform.base_decision.apt:
        return platform
    found = next((each for each in apt.packages[platform.platform][0] if each.name == name), None)
    patch = _PATCH.match(found.version) if found else None
    if patch is None:
        raise CheckFailedError(
            f"the archive has `{name}` in no version that is one of Python's", "take Python from conda"
        )
    return replace(platform, python=PythonInterpreter(patch[0], f"/usr/bin/{name}", "apt"))


def _again(found: Settled, grounds: Mapping[str, Ground]) -> dict[str, tuple[str, ...]]:
    """For each platform that was resolved for something else than what was chosen: what."""
    reasons = {each.platform: _differs(each, grounds[each.platform]) for each in found.platforms}
    return {name: why for name, why in reasons.items() if why}


def _differs(platform: PlatformLock, ground: Ground) -> tuple[str, ...]:
    found = []
    if number(platform.run.glibc) < number(ground.base.glibc):
        found.append(f"for glibc {platform.run.glibc}, which `{platform.run.os}` has")
    if platform.python and platform.python.source == "apt" and platform.python != ground.python:
        found.append(f"for Python {platform.python.version}, which `{platform.run.os}` has")
    if platform.base_decision and platform.base_decision.wheels != ground.wheels:
        found.append(f"with {', '.join(f'`{each}`' for each in platform.base_decision.wheels)}")
    return tuple(found)


def _ground(platform: PlatformLock, before: Ground) -> Ground:
    """What the second pass is resolved for."""
    apt = platform.python is not None and platform.python.source == "apt"
    wheels = platform.base_decision.wheels if platform.base_decision else ()
    return before._replace(base=platform.run, python=platform.python if apt else before.python, wheels=wheels)


def _row(ground: Ground, why: tuple[str, ...] = ()) -> Step:
    python = f", Python {ground.python.version}" if ground.python else ""
    decision = f"for {ground.base.os}, glibc {ground.base.glibc}{python}"
    said = f"resolved once more {decision}: {'; '.join(why)}" if why else f"resolved {decision}"
    return Step(0, _AGAIN if why else _FIRST, (), said, source="docs/base.md, before and after")


def _grounds_of_earlier(asked: _Asked) -> dict[str, Ground]:
    """What the earlier lock was resolved for, where some platform of it does not simply stand on the usual base."""
    spec, lock = asked.spec, asked.earlier.lock
    if lock is None or asked.upgrade.names is True or spec.image.base:
        return {}
    if any(each.key == "image.base" for each in lock.recorded_inputs or ()):
        return {}
    twice = {}
    for name in spec.platforms:
        before = lock.find_platform(name)
        if before and _elsewhere(before, spec) and _fits(before.python, spec.python):
            tools = pinned_tools(spec, lock, asked.solvers.images)
            twice[name] = Ground(
                before.run, before.python, tools, before.base_decision.wheels if before.base_decision else ()
            )
    others = tuple(name for name in spec.platforms if name not in twice)
    if not twice or not others:
        return twice
    rest = replace(spec, platforms=others)
    return twice | lay_ground(asked.source, rest, lock, asked.solvers.images, upgrade=False)


def _elsewhere(platform: PlatformLock, spec: Spec) -> bool:
    """Whether it does not simply stand on the usual base."""
    if platform.base_decision is None:
        return False
    again = any(row.rule == _AGAIN for row in platform.base_decision.explanation)
    return again or platform.run.image.partition("@")[0] != wanted(spec).image


def _fits(python: PythonInterpreter | None, asked: str | None) -> bool:
    return python is None or asked is None or f"{python.version}.".startswith(f"{asked}.")


def _rows_of_earlier(earlier: Earlier, name: str) -> tuple[Step, ...]:
    before = earlier.lock.find_platform(name) if earlier.lock else None
    return (
        tuple(row for row in before.base_decision.explanation if row.step == 0)
        if before and before.base_decision
        else ()
    )


def _stays(platform: PlatformLock, earlier: Earlier) -> bool:
    """Whether it stands on the images of the earlier lock."""
    before = earlier.lock.find_platform(platform.platform) if earlier.lock else None
    return before is not None and (before.build, before.run, before.python) == (
        platform.build,
        platform.run,
        platform.python,
    )
