"""sha256, without the library that brings every other digest."""

from __future__ import annotations

# As the standard library's `random` does it: `hashlib` loads OpenSSL, a quarter of the time of `verify`.
try:
    from _sha2 import sha256 as _sha256  # type: ignore[import-not-found] # Python 3.12 and later
except ImportError:
    try:
        from _sha256 import sha256 as _sha256  # type: ignore[import-not-found]
    except ImportError:  # not CPython
        from hashlib import sha256 as _sha256


def compute_sha256(data: bytes) -> str:
    """`sha256:` and the digest in hexadecimal, as images, locks and specs have it."""
    return f"sha256:{_sha256(data).hexdigest()}"


# Digests of a spec: a spec whose digest is in the lock needs no comparison.


def compute_value_digest(value: object) -> str:
    """`sha256:` and the digest of a spec's TOML value, keys in any order: a comment does not move it.

    Taken of what is written, not of what it means: that needs no more than the parser. A spec that says the same in
    other words has another digest, and is then compared requirement by requirement.
    """
    import json  # noqa: PLC0415 - `verify` needs it only when the text of the spec has changed

    # A time is no JSON; its repr is one text for one value.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr)
    return compute_sha256(text.encode())


def compute_text_digest(text: str) -> str:
    """`sha256:` and the digest of a spec's text with LF line ends."""
    return compute_sha256(text.replace("\r\n", "\n").encode())
