"""The lists of the Dockerfile: every archive with its hash."""

from __future__ import annotations

import pytest

from envcompile.errors import Unusable
from envcompile.lock.model import Channel, CondaPackage
from envcompile.plan.conda import conda_lists


def package(name: str, *depends: str, channel: str = "c") -> CondaPackage:
    return CondaPackage(name, "1", "0", channel, "noarch", f"{name}-1-0.conda", "0" * 64, depends=depends)


def test_lists() -> None:
    (explicit, sums) = conda_lists((package("a", "b"), package("b")), (Channel("c", "https://example.invalid/c"),))
    assert explicit.lines[0] == "@EXPLICIT"
    assert explicit.lines[1] == f"https://example.invalid/c/noarch/b-1-0.conda#{'0' * 64}"
    assert sums.lines[0] == f"{'0' * 64}  /root/micromamba/pkgs/a-1-0.conda"
    assert conda_lists((), ()) == ()
    with pytest.raises(Unusable, match="folder of this machine"):
        conda_lists((package("a"),), (Channel("c", "file:///somewhere"),))
