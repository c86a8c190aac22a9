"""The fast path of `verify`: it recognizes fresh locks by their digests, and imports next to nothing.

If it does not recognize a lock as fresh, the slow path in `verify` compares the requirements.
"""

from __future__ import annotations

import os
import sys

from envcompile.digests import compute_sha256
from envcompile.lock.header import read_spec_digests
from envcompile.project import MAX_SPEC_BYTES
from envcompile.project.discovery import (
    PYPROJECT_FILE_NAME,
    find_dockerfiles,
    find_nearest_spec,
    find_spec_of_file,
    lock_path_from_spec,
)

# The time that tomli takes for a key grows with the square of the number of its dots.
_MAX_KEY_DOTS = 16
# A spec with one of these may have `[lock] exports`, whose files only the slow path checks. A backslash may be part of
# an escaped key.
_EXPORTS_MARKERS = (b"exports", b"\\")


def are_all_fresh(words: list[str]) -> bool:
    """Whether `verify` with these arguments finds everything fresh. If so, the result is printed."""
    quiet, files = False, []
    for word in words:
        if word in ("-q", "--quiet"):
            quiet = True
        elif word.startswith("-"):
            return False
        else:
            files.append(word)
    try:
        specs = find_specs(files)
        if not all(is_fresh_by_digest(spec) and not find_dockerfiles(spec) for spec in specs):
            return False
    except (OSError, ValueError, LookupError):
        return False
    if not quiet:
        sys.stderr.write("".join(map(format_fresh_message, specs)))
    return True


def format_fresh_message(spec: str) -> str:
    """The message for a spec with a fresh lock."""
    return f"`{lock_path_from_spec(spec)}` is fresh\n"


def find_specs(files: list[str]) -> list[str]:
    """The specs to which files belong, without duplicates. Without files, the nearest spec.

    Raises LookupError if there is no spec, ValueError for a file that belongs to no spec by its name, and OSError.
    """
    if not files:
        spec = find_nearest_spec(os.getcwd())
        if spec is None:
            raise LookupError
        return [os.path.relpath(spec)]
    found = (spec for file in files if (spec := find_spec_of_file(file)))
    return list(dict.fromkeys(map(os.path.normpath, found)))


def is_fresh_by_digest(spec: str) -> bool:
    """Whether a lock is intact and was made from the text of its spec, or from a text with other comments.

    False for a spec that may have `[lock] exports`. Raises OSError.
    """
    with open(lock_path_from_spec(spec), "rb") as file:
        digests = read_spec_digests(file.read())
    with open(spec, "rb") as file:
        text = file.read(MAX_SPEC_BYTES + 1)
    if digests is None or len(text) > MAX_SPEC_BYTES:
        return False
    if any(each in text for each in _EXPORTS_MARKERS):
        return False
    lines = text.replace(b"\r\n", b"\n")
    return compute_sha256(lines).encode() == digests[1] or _compute_value_digest(lines, spec) == digests[0]


def _compute_value_digest(text: bytes, spec: str) -> bytes | None:
    """The digest of a spec's value, or None if the text is unusual or not TOML."""
    import tomli  # noqa: PLC0415 - only if the text has changed

    from envcompile.digests import compute_value_digest  # noqa: PLC0415

    if b"\0" in text or any(line.count(b".") >= _MAX_KEY_DOTS for line in text.split(b"\n")):
        return None
    try:
        value = tomli.loads(text.decode())
        if os.path.basename(spec) == PYPROJECT_FILE_NAME:
            value = value["tool"]["envcompile"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return compute_value_digest(value).encode()
