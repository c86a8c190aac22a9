"""The header of a lock: the lines at its top, read without a TOML parser.

`verify` and `lock` recognize an unchanged project by these lines. They import this module before anything else, so it
imports nothing that takes longer than it saves.
"""

from __future__ import annotations

from envcompile.digests import compute_sha256

# The version of the lock's format, and that of the layout of the Dockerfile that is generated from the lock. A lock for
# another layout is outdated; `lock` updates it and keeps its packages.
FORMAT_VERSION = 2
LAYOUT_VERSION = 3

HEADER_COMMENT = "# Made by `envcompile lock`; an edit by hand is noticed. Change the spec and lock again.\n"
_HEADER_PREFIX = f'{HEADER_COMMENT}format = {FORMAT_VERSION}\ndigest = "'.encode()
_LAYOUT_LINE = f"layout = {LAYOUT_VERSION}".encode()
_DIGEST_LENGTH = len("sha256:") + 64


class LockHeader:
    """The header of an intact lock of this format and layout.

    - `spec_digest`, `spec_text_digest`: the digests of the spec's value and of its text.
    - `catalogue`: the date and the start of the digest of the catalogue that decided about the base images, or "".
    - `files`: the digests of the Dockerfile and of the exports that were generated from the lock, by file name.
    """

    def __init__(self, spec_digest: str, spec_text_digest: str, catalogue: str, files: dict[str, str]) -> None:
        self.spec_digest, self.spec_text_digest = spec_digest, spec_text_digest
        self.catalogue, self.files = catalogue, files


def read_header(data: bytes) -> LockHeader | None:
    """Return the header in the bytes of a lock.

    The result is None if the lock is not intact, has another format or layout, or is not written as this release writes
    it. Then only the full reader can find out what it is.
    """
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    start = len(_HEADER_PREFIX) + _DIGEST_LENGTH
    digest, body = data[len(_HEADER_PREFIX) : start], data[start + 2 :]
    if (
        not data.startswith(_HEADER_PREFIX)
        or data[start : start + 2] != b'"\n'
        or compute_sha256(body).encode() != digest
    ):
        return None
    lines = iter(body.split(b"\n", 5))
    if next(lines) != _LAYOUT_LINE:
        return None
    spec, line = _read_value(next(lines, b""), b"spec"), next(lines, b"")
    catalogue = _read_value(line, b"catalogue")
    if catalogue is not None:
        line = next(lines, b"")
    files = _read_value(line, b"files")
    try:
        digests = _read_table(spec)
        return LockHeader(digests.pop("digest"), digests.pop("text"), (catalogue or "").strip('"'), _read_table(files))
    except (KeyError, ValueError):
        return None


def _read_value(line: bytes, key: bytes) -> str | None:
    """Return the TOML text of the value on a line `KEY = VALUE`; None if the line has another key."""
    name, _, value = line.partition(b" = ")
    return value.decode() if name == key else None


def _read_table(value: str | None) -> dict[str, str]:
    """Return the digests in a table such as `{ Dockerfile = "sha256:…" }`, by key; empty for None.

    Raises `ValueError` if the text is not such a table.
    """
    found: dict[str, str] = {}
    if value is None:
        return found
    if value[:2] != "{ " or value[-2:] != " }":
        raise ValueError(value)
    for row in value[2:-2].split(", "):
        key, _, digest = row.partition(" = ")
        if len(digest) != _DIGEST_LENGTH + 2 or digest[:8] != '"sha256:' or digest[-1] != '"':
            raise ValueError(value)
        found[key.strip('"')] = digest[1:-1]
    return found
