"""pip-tools against uv on the real index."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from envcompile.net.process import run_process
from envcompile.platforms import PLATFORMS
from envcompile.resolve.model import Effects, PipRequest
from envcompile.resolve.pip.pip_tools import PipToolsResolver, find_running_interpreter
from envcompile.resolve.pip.uv import UvResolver
from envcompile.spec.pip import PipRequirement

HERE = find_running_interpreter()
REQUIREMENTS = ("numpy >=1.26", "pandas", "requests[socks] ; python_version >= '3'", "setuptools")

pytestmark = [
    pytest.mark.index,
    pytest.mark.skipif(not find_spec("piptools"), reason="pip-tools is not installed"),
    pytest.mark.skipif(not HERE.glibc, reason="pip-tools resolves for CPython on Linux with glibc only"),
]


def question(*requirements: str, **fields: object) -> PipRequest:
    target = next(each for each in PLATFORMS.values() if each.machine == HERE.machine)
    plain: dict[str, object] = {"exclude": (), "python": HERE.python, "glibc": HERE.glibc, "platform": target}
    return PipRequest(requirements=tuple(map(PipRequirement, requirements)), **{**plain, **fields})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def effects() -> Effects:
    return Effects(run_process, dict(os.environ))


@pytest.mark.parametrize("newer", [None, "2025-06-01T00:00:00Z"])
def test_with_uvs_pins_the_lock_is_the_same(effects: Effects, newer: str | None) -> None:
    """Name, version, file, hash, size and who needs whom."""
    expected = UvResolver().resolve(question(*REQUIREMENTS, exclude_newer=newer), effects).packages
    asked = question(*REQUIREMENTS, exclude_newer=newer, preferences=expected)
    assert PipToolsResolver().resolve(asked, effects).packages == expected


def test_an_older_glibc_gets_the_same_files(effects: Effects) -> None:
    expected = UvResolver().resolve(question(*REQUIREMENTS, glibc="2.17"), effects).packages
    assert (
        PipToolsResolver().resolve(question(*REQUIREMENTS, glibc="2.17", preferences=expected), effects).packages
        == expected
    )


def test_a_free_solve_holds(effects: Effects) -> None:
    """Whatever it chose, uv finds every requirement of every package answered by it, with the same files."""
    ours, theirs = (
        each.resolve(question(*REQUIREMENTS), effects).packages for each in (PipToolsResolver(), UvResolver())
    )
    for package in sorted(set(ours) ^ set(theirs), key=lambda each: each.name):
        print("pip-tools" if package in ours else "uv", package)
    exact = [f"{package.name} =={package.version}" for package in ours]
    assert UvResolver().resolve(question(*REQUIREMENTS, *exact), effects).packages == ours
