"""The settings of the user: mirrors of registries and archives, and a catalogue. They are never part of a spec."""

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
    """Return the folder for files that can be downloaded again, usually `~/.cache/envcompile`."""
    return Path(environment.get("XDG_CACHE_HOME") or find_home_folder(environment) / ".cache") / "envcompile"


def read_mirrors(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the mirrors in the settings: the host of each registry or archive -> the mirror that replaces it.

    They are in the table `[mirrors]`, such as `"docker.io" = "mirror.example.com"`. Raises `InvalidInputError` if the
    settings cannot be read or are not valid.
    """
    path, value = _read_settings(environment)
    table = value.get("mirrors", {})
    if not isinstance(table, dict) or not all(isinstance(each, str) for each in table.values()):
        hint = 'write `"docker.io" = "mirror.example.com"`'
        raise InvalidInputError(f"`mirrors` in `{display_path(path)}` must be a table of strings", hint)
    return dict(table)


def read_catalogue_path(environment: Mapping[str, str]) -> Path | None:
    """Return the path of the catalogue in the settings (`catalogue = "FILE"`, relative to their folder), or None.

    Raises `InvalidInputError` if the settings cannot be read or are not valid.
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
    """Return the home folder of the user."""
    return Path(environment.get("HOME") or Path.home())


def _read_settings(environment: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
    """Return the path of the settings file and its TOML value, which is empty if the file does not exist."""
    import tomli  # noqa: PLC0415 - only when mirrors or a catalogue are needed

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
            f"`{strange[0]}` in `{display_path(path)}` is not a setting", "the settings are `catalogue` and `[mirrors]`"
        )
    return path, value
