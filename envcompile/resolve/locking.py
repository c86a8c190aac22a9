"""The update of a lock: the pins of the earlier lock, the packages to upgrade, the new lock and the changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import did_you_mean, format_count
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.model import Lock, Pins, RecordedInput
from envcompile.lock.package_managers import PACKAGE_MANAGERS, count_packages
from envcompile.lock.reader import NewerLockFormatError, parse_lock
from envcompile.resolve.environment import EarlierLock, UpgradeRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.diff import LockChange
    from envcompile.resolve.environment import Solvers
    from envcompile.spec.model import Spec


def read_earlier_lock(text: str | None, name: str, warn: Callable[[str], None]) -> EarlierLock:
    """The lock that the update starts from. `text` is None if there is none; `name` is the name of the file.

    A damaged lock keeps the pins that can be read, and `warn` is called. Raises `NewerLockFormatError` for a lock of a
    later release.
    """
    if text is None:
        return EarlierLock(None, {})
    try:
        lock = parse_lock(text, name)
    except NewerLockFormatError:
        raise
    except InvalidInputError as problem:
        from envcompile.lock.recovery import recover_images, recover_pins, recover_snapshot  # noqa: PLC0415 - rarely needed

        pins = recover_pins(text)
        kept = format_count(count_packages(*pins.values()), "pin")
        warn(f"{problem.message}; {kept} of it can be read and will be kept if the spec allows it")
        return EarlierLock(None, pins, snapshot=recover_snapshot(text), images=recover_images(text))
    pins = {each.platform: Pins(each.pip, each.conda) for each in lock.platforms}
    return EarlierLock(lock, pins, snapshot=lock.snapshot)


def parse_upgrade_request(packages: Iterable[str], earlier: EarlierLock, *, everything: bool = False) -> UpgradeRequest:
    """The request to upgrade `packages`, each written `NAME` or `NAME==VERSION`, or everything.

    Raises `InvalidInputError` for a package that is not in the earlier lock, and for an invalid version.
    """
    exact: dict[str, str] = {}
    names: set[str] = set()
    for word in packages:
        text, equals, version = (part.strip() for part in word.partition("=="))
        name = _normalize_locked_name(text, earlier)
        names.add(name)
        if equals:
            exact[name] = version
    for name, version in exact.items():
        _check_version(name, version, earlier.pins.values())
    return UpgradeRequest(everything or frozenset(names), exact)


def _normalize_locked_name(text: str, earlier: EarlierLock) -> str:
    """The normalized name of a package in the earlier lock. Without an earlier lock, any name is accepted."""
    pins = earlier.pins.values()
    known = {each for platform in pins for each in platform.package_names()}
    platforms = earlier.lock.platforms if earlier.lock else ()
    if text not in known and any(text == each.name for one in platforms for each in (*one.apt, *one.apt_build)):
        message = f"`{text}` is a Debian package: these are upgraded together, with the snapshot of the archive"
        raise InvalidInputError(message, "run `envcompile lock -U`, or write a later `snapshot` in `[apt]`")
    from envcompile.diagnostics.diagnostic import RequirementError  # noqa: PLC0415 - only to upgrade single packages
    from envcompile.spec.pip import parse_package_name  # noqa: PLC0415

    try:
        # Names of conda packages are not normalized: some start with a character that PEP 503 does not allow.
        normal = text.lower() if text.lower() in known else parse_package_name(text)
    except RequirementError as refusal:
        raise InvalidInputError(refusal.message, "write `-P NAME` or `-P NAME==VERSION`") from None
    if pins and normal not in known:
        providers = [each.name for platform in pins for each in platform.conda if normal in each.provides]
        hint = f"a conda package provides it: write `-P {providers[0]}`" if providers else did_you_mean(normal, known)
        raise InvalidInputError(f"`{normal}` is not in the lock, so it cannot be upgraded", hint)
    return normal


def _check_version(name: str, version: str, pins: Collection[Pins]) -> None:
    """Raises `InvalidInputError` unless the package managers that have the package can be asked for the version."""
    from envcompile.diagnostics.diagnostic import RequirementError  # noqa: PLC0415 - only for an exact version

    if not pins:
        message = f"there is no lock yet, so `{name}` cannot be upgraded"
        raise InvalidInputError(message, "write the version in the spec")
    try:
        for manager in PACKAGE_MANAGERS.values():
            if name in (each for platform in pins for each, _ in manager.lists[0].iter_packages(platform)):
                manager.requirement_name(f"{name} =={version}")
    except RequirementError as refusal:
        raise InvalidInputError(refusal.message, f"write `-P {name}==VERSION`") from None


def resolve_lock(
    source: TomlSource, spec: Spec, earlier: EarlierLock, solvers: Solvers, upgrade: UpgradeRequest
) -> Lock:
    """Resolve a spec. A pin of the earlier lock is kept if the spec allows it and `upgrade` does not name it.

    Raises `DiagnosticsError` if no packages satisfy the requirements, or no base image fits the packages;
    `UnavailableError` if an index, a registry or a program is missing.
    """
    from envcompile.digests import compute_text_digest, compute_value_digest  # noqa: PLC0415 - after the other input
    from envcompile.resolve.environment import explain_unsolvable  # noqa: PLC0415
    from envcompile.resolve.fixpoint import resolve_until_stable  # noqa: PLC0415
    from envcompile.resolve.model import UnsolvableError  # noqa: PLC0415
    from envcompile.resolve.pip.index_router import private_indexes  # noqa: PLC0415
    from envcompile.spec.decode import parse_spec_value  # noqa: PLC0415
    from envcompile.spec.solver_inputs import recorded_inputs  # noqa: PLC0415

    try:
        platforms, channels, apt = resolve_until_stable(source, spec, earlier, solvers, upgrade)
    except UnsolvableError as answer:
        raise explain_unsolvable(answer, source, spec, upgrade.exact) from None
    lock = Lock(
        compute_value_digest(parse_spec_value(source)),
        compute_text_digest(source.text),
        platforms,
        channels=channels,
        recorded_inputs=tuple(RecordedInput(*row) for row in recorded_inputs(spec).items()),
        private_indexes=private_indexes(spec.pip, platforms, solvers.effects.environment),
    )
    return apt.apply_to_lock(lock) if apt else lock


def find_changes(earlier: EarlierLock, lock: Lock, spec: Spec, upgrade: UpgradeRequest) -> tuple[LockChange, ...]:
    """The changes since the earlier lock, with their reasons; none if there was no earlier lock."""
    if not earlier.pins:
        return ()
    from envcompile.lock.diff import LockRequest, compare_locks  # noqa: PLC0415 - only if there is an earlier lock

    before = earlier.lock
    if before is None:
        # Only the packages of conda and pip and the snapshot of a damaged lock are known. The rest counts as unchanged.
        known = (each for each in lock.platforms if each.platform in earlier.pins)
        pinned = ((each, earlier.pins_for(each.platform)) for each in known)
        recovered = tuple(replace(each, pip=pins.pip, conda=pins.conda) for each, pins in pinned)
        before = replace(lock, platforms=recovered, snapshot=earlier.snapshot or lock.snapshot)
    return compare_locks(before, lock, LockRequest(spec, upgrade.names))
