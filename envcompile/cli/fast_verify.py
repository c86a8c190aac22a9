"""The short way of `verify`: it finds out that all is fresh, and imports next to nothing for it.

Whatever it does not find fresh at a glance is looked at again by `verify`, which says why.
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

# A key of more dots than that, and the parser takes the square of their number.
_MAX_KEY_DOTS = 16
# A spec in which one of these stands may ask for files to be kept, and those are looked at: the key, or an escape that
# it could be written with.
_EXPORTS_MARKERS = (b"exports", b"\\")


def are_all_fresh(words: list[str]) -> bool:
    """Whether `verify` with these words has nothing to say but that all is fresh; then it has said so."""
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
    """What is said of a lock that is fresh."""
    return f"`{lock_path_from_spec(spec)}` is fresh\n"


def find_specs(files: list[str]) -> list[str]:
    """The specs of files, each once; without files the nearest one upwards.

    Raises LookupError when there is none, ValueError for a file that is no part of ours, OSError.
    """
    if not files:
        spec = find_nearest_spec(os.getcwd())
        if spec is None:
            raise LookupError
        return [os.path.relpath(spec)]
    found = (spec for file in files if (spec := find_spec_of_file(file)))
    return list(dict.fromkeys(map(os.path.normpath, found)))


def is_fresh_by_digest(spec: str) -> bool:
    """Whether a lock was made from the very text of its spec, or from one that differs in comments alone.

    Never where a spec may ask for exports: whether they are current is not seen at a glance.

    Its bytes are whole, so what they say of the spec is what `lock` has written.
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
    """The digest of a spec's value; None when it cannot be had at a glance."""
    import tomli  # noqa: PLC0415 - only where the text has changed

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
