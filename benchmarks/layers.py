"""How much of ten machine-learning images is stored and pushed, by the plan that assigns packages to layers.

Nothing is built: a layer counts with the sizes of its wheels, and layers with the same wheels are one blob. The sizes
are data (`ten_specs.json`), so that two plans are compared on the same packages.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.report import Goal, Table
from envcompile.lock.model import DEFAULT_LAYER_THRESHOLD
from envcompile.plan.layers import find_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.setting import Setting

    # The layer of a package with this name and size in bytes.
    LayerOf = Callable[[str, int], object]

_DATA = Path(__file__).with_name("ten_specs.json")
_MEGABYTE = 1_000_000
# Goals of the layer plan: bytes in the registry beside the floor, and MB that are pushed again.
_REGISTRY_FACTOR, _MEAN_MEGABYTES, _WORST_MEGABYTES = 1.06, 50, 720


class Package(NamedTuple):
    """A wheel by name and version, and its size in bytes."""

    name: str
    version: str
    size: int


class Cost(NamedTuple):
    """What a plan costs: bytes of all images in one registry, bytes to push for one changed package, and layers."""

    registry: int
    mean_push: float
    worst_push: int
    most_layers: int


def read_specs(path: Path = _DATA) -> dict[str, list[Package]]:
    """The packages of each spec."""
    value = json.loads(path.read_text("utf-8"))["specs"]
    return {name: [Package(key, *row) for key, row in packages.items()] for name, packages in value.items()}


def measure(specs: Mapping[str, list[Package]], layer_of: LayerOf) -> Cost:
    """The cost of a plan for all specs."""
    blobs: dict[frozenset[Package], int] = {}
    pushes: list[int] = []
    most = 0
    for packages in specs.values():
        layers: dict[object, list[Package]] = defaultdict(list)
        for package in packages:
            layers[layer_of(package.name, package.size)].append(package)
        sizes = {layer: sum(package.size for package in members) for layer, members in layers.items()}
        blobs |= {frozenset(members): sizes[layer] for layer, members in layers.items()}
        pushes += [sizes[layer_of(package.name, package.size)] for package in packages]
        most = max(most, len(layers))
    return Cost(sum(blobs.values()), sum(pushes) / len(pushes), max(pushes), most)


def _find_first_layout(name: str, size: int) -> str:
    """The layer in the first layout of the Dockerfile: a fixed number of layers for each class of sizes."""
    classes = (("large", 64 << 20, 4), ("medium", 8 << 20, 3), ("small", 1 << 20, 2), ("tiny", 0, 3))
    kind, _, count = next(each for each in classes if size >= each[1])
    return f"{kind}-{int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'big') % count}"


def compare(_setting: Setting) -> Iterator[Table]:
    """The table of plans, and the goals of ours."""
    specs = read_specs()
    ours = f"own layer from {DEFAULT_LAYER_THRESHOLD} MiB"
    plans: dict[str, LayerOf] = {
        "every package once": lambda name, _: name,
        "first layout": _find_first_layout,
        "own layer from 64 MiB": lambda name, size: find_layer(name, size, 64),
        ours: lambda name, size: find_layer(name, size, DEFAULT_LAYER_THRESHOLD),
    }
    costs = {name: measure(specs, layer_of) for name, layer_of in plans.items()}
    floor, cost = costs["every package once"], costs[ours]
    largest = max(package.size for packages in specs.values() for package in packages)
    yield Table(
        f"layers: {len(specs)} images of {sum(map(len, specs.values()))} packages, sizes of the wheels in MB",
        ("one registry", "push: mean", "worst", "most layers"),
        {
            name: (
                f"{each.registry / _MEGABYTE:,.0f}",
                f"{each.mean_push / _MEGABYTE:.0f}",
                f"{each.worst_push / _MEGABYTE:,.0f}",
                str(each.most_layers),
            )
            for name, each in costs.items()
        },
        goals=(
            Goal(
                f"one registry at most {_REGISTRY_FACTOR:g} x every package once: {cost.registry / floor.registry:.3f}",
                cost.registry <= _REGISTRY_FACTOR * floor.registry,
            ),
            Goal(
                f"mean push at most {_MEAN_MEGABYTES} MB: {cost.mean_push / _MEGABYTE:.1f}",
                cost.mean_push <= _MEAN_MEGABYTES * _MEGABYTE,
            ),
            Goal(
                f"worst push at most {_WORST_MEGABYTES} MB: {cost.worst_push / _MEGABYTE:.0f}",
                cost.worst_push <= _WORST_MEGABYTES * _MEGABYTE,
            ),
        ),
        notes=(f"the largest wheel has {largest / _MEGABYTE:.0f} MB, and every plan pushes it again if it changes",),
    )
