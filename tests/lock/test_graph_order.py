"""The order of installation: dependencies first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envcompile.lock.graph import sort_by_dependencies
from envcompile.lock.model import CondaPackage

LETTERS = "abcdefgh"


def package(name: str, *depends: str) -> CondaPackage:
    return CondaPackage(name, "1", "0", "c", "noarch", f"{name}-1-0.conda", "0" * 64, depends=depends)


def names(*packages: CondaPackage) -> list[str]:
    return [each.name for each in sort_by_dependencies(packages)]


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
