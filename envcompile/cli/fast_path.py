"""The fast paths of `verify` and `lock`: they recognize an unchanged project by digests, and import almost nothing.

The digests of the spec, of the catalogue and of the generated files are in the header of the lock. If one of them
differs, the command runs as usual: `verify` compares the requirements, and `lock` resolves them.
"""

from __future__ import annotations

import os
import sys

from envcompile.digests import compute_sha256
from envcompile.lock.header import LockHeader, read_header
from envcompile.project import MAX_SPEC_BYTES, TEMPORARY_MARK
from envcompile.project.discovery import (
    PYPROJECT_FILE_NAME,
    find_dockerfiles,
    find_nearest_spec,
    find_settings_file,
    find_spec_of_file,
    list_export_paths,
    lock_path_from_spec,
)
from envcompile.project.generated_files import DOCKERFILE_NAME

# Type checkers take this for true. At run time, `typing` would take longer to import than the rest.

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


# The time that tomli takes for a key grows with the square of the number of its dots.
_MAX_KEY_DOTS = 16
# A spec with one of these may have `[lock] exports`. A backslash may be part of an escaped key.
_EXPORTS_MARKERS = (b"exports", b"\\")
# A spec with one of these, or with characters that are not ASCII, may cause a warning of `spec.warnings`.
_SECRET_MARKERS = (b"apikey", b"auth", b"credential", b"key", b"passw", b"pword", b"secret", b"token", b"\\")
_WARNINGS_LINE = b"\nwarnings = [\n"
_CATALOGUE_FILE = os.path.join(os.path.dirname(__file__), "..", "base_image", "data", "catalogue.json")
_DIGEST_PREFIX_LENGTH = len("sha256:") + 12


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
        if not all(map(is_fresh_by_digest, specs)):
            return False
    except (OSError, ValueError, LookupError):
        return False
    messages = list(map(format_fresh_message, specs))
    # Unprintable characters in a path must be escaped.
    if not all(message.removesuffix("\n").isprintable() for message in messages):
        return False
    if not quiet:
        sys.stderr.write("".join(messages))
    return True


def is_nothing_to_lock(words: list[str]) -> bool:
    """Whether `lock` with these arguments would change nothing. If so, the result is printed."""
    quiet = False
    for word in words:
        if word in ("-q", "--quiet"):
            quiet = True
        elif word not in ("--offline", "--check", "--dry-run"):
            return False
    try:
        (spec,) = find_specs([])
        lock = _read_lock(spec)
        if _names_catalogue(os.environ) or not _is_unchanged(spec, lock, _is_shipped) or _may_warn(spec):
            return False
        if _has_leftovers(lock_path_from_spec(spec)):
            return False
        warnings = _format_warnings(lock)
    except (OSError, ValueError, LookupError):
        return False
    if (quiet and warnings) or not spec.isprintable():
        return False
    if not quiet:
        sys.stderr.write(f"{warnings}`{lock_path_from_spec(spec)}` is current\n")
    return True


def _may_warn(spec: str) -> bool:
    with open(spec, "rb") as file:
        text = file.read(MAX_SPEC_BYTES + 1).lower()
    return not text.isascii() or any(word in text for word in _SECRET_MARKERS)


def _has_leftovers(lock: str) -> bool:
    """Whether a killed process may have left temporary files beside a lock. Raises OSError."""
    folder, name = os.path.split(os.path.realpath(lock))
    return any(each.startswith(f".{name}{TEMPORARY_MARK}") for each in os.listdir(folder))


def _format_warnings(lock: bytes) -> str:
    """Format the warnings in a lock, each once, without the place in the spec.

    Raises ValueError if a warning contains an unprintable character.
    """
    if _WARNINGS_LINE not in lock:
        return ""
    import tomli  # noqa: PLC0415 - only if there are warnings

    found = []
    for part in lock.split(_WARNINGS_LINE)[1:]:
        rows = part.partition(b"\n]\n")[0].decode()
        for row in tomli.loads(f"rows = [\n{rows}\n]\n")["rows"]:
            hint = f"\n  = hint: {row['hint']}" if "hint" in row else ""
            if not f"{row['rule']}{row['message']}{row.get('hint', '')}".isprintable():
                raise ValueError
            found.append(f"warning[{row['rule']}]: {row['message']}{hint}\n")
    return "".join(dict.fromkeys(found))


def format_fresh_message(spec: str) -> str:
    """The message for a spec with a fresh lock."""
    return f"`{lock_path_from_spec(spec)}` is fresh\n"


def find_specs(files: list[str]) -> list[str]:
    """The specs to which files belong, without duplicates. Without files, the spec nearest to the current folder.

    Raises LookupError if there is no spec, ValueError for a file whose name belongs to no spec, and OSError if a file
    cannot be read.
    """
    if not files:
        spec = find_nearest_spec(os.getcwd())
        if spec is None:
            raise LookupError
        return [os.path.relpath(spec)]
    found = (spec for file in files if (spec := find_spec_of_file(file)))
    return list(dict.fromkeys(map(os.path.normpath, found)))


def is_fresh_by_digest(spec: str) -> bool:
    """Whether the lock is intact and was made from this spec, and the generated files have the digests in the lock.

    Comments in the spec do not count. False if the lock does not record its generated files. Raises OSError if a
    file cannot be read.
    """
    return _is_unchanged(spec, _read_lock(spec))


def _read_lock(spec: str) -> bytes:
    with open(lock_path_from_spec(spec), "rb") as file:
        return file.read()


def _is_unchanged(spec: str, lock: bytes, is_accepted: Callable[[LockHeader], bool] = bool) -> bool:
    header = read_header(lock)
    if header is None or not is_accepted(header):
        return False
    with open(spec, "rb") as file:
        text = file.read(MAX_SPEC_BYTES + 1)
    if len(text) > MAX_SPEC_BYTES:
        return False
    lines = text.replace(b"\r\n", b"\n")
    return (
        compute_sha256(lines) == header.spec_text_digest or _compute_value_digest(lines, spec) == header.spec_digest
    ) and _are_files_unchanged(spec, text, header)


def _are_files_unchanged(spec: str, text: bytes, header: LockHeader) -> bool:
    """Whether the Dockerfile and the exports of a spec have the digests in the lock.

    Raises OSError if one of them cannot be read.
    """
    digests = dict(header.files)
    dockerfile = digests.pop(DOCKERFILE_NAME, None)
    if not digests and any(marker in text for marker in _EXPORTS_MARKERS):
        return False
    expected = [(path, dockerfile) for path in find_dockerfiles(spec)]
    expected += zip(list_export_paths(spec, tuple(digests)), digests.values())  # noqa: B905 - of one length
    return all(_compute_file_digest(path) == digest for path, digest in expected)


def _compute_file_digest(path: str) -> str:
    with open(path, "rb") as file:
        return compute_sha256(file.read())


def _is_shipped(header: LockHeader) -> bool:
    """Whether the catalogue of a lock is the one of this release."""
    return header.catalogue.rpartition(" ")[2] == _compute_file_digest(_CATALOGUE_FILE)[:_DIGEST_PREFIX_LENGTH]


def _names_catalogue(environment: Mapping[str, str]) -> bool:
    """Whether the user's settings may name a catalogue. Raises OSError if they cannot be read."""
    try:
        with open(find_settings_file(environment), "rb") as file:
            return b"catalogue" in file.read()
    except FileNotFoundError:
        return False


def _compute_value_digest(text: bytes, spec: str) -> str | None:
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
    return compute_value_digest(value)
