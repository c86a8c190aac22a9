"""sha256 digests of bytes, and of a spec: of its text and of its TOML value.

A lock records both digests of its spec, so that an unchanged spec needs no check. `hashlib` is avoided.
"""

from __future__ import annotations

# `hashlib` loads OpenSSL, which takes a quarter of the time of `verify`.
# The standard library's `random` avoids it in the same way.
try:
    from _sha2 import sha256 as _sha256  # type: ignore[import-not-found] # Python 3.12 and later
except ImportError:
    try:
        from _sha256 import sha256 as _sha256  # type: ignore[import-not-found]
    except ImportError:  # not CPython
        from hashlib import sha256 as _sha256


def compute_sha256(data: bytes) -> str:
    """The digest as `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{_sha256(data).hexdigest()}"


def compute_value_digest(value: object) -> str:
    """The digest of a spec's TOML value. Comments, spacing and the order of keys do not change it.

    Computing it needs only `json` and the TOML parser. A spec with the same meaning in another notation (`numpy>=2`,
    `numpy >=2`) has another digest; its requirements are then compared with the lock one by one.
    """
    import json  # noqa: PLC0415 - `verify` needs it only when the text of the spec has changed

    # JSON has no type for a TOML date-time, so its repr stands for it.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr)
    return compute_sha256(text.encode())


def compute_text_digest(text: str) -> str:
    """The digest of a spec's text, after CR LF is replaced by LF."""
    return compute_sha256(text.replace("\r\n", "\n").encode())
