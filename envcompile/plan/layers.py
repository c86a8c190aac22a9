"""The layer of each package: a large package has one of its own, and the others share a fixed number.

The layer of a package depends only on its name, its size and the threshold in the lock. So another package never moves
it, a change of one package changes one layer, and images with the same large package share its layer. Among the shared
layers the hash of the name selects, because the name does not change with the version.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from envcompile.lock.model import DEFAULT_LAYER_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from envcompile.lock.model import PipPackage, PlatformLock


class SizeClass(NamedTuple):
    """Packages whose archive has at least `min_bytes` bytes, in `layer_count` shared layers."""

    name: str
    min_bytes: int
    layer_count: int


# These numbers are part of the layout of the Dockerfile: a change moves packages of every lock to other layers.
# Their effect on pushes and registries is measured by `python -m benchmarks --only layers`.
SHARED_LAYERS = (SizeClass("small", 1 << 20, 2), SizeClass("tiny", 0, 3))
MOST_LAYERS = 60

_MEBIBYTE = 1 << 20


class Layer(NamedTuple):
    """The layer of a package: one of its own with the name of the package, or a shared one such as `tiny` number 2."""

    name: str
    number: int = 0

    @property
    def is_shared(self) -> bool:
        """Whether several packages have this layer."""
        return self.number > 0

    @property
    def label(self) -> str:
        """The name of the layer in stages and paths. No name of a pip package has an underscore (PEP 503)."""
        return f"{self.name}_{self.number}" if self.is_shared else self.name

    @property
    def sort_key(self) -> tuple[bool, int, str, int]:
        """Layers of single packages come first, by name, and then the shared ones from the larger packages down."""
        shared = [each.name for each in SHARED_LAYERS]
        order = shared.index(self.name) if self.is_shared and self.name in shared else len(shared)
        return self.is_shared, order, self.name, self.number


def find_layer(name: str, size: int | None, threshold: int) -> Layer:
    """Return the layer of a package with this canonical name and archive size in bytes.

    A package of at least `threshold` MiB has a layer of its own. One of unknown size (None) shares a layer.
    """
    if size is not None and size >= threshold * _MEBIBYTE:
        return Layer(name)
    kind = next(kind for kind in SHARED_LAYERS if (size or 0) >= kind.min_bytes)
    digest = hashlib.sha256(name.encode()).digest()
    return Layer(kind.name, int.from_bytes(digest[:8], "big") % kind.layer_count + 1)


def choose_threshold(platforms: Collection[PlatformLock], least: int = DEFAULT_LAYER_THRESHOLD) -> int:
    """Return the threshold in MiB: `least`, doubled until the packages of an environment have at most `MOST_LAYERS`.

    An image has a layer for each group of packages on any platform, even if it is empty on one of them. If sdists and
    extra indexes alone need more layers, only the former have a layer of their own.
    """
    sizes = (each.size for platform in platforms for packages in (platform.pip, platform.conda) for each in packages)
    largest = max((size or 0 for size in sizes), default=0)
    threshold = least
    while _count_layers(platforms, threshold) > MOST_LAYERS and threshold * _MEBIBYTE <= largest:
        threshold *= 2
    return threshold


def _count_layers(platforms: Iterable[PlatformLock], threshold: int) -> int:
    pip: set[object] = set()
    conda: set[object] = set()
    for platform in platforms:
        pip.update(_find_pip_layers(platform.pip, threshold))
        conda.update(find_layer(each.name, each.size, threshold) for each in platform.conda)
    return len(pip) + len(conda)


def _find_pip_layers(packages: Iterable[PipPackage], threshold: int) -> Iterable[object]:
    for each in packages:
        # Each sdist has a stage of its own.
        yield each.name if each.kind == "sdist" else (each.index, find_layer(each.name, each.size, threshold))


def find_threshold(platforms: Collection[PlatformLock]) -> int:
    """Return the threshold in MiB that a lock has. A lock of an earlier release has none, and gets the default."""
    found = [each.layer_threshold for each in platforms if each.layer_threshold]
    return max(found) if found else choose_threshold(platforms)
