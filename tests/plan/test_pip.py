"""Which layer a package belongs to, and that nothing else can move it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from envcompile.plan.pip import LAYER_GROUPS, find_layer_group
from envcompile.plan.planner import make_plan
from envcompile.platforms import PLATFORMS
from envcompile.spec.pip import find_index_name
from tests.kit.project import CASES, parsed

if TYPE_CHECKING:
    from envcompile.lock.model import CondaPackage, Lock, PipPackage
    from envcompile.spec.model import Spec

MANY = 500


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (None, "tiny"),
        (0, "tiny"),
        ((1 << 20) - 1, "tiny"),
        (1 << 20, "small"),
        ((8 << 20) - 1, "small"),
        (8 << 20, "medium"),
        ((64 << 20) - 1, "medium"),
        (64 << 20, "large"),
        (3 << 30, "large"),
    ],
)
def test_size_decides_the_kind(size: int | None, kind: str) -> None:
    assert find_layer_group("numpy", size).startswith(f"{kind}-")
    assert find_layer_group("numpy", size, several=False) == kind


def test_there_are_never_more_layers_than_this() -> None:
    """And each of them gets its share."""
    sizes = (0, 1 << 20, 8 << 20, 64 << 20)
    found = [find_layer_group(f"package-{number}", size) for size in sizes for number in range(MANY)]
    assert sorted(set(found)) == sorted(LAYER_GROUPS)
    assert len(LAYER_GROUPS) == 12
    for kind, of_kind in (("large", 4), ("medium", 3), ("small", 2), ("tiny", 3)):
        for number in range(1, of_kind + 1):
            assert abs(found.count(f"{kind}-{number}") - MANY / of_kind) < MANY / 8


def test_these_names_stay_where_they_are() -> None:
    """What is in every lock there is: another answer here is another layout of the Dockerfile."""
    named = {
        name: find_layer_group(name, 16 << 20)
        for name in ("numpy", "scipy", "pandas", "torch", "opencv-python-headless")
    }
    assert named == {
        "numpy": "medium-3",
        "scipy": "medium-3",
        "pandas": "medium-2",
        "torch": "medium-2",
        "opencv-python-headless": "medium-3",
    }


@given(st.sampled_from([name for name in CASES if not name.startswith("apt")]), st.data())
def test_a_package_moves_nothing_but_its_own_layer(name: str, data: st.DataObject) -> None:
    """Adding or changing one package moves only its own layer, never another's membership."""
    spec, lock = parsed(name)
    platform = data.draw(st.sampled_from(lock.platforms))
    key = data.draw(st.sampled_from([each for each in ("pip", "conda") if getattr(platform, each)]))
    packages = getattr(platform, key)
    old = data.draw(st.sampled_from(packages))
    size = data.draw(st.sampled_from([None, 5, 2 << 20, 9 << 20, 70 << 20]))
    changed = dataclasses.replace(old, size=size, version="0.0.1", file="other-0.0.1-0.conda", sha256="0" * 64)
    what = data.draw(st.sampled_from(["removed", "changed", "added"]))
    others = tuple(each for each in packages if each is not old)
    if what == "changed":
        others = (*others, changed)
    elif what == "added":
        # A name that the index of the old one serves too.
        added = old.name + data.draw(st.from_regex(r"-[a-z0-9]{1,8}", fullmatch=True))
        assume(find_index_name(added, spec.pip.extra_indexes) == find_index_name(old.name, spec.pip.extra_indexes))
        assume(added not in {each.name for each in packages})
        others = (*packages, dataclasses.replace(changed, name=added))
    before = members(spec, lock, platform.platform)
    after = members(spec, with_packages(lock, platform.platform, key, others), platform.platform)
    touched = [layer for layer in before.keys() | after.keys() if before.get(layer) != after.get(layer)]
    # That which it leaves and that which it comes into, when its size has become another.
    assert len(touched) <= (2 if what == "changed" and key_of(old) != key_of(changed) else 1)
    for layer in touched:
        assert len(before.get(layer, frozenset()) ^ after.get(layer, frozenset())) <= 2


def key_of(package: PipPackage | CondaPackage) -> str:
    return find_layer_group(package.name, package.size)


def members(spec: Spec, lock: Lock, platform: str) -> dict[str, frozenset[str]]:
    """For each layer what the plan's lists say of each of its packages on one platform."""
    target = next(each for each in make_plan(spec, lock).targets if each.arch == PLATFORMS[platform].docker_arch)
    lines = {file.path: file.lines for file in target.files}
    pip = {path: frozenset(line for line in lines[path] if "==" in line) for path in lines if path.startswith("/pip/")}
    conda: dict[str, frozenset[str]] = {}
    for record, layer in (line.split() for line in lines.get("/conda/layers", ())):
        if record != "-":
            conda[layer] = conda.get(layer, frozenset()) | {record}
    return {layer: found for layer, found in {**pip, **conda}.items() if found}


def with_packages(lock: Lock, platform: str, key: str, packages: tuple[PipPackage | CondaPackage, ...]) -> Lock:
    ordered = tuple(sorted(packages, key=lambda each: each.name))
    platforms = tuple(
        dataclasses.replace(each, **dict[str, Any]({key: ordered})) if each.platform == platform else each
        for each in lock.platforms
    )
    return dataclasses.replace(lock, platforms=platforms)
