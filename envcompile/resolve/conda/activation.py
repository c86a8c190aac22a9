"""Adds to a lock what the activation scripts of its conda packages do.

The result for an archive never changes. It is taken from the earlier lock or from the user's cache folder, and only the
archives of other packages are read, by `activation_reader` in the process of py-rattler.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.base_image.model import ENVIRONMENT_PATH
from envcompile.diagnostics.diagnostic import redact_secrets
from envcompile.diagnostics.errors import CheckFailedError, UnavailableError
from envcompile.lock.activation import UNKNOWN_SCRIPTS
from envcompile.lock.header import FORMAT_VERSION
from envcompile.lock.model import ActivationVariable
from envcompile.project.files import write_text
from envcompile.project.settings import find_cache_folder
from envcompile.resolve.conda.rattler import create_channel_error, run_worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from envcompile.lock.model import Channel, CondaPackage, Lock
    from envcompile.resolve.model import Effects

# A release that evaluates scripts in another way uses another folder.
_CACHE_FOLDER = "activation-1"
# The limit for one download in seconds.
_TIMEOUT = 300


class _ArchiveKey(NamedTuple):
    """An archive. Without the URL, a channel could decide about the packages of another one."""

    url: str
    sha256: str


class _Activation(NamedTuple):
    """The keys `env` and `activate` of a conda package in the lock."""

    env: tuple[ActivationVariable, ...] = ()
    activate: tuple[str, ...] = ()


_UNREAD = _Activation(activate=(UNKNOWN_SCRIPTS,))


def add_activation(lock: Lock, earlier: Lock | None, effects: Effects, *, retries_unread: bool = False) -> Lock:
    """Return the lock with the variables and the scripts of its conda packages.

    An archive that is too large, damaged or missing counts as one with unknown scripts. `retries_unread` reads such
    archives of the earlier lock again. Raises `UnavailableError` if the network fails, if a channel requires
    credentials, or if an archive must be downloaded and `effects` are offline.
    """
    packages = dict(_iter_archives(lock))
    known = _collect_known(earlier) if earlier and earlier.format == FORMAT_VERSION else {}
    if retries_unread and not effects.offline:
        known = {key: found for key, found in known.items() if found != _UNREAD}
    cache = find_cache_folder(effects.environment) / _CACHE_FOLDER
    known |= {key: found for key in packages.keys() - known.keys() if (found := _read_cached(cache, key))}
    if missing := {key: package for key, package in packages.items() if key not in known}:
        channels = {each.name: each for each in lock.channels}
        known |= _read_archives(missing, channels, effects, cache)
    urls = {each.name: each.url for each in lock.channels}
    return replace(
        lock,
        platforms=tuple(
            replace(
                platform,
                conda=tuple(
                    replace(package, **known[_make_key(package, urls)]._asdict()) for package in platform.conda
                ),
            )
            for platform in lock.platforms
        ),
    )


def _iter_archives(lock: Lock) -> Iterator[tuple[_ArchiveKey, CondaPackage]]:
    urls = {each.name: each.url for each in lock.channels}
    for platform in lock.platforms:
        for package in platform.conda:
            yield _make_key(package, urls), package


def _make_key(package: CondaPackage, urls: Mapping[str, str]) -> _ArchiveKey:
    return _ArchiveKey(f"{urls[package.channel]}/{package.subdir}/{package.file}", package.sha256)


def _collect_known(lock: Lock) -> dict[_ArchiveKey, _Activation]:
    return {key: _Activation(package.env, package.activate) for key, package in _iter_archives(lock)}


# The archives.


def _read_archives(
    packages: Mapping[_ArchiveKey, CondaPackage], channels: Mapping[str, Channel], effects: Effects, cache: Path
) -> dict[_ArchiveKey, _Activation]:
    """Read the archives in one process, and write the results to the cache. Raises `UnavailableError`."""
    if effects.offline and (remote := [package for key, package in packages.items() if key.url.startswith("http")]):
        message = f"the archive of the conda package `{remote[0].name}` has not been read, and `--offline` is set"
        raise UnavailableError(message, "run once without `--offline`")
    archives = [{"url": key.url, "size": package.size} for key, package in packages.items()]
    request = {"archives": archives, "prefix": ENVIRONMENT_PATH}
    (answer,) = run_worker([request], effects, _TIMEOUT)
    found = {}
    for (key, package), row in zip(packages.items(), _check_answer(answer), strict=True):
        _check_readable(package, channels[package.channel], row)
        activation = _parse_activation(row) if row["kind"] == "read" else _UNREAD
        if row["kind"] == "read":
            _write_cached(cache, key, activation)
        found[key] = activation
    return found


def _check_answer(answer: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    if answer["kind"] != "read":
        raise UnavailableError(
            f"cannot read the archives of the conda packages: {redact_secrets(str(answer.get('problem', '')))}",
            "check the configuration of rattler",
        )
    rows: list[Mapping[str, Any]] = answer["archives"]
    return rows


def _check_readable(package: CondaPackage, channel: Channel, row: Mapping[str, Any]) -> None:
    """Raise `UnavailableError` if a later attempt, or one with credentials, may be able to read the archive."""
    problem = redact_secrets(str(row.get("problem", "")))
    if row["kind"] == "credentials-required":
        raise create_channel_error(row["kind"], problem, channel)
    if row["kind"] == "network":
        reason = " ".join(problem.split())
        message = f"cannot read `{package.file}` in the conda channel `{channel.name}`: {reason}"
        raise UnavailableError(message, "check the network, and try again")


def _parse_activation(row: Mapping[str, Any]) -> _Activation:
    return _Activation(tuple(ActivationVariable(*each) for each in row["env"]), tuple(row["activate"]))


# The cache: one file per archive.


def _get_cache_path(cache: Path, key: _ArchiveKey) -> Path:
    return cache / f"{sha256(' '.join(key).encode()).hexdigest()}.json"


def _read_cached(cache: Path, key: _ArchiveKey) -> _Activation | None:
    try:
        return _parse_activation(json.loads(_get_cache_path(cache, key).read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None  # not there, or damaged


def _write_cached(cache: Path, key: _ArchiveKey, activation: _Activation) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        write_text(_get_cache_path(cache, key), json.dumps(activation._asdict()))
    except (OSError, CheckFailedError):
        return  # the archive is read again next time
