"""The settings of the user and the machine: mirrors of registries, a catalogue. Never part of a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from envcompile.cli.inputs import shown
from envcompile.errors import MissingOutside, Unusable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.resolve.images import ImageFacts
    from envcompile.resolve.registry.client import Registry
    from envcompile.resolve.registry.debian import DebianSystem

_LIMIT = 1 << 20


def registry(environment: Mapping[str, str], *, offline: bool = False) -> _Later | _Nobody:
    """The registry client as this user has it: docker's configuration, our mirrors. Read when it is first asked."""
    return _Nobody() if offline else _Later(environment)


def own_registry(environment: Mapping[str, str]) -> Registry:
    """The registry client for what is pushed: never a mirror's answer."""
    return _client(environment, {})


class _Nobody:
    """In the place of a registry client where nobody may be asked."""

    def digest(self, reference: str) -> str:
        return self._refuse(reference)

    def facts(self, reference: str, platform: str) -> ImageFacts:
        del platform
        return self._refuse(reference)

    def debian(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        del platform, keyring
        return self._refuse(reference)

    def holds(self, reference: str) -> bool:
        return self._refuse(reference)

    def _refuse(self, reference: str) -> NoReturn:
        said = f"`{reference}` would have to be asked of its registry, and `--offline` lets nobody be asked"
        raise MissingOutside(said, "run without it once, or give the image by its digest")


class _Later:
    """A registry client that is imported when the first image has to be asked for, which in most runs is never."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._client: Registry | None = None

    def digest(self, reference: str) -> str:
        return self._real().digest(reference)

    def facts(self, reference: str, platform: str) -> ImageFacts:
        return self._real().facts(reference, platform)

    def debian(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        return self._real().debian(reference, platform, keyring)

    def holds(self, reference: str) -> bool:
        return self._real().holds(reference)

    def _real(self) -> Registry:
        if self._client is None:
            self._client = _client(self._environment, mirrors(self._environment))
        return self._client


def cache(environment: Mapping[str, str]) -> Path:
    """The folder of what may be fetched again: `$XDG_CACHE_HOME/envcompile`, as a rule `~/.cache/envcompile`."""
    return Path(environment.get("XDG_CACHE_HOME") or _home(environment) / ".cache") / "envcompile"


def _client(environment: Mapping[str, str], mirrored: Mapping[str, str]) -> Registry:
    from envcompile.resolve.registry.client import Registry  # noqa: PLC0415 - brings an HTTP client

    return Registry(Path(environment.get("DOCKER_CONFIG") or _home(environment) / ".docker"), mirrored)


def mirrors(environment: Mapping[str, str]) -> dict[str, str]:
    """From a host, of a registry or an archive, to what is asked instead: the table `[mirrors]` of the settings.

    Such as `"docker.io" = "mirror.example.com"`. Raises `Unusable`.
    """
    path, value = _read(environment)
    table = value.get("mirrors", {})
    if not isinstance(table, dict) or not all(isinstance(each, str) for each in table.values()):
        hint = 'write `"docker.io" = "mirror.example.com"`'
        raise Unusable(f"`mirrors` in `{shown(path)}` must be a table of strings", hint)
    return dict(table)


def catalogue_file(environment: Mapping[str, str]) -> Path | None:
    """The catalogue that the settings name (`catalogue = "FILE"`, as seen from their folder), if they name one.

    Raises `Unusable`.
    """
    path, value = _read(environment)
    named = value.get("catalogue")
    if named is None:
        return None
    if not isinstance(named, str) or not named:
        raise Unusable(f"`catalogue` in `{shown(path)}` must be a string", 'write `catalogue = "catalogue.json"`')
    return path.parent / (_home(environment) / named[2:] if named.startswith("~/") else named)


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


def _read(environment: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
    """Where the settings are, `~/.config/envcompile/config.toml` as a rule, and what they say: nothing if not there."""
    import tomli  # noqa: PLC0415 - only when somebody is asked, or a catalogue is needed

    folder = Path(environment.get("XDG_CONFIG_HOME") or _home(environment) / ".config")
    path = folder / "envcompile" / "config.toml"
    try:
        with path.open("rb") as file:
            value = tomli.loads(file.read(_LIMIT).decode())
    except FileNotFoundError:
        return path, {}
    except (OSError, ValueError) as problem:
        raise Unusable(f"`{shown(path)}` cannot be read: {problem}", "mend or remove it") from None
    if strange := sorted(set(value) - {"mirrors", "catalogue"}):
        raise Unusable(f"`{strange[0]}` in `{shown(path)}` is not a setting", "known are `catalogue` and `[mirrors]`")
    return path, value
