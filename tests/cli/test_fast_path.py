"""What the fast path of `lock` prints without the reader of locks: the warnings in it."""

from __future__ import annotations

import pytest

from envcompile.cli.fast_path import _format_warnings

HEAD = b"format = 2\n\n[platforms.linux-64]\n"
ROW = rb'    { rule = "gpu-unused", message = "`a` is \"large\"", hint = "write `exclude = [\"a\"]`" },'


def test_each_warning_once() -> None:
    plain = rb'    { rule = "cuda-old-image", message = "it is old" },'
    one = b"\n".join((b"warnings = [", ROW, b"]\ntrail = [\n]\n"))
    other = b"\n".join((b"warnings = [", plain, ROW, b"]\n"))
    assert _format_warnings(HEAD + one + b"\n[platforms.linux-aarch64]\n" + other) == (
        'warning[gpu-unused]: `a` is "large"\n  = hint: write `exclude = ["a"]`\nwarning[cuda-old-image]: it is old\n'
    )
    assert _format_warnings(HEAD) == ""


@pytest.mark.parametrize(
    "row", [b'{ rule = "x", message = "\\u001b[2J" }', b'{ rule = "x", message = 1e', b'{ a = "b" }']
)
def test_unusual_warnings_are_left_to_the_reader(row: bytes) -> None:
    with pytest.raises((ValueError, LookupError)):
        _format_warnings(HEAD + b"warnings = [\n" + row + b"\n]\n")
