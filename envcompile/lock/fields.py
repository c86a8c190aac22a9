"""The fields of a lock's tables: a pattern for each kind of value, and the reader that checks them.

A lock may come from anybody, and its digest proves nothing about its author. Every value that can reach the Dockerfile
is therefore matched against a strict pattern.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Python does not parse numbers of more than 4,300 digits. Only recorded inputs of the spec can be longer than this
# limit, because they are compared as texts.
MAX_STRING_LENGTH = 4_000
# As in TOML. Python cannot format a number of more than 4,300 digits, which hexadecimal notation can express.
_MAX_NUMBER = (1 << 63) - 1
_PIP_NAME = r"[a-z0-9]+(?:-[a-z0-9]+)*"
PIP_NAME_PATTERN = re.compile(_PIP_NAME)
# Version specifiers of PEP 440: `>=1.22,<3`.
SPECIFIER_PATTERN = re.compile(r"[<>=!~]={0,2}[A-Za-z0-9.*+!_-]+(?:,[<>=!~]={0,2}[A-Za-z0-9.*+!_-]+)*")
# `numpy`, `numpy <3,>=1.22`, `urllib3[socks] >=2`
PIP_DEPENDENCY_PATTERN = re.compile(
    rf"{_PIP_NAME}(?:\[{_PIP_NAME}(?:,{_PIP_NAME})*\])?(?: {SPECIFIER_PATTERN.pattern})?"
)
MD5_PATTERN = re.compile(r"[0-9a-f]{32}")
_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
DIGEST_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")
SNAPSHOT_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
# Keys that have the same pattern in every table.
_FIELD_PATTERNS = {
    "name": PIP_NAME_PATTERN,
    "version": re.compile(r"[0-9]+(?:![0-9]+)?(?:[a-z.+][a-z0-9.+]*)?"),
    "file": re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.(?:whl|tar\.gz|zip)"),
    "sha256": _SHA256_PATTERN,
    "index": PIP_NAME_PATTERN,
    "kind": re.compile("wheel|sdist"),
    "image": re.compile(r"[A-Za-z0-9][A-Za-z0-9.:/_\[\]-]{0,400}@sha256:[0-9a-f]{64}"),
    "path": re.compile(r"(?:/[A-Za-z0-9._+@-]+)+"),
    "os": re.compile(r"[a-z][a-z0-9]*-[0-9]+(?:\.[0-9]+)*"),
    "glibc": re.compile(r"2\.[0-9]{1,2}"),
    "source": re.compile("spec|image|assumed|conda|apt|standalone"),
    "abi": re.compile(r"cp3[0-9]{1,2}t"),
    "digest": DIGEST_PATTERN,
    "text": DIGEST_PATTERN,
}
PYTHON_BUILD_PATTERNS = {
    "file": re.compile(r"cpython-[A-Za-z0-9._+-]+\.tar\.gz"),
    "url": re.compile(r"https?://[A-Za-z0-9._~%+:\[\]/-]+"),
    "sha256": _SHA256_PATTERN,
}
CHANNEL_PATTERNS = {
    "name": re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*"),
    # A local folder is locked as a `file:` URL. The build cannot read it.
    "url": re.compile(r"(?:https?|file)://[A-Za-z0-9._~%+:\[\]/ -]*"),
}
CONDA_PATTERNS = {
    "name": re.compile(r"[a-z0-9_][a-z0-9_.-]*"),
    "version": re.compile(r"[A-Za-z0-9_.!+-]+"),
    "build": re.compile(r"[A-Za-z0-9_.+-]+"),
    "channel": CHANNEL_PATTERNS["name"],
    "subdir": re.compile(r"linux-64|linux-aarch64|noarch"),
    "file": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]*(?:\.conda|\.tar\.bz2)"),
    "sha256": _SHA256_PATTERN,
}
MATCH_SPEC_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.<>=!~,|*+\[\]'\"() :/-]*")
# Debian policy manual, sections 5.6.1 (Source), 5.6.7 (Package) and 5.6.12 (Version).
APT_PATTERNS = {
    "name": re.compile(r"[a-z0-9][a-z0-9.+-]+"),
    "version": re.compile(r"(?:[0-9]+:)?[0-9][A-Za-z0-9.+~-]*"),
    "architecture": re.compile(r"amd64|arm64|all"),
    "sha256": _SHA256_PATTERN,
}
# Recorded inputs are compared and displayed but never reach the Dockerfile, so any text of a spec is allowed.
RECORDED_INPUT_PATTERNS = {
    "key": re.compile(r"[a-z-]+(?:\.[a-z-]+)*"),
    "values": re.compile(r"[^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]+"),
}
CATALOGUE_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} sha256:[0-9a-f]{12}")
NUMERIC_VERSION_PATTERN = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}")
RULE_PATTERN = re.compile(r"[a-z][a-z0-9.-]*")
# Any text on one line that a terminal can display.
SENTENCE_PATTERN = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,2000}")
# Variables that envcompile itself sets: flags, paths and lists of GPU architectures. The excluded variables select the
# code that runs, and envcompile sets none of them.
_CODE_VARIABLES = "PATH|ENV|BASH_ENV|LD_PRELOAD|LD_AUDIT|PYTHONPATH|PYTHONHOME|PYTHONSTARTUP"
VARIABLE_PATTERNS = {
    "name": re.compile(rf"(?!(?:{_CODE_VARIABLES})\Z)[A-Z][A-Z0-9_]*"),
    "value": re.compile(r"[A-Za-z0-9_./:;,+-]*"),
}
SAVING_PATTERNS = {"gigabytes": NUMERIC_VERSION_PATTERN, "against": SENTENCE_PATTERN}
REJECTED_IMAGE_PATTERNS = {"image": SENTENCE_PATTERN, "because": SENTENCE_PATTERN}
DIAGNOSTIC_PATTERNS = {"rule": RULE_PATTERN, "message": SENTENCE_PATTERN, "hint": SENTENCE_PATTERN}
WHEEL_REQUIREMENT_PATTERN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)* ==[0-9]+(?:\.[0-9]+)*\.\*")


class LockFieldReader:
    """Reads and checks fields. Every method raises `InvalidInputError` if a field is missing or malformed."""

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def create_error(self, where: str, problem: str) -> InvalidInputError:
        """Return the error for the field at `where`. `problem` is the end of the message, after the field."""
        return InvalidInputError(f"`{self._name}` is not a valid lock: `{where}` {problem}", self._hint)

    def read_table(self, value: object, where: str, keys: set[str]) -> dict[str, Any]:
        """Return a table, which may have no other keys than `keys`."""
        if not isinstance(value, dict):
            raise self.create_error(where, "is missing or not a table")
        if unknown := sorted(set(value) - keys):
            raise self.create_error(f"{where}.{unknown[0]}", "is not a known key")
        return value

    def read_array(self, value: object, where: str) -> list[object]:
        """Return an array."""
        if not isinstance(value, list):
            raise self.create_error(where, "is missing or not an array")
        return value

    def read_number(self, value: object, where: str) -> int:
        """Return a non-negative integer of at most 63 bits."""
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_NUMBER:
            raise self.create_error(where, "is missing or not a non-negative integer")
        return value

    def read_matching(self, value: object, where: str, pattern: re.Pattern[str]) -> str:
        """Return a string that matches the whole pattern and has at most `MAX_STRING_LENGTH` characters."""
        # The length is checked first, so that no pattern is matched with a text of megabytes.
        is_limited = pattern is not RECORDED_INPUT_PATTERNS["values"]
        if isinstance(value, str) and len(value) > MAX_STRING_LENGTH and is_limited:
            raise self.create_error(where, f"has more than {MAX_STRING_LENGTH:,} characters")
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.create_error(where, "is missing or malformed")
        return value

    def read_matching_array(self, value: object, where: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
        """Return the strings of an array, each of which must match the whole pattern."""
        return tuple(self.read_matching(each, where, pattern) for each in self.read_array(value, where))

    def read_string(self, table: Mapping[str, Any], where: str, key: str) -> str:
        """Return the string at a key that has the same pattern in every table."""
        return self.read_matching(table.get(key), f"{where}.{key}", _FIELD_PATTERNS[key])

    def read_strings(
        self,
        table: Mapping[str, Any],
        where: str,
        keys: tuple[str, ...],
        patterns: Mapping[str, re.Pattern[str]] = _FIELD_PATTERNS,
    ) -> list[str]:
        """Return the strings at several keys. `patterns` replaces the patterns that are the same in every table."""
        return [self.read_matching(table.get(key), f"{where}.{key}", patterns[key]) for key in keys]
