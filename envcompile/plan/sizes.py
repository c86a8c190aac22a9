"""The sizes of the layers of an image, and what a push of a changed lock costs: arithmetic on the sizes in the lock.

The lock has the size of each archive. The layers in a registry have another compression and byte code besides, so their
sizes are similar, but not equal. Layers without packages, such as the one with the user, count as empty.

The lock has neither the sizes of images nor that of a wheel that the build makes from an sdist. Sums name what they
lack.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import format_count
from envcompile.lock.model import CondaPackage
from envcompile.lock.package_managers import PACKAGE_LISTS
from envcompile.plan.layers import find_layer, find_threshold
from envcompile.plan.pip import find_wheel_layer, select_wheels
from envcompile.spec.conda import parse_dependency_name
from envcompile.spec.pip import DEFAULT_INDEX
from envcompile.spec.values import remove_digest
from envcompile.versions import minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    from envcompile.lock.model import Lock, PipPackage, PlatformLock
    from envcompile.lock.package_managers import LockedPackage

    PackageT = TypeVar("PackageT", CondaPackage, PipPackage)

# The kinds of layers of the image: a standalone Python, wheels that are built from sdists, and lists of packages.
_IMAGE_KINDS = frozenset({"python", "conda", "pip", "sdist", "apt"})
_UNITS = {"MB": 10**6, "GB": 10**9, "MiB": 1 << 20, "GiB": 1 << 30}
_BYTE_COUNT = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?) ?({'|'.join(_UNITS)})")
_MAX_LISTED_NAMES = 3


class ByteSum(NamedTuple):
    """A sum of sizes in bytes, and the names of the items whose sizes are unknown and therefore not in the sum."""

    known: int = 0
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.unknown:
            return format_bytes(self.known)
        return f"at least {format_bytes(self.known)}" if self.known else "unknown"


class ArchiveSize(NamedTuple):
    """A locked archive: kind, name and version of its package, its hash, and sizes in bytes, None if unknown.

    `kind` is a key of `PACKAGE_LISTS`, or `python` for a standalone Python. `download` is the size of the archive, and
    `unpacked` that of the installed files.
    """

    kind: str
    name: str
    version: str
    sha256: str
    download: int | None
    unpacked: int | None = None


@dataclass(frozen=True, slots=True)
class LayerSize:
    """A layer of the image on one platform, or a group of packages that only the build installs.

    - `kind`: one of `_IMAGE_KINDS` for a layer of the image; another key of `PACKAGE_LISTS` for the build.
    - `name`: the name of the package, or that of the shared layer, such as `small_1`. For build dependencies, it is the
      name of the sdist.
    - `is_shared`: whether the layer is not that of a single package.
    - `archives`: the largest one first.
    - `content`: everything that determines the bytes of the layer. Equal contents are one blob in a registry.
    """

    kind: str
    name: str
    is_shared: bool
    archives: tuple[ArchiveSize, ...]
    content: tuple[str, ...]

    @property
    def is_in_image(self) -> bool:
        """Whether the image contains the packages."""
        return self.kind in _IMAGE_KINDS

    @property
    def label(self) -> str:
        """The layer for people: `pip numpy`, `conda small_1`, `build dependency of docopt`."""
        if not self.is_in_image:
            return PACKAGE_LISTS[self.kind].label.format("" if self.name == self.kind else self.name).strip()
        return {"python": "standalone Python", "apt": "apt"}.get(self.kind) or f"{self.kind} {self.name}"

    @property
    def download(self) -> ByteSum:
        """The size of all archives."""
        return sum_bytes((each.name, each.download) for each in self.archives)

    @property
    def unpacked(self) -> ByteSum:
        """The size of the installed files."""
        return sum_bytes((each.name, each.unpacked) for each in self.archives)

    @property
    def stored(self) -> ByteSum:
        """The approximate size of the layer in a registry. That of a wheel that is built from an sdist is unknown."""
        return ByteSum(unknown=(f"{self.name} (built from an sdist)",)) if self.kind == "sdist" else self.download


class ImageUse(NamedTuple):
    """An image that the build downloads: its use (`run image`), and its reference with digest."""

    label: str
    image: str


@dataclass(frozen=True, slots=True)
class PlatformSize:
    """The sizes of one platform: its layers, the largest one first, and the images, whose sizes the lock lacks."""

    platform: str
    layers: tuple[LayerSize, ...]
    images: tuple[ImageUse, ...]

    @property
    def run_image(self) -> str:
        """The base image of the image, with digest."""
        return self.images[0].image

    @property
    def download(self) -> ByteSum:
        """The size of all locked archives, including those that only the build needs, but without images.

        An archive that both stages install is downloaded once, and counted once.
        """
        archives = {each.sha256: each for layer in self.layers for each in layer.archives}
        return sum_bytes((each.name, each.download) for each in archives.values())

    @property
    def image_download(self) -> ByteSum:
        """The size of the archives whose packages are in the image."""
        return add_sums(each.download for each in self.layers if each.is_in_image)

    @property
    def unpacked(self) -> ByteSum:
        """The size of the installed files in the image."""
        return add_sums(each.unpacked for each in self.layers if each.is_in_image)


class PushCost(NamedTuple):
    """What a push of an image costs on one platform, if the registry has the image of an earlier lock.

    - `push`: the layers that the earlier image does not have. `unchanged`: the others.
    - `new_images`: the run image without its digest if it is another one; its layers are in neither sum.
    """

    platform: str
    push: ByteSum
    unchanged: ByteSum
    new_images: tuple[str, ...] = ()


def sum_bytes(sizes: Iterable[tuple[str, int | None]]) -> ByteSum:
    """Add up pairs of a name and a size in bytes, None if unknown."""
    pairs = tuple(sizes)
    return ByteSum(sum(size or 0 for _, size in pairs), tuple(name for name, size in pairs if size is None))


def add_sums(sums: Iterable[ByteSum]) -> ByteSum:
    """Add up sums. A name whose size is unknown in several of them is listed once."""
    parts = tuple(sums)
    unknown = dict.fromkeys(chain.from_iterable(each.unknown for each in parts))
    return ByteSum(sum(each.known for each in parts), tuple(unknown))


# The sizes of a lock.


def compute_sizes(lock: Lock) -> tuple[PlatformSize, ...]:
    """Return the sizes of each platform of a lock. The packages are grouped by the layers of the Dockerfile."""
    return tuple(
        PlatformSize(
            each.platform,
            tuple(sorted(_iter_layers(lock, each), key=_layer_sort_key)),
            tuple(_iter_images(each)),
        )
        for each in lock.platforms
    )


def _layer_sort_key(layer: LayerSize) -> tuple[object, ...]:
    return not layer.is_in_image, -layer.download.known, layer.kind, layer.name


def _iter_images(platform: PlatformLock) -> Iterator[ImageUse]:
    yield ImageUse("run image", platform.run.image)
    if platform.build.image != platform.run.image:
        yield ImageUse("build image", platform.build.image)
    yield from (ImageUse(f"image of the tool {each.name}", each.image) for each in platform.tools)


def _iter_layers(lock: Lock, platform: PlatformLock) -> Iterator[LayerSize]:
    """Yield the layers of a platform that have packages, and what only the build installs.

    A layer that is copied with `COPY --link` does not depend on the layers below it. The layer of apt is the exception:
    it changes files of the base image, such as the database of dpkg.
    """
    layout, threshold = f"layout {lock.layout}", find_threshold(lock.platforms)
    python = _describe_python(platform)
    if platform.python and (build := platform.python.build):
        archive = ArchiveSize("python", "python", platform.python.version, build.sha256, build.size)
        yield LayerSize("python", "standalone", False, (archive,), (layout, platform.python.path, build.sha256))
    yield from _iter_conda_layers(platform, threshold, layout, python)
    yield from _iter_wheel_layers(platform, threshold, layout, python)
    for sdist in (each for each in platform.pip if each.kind == "sdist"):
        inputs = (layout, python, *_iter_build_inputs(platform, sdist))
        yield _make_layer("sdist", sdist.name, (sdist,), inputs, is_shared=False)
    if platform.apt:
        yield _make_layer("apt", "apt", platform.apt, (layout, platform.run.image))
    for kind in PACKAGE_LISTS.keys() - _IMAGE_KINDS:
        groups: dict[str, list[LockedPackage]] = defaultdict(list)
        for label, package in PACKAGE_LISTS[kind].iter_packages(platform):
            # The label of a build dependency of an sdist is `SDIST: NAME`.
            origin, colon, _ = label.partition(": ")
            groups[origin if colon else kind].append(package)
        for name, packages in groups.items():
            yield _make_layer(kind, name, packages)


def _iter_conda_layers(platform: PlatformLock, threshold: int, layout: str, python: str) -> Iterator[LayerSize]:
    def find_conda_layer(package: CondaPackage) -> tuple[str, bool]:
        layer = find_layer(package.name, package.size, threshold)
        return layer.label, layer.is_shared

    for (name, is_shared), packages in _group(platform.conda, find_conda_layer).items():
        # A channel has one archive of such a package for all Pythons, and the path and the byte code depend on Python.
        inputs = (layout, python) if any(map(_is_noarch_python, packages)) else (layout,)
        yield _make_layer("conda", name, packages, inputs, is_shared=is_shared)


def _iter_wheel_layers(platform: PlatformLock, threshold: int, layout: str, python: str) -> Iterator[LayerSize]:
    indexes = (DEFAULT_INDEX, *sorted({each.index for each in platform.pip} - {DEFAULT_INDEX}))

    def find_pip_layer(package: PipPackage) -> tuple[str, bool]:
        number = indexes.index(package.index)
        layer = find_wheel_layer(package, threshold, number)
        # The Dockerfile has the number of the index, because names from the spec must not appear there.
        label = f"index {package.index}" if number and layer.is_shared else layer.label
        return label, layer.is_shared

    for (name, is_shared), wheels in _group(select_wheels(platform), find_pip_layer).items():
        yield _make_layer("pip", name, wheels, (layout, python), is_shared=is_shared)


def _group(
    packages: Iterable[PackageT], find_key: Callable[[PackageT], tuple[str, bool]]
) -> dict[tuple[str, bool], list[PackageT]]:
    groups: dict[tuple[str, bool], list[PackageT]] = defaultdict(list)
    for each in packages:
        groups[find_key(each)].append(each)
    return groups


def _make_layer(
    kind: str, name: str, packages: Iterable[LockedPackage], inputs: tuple[str, ...] = (), *, is_shared: bool = True
) -> LayerSize:
    """Make a layer. Its content are the hashes of its packages and other `inputs` of the steps that create it."""
    members = tuple(packages)
    origin = "pip" if kind == "sdist" else kind
    archives = (
        ArchiveSize(
            *(origin, each.name, each.version, each.sha256, each.size),
            # The records of conda channels do not have the size of the files.
            unpacked=None if isinstance(each, CondaPackage) else each.unpacked,
        )
        for each in members
    )
    largest_first = sorted(archives, key=lambda each: (-(each.download or 0), each.name))
    return LayerSize(kind, name, is_shared, tuple(largest_first), (*inputs, *sorted(each.sha256 for each in members)))


def _describe_python(platform: PlatformLock) -> str:
    """Return the release and the ABI of Python, on which the paths and the byte code of Python packages depend."""
    if platform.python is None:
        return ""
    conda = (each.version for each in platform.conda if each.name == "python")
    return f"Python {minor_release(next(conda, platform.python.version))} {platform.python.abi}"


def _is_noarch_python(package: CondaPackage) -> bool:
    return package.subdir == "noarch" and "python" in map(parse_dependency_name, package.depends)


def _iter_build_inputs(platform: PlatformLock, sdist: PipPackage) -> Iterator[str]:
    """Yield what the wheel that is built from an sdist depends on, besides the sdist and Python."""
    yield platform.build.image
    yield from (each.sha256 for each in platform.apt_build)
    yield from (each.sha256 for row in platform.pip_build if row.name == sdist.name for each in row.packages)
    decided = platform.base_decision.build_env if platform.base_decision else ()
    yield from (f"{name}={value}" for name, value in (*decided, *sdist.build_env))


# What a change costs.


def estimate_push_costs(before: Lock, after: Lock) -> tuple[PushCost, ...]:
    """Return the cost on each platform of the later lock. The registry has the image of the earlier lock.

    A layer is pushed again if the earlier image of its platform does not have its content. A changed shared layer is
    pushed as a whole, and another layout of the Dockerfile changes every layer. Each platform is counted on its own,
    although platforms can have equal layers.
    """
    known = {each.platform: each for each in compute_sizes(before)}
    return tuple(_compare_platforms(known.get(each.platform), each) for each in compute_sizes(after))


def _compare_platforms(before: PlatformSize | None, after: PlatformSize) -> PushCost:
    stored = {layer.content for layer in before.layers if layer.is_in_image} if before else set()
    layers = [layer for layer in after.layers if layer.is_in_image]
    is_same_image = before is not None and before.run_image == after.run_image
    return PushCost(
        after.platform,
        push=add_sums(layer.stored for layer in layers if layer.content not in stored),
        unchanged=add_sums(layer.stored for layer in layers if layer.content in stored),
        new_images=() if is_same_image else (remove_digest(after.run_image),),
    )


# Sizes for programs and for people.


def describe_platform_size(size: PlatformSize) -> dict[str, object]:
    """Return the sizes of a platform as values for JSON. Sizes are in bytes, None if unknown."""
    return {
        "download": size.download._asdict(),
        "image-download": size.image_download._asdict(),
        "unpacked": size.unpacked._asdict(),
        "images": [each._asdict() for each in size.images],
        "layers": [
            {
                "kind": layer.kind,
                "name": layer.name,
                "shared": layer.is_shared,
                "in-image": layer.is_in_image,
                "download": layer.download._asdict(),
                "unpacked": layer.unpacked._asdict(),
                "packages": [each._asdict() for each in layer.archives],
            }
            for layer in size.layers
        ],
    }


def describe_push_costs(costs: Iterable[PushCost]) -> dict[str, object]:
    """Return the cost of each platform as values for JSON. Sizes are in bytes."""
    return {
        each.platform: {
            "push": each.push._asdict(),
            "unchanged": each.unchanged._asdict(),
            "new-images": list(each.new_images),
        }
        for each in costs
    }


def format_bytes(count: float) -> str:
    """Format a number of bytes in decimal units: `12 kB`, `7.1 MB`, `752 MB`, `3.1 GB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        # A number that rounds to 1,000 of the smaller unit is one of the larger unit.
        if count >= 0.9995 * size:
            value = count / size
            return f"{value:.1f} {unit}" if unit == "GB" or value < 9.95 else f"{value:.0f} {unit}"  # noqa: PLR2004 - rounds to 10
    return f"{count / 1000:.0f} kB" if count >= 1000 else format_count(round(count), "byte")  # noqa: PLR2004 - the unit


def parse_byte_count(text: str) -> int:
    """Parse a number with a unit: MB or GB (powers of 1,000), MiB or GiB (powers of 1,024), such as `1.5 GiB`.

    Raises `ValueError` for any other text.
    """
    found = _BYTE_COUNT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return int(Fraction(found[1]) * _UNITS[found[2]])


def format_push_costs(costs: Sequence[PushCost]) -> str:
    """Format the cost of all platforms: `38 MB to push, 3.1 GB unchanged`. Unknown sizes are named."""
    push, unchanged = (add_sums(getattr(each, key) for each in costs) for key in ("push", "unchanged"))
    parts = (f"{each.platform} {_format_amount(each.push)}" for each in costs)
    by_platform = f" ({', '.join(parts)})" if len(costs) > 1 and (push.known or push.unknown) else ""
    images = dict.fromkeys(f"the base image {name}" for each in costs for name in each.new_images)
    unknown = _format_names((*push.unknown, *images))
    lacking = f"; of unknown size and not counted: {unknown}" if unknown else ""
    return f"{_format_amount(push)} to push{by_platform}, {_format_amount(unchanged)} unchanged{lacking}"


def _format_amount(size: ByteSum) -> str:
    return str(size) if size.known or size.unknown else "nothing"


def _format_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED_NAMES} more" if len(names) > _MAX_LISTED_NAMES else ""
    return ", ".join(names[:_MAX_LISTED_NAMES]) + more


def summarize_platform(size: PlatformSize, locked: PlatformLock) -> str:
    """Format the size, CUDA, its oldest driver and the run image as one line.

    For example: `3.1 GB to download, CUDA 12.8.2 (driver >= 525.60.13), python:3.12-slim-bookworm`.
    """
    decided = locked.base_decision
    drivers = [each for each in (decided.driver, decided.image_driver) if each] if decided else []
    driver = f" (driver >= {max(drivers, key=version_numbers)})" if drivers else ""
    cuda = f"CUDA {decided.cuda}{driver}" if decided and decided.cuda else "no CUDA"
    return f"{_format_amount(size.download)} to download, {cuda}, {remove_digest(locked.run.image)}"
