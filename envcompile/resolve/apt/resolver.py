"""`[apt]` of a spec -> exact packages: what the base has, the archive at the snapshot, and what is to be added."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple, Protocol

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.errors import EXIT_UNAVAILABLE, UnavailableError
from envcompile.lock.fields import APT_PATTERNS
from envcompile.lock.model import AptPackage
from envcompile.plan.apt import DISTRIBUTION_RELEASES
from envcompile.platforms import PLATFORMS
from envcompile.resolve.apt.closure import PackageIndex, UnmetDependenciesError, compute_closure, find_candidate
from envcompile.resolve.model import UnsolvableError
from envcompile.spec.solver_inputs import recorded_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envcompile.diagnostics.source import KeyPath
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import BaseImage, Lock, PlatformLock
    from envcompile.registry.image_contents import DebianSystem
    from envcompile.resolve.apt.archive import ArchiveClient
    from envcompile.resolve.apt.closure import PackageAddition
    from envcompile.resolve.environment import EarlierLock
    from envcompile.spec.model import Spec

_TIMESTAMP_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_TIMESTAMP = re.compile(r"([0-9-]{10}T[0-9:]{8})(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")


class DebianSystemReader(Protocol):
    """Whoever knows what is installed in images: a registry client. Raises `UnavailableError`."""

    def read_debian_system(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        """What apt would find in `name[:tag]@digest`, for a platform as docker spells it."""


class AptSources(NamedTuple):
    """Who knows images and archives, and the time: `now` is RFC 3339 in UTC."""

    systems: DebianSystemReader
    archives: ArchiveClient
    now: str


class AptResolution(NamedTuple):
    """The moment of the archive, and for each platform what is added to the bases of the run and the build stage."""

    snapshot: str
    packages: Mapping[str, tuple[tuple[AptPackage, ...], tuple[AptPackage, ...]]]

    def apply_to_lock(self, lock: Lock) -> Lock:
        """The lock with its Debian packages."""
        added = ((each, self.packages[each.platform]) for each in lock.platforms)
        platforms = tuple(replace(each, apt=run, apt_build=build) for each, (run, build) in added)
        return replace(lock, platforms=platforms, snapshot=self.snapshot)


def resolve_apt_packages(  # noqa: PLR0913 - every effect is an argument
    source: TomlSource,
    spec: Spec,
    platforms: Sequence[PlatformLock],
    earlier: EarlierLock,
    apt: AptSources,
    *,
    upgrade: bool,
) -> AptResolution:
    """What is added to the bases: what the spec asks for, and what their choice has brought with it.

    What the earlier lock holds stays where neither the spec nor a base has changed.
    Raises `DiagnosticsError` with the place in the spec, `UnsolvableError`, `UnavailableError`.
    """
    if kept := None if upgrade else _reuse_earlier_lock(spec, platforms, earlier.lock):
        return kept
    _check_not_in_future(source, spec, apt.now)
    bases = {(each.platform, base) for each in platforms for base in (each.run, each.build)}
    systems = {
        (name, base): _read_base_system(source, name, base, apt.systems) for name, base in sorted(bases, key=str)
    }
    before = None if upgrade else earlier.snapshot
    snapshot = _choose_snapshot(source, spec, [each.created for each in systems.values()], before, apt.now)
    found = {}
    for each in platforms:
        stages = ((each.run, _collect_names(spec, each, "packages")), (each.build, _collect_names(spec, each, "build")))
        on = [_StageRequest(base, systems[each.platform, base], asked) for base, asked in stages]
        found[each.platform] = _resolve_platform(source, each.platform, on, apt.archives, snapshot)
    return AptResolution(snapshot, found)


class _StageRequest(NamedTuple):
    """A base, what it has, and the names that are asked for with their places in the spec."""

    base: BaseImage
    system: DebianSystem
    requested_names: tuple[tuple[str, KeyPath], ...]


def _collect_names(spec: Spec, platform: PlatformLock, key: str) -> tuple[tuple[str, KeyPath], ...]:
    """The names for a stage: the spec's own, and those that the choice of the base asks for."""
    own, more = spec.apt.packages, platform.base_decision.apt if platform.base_decision else ()
    if key == "build":
        own, more = spec.apt.build, platform.base_decision.apt_build if platform.base_decision else ()
    named: list[tuple[str, KeyPath]] = [(name, ("apt", key, position)) for position, name in enumerate(own)]
    return (*named, *((name, ("image", "base")) for name in more if name not in own))


def _reuse_earlier_lock(spec: Spec, platforms: Sequence[PlatformLock], earlier: Lock | None) -> AptResolution | None:
    """The earlier answer, if it is one to the very same question."""
    if earlier is None or earlier.snapshot is None or earlier.recorded_inputs is None:
        return None
    if _collect_inputs(recorded_inputs(spec)) != _collect_inputs(
        {each.key: each.values for each in earlier.recorded_inputs}
    ):
        return None
    same = all(
        (before := earlier.find_platform(each.platform)) is not None
        and (before.run, before.build, _list_decided_packages(before))
        == (each.run, each.build, _list_decided_packages(each))
        for each in platforms
    )
    return (
        AptResolution(earlier.snapshot, {each.platform: (each.apt, each.apt_build) for each in earlier.platforms})
        if same
        else None
    )


def _list_decided_packages(platform: PlatformLock) -> tuple[tuple[str, ...], tuple[str, ...]]:
    decided = platform.base_decision
    return (decided.apt, decided.apt_build) if decided else ((), ())


def _collect_inputs(asked: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """What the answer depends on, of what a spec asks."""
    return {key: values for key, values in asked.items() if key.startswith("apt.") or key == "exclude-newer"}


def _read_base_system(source: TomlSource, platform: str, base: BaseImage, systems: DebianSystemReader) -> DebianSystem:
    """What the base has. Raises `DiagnosticsError` for a base whose distribution's archive has no snapshots."""
    path: KeyPath = ("image", "base")
    release = DISTRIBUTION_RELEASES.get(base.os)
    if release is None:
        known = ", ".join(f"`{each}`" for each in sorted(DISTRIBUTION_RELEASES))
        message = f"`{base.image}` is `{base.os}`, whose archive is not known at a moment"
        raise DiagnosticsError(source, [Diagnostic("apt-base", message, path, f"known are {known}")])
    try:
        found = systems.read_debian_system(base.image, PLATFORMS[platform].docker_platform, release.keyring)
    except UnavailableError as problem:
        message = f"what `{base.image}` has installed must be known, and {problem.message}"
        hint = "it is read once: let its registry, or the mirror in your settings, answer"
        raise DiagnosticsError(source, [Diagnostic("apt-base", message, path, hint)], EXIT_UNAVAILABLE) from None
    if not found.status or found.keyring is None:
        what = f"no keyring `{release.keyring}`" if found.status else "no list of packages of dpkg"
        message = f"`{base.image}` has {what}, or not in a layer that can be read: apt cannot work in it"
        raise DiagnosticsError(source, [Diagnostic("apt-base", message, path, "take another base, or no `[apt]`")])
    return found


def _choose_snapshot(
    source: TomlSource, spec: Spec, created: Sequence[str | None], before: str | None, now: str
) -> str:
    """The moment: given, else kept, else the last midnight: by then the services have taken everything in.

    Never older than a base: its packages would be newer than the archive's.
    """
    earliest = max((_normalize_timestamp(each) for each in created if each), default="")
    given = spec.apt.snapshot or spec.exclude_newer
    if given is None:
        return before if before and before >= earliest else max(f"{now[:10]}T00:00:00Z", earliest)
    path: KeyPath = ("apt", "snapshot") if spec.apt.snapshot else ("exclude-newer",)
    if given < earliest:
        message = f"the base was made at {earliest}, and the archive of {given} is older than its packages"
        hint = f"write `snapshot = {earliest}` or later in `[apt]`, or take an older base"
        raise DiagnosticsError(source, [Diagnostic("snapshot", message, path, hint)])
    return given


def _check_not_in_future(source: TomlSource, spec: Spec, now: str) -> None:
    given = spec.apt.snapshot or spec.exclude_newer
    if given and given > now:
        message = f"{given} is not over yet: what the archive will hold then nobody knows"
        path: KeyPath = ("apt", "snapshot") if spec.apt.snapshot else ("exclude-newer",)
        raise DiagnosticsError(source, [Diagnostic("snapshot", message, path, "name a moment in the past, or none")])


def _normalize_timestamp(moment: str) -> str:
    """RFC 3339 of any zone and precision, in UTC, to the second and never earlier. What is no moment is before all."""
    parts = _TIMESTAMP.fullmatch(moment)
    try:
        exact = datetime.fromisoformat(parts[1] + parts[3].replace("Z", "+00:00")) if parts else None
    except ValueError:
        exact = None
    if exact is None or parts is None:
        return ""
    return (exact.astimezone(timezone.utc) + timedelta(seconds=1 if (parts[2] or "").strip(".0") else 0)).strftime(
        _TIMESTAMP_FORMAT
    )


def _resolve_platform(
    source: TomlSource, name: str, stages: Sequence[_StageRequest], archives: ArchiveClient, snapshot: str
) -> tuple[tuple[AptPackage, ...], tuple[AptPackage, ...]]:
    added: list[tuple[AptPackage, ...]] = []
    missing: list[Diagnostic] = []
    for base, system, asked in stages:
        indexes = archives.read_indexes(
            DISTRIBUTION_RELEASES[base.os], snapshot, PLATFORMS[name].docker_arch, system.keyring or b""
        )
        missing += _report_missing_packages(asked, indexes, f"{base.os} at {snapshot}")
        if missing:
            continue
        try:
            added.append(
                tuple(
                    map(
                        _pin_package,
                        compute_closure([word for word, _ in asked], indexes, PackageIndex(system.status or "")),
                    )
                )
            )
        except UnmetDependenciesError as answer:
            raise UnsolvableError(name, "\n".join(answer.reasons), "apt") from None
    if missing:
        raise DiagnosticsError(source, dict.fromkeys(missing))
    run, build = added
    return run, build


def _report_missing_packages(
    asked: Sequence[tuple[str, KeyPath]], indexes: Sequence[PackageIndex], archive: str
) -> Iterator[Diagnostic]:
    """A mistake for each name that the archive does not have."""
    for name, path in asked:
        if find_candidate(indexes, name):
            continue
        providers = sorted({each for index in indexes for each in index.find_providers(name)})
        if providers:
            listed = ", ".join(f"`{each}`" for each in providers[:8])
            yield Diagnostic(
                "apt-package", f"`{name}` is a name that several packages provide", path, f"write one of {listed}"
            )
            continue
        near = get_close_matches(name, sorted({each for index in indexes for each in index.list_names()}), n=3)
        hint = f"near are {', '.join(f'`{each}`' for each in near)}" if near else None
        yield Diagnostic("apt-package", f"`{name}` is no package of {archive}", path, hint)


def _pin_package(added: PackageAddition) -> AptPackage:
    package = added.package
    if package.size is None or not all(
        pattern.fullmatch(str(getattr(package, name))) for name, pattern in APT_PATTERNS.items()
    ):
        raise UnavailableError(f"the archive's index does not tell of `{package.name}` what a lock needs")
    return AptPackage(package.name, package.version, package.architecture, package.sha256, package.size, added.depends)
