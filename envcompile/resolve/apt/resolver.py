"""Resolve Debian packages: choose the snapshot of the archive, and compute what to add to each base image."""

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
    from envcompile.resolve.upgrade import UpgradeRequest
    from envcompile.spec.model import Spec

_TIMESTAMP_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_TIMESTAMP = re.compile(r"([0-9-]{10}T[0-9:]{8})(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")


class DebianSystemReader(Protocol):
    """A registry client that reads the installed packages of an image.

    Raises `UnavailableError` if the registry cannot be read.
    """

    def read_debian_system(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        """Return the dpkg status and the keyring of `name[:tag]@digest` for a platform such as linux/amd64."""


class AptSources(NamedTuple):
    """The readers of images and archives, and the current time `now` (RFC 3339 in UTC)."""

    systems: DebianSystemReader
    archives: ArchiveClient
    now: str


class AptResolution(NamedTuple):
    """The snapshot of the archive, and for each platform the packages to add in the run and build stages."""

    snapshot: str
    packages: Mapping[str, tuple[tuple[AptPackage, ...], tuple[AptPackage, ...]]]

    def apply_to_lock(self, lock: Lock) -> Lock:
        """Return the lock with its Debian packages."""
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
    upgrade: UpgradeRequest,
) -> AptResolution:
    """Return the packages that the spec and the decision about the base image request, with their dependencies.

    The packages of the earlier lock are kept if neither the spec nor a base image has changed, and `upgrade` does not
    include them.
    Raises `DiagnosticsError` for an unusable base image, snapshot or package name, `UnsolvableError` if dependencies
    cannot be satisfied, and `UnavailableError` if the archive cannot be read.
    """
    upgrades = upgrade.includes_apt(earlier.lock)
    if locked := None if upgrades else _reuse_earlier_lock(spec, platforms, earlier.lock):
        return locked
    _check_not_in_future(source, spec, apt.now)
    bases = {(each.platform, base) for each in platforms for base in (each.run, each.build)}
    systems = {
        (name, base): _read_base_system(source, name, base, apt.systems) for name, base in sorted(bases, key=str)
    }
    created = [each.created for each in systems.values()]
    locked_snapshot = None if upgrade.names is True else earlier.snapshot
    snapshot = _choose_snapshot(source, spec, created, locked_snapshot, apt.now, upgrade=upgrades)
    packages = {}
    for each in platforms:
        stages = ((each.run, _collect_names(spec, each, "packages")), (each.build, _collect_names(spec, each, "build")))
        requests = [_StageRequest(base, systems[each.platform, base], names) for base, names in stages]
        packages[each.platform] = _resolve_platform(source, each.platform, requests, apt.archives, snapshot)
    return AptResolution(snapshot, packages)


class _StageRequest(NamedTuple):
    """The base image of a stage, its installed packages, and the requested names with their paths in the spec."""

    base: BaseImage
    system: DebianSystem
    requested_names: tuple[tuple[str, KeyPath], ...]


def _collect_names(spec: Spec, platform: PlatformLock, key: str) -> tuple[tuple[str, KeyPath], ...]:
    """Return the names for a stage: those in the spec, and those that the decision about the base image adds."""
    requested, decided = spec.apt.packages, platform.base_decision.apt if platform.base_decision else ()
    if key == "build":
        requested, decided = spec.apt.build, platform.base_decision.apt_build if platform.base_decision else ()
    named: list[tuple[str, KeyPath]] = [(name, ("apt", key, position)) for position, name in enumerate(requested)]
    return (*named, *((name, ("image", "base")) for name in decided if name not in requested))


def _reuse_earlier_lock(spec: Spec, platforms: Sequence[PlatformLock], earlier: Lock | None) -> AptResolution | None:
    """Return the packages of the earlier lock if the request and the base images are the same."""
    if earlier is None or earlier.snapshot is None or earlier.recorded_inputs is None:
        return None
    if _collect_inputs(recorded_inputs(spec)) != _collect_inputs(
        {each.key: each.values for each in earlier.recorded_inputs}
    ):
        return None
    same = all(
        (locked := earlier.find_platform(each.platform)) is not None
        and (locked.run, locked.build, _list_decided_packages(locked))
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


def _collect_inputs(inputs: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the inputs of a spec on which the Debian packages depend."""
    return {key: values for key, values in inputs.items() if key.startswith("apt.") or key == "exclude-newer"}


def _read_base_system(source: TomlSource, platform: str, base: BaseImage, systems: DebianSystemReader) -> DebianSystem:
    """Return the installed packages of the base image and its keyring.

    Raises `DiagnosticsError` if the distribution has no known snapshots, if the image cannot be read, or if it has no
    apt.
    """
    path: KeyPath = ("image", "base")
    release = DISTRIBUTION_RELEASES.get(base.os)
    if release is None:
        known = ", ".join(f"`{each}`" for each in sorted(DISTRIBUTION_RELEASES))
        message = f"`{base.image}` has the system `{base.os}`, for which no snapshots of its archive are known"
        raise DiagnosticsError(source, [Diagnostic("apt-base", message, path, f"use a base image with one of {known}")])
    try:
        system = systems.read_debian_system(base.image, PLATFORMS[platform].docker_platform, release.keyring)
    except UnavailableError as error:
        message = f"cannot read the installed packages of `{base.image}`: {error.message}"
        hint = "check the registry, or `[mirrors]` in your settings"
        raise DiagnosticsError(source, [Diagnostic("apt-base", message, path, hint)], EXIT_UNAVAILABLE) from None
    if not system.status or system.keyring is None:
        missing = f"no keyring `{release.keyring}`" if system.status else "no status file of dpkg"
        message = f"`{base.image}` has {missing} in its readable layers, so apt does not work in it"
        raise DiagnosticsError(
            source, [Diagnostic("apt-base", message, path, "use another base image, or remove `[apt]`")]
        )
    return system


def _choose_snapshot(  # noqa: PLR0913 - every effect is an argument
    source: TomlSource, spec: Spec, created: Sequence[str | None], locked: str | None, now: str, *, upgrade: bool
) -> str:
    """Return the snapshot or `exclude-newer` in the spec, or else the snapshot in the lock, or else the last midnight.

    With `upgrade`, it is the last midnight, or the snapshot in the lock if that is later. Snapshot services are
    complete up to the last midnight (UTC). The snapshot is never older than a base image, because the image would have
    newer packages than the archive. Raises `DiagnosticsError` if the time in the spec is older.
    """
    earliest = max((_normalize_timestamp(each) for each in created if each), default="")
    requested_time = spec.apt.snapshot or spec.exclude_newer
    if requested_time is None:
        newest = max(f"{now[:10]}T00:00:00Z", earliest)
        if upgrade:
            return max(newest, locked or "")
        return locked if locked and locked >= earliest else newest
    path: KeyPath = ("apt", "snapshot") if spec.apt.snapshot else ("exclude-newer",)
    if requested_time < earliest:
        message = f"the snapshot {requested_time} is older than the base image, which was built at {earliest}"
        hint = f"write `snapshot = {earliest}` or later in `[apt]`, or use an older base image"
        raise DiagnosticsError(source, [Diagnostic("snapshot", message, path, hint)])
    return requested_time


def _check_not_in_future(source: TomlSource, spec: Spec, now: str) -> None:
    requested_time = spec.apt.snapshot or spec.exclude_newer
    if requested_time and requested_time > now:
        message = f"{requested_time} is in the future, so the archive can still change"
        path: KeyPath = ("apt", "snapshot") if spec.apt.snapshot else ("exclude-newer",)
        raise DiagnosticsError(
            source, [Diagnostic("snapshot", message, path, "write a time in the past, or remove the key")]
        )


def _normalize_timestamp(timestamp: str) -> str:
    """Convert RFC 3339 to UTC in whole seconds, rounded up. Return "" for an invalid time, which sorts first."""
    parts = _TIMESTAMP.fullmatch(timestamp)
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
    for base, system, names in stages:
        indexes = archives.read_indexes(
            DISTRIBUTION_RELEASES[base.os], snapshot, PLATFORMS[name].docker_arch, system.keyring or b""
        )
        missing += _report_missing_packages(names, indexes, f"{base.os} at {snapshot}")
        if missing:
            continue
        try:
            requested = [requested_name for requested_name, _ in names]
            additions = compute_closure(requested, indexes, PackageIndex(system.status or ""))
            added.append(tuple(map(_pin_package, additions)))
        except UnmetDependenciesError as error:
            raise UnsolvableError(name, "\n".join(error.reasons), "apt") from None
    if missing:
        raise DiagnosticsError(source, dict.fromkeys(missing))
    run, build = added
    return run, build


def _report_missing_packages(
    requested: Sequence[tuple[str, KeyPath]], indexes: Sequence[PackageIndex], archive: str
) -> Iterator[Diagnostic]:
    """Yield an error for each name that the archive does not have. `archive` describes it in messages."""
    for name, path in requested:
        if find_candidate(indexes, name):
            continue
        providers = sorted({each for index in indexes for each in index.find_providers(name)})
        if providers:
            formatted = ", ".join(f"`{each}`" for each in providers[:8])
            yield Diagnostic(
                "apt-package", f"`{name}` is a virtual package", path, f"request one of its providers: {formatted}"
            )
            continue
        similar = get_close_matches(name, sorted({each for index in indexes for each in index.list_names()}), n=3)
        hint = f"similar names: {', '.join(f'`{each}`' for each in similar)}" if similar else None
        yield Diagnostic("apt-package", f"there is no package `{name}` in {archive}", path, hint)


def _pin_package(added: PackageAddition) -> AptPackage:
    package = added.package
    if package.size is None or not all(
        pattern.fullmatch(str(getattr(package, name))) for name, pattern in APT_PATTERNS.items()
    ):
        raise UnavailableError(f"the index of the archive has an invalid or incomplete entry for `{package.name}`")
    return AptPackage(
        *(package.name, package.version, package.architecture, package.sha256, package.size, added.depends),
        unpacked=package.installed_size,
    )
