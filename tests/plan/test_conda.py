"""The explicit list: dependencies first, every archive with its hash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcompile.errors import Unusable
from envcompile.lock.model import Channel, CondaPackage
from envcompile.plan.conda import conda_lists, in_order

LETTERS = "abcdefgh"


def package(name: str, *depends: str, channel: str = "c") -> CondaPackage:
    return CondaPackage(name, "1", "0", channel, "noarch", f"{name}-1-0.conda", "0" * 64, depends=depends)


def names(*packages: CondaPackage) -> list[str]:
    return [each.name for each in in_order(packages)]


def test_python_comes_before_pip_which_needs_it() -> None:
    assert names(package("pip", "python >=3"), package("python", "pip", "zlib"), package("zlib")) == [
        "zlib",
        "python",
        "pip",
    ]


@given(st.dictionaries(st.sampled_from(LETTERS), st.sets(st.sampled_from(LETTERS)), min_size=1))
def test_every_package_stands_once_and_after_its_needs(graph: dict[str, set[str]]) -> None:
    """Where there is no circle; and one answer, in whatever order the packages come."""
    packages = [
        package(name, *(f"{need} >=1" for need in sorted(needs) if need < name)) for name, needs in graph.items()
    ]
    order = names(*packages)
    assert sorted(order) == sorted(graph)
    assert order == names(*reversed(packages))
    for each in packages:
        needs = {spec.split()[0] for spec in each.depends} & set(graph)
        assert all(order.index(need) < order.index(each.name) for need in needs)


def test_lists() -> None:
    (explicit, sums) = conda_lists((package("a", "b"), package("b")), (Channel("c", "https://example.invalid/c"),))
    assert explicit.lines[0] == "@EXPLICIT"
    assert explicit.lines[1] == f"https://example.invalid/c/noarch/b-1-0.conda#{'0' * 64}"
    assert sums.lines[0] == f"{'0' * 64}  /root/micromamba/pkgs/a-1-0.conda"
    assert conda_lists((), ()) == ()
    with pytest.raises(Unusable, match="folder of this machine"):
        conda_lists((package("a"),), (Channel("c", "file:///somewhere"),))
