"""The head of a lock: the digests of the spec, read without a TOML parser."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcompile.digests import compute_sha256
from envcompile.lock.header import FORMAT_VERSION, HEADER_COMMENT, LAYOUT_VERSION, read_header
from envcompile.lock.reader import parse_lock
from tests.kit.project import CASES, case


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_digests_are_those_that_the_parser_reads(name: str, newline: str) -> None:
    text = case(name)[1]
    lock = parse_lock(text, "x.lock")
    header = read_header(text.replace("\n", newline).encode())
    assert header is not None
    assert (header.spec_digest, header.spec_text_digest) == (lock.spec_digest, lock.spec_text_digest)
    assert header.catalogue == (lock.catalogue or "")
    assert list(header.files.items()) == [*lock.files]
    assert [*header.files] == ["Dockerfile"]


def with_right_digest(text: str) -> bytes:
    """A lock whose own digest is correct, whatever its text is."""
    head, body = re.split(r"(?<=\n)(?=layout)", text, maxsplit=1)
    digest = compute_sha256(body.encode())
    return (re.sub(r'digest = "[^"]*"', f'digest = "{digest}"', head, count=1) + body).encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (HEADER_COMMENT, f"# {HEADER_COMMENT}"),
        (f"format = {FORMAT_VERSION}\n", f"format = {FORMAT_VERSION + 1}\n"),
        (f"layout = {LAYOUT_VERSION}\n", f"layout = {LAYOUT_VERSION + 1}\n"),
        ("spec = { digest", "spec = {  digest"),
        ('", text = "', '", test = "'),
        ('"\nlayout', '" \nlayout'),
        ("files = { ", "files = [ "),
        ('" }\ncounts', '" ]\ncounts'),
        ('Dockerfile = "sha256:', 'Dockerfile = "sha512:'),
        ('" }\ncounts', "' }\ncounts"),
        ('Dockerfile = "sha256:', 'Dockerfile = "sha256:0'),
    ],
)
def test_a_head_that_this_release_does_not_write_needs_the_parser(old: str, new: str) -> None:
    """Another format or layout is only told by reading the lock."""
    text = case("several")[1]
    assert read_header(with_right_digest(text)) is not None
    assert old in text
    assert read_header(with_right_digest(text.replace(old, new, 1))) is None


@given(st.data())
def test_no_damage_is_taken_for_a_fresh_lock(data: st.DataObject) -> None:
    """Promise 7: a lock edited by hand is caught. One byte of the lock is replaced."""
    lock = case("ml")[1].encode()
    place = data.draw(st.integers(0, len(lock) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (lock[place], 13)))
    assert read_header(lock[:place] + bytes([byte]) + lock[place + 1 :]) is None


@given(st.integers(0, 2000))
def test_a_truncated_lock_is_not_taken_for_a_fresh_one(length: int) -> None:
    assert read_header(case("ml")[1].encode()[:length]) is None
