"""The settings of the user and the machine: mirrors of registries, a catalogue. Never part of a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.project.discovery import find_settings_file
from envcompile.project.files import display_path

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SETTINGS_BYTES = 1 << 20


def find_cache_folder(environment: Mapping[str, str]) -> Path:
    """The folder of what may be fetched again: `$XDG_CACHE_HOME/envcompile`, as a rule `~/.cache/envcompile`."""
    return Path(environment.get("XDG_CACHE_HOME") or find_home_folder(environment) / ".cache") / "envcompile"


def read_mirrors(environment: Mapping[str, str]) -> dict[str, str]:
    """From a host, of a registry or an archive, to what is asked instead: the table `[mirrors]` of the settings.

    Such as `"docker.io" = "mirror.example.com"`. Raises `InvalidInputError`.
    """
    path, value = _read_settings(environment)
    table = value.get("mirrors", {})
    if not isinstance(table, dict) or not all(isinstance(each, str) for each in table.values()):
        hint = 'write `"docker.io" = "mirror.example.com"`'
        raise InvalidInputError(f"`mirrors` in `{display_path(path)}` must be a table of strings", hint)
    return dict(table)


def read_catalogue_path(environment: Mapping[str, str]) -> Path | None:
    """The catalogue that the settings name (`catalogue = "FILE"`, as seen from their folder), if they name one.

    Raises `InvalidInputError`.
    """
    path, value = _read_settings(environment)
    named = value.get("catalogue")
    if named is None:
        return None
    if not isinstance(named, str) or not named:
        raise InvalidInputError(
            f"`catalogue` in `{display_path(path)}` must be a string", 'write `catalogue = "catalogue.json"`'
        )
    return path.parent / (find_home_folder(environment) / named[2:] if named.startswith("~/") else named)


def find_home_folder(environment: Mapping[str, str]) -> Path:
    """The user's home folder."""
    return Path(environment.get("HOME") or Path.home())


def _read_settings(environment: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
    """Where the settings are, `~/.config/envcompile/config.toml` as a rule, and what they say: nothing if not there."""
    import tomli  # noqa: PLC0415 - only when somebody is asked, or a catalogue is needed

    path = Path(find_settings_file(environment))
    try:
        with path.open("rb") as file:
            value = tomli.loads(file.read(_MAX_SETTINGS_BYTES).decode())
    except FileNotFoundError:
        return path, {}
    except (OSError, ValueError) as problem:
        raise InvalidInputError(f"`{display_path(path)}` cannot be read: {problem}", "mend or remove it") from None
    if strange := sorted(set(value) - {"mirrors", "catalogue"}):
        raise InvalidInputError(
            f"`{strange[0]}` in `{display_path(path)}` is not a setting", "known are `catalogue` and `[mirrors]`"
        )
    return path, value
