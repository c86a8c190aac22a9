"""Which wheel is locked: the one that pip, asked for the same platform, would take."""

from __future__ import annotations

import pytest

from envcompile.resolve.pip.wheels import find_best_wheel


@pytest.mark.parametrize(
    ("files", "machine", "glibc", "python", "expected"),
    [
        # The most specific ABI wins over abi3, and abi3 over pure Python.
        (["a-1-py3-none-any.whl", "a-1-cp311-cp311-manylinux_2_17_x86_64.whl"], "x86_64", "2.36", "3.11.2", 1),
        (["a-1-cp39-abi3-manylinux_2_17_x86_64.whl", "a-1-py3-none-any.whl"], "x86_64", "2.36", "3.12.1", 0),
        (["a-1-cp311-abi3-manylinux_2_17_x86_64.whl"], "x86_64", "2.36", "3.10.4", None),
        # A newer C library than the base's does not fit; the newest that fits wins.
        (["a-1-cp311-cp311-manylinux_2_39_x86_64.whl"], "x86_64", "2.36", "3.11.2", None),
        (
            ["a-1-cp311-cp311-manylinux_2_17_x86_64.whl", "a-1-cp311-cp311-manylinux_2_28_x86_64.whl"],
            *("x86_64", "2.36", "3.11.2", 1),
        ),
        # Down to manylinux1, which nvidia's wheels still use; not on arm64, for which it was never defined.
        (["a-1-py3-none-manylinux1_x86_64.whl"], "x86_64", "2.36", "3.13.0", 0),
        (["a-1-py3-none-manylinux1_aarch64.whl"], "aarch64", "2.36", "3.13.0", None),
        (["a-1-py3-none-manylinux2014_aarch64.whl", "a-1-py3-none-any.whl"], "aarch64", "2.36", "3.13.0", 0),
        # Other machines, other systems, other interpreters.
        (
            ["a-1-cp311-cp311-musllinux_1_2_x86_64.whl", "a-1-cp311-none-win_amd64.whl"],
            "x86_64",
            "2.36",
            "3.11.2",
            None,
        ),
        (["a-1-cp311-cp311-manylinux_2_17_aarch64.whl"], "x86_64", "2.36", "3.11.2", None),
        (["a-1-cp313-cp313t-manylinux_2_17_x86_64.whl"], "x86_64", "2.36", "3.13.0", None),
        (["a-1-pp310-pypy310_pp73-linux_x86_64.whl", "a-1-py2.py3-none-any.whl"], "x86_64", "2.36", "3.10.0", 1),
        # Build numbers, and names that are no wheel's.
        (["a-1-1-py3-none-any.whl", "a-1-2-py3-none-any.whl", "a-1-py3-none-any.whl"], "x86_64", "2.36", "3.11.0", 1),
        (["a-1.tar.gz", "nonsense.whl"], "x86_64", "2.36", "3.11.0", None),
    ],
)
def test_best(files: list[str], machine: str, glibc: str, python: str, expected: int | None) -> None:
    answer = find_best_wheel(files, machine, glibc, python)
    assert answer == (None if expected is None else files[expected])
    assert find_best_wheel(reversed(files), machine, glibc, python) == answer
