"""The fields of a lock: what each may look like, and how they are taken out of a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:/_\[\]-]{0,400}@sha256:[0-9a-f]{64}")
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_VERSION = re.compile(r"[0-9]+(?:![0-9]+)?[a-z0-9.+]*")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.(?:whl|tar\.gz|zip)")
_PATH = re.compile(r"(?:/[A-Za-z0-9._+@-]+)+")
_PATTERNS = {
    "name": NAME,
    "version": _VERSION,
    "file": _FILE,
    "sha256": _SHA256,
    "index": NAME,
    "kind": re.compile("wheel|sdist"),
    "image": _IMAGE,
    "path": _PATH,
    "os": re.compile(r"[a-z][a-z0-9]*-[0-9]+(?:\.[0-9]+)*"),
    "glibc": re.compile(r"2\.[0-9]{1,2}"),
    "source": re.compile("spec|image|assumed|conda|apt"),
    "digest": _DIGEST,
    "text": _DIGEST,
    "snapshot": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"),
}
MD5 = re.compile(r"[0-9a-f]{32}")
_CONDA_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
MATCH_SPEC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.<>=!~,|*+\[\]'\"() :/-]*")
CHANNEL = {
    "name": re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*"),
    # A folder of this machine is locked by its path, which no build can see.
    "url": re.compile(r"(?:https?|file)://[A-Za-z0-9._~%+:\[\]/ -]*"),
}
# Compared and shown, and no part of a Dockerfile: any text that a spec can hold.
ASKED = {
    "key": re.compile(r"[a-z-]+(?:\.[a-z-]+)*"),
    "values": re.compile(r"[^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]+"),
}
CONDA = {
    "name": _CONDA_NAME,
    "version": re.compile(r"[A-Za-z0-9_.!+-]+"),
    "build": re.compile(r"[A-Za-z0-9_.+-]+"),
    "channel": CHANNEL["name"],
    "subdir": re.compile(r"linux-64|linux-aarch64|noarch"),
    "file": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]*(?:\.conda|\.tar\.bz2)"),
    "sha256": _SHA256,
}
# Debian policy, "Source" and "Version" of control files.
APT = {
    "name": re.compile(r"[a-z0-9][a-z0-9.+-]+"),
    "version": re.compile(r"(?:[0-9]+:)?[0-9][A-Za-z0-9.+~-]*"),
    "architecture": re.compile(r"amd64|arm64|all"),
    "sha256": _SHA256,
}


class Reader:
    """Takes fields out of tables by name and type; the first that is wrong ends the reading, by `Unusable`."""

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def fail(self, where: str, said: str) -> InvalidInputError:
        """The error: what is wrong with the field at `where`."""
        return InvalidInputError(f"`{self._name}` is not a valid lock: `{where}` {said}", self._hint)

    def table(self, value: object, where: str, keys: set[str]) -> dict[str, Any]:
        """A table with no other keys than these."""
        if not isinstance(value, dict):
            raise self.fail(where, "is missing or not a table")
        if strange := sorted(set(value) - keys):
            raise self.fail(f"{where}.{strange[0]}", "is not known")
        return value

    def rows(self, value: object, where: str) -> list[object]:
        """An array."""
        if not isinstance(value, list):
            raise self.fail(where, "is missing or not an array")
        return value

    def matching(self, value: object, where: str, pattern: re.Pattern[str]) -> str:
        """A string that matches as a whole."""
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.fail(where, "is missing or malformed")
        return value

    def number(self, value: object, where: str) -> int:
        """A whole number, not below 0."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.fail(where, "is missing or not a whole number")
        return value

    def string(self, table: Mapping[str, Any], where: str, key: str) -> str:
        """The string of a key that looks the same in every table."""
        return self.matching(table.get(key), f"{where}.{key}", _PATTERNS[key])

    def strings(
        self,
        table: Mapping[str, Any],
        where: str,
        keys: tuple[str, ...],
        patterns: Mapping[str, re.Pattern[str]] | None = None,
    ) -> list[str]:
        """The strings of several keys; `patterns` where they look otherwise in this table."""
        known = patterns or _PATTERNS
        return [self.matching(table.get(key), f"{where}.{key}", known[key]) for key in keys]
