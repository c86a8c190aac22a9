"""The head of a lock: lines that always stand as they stand, so that a fresh lock is known without a parser.

`verify` imports this before anything else, and nothing that takes longer than it saves.
"""

from __future__ import annotations

from envcompile.digests import compute_sha256

# Of the file's shape, and of the Dockerfile that is made from it: a lock of another layout is stale and says so.
FORMAT_VERSION = 1
LAYOUT_VERSION = 2

HEADER_COMMENT = "# Made by `envcompile lock`; an edit by hand is noticed. Change the spec and lock again.\n"
_HEADER_PREFIX = f'{HEADER_COMMENT}format = {FORMAT_VERSION}\ndigest = "'.encode()
_SPEC_PREFIX = f'layout = {LAYOUT_VERSION}\nspec = {{ digest = "'.encode()
_TEXT_PREFIX = b'", text = "'
_DIGEST_LENGTH = len("sha256:") + 64


def read_spec_digests(data: bytes) -> tuple[bytes, bytes] | None:
    """The digests of the spec's value and text that a lock's bytes name.

    None when the lock is not whole, of another format or layout, or not as this release writes it: then only a real
    reading tells what it is.
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
    end = len(_SPEC_PREFIX) + _DIGEST_LENGTH
    text = end + len(_TEXT_PREFIX)
    if not body.startswith(_SPEC_PREFIX) or body[end:text] != _TEXT_PREFIX:
        return None
    return body[len(_SPEC_PREFIX) : end], body[text : text + _DIGEST_LENGTH]
