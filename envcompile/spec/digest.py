"""The digests of a spec: what spares a second look at one that a lock was made from."""

from __future__ import annotations

import json

from envcompile.digests import sha256


def value_digest(value: object) -> str:
    """`sha256:` and the digest of a spec's TOML value, keys in any order: a comment does not move it.

    Taken of what is written, not of what it means: that needs no more than the parser. A spec that says the same in
    other words has another digest, and is then compared requirement by requirement.
    """
    # A time is no JSON; its repr is one text for one value.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr)
    return sha256(text.encode())


def text_digest(text: str) -> str:
    """`sha256:` and the digest of a spec's text with LF line ends."""
    return sha256(text.replace("\r\n", "\n").encode())
