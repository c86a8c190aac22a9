"""The head of a lock: lines that always stand as they stand, so that a fresh lock is known without a parser.

`verify` imports this before anything else, and nothing that takes longer than it saves.
"""

from __future__ import annotations

from envcompile.digests import compute_sha256

# Of the file's shape, and of the Dockerfile that is made from it: a lock of another layout is stale and says so.
FORMAT = 1
LAYOUT = 2

COMMENT = "# Made by `envcompile lock`; an edit by hand is noticed. Change the spec and lock again.\n"
_BEFORE = f'{COMMENT}format = {FORMAT}\ndigest = "'.encode()
_SPEC = f'layout = {LAYOUT}\nspec = {{ digest = "'.encode()
_TEXT = b'", text = "'
_WIDTH = len("sha256:") + 64


def answered(data: bytes) -> tuple[bytes, bytes] | None:
    """The digests of the spec's value and text that a lock's bytes name.

    None when the lock is not whole, of another format or layout, or not as this release writes it: then only a real
    reading tells what it is.
    """
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    start = len(_BEFORE) + _WIDTH
    digest, body = data[len(_BEFORE) : start], data[start + 2 :]
    if not data.startswith(_BEFORE) or data[start : start + 2] != b'"\n' or compute_sha256(body).encode() != digest:
        return None
    end = len(_SPEC) + _WIDTH
    text = end + len(_TEXT)
    if not body.startswith(_SPEC) or body[end:text] != _TEXT:
        return None
    return body[len(_SPEC) : end], body[text : text + _WIDTH]
