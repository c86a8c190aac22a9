"""Digests of a spec and of bytes."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from envcompile.digests import compute_sha256, compute_text_digest, compute_value_digest


@given(st.binary())
def test_the_digest_is_sha256_in_the_notation_of_images(data: bytes) -> None:
    assert compute_sha256(data) == f"sha256:{hashlib.sha256(data).hexdigest()}"


@given(st.text())
def test_line_ends_do_not_change_the_digest_of_a_text(text: str) -> None:
    """Promise 4: same spec and lock, same bytes, on any machine. Git may have converted the line ends."""
    unix = text.replace("\r\n", "\n")
    assert compute_text_digest(unix.replace("\n", "\r\n")) == compute_text_digest(unix) == compute_sha256(unix.encode())


def test_a_carriage_return_within_a_line_changes_the_digest_of_a_text() -> None:
    assert compute_text_digest("a\rb") == compute_sha256(b"a\rb")


def test_the_order_of_keys_does_not_change_the_digest_of_a_value() -> None:
    one = {"name": "a", "pip": {"packages": ["b", "c"], "exclude": []}}
    other = {"pip": {"exclude": [], "packages": ["b", "c"]}, "name": "a"}
    assert compute_value_digest(one) == compute_value_digest(other)
    # Locks store this digest: it must not change from release to release.
    assert compute_value_digest(one) == compute_sha256(b'{"name":"a","pip":{"exclude":[],"packages":["b","c"]}}')


def test_any_change_of_a_value_changes_its_digest() -> None:
    moments = [datetime(2026, 1, day, tzinfo=timezone.utc) for day in (1, 2)]
    values: list[object] = ["a", "1", 1, 2, True, ["a", "b"], ["b", "a"], {"a": 1}, {"a": 2}, *moments, "ü", "u"]
    assert len({compute_value_digest(value) for value in values}) == len(values)
