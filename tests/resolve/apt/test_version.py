"""The order of Debian versions, beside dpkg's own."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envcompile.resolve.apt.closure import version_sort_key
from tests.kit.effort import count_examples

_RUN = st.text("0123456789.+~-abzAZ", max_size=8)
VERSIONS = st.builds(
    lambda epoch, first, rest: f"{epoch}{first}{rest}",
    st.sampled_from(["", "0:", "1:", "12:"]),
    st.integers(0, 99),
    _RUN,
)


def by_dpkg(one: str, other: str) -> int:
    for word, meaning in (("lt", -1), ("eq", 0), ("gt", 1)):
        argv = ["dpkg", "--force-bad-version", "--compare-versions", one, word, other]
        if subprocess.run(argv, check=False, capture_output=True).returncode == 0:
            return meaning
    raise AssertionError((one, other))


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="compares with the real dpkg, and this is no Debian")
@settings(max_examples=count_examples(300))
@given(VERSIONS, VERSIONS)
@example("1.0~rc1-1", "1.0-1")
@example("1.0", "1.0-0")
@example("1.0-1", "1.0-1+b1")
@example("1:0.9", "2.0")
@example("1.0a", "1.0a0")
@example("1.0", "1.00")
@example("2.36-9+deb12u9", "2.36-9+deb12u10")
def test_as_dpkg_has_it(one: str, other: str) -> None:
    if one.endswith("-") or other.endswith("-"):  # dpkg: revision number in version is empty
        return
    ours = (version_sort_key(one) > version_sort_key(other)) - (version_sort_key(one) < version_sort_key(other))
    assert ours == by_dpkg(one, other)
