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


def sha256(data: bytes) -> str:
    """`sha256:` and the digest in hexadecimal, as images, locks and specs have it."""
    return f"sha256:{_sha256(data).hexdigest()}"
