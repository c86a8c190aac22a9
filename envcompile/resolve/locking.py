"""The steps of `envcompile lock`: create the resolvers, read the earlier lock, resolve, and list the changes.

The caller reads the spec and writes the lock. Imports are local, because a spec needs only some of the resolvers.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import format_count
from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.lock.header import FORMAT_VERSION, LAYOUT_VERSION
from envcompile.lock.model import DEFAULT_LAYER_THRESHOLD, Lock, Pins, RecordedInput
from envcompile.lock.package_managers import count_packages
from envcompile.lock.reader import NewerLockFormatError, parse_lock
from envcompile.project.settings import find_cache_folder, read_mirrors
from envcompile.registry import create_registry
from envcompile.resolve.environment import EarlierLock, Solvers
from envcompile.resolve.upgrade import UpgradeRequest
from envcompile.spec.solver_inputs import list_pip_requirements

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.diff import LockChange
    from envcompile.resolve.apt.resolver import AptSources, DebianSystemReader
    from envcompile.resolve.model import CondaResolver, Effects, PipResolver
    from envcompile.spec.model import Spec


def create_solvers(
    spec: Spec, folder: Path, effects: Effects, warn: Callable[[str], None], *, catalogue: Catalogue
) -> Solvers:
    """Return the resolvers for a spec. Paths of local channels are relative to `folder`.

    `warn` is called with a message if this machine cannot do a check.
    """
    environment = effects.environment
    images = create_registry(environment, offline=effects.offline)
    needs_pip = bool(list_pip_requirements(spec))
    pip = _create_pip_resolver(spec.pip.resolver, find_cache_folder(environment), warn) if needs_pip else None
    create_apt_sources = partial(_create_apt_sources, images, effects, warn)
    if not spec.conda.packages:
        return Solvers(pip, None, images, (), effects, create_apt_sources, catalogue)
    from envcompile.resolve.conda.channels import parse_channel  # noqa: PLC0415 - for conda environments only

    channels = tuple(parse_channel(text, folder) for text in spec.conda.channels)
    conda = _create_conda_resolver(spec.conda.resolver)
    return Solvers(pip, conda, images, channels, effects, create_apt_sources, catalogue)


def _create_pip_resolver(name: str, cache: Path, warn: Callable[[str], None]) -> PipResolver:
    from envcompile.resolve.pip.compatible import CompatibleResolver  # noqa: PLC0415 - for pip packages only

    if name == "pip-tools":
        from envcompile.resolve.pip.pip_tools import PipToolsResolver  # noqa: PLC0415 - only if the spec names it

        return CompatibleResolver(PipToolsResolver(), cache, warn)
    from envcompile.resolve.pip.uv import UvResolver  # noqa: PLC0415 - for pip packages only

    return CompatibleResolver(UvResolver(), cache, warn)


def _create_conda_resolver(name: str) -> CondaResolver:
    if name == "conda-lock":
        from envcompile.resolve.conda.conda_lock import CondaLockResolver  # noqa: PLC0415 - only if the spec names it

        return CondaLockResolver()
    from envcompile.resolve.conda.rattler import RattlerResolver  # noqa: PLC0415 - for conda environments only

    return RattlerResolver()


def _create_apt_sources(systems: DebianSystemReader, effects: Effects, warn: Callable[[str], None]) -> AptSources:
    from envcompile.net.http import HttpClient, RetryPolicy  # noqa: PLC0415 - for Debian packages only
    from envcompile.resolve.apt.archive import ArchiveClient  # noqa: PLC0415
    from envcompile.resolve.apt.resolver import AptSources  # noqa: PLC0415

    mirrors, cache = read_mirrors(effects.environment), find_cache_folder(effects.environment)
    archives = ArchiveClient(HttpClient(RetryPolicy(), effects.environment), mirrors, cache, effects, warn)
    return AptSources(systems, archives, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


# The earlier lock.


def read_earlier_lock(text: str | None, name: str, warn: Callable[[str], None]) -> EarlierLock:
    """Return the earlier lock. `text` is the content of the lock file, or None if there is no file; `name` is its name.

    If the lock is damaged, the pins that can be read are returned, and `warn` is called with a message. Raises
    `NewerLockFormatError` for a lock that a later release wrote.
    """
    if text is None:
        return EarlierLock(None, {})
    try:
        lock = parse_lock(text, name)
    except NewerLockFormatError:
        raise
    except InvalidInputError as error:
        from envcompile.lock.recovery import recover_images, recover_pins, recover_snapshot  # noqa: PLC0415 - rarely needed

        pins = recover_pins(text)
        count = format_count(count_packages(*pins.values()), "pin")
        warn(f"{error.message}; {count} can still be read and will be kept if the spec allows it")
        return EarlierLock(None, pins, snapshot=recover_snapshot(text), recovered_images=recover_images(text))
    pins = {platform.platform: Pins(platform.pip, platform.conda) for platform in lock.platforms}
    return EarlierLock(lock, pins, snapshot=lock.snapshot)


# The new lock.


def check_lock_text(text: str, name: str) -> None:
    """Check that a new lock can be read again, before it replaces the earlier one. `name` is its file.

    Most values of a lock come from indexes, channels and registries. The reader has the patterns for all of them.
    Raises `UnavailableError` if a value is not valid in a lock.
    """
    try:
        parse_lock(text, name)
    except InvalidInputError as error:
        problem = error.message.partition(": ")[2] or error.message
        message = f"an index, a channel or a registry sent a value that no lock can contain: {problem}"
        raise UnavailableError(
            message, "request another release of the package, or report it to that server"
        ) from error


def keep_unchanged_lock(
    source: TomlSource, earlier: EarlierLock, catalogue: Catalogue, upgrade: UpgradeRequest
) -> Lock | None:
    """Return the earlier lock with the layout of this release, or None if the spec must be resolved.

    Nothing needs to be resolved if the lock was made from the same spec and catalogue, no upgrade is requested, and the
    lock has the current format. A lock of an older format lacks facts that are checked after resolving.
    """
    from envcompile.base_image.explain import format_catalogue_version  # noqa: PLC0415 - after the other input
    from envcompile.digests import compute_text_digest, compute_value_digest  # noqa: PLC0415
    from envcompile.spec.decode import parse_spec_value  # noqa: PLC0415

    lock = earlier.lock
    if (
        lock is None
        or lock.format < FORMAT_VERSION
        or upgrade != UpgradeRequest()
        or lock.catalogue != format_catalogue_version(catalogue)
        or lock.spec_digest != compute_value_digest(parse_spec_value(source))
    ):
        return None
    kept = replace(lock, spec_text_digest=compute_text_digest(source.text), layout=LAYOUT_VERSION)
    return record_layer_threshold(kept, earlier, upgrade)


def resolve_lock(  # noqa: PLR0913, PLR0917 - every effect is an argument
    source: TomlSource,
    spec: Spec,
    earlier: EarlierLock,
    solvers: Solvers,
    upgrade: UpgradeRequest,
    warn: Callable[[Diagnostic], None],
) -> Lock:
    """Resolve a spec. A pin of the earlier lock is kept if the spec allows it and `upgrade` does not name it.

    `warn` is called with each warning about packages that are compatible, but overwrite each other's files.

    Raises `DiagnosticsError` if no packages satisfy the requirements, or no base image fits the packages;
    `UnavailableError` if an index, a registry or a program is missing, or an archive of a conda package cannot be read
    because of the network.
    """
    from envcompile.diagnostics.diagnostic import DiagnosticsError  # noqa: PLC0415 - after the other input
    from envcompile.diagnostics.errors import EXIT_FAILED  # noqa: PLC0415
    from envcompile.digests import compute_text_digest, compute_value_digest  # noqa: PLC0415
    from envcompile.lock.consistency import check_consistency  # noqa: PLC0415
    from envcompile.plan.pip import sort_as_installed  # noqa: PLC0415
    from envcompile.resolve.environment import explain_unsolvable  # noqa: PLC0415
    from envcompile.resolve.fixpoint import resolve_until_stable  # noqa: PLC0415
    from envcompile.resolve.model import UnsolvableError  # noqa: PLC0415
    from envcompile.resolve.pip.index_router import find_private_indexes  # noqa: PLC0415
    from envcompile.spec.decode import parse_spec_value  # noqa: PLC0415
    from envcompile.spec.solver_inputs import recorded_inputs  # noqa: PLC0415

    try:
        platforms, channels, apt, overlaps = resolve_until_stable(source, spec, earlier, solvers, upgrade)
    except UnsolvableError as error:
        raise explain_unsolvable(error, source, spec, upgrade.exact) from None
    lock = Lock(
        compute_value_digest(parse_spec_value(source)),
        compute_text_digest(source.text),
        platforms,
        channels=channels,
        recorded_inputs=tuple(RecordedInput(*row) for row in recorded_inputs(spec).items()),
        private_indexes=find_private_indexes(spec.pip, platforms, solvers.effects.environment),
    )
    lock = record_layer_threshold(apt.apply_to_lock(lock) if apt else lock, earlier, upgrade)
    found = dict.fromkeys(
        each
        for platform in lock.platforms
        for each in check_consistency(
            spec,
            platform,
            (
                overlap._replace(packages=sort_as_installed(spec.pip, lock, platform, overlap.packages))
                for overlap in overlaps[platform.platform]
            ),
        )
    )
    if problems := [each for each in found if each.is_error]:
        raise DiagnosticsError(source, problems, EXIT_FAILED)
    for warning in found:
        warn(warning)
    if not any(platform.conda for platform in lock.platforms):
        return lock
    from envcompile.resolve.conda.activation import add_activation  # noqa: PLC0415 - for conda packages only

    return add_activation(lock, earlier.lock, solvers.effects, retries_unread=upgrade.names is True)


def record_layer_threshold(lock: Lock, earlier: EarlierLock, upgrade: UpgradeRequest) -> Lock:
    """Return the lock with the size from which a package has a layer of its own.

    It is never lower than that of the earlier lock, because this would move packages to other layers, except if
    everything is upgraded.
    """
    from envcompile.plan.layers import choose_threshold, find_threshold  # noqa: PLC0415 - after the other input

    keeps = earlier.lock if upgrade.names is not True else None
    least = find_threshold(keeps.platforms) if keeps else DEFAULT_LAYER_THRESHOLD
    threshold = choose_threshold(lock.platforms, least)
    return replace(lock, platforms=tuple(replace(each, layer_threshold=threshold) for each in lock.platforms))


def find_changes(earlier: EarlierLock, lock: Lock, spec: Spec, upgrade: UpgradeRequest) -> tuple[LockChange, ...]:
    """Return the changes since the earlier lock, with their reasons; none if there was no earlier lock."""
    if not earlier.pins:
        return ()
    from envcompile.lock.diff import LockRequest, compare_locks  # noqa: PLC0415 - only if there is an earlier lock

    old_lock = earlier.lock
    if old_lock is None:
        # Only the conda and pip packages and the snapshot of a damaged lock are known. The rest counts as unchanged.
        recovered = []
        for platform in lock.platforms:
            if platform.platform in earlier.pins:
                pins = earlier.pins_for(platform.platform)
                recovered.append(replace(platform, pip=pins.pip, conda=pins.conda))
        old_lock = replace(lock, platforms=tuple(recovered), snapshot=earlier.snapshot or lock.snapshot)
    return compare_locks(old_lock, lock, LockRequest(spec, upgrade.names, upgrade.parts))
