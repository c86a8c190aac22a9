"""Who needs whom, drawn: whole, finite, and the shortest way to a package."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcompile.cli.tree import ASCII_STYLE, UNICODE_STYLE, draw_paths, draw_tree, find_shortest_paths, list_graph_rows
from envcompile.lock.graph import DependencyGraph, PackageNode, build_graph, find_requested_packages, find_shortest_path
from tests.kit.effort import count_calls
from tests.kit.project import CASES, FIXTURES, parsed
from tests.lock.test_diff import conda, locked, pip

if TYPE_CHECKING:
    from envcompile.lock.model import CondaPackage, PipPackage
    from tests.conftest import Golden


def drawn(needs: dict[str, list[str]]) -> DependencyGraph:
    (platform,) = locked(linux_64=[pip(name, "1", *ends) for name, ends in sorted(needs.items())]).platforms
    return build_graph(platform)


def node(name: str) -> PackageNode:
    return PackageNode(name, "pip")


NAMES = "abcdefgh"
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), unique=True)).map(
    lambda needs: {name: needs.get(name, []) for name in NAMES}
)


@given(GRAPHS)
def test_a_tree_holds_every_need_once(needs: dict[str, list[str]]) -> None:
    """What is reached is drawn, each need of it once, and circles end."""
    whole = drawn(needs)
    lines = [*draw_tree(whole, [node("a")], ASCII_STYLE)]
    reached = {name for name in NAMES if find_shortest_path(whole, node("a"), node(name))}
    assert {line.replace(" (*)", "").split()[-2] for line in lines} == reached
    assert len(lines) == 1 + sum(len(set(needs[name])) for name in reached)
    # A line stands at most one step below the one before it.
    depths = [line.index(line.replace("|", " ").replace("`", " ").replace("-", " ").split()[0]) for line in lines]
    assert all(after <= before + 4 for before, after in pairwise(depths))


@given(GRAPHS, st.integers(0, 4))
def test_depth_hides_nothing_that_is_near(needs: dict[str, list[str]], depth: int) -> None:
    """Whatever is N steps from the root is drawn with `--depth N`, and nothing deeper."""
    whole = drawn(needs)
    lines = [*draw_tree(whole, [node("a")], ASCII_STYLE, depth)]
    near = {name for name in NAMES if 0 < len(find_shortest_path(whole, node("a"), node(name))) <= depth + 1}
    assert {line.replace(" (*)", "").split()[-2] for line in lines} == near


@given(GRAPHS)
def test_the_shortest_way_is_one_and_the_shortest(needs: dict[str, list[str]]) -> None:
    whole = drawn(needs)
    length = {"a": 1}
    for name in (queue := ["a"]):
        for end in needs[name]:
            if end not in length:
                length[end] = length[name] + 1
                queue.append(end)
    for name in NAMES:
        path = find_shortest_path(whole, node("a"), node(name))
        assert len(path) == length.get(name, 0)
        assert all(after in whole.dependencies[before] for before, after in pairwise(path))


def test_large_and_deep_graphs_take_few_calls() -> None:
    """A chain longer than Python recurses, and 1,000 packages that each need 20 others."""
    chain = drawn({str(n): [str(n + 1)] if n < 2999 else [] for n in range(3000)})
    web = drawn({str(n): [str((n * 7 + k * 31) % 1000) for k in range(20)] for n in range(1000)})

    def draw_and_search() -> None:
        assert sum(1 for _ in draw_tree(chain, [node("0")], UNICODE_STYLE)) == 3000
        assert len(find_shortest_path(chain, node("0"), node("2999"))) == 3000
        assert sum(1 for _ in draw_tree(web, [node("0")], UNICODE_STYLE)) <= 20001
        assert sum(1 for _ in draw_tree(web, [node("0")], UNICODE_STYLE, 6)) <= 7 * 20001
        assert len(find_shortest_paths(web, [node(str(n)) for n in range(0, 1000, 20)], [node("999")])) == 50

    # Twice the present number.
    assert count_calls(draw_and_search) < 1_200_000


def test_drawings() -> None:
    whole = drawn({"a": ["b", "c"], "b": ["c"], "c": ["d"], "d": ["b"], "e": []})
    assert [*draw_tree(whole, [node("a"), node("e")], UNICODE_STYLE)] == [
        "a 1",
        "├── b 1",
        "│   └── c 1",
        "│       └── d 1",
        "│           └── b 1 (*)",
        "└── c 1 (*)",
        "e 1",
    ]
    assert [*draw_tree(whole, [node("a")], ASCII_STYLE, 1)] == ["a 1", "|-- b 1", "`-- c 1"]
    assert [*draw_paths(whole, [node("b"), node("a"), node("e"), node("d")], [node("d")], ASCII_STYLE)] == [
        "d 1, which the spec requests",
        "b 1 -> c 1 -> d 1",
        "a 1 -> c 1 -> d 1",
    ]
    assert [*draw_paths(whole, [node("e")], [node("d")], ASCII_STYLE)] == ["no requested package depends on it"]


def test_conda_and_pip_are_one_graph() -> None:
    """pip's packages need what conda brings by the name of the distribution; records name others as MatchSpecs."""
    packages: list[CondaPackage | PipPackage] = [
        *(conda("pytorch", "2", "Numpy>=2,<3", "__glibc >=2.17", provides=("torch",)), conda("numpy", "2")),
        *(conda("both", "1", "conda-forge::numpy[version='>=2']"), pip("both", "3", "torch"), pip("app", "1", "both")),
    ]
    (platform,) = locked(linux_64=packages).platforms
    whole = build_graph(platform)
    pytorch, numpy = PackageNode("pytorch", "conda"), PackageNode("numpy", "conda")
    assert whole.dependencies[pytorch] == whole.dependencies[PackageNode("both", "conda")] == (numpy,)
    assert whole.dependencies[node("app")] == (node("both"),)
    assert whole.dependencies[node("both")] == (pytorch,)
    assert whole.dependents[pytorch] == (node("both"),)
    assert (whole.find_nodes("torch"), whole.find_nodes("both")) == (
        (pytorch,),
        (PackageNode("both", "conda"), node("both")),
    )
    assert whole.find_nodes("nobody") == ()
    assert {each["name"]: each["needs"] for each in list_graph_rows(whole, [pytorch])}["app"] == [
        {"kind": "pip", "name": "both"}
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_spec_asks_for_everything(name: str, golden: Golden) -> None:
    """In every compiled case each package is reached from what the spec asks for."""
    spec, lock = parsed(name)
    for platform in lock.platforms:
        whole = build_graph(platform)
        roots = find_requested_packages(spec, whole)
        lines = [*draw_tree(whole, roots, UNICODE_STYLE)]
        assert {line.removesuffix(" (*)").split("─ ")[-1] for line in lines} == {
            whole.format_label(n) for n in whole.packages
        }
        golden(FIXTURES / "diff" / f"tree-{name}-{platform.platform}.text", "".join(f"{line}\n" for line in lines))
