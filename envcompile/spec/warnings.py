"""Warnings about a valid spec: names that look like secrets, and characters that nobody sees.

The values of `image.env`, `image.labels` and `build-env` are written into the Dockerfile, so everybody who can read the
repository or the image can read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.diagnostic import Diagnostic, is_secret_name
from envcompile.spec.values import display_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.source import KeyPath

_RUN_TIME_HINT = "pass it when the container starts (`docker run --env {name}`)"
_BUILD_HINT = "remove it: the credentials of a package index are passed with `envcompile build --secret`"
# More of them in one value are not listed.
_MAX_LISTED_CHARACTERS = 3


def find_spec_warnings(value: dict[str, Any]) -> list[Diagnostic]:
    """Return the warnings about the TOML value of a spec, in the order of its keys."""
    metadata = _get_table(_get_table(value, "pip"), "metadata")
    tables: list[KeyPath] = [("image",), *(("pip", "metadata", name, "build-env") for name in metadata)]
    invisible = (each for path in tables for each in _find_invisible_characters(_find_value(value, path), path))
    return [*_find_secret_names(value), *invisible]


def _find_secret_names(value: dict[str, Any]) -> Iterator[Diagnostic]:
    allowed = _find_value(value, ("image", "allow-secret-names"))
    names = allowed if isinstance(allowed, list) else []
    tables: list[tuple[KeyPath, str, str]] = [
        (("image", "env"), "environment variable", _RUN_TIME_HINT),
        (("image", "labels"), "label", "remove it: labels are read with `docker inspect`"),
    ]
    metadata = _get_table(_get_table(value, "pip"), "metadata")
    tables += [(("pip", "metadata", name, "build-env"), "build variable", _BUILD_HINT) for name in metadata]
    for path, noun, hint in tables:
        table = _find_value(value, path)
        for name in table if isinstance(table, dict) else ():
            if is_secret_name(name) and name not in names:
                message = f"the {noun} `{display_text(name)}` looks like a secret, and its value is in the Dockerfile"
                advice = f'{hint.format(name=name)}; if it is no secret, `allow-secret-names = ["{name}"]` in `[image]`'
                yield Diagnostic("secret-name", message, (*path, name), advice, "key")


def _find_invisible_characters(value: object, path: KeyPath) -> Iterator[Diagnostic]:
    """Find characters in keys and strings that are not shown, such as those that change the direction of a text."""
    if isinstance(value, str):
        found = dict.fromkeys(c for c in value if not c.isprintable() and c not in "\t\xa0")
        if found:
            codes = ", ".join(f"U+{ord(c):04X}" for c in [*found][:_MAX_LISTED_CHARACTERS])
            more = " and others" if len(found) > _MAX_LISTED_CHARACTERS else ""
            message = f"this value contains invisible characters ({codes}{more}), so it may not be what it looks like"
            yield Diagnostic("invisible-character", message, path, "remove them")
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _find_invisible_characters(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _find_invisible_characters(each, (*path, index))


def _find_value(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _get_table(value: dict[str, Any], key: str) -> dict[str, Any]:
    table = value.get(key)
    return table if isinstance(table, dict) else {}
