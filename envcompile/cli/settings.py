"""The settings of the user and the machine: mirrors of registries, a catalogue. Never part of a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from envcompile.errors import Unusable
from envcompile.files import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIMIT = 1 << 20


def cache(environment: Mapping[str, str]) -> Path:
    """The folder of what may be fetched again: `$XDG_CACHE_HOME/envcompile`, as a rule `~/.cache/envcompile`."""
    return Path(environment.get("XDG_CACHE_HOME") or home(environment) / ".cache") / "envcompile"


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
    return path.parent / (home(environment) / named[2:] if named.startswith("~/") else named)


def home(environment: Mapping[str, str]) -> Path:
    """The user's home folder."""
    return Path(environment.get("HOME") or Path.home())


def _read(environment: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
    """Where the settings are, `~/.config/envcompile/config.toml` as a rule, and what they say: nothing if not there."""
    import tomli  # noqa: PLC0415 - only when somebody is asked, or a catalogue is needed

    folder = Path(environment.get("XDG_CONFIG_HOME") or home(environment) / ".config")
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
