"""Which layer a package belongs to, and that nothing else can move it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.layers import measure, read_specs
from envcompile.plan.layers import Layer, choose_threshold, find_layer, find_threshold
from envcompile.plan.planner import make_plan
from envcompile.platforms import PLATFORMS
from envcompile.spec.pip import find_index_name
from envcompile.spec.solver_inputs import INIT_PACKAGE
from tests.kit.project import CASES, parsed

if TYPE_CHECKING:
    from envcompile.lock.model import CondaPackage, Lock, PipPackage, PlatformLock
    from envcompile.spec.model import Spec

MANY = 500


@pytest.mark.parametrize(
    ("size", "threshold", "name"),
    [
        (None, 8, "tiny"),
        (0, 8, "tiny"),
        ((1 << 20) - 1, 8, "tiny"),
        (1 << 20, 8, "small"),
        ((8 << 20) - 1, 8, "small"),
        (8 << 20, 8, "numpy"),
        (3 << 30, 8, "numpy"),
        (8 << 20, 16, "small"),
        (16 << 20, 16, "numpy"),
    ],
)
def test_the_size_decides_the_layer(size: int | None, threshold: int, name: str) -> None:
    found = find_layer("numpy", size, threshold)
    assert found.name == name
    assert found.is_shared is (name != "numpy")


def test_small_packages_share_five_layers() -> None:
    """And each of them gets its share."""
    found = [find_layer(f"package-{number}", size, 8) for size in (0, 1 << 20) for number in range(MANY)]
    assert sorted({each.label for each in found}) == ["small_1", "small_2", "tiny_1", "tiny_2", "tiny_3"]
    for kind, of_kind in (("small", 2), ("tiny", 3)):
        for number in range(1, of_kind + 1):
            assert abs(found.count(Layer(kind, number)) - MANY / of_kind) < MANY / 8


def test_these_packages_stay_in_their_layers() -> None:
    """What is in every lock there is: another answer here is another layout of the Dockerfile."""
    sizes = {"six": 1 << 10, "idna": 1 << 10, "attrs": 1 << 10, "pyyaml": 2 << 20, "pillow": 7 << 20, "numpy": 16 << 20}
    assert {name: find_layer(name, size, 8).label for name, size in sizes.items()} == {
        "six": "tiny_3",
        "idna": "tiny_3",
        "attrs": "tiny_2",
        "pyyaml": "small_2",
        "pillow": "small_1",
        "numpy": "numpy",
    }


def platforms(count: int, size: int, kind: str = "wheel") -> list[PlatformLock]:
    locked = parsed("ml")[1].platforms[0]
    row = dataclasses.replace(locked.pip[0], size=size, kind=kind)
    rows = tuple(dataclasses.replace(row, name=f"p{n}") for n in range(count))
    return [dataclasses.replace(locked, pip=rows, layer_threshold=None)]


@pytest.mark.parametrize(
    ("count", "size", "kind", "threshold"),
    [
        (60, 8 << 20, "wheel", 8),
        (61, 8 << 20, "wheel", 16),
        (61, 100 << 20, "wheel", 128),
        (61, 0, "wheel", 8),
        (61, 100 << 20, "sdist", 128),
    ],
)
def test_more_than_60_layers_double_the_threshold(count: int, size: int, kind: str, threshold: int) -> None:
    assert choose_threshold(platforms(count, size, kind)) == threshold


def test_the_threshold_of_a_lock_is_kept() -> None:
    many = platforms(61, 8 << 20)
    assert find_threshold(many) == 16
    assert find_threshold([dataclasses.replace(many[0], layer_threshold=32)]) == 32
    assert choose_threshold(many, 64) == 64


def test_ten_images_share_their_large_packages() -> None:
    """Sizes of real wheels: a registry with ten images, and what a changed package costs."""
    specs = read_specs()
    cost = measure(specs, lambda name, size: find_layer(name, size, 8))
    floor = measure(specs, lambda name, _: name)
    assert cost.registry <= 1.06 * floor.registry
    assert cost.mean_push <= 50_000_000
    assert cost.worst_push == max(package.size for packages in specs.values() for package in packages)


@given(st.sampled_from([name for name in CASES if not name.startswith("apt")]), st.data())
def test_a_package_moves_nothing_but_its_own_layer(name: str, data: st.DataObject) -> None:
    """Adding or changing one package moves only its own layer, never another's membership."""
    spec, lock = parsed(name)
    platform = data.draw(st.sampled_from(lock.platforms))
    key = data.draw(st.sampled_from([each for each in ("pip", "conda") if getattr(platform, each)]))
    packages = getattr(platform, key)
    # The entrypoint of an image with an init needs it, so it cannot be removed.
    old = data.draw(st.sampled_from([each for each in packages if each.name != INIT_PACKAGE]))
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
    assert len(touched) <= (2 if what == "changed" and layer_of(old) != layer_of(changed) else 1)
    for layer in touched:
        assert len(before.get(layer, frozenset()) ^ after.get(layer, frozenset())) <= 2


def layer_of(package: PipPackage | CondaPackage) -> Layer:
    return find_layer(package.name, package.size, 8)


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
