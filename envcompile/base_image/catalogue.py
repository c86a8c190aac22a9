"""The catalogue: dated facts about images, drivers, GPU architectures and packages.

Each release of envcompile contains a catalogue, and users can provide a newer one.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.versions import minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

CATALOGUE_FORMAT = 1


class Flavour(NamedTuple):
    """A flavour of a family's images: its name in tags, and the features of the images."""

    name: str
    features: frozenset[str]


class ImageFamily(NamedTuple):
    """A family of vendor images that contain libraries and compilers for a kind of GPU.

    - `repository`: the name of the images, without tags.
    - `tag_format`: the form of the tags, with the fields `version`, `flavour` and `system`.
    - `flavours`: the flavours of the images, the smallest first.
    """

    repository: str
    tag_format: str
    flavours: tuple[Flavour, ...]

    def find_features(self, flavour: str) -> frozenset[str]:
        """Return the features of a flavour; the empty set for "", which stands for a plain image."""
        return next((each.features for each in self.flavours if each.name == flavour), frozenset())

    def find_smallest_flavour(self, features: AbstractSet[str]) -> str:
        """Return the smallest flavour that has all these features, or "" if `features` is empty."""
        return next((each.name for each in self.flavours if each.features >= features), "") if features else ""

    def list_larger_flavours(self, flavour: str) -> list[Flavour]:
        """Return the flavours that are larger than `flavour`; all of them for "", which stands for a plain image."""
        names = [each.name for each in self.flavours]
        return [*self.flavours[names.index(flavour) + 1 if flavour else 0 :]]


# Source: NVIDIA's description of the images on Docker Hub.
IMAGE_FAMILIES = (
    ImageFamily(
        "nvidia/cuda",
        "{version}-{flavour}-{system}",
        (
            Flavour("base", frozenset({"base"})),
            Flavour("runtime", frozenset({"base", "runtime"})),
            Flavour("cudnn-runtime", frozenset({"base", "runtime", "cudnn"})),
            Flavour("devel", frozenset({"base", "runtime", "devel"})),
            Flavour("cudnn-devel", frozenset({"base", "runtime", "cudnn", "devel"})),
        ),
    ),
)


class CudaImage(NamedTuple):
    """The images of one CUDA version on one system.

    `flavour_confidence` has one letter for each flavour (`-`: this image does not exist). `status` is "" while the
    images are supported, and `cudnn` is "" if the version is unknown.
    """

    cuda: str
    system: str
    flavour_confidence: str
    architectures: tuple[str, ...]
    status: str
    cudnn: str
    sources: str


class CatalogueSystem(NamedTuple):
    """An operating system: its plain image, its glibc (X.Y) and its own Python (X.Y, or "" if it is unknown)."""

    name: str
    image: str
    glibc: str
    python_version: str


class GpuArchitecture(NamedTuple):
    """A GPU architecture and the toolkits and drivers that support it.

    - `capability`: the compute capability (X.Y).
    - `first_toolkit`: the first toolkit (X.Y) that supports it.
    - `last_major`, `last_driver`: the last major version of CUDA and the last driver branch that support it, "" if the
      newest ones do.
    """

    capability: str
    name: str
    first_toolkit: str
    last_major: str
    last_driver: str


class TorchBuild(NamedTuple):
    """The GPU architectures in torch's wheels for one CUDA version (`cu128`) and a range of torch versions.

    `has_ptx` is whether the wheels also contain PTX, which newer GPUs can run.
    """

    cuda: str
    low: str
    below: str
    capabilities: tuple[str, ...]
    has_ptx: bool


class FrameworkBundle(NamedTuple):
    """The CUDA runtime and the cuDNN that a release of a framework depends on."""

    package: str
    version: str
    runtime: str
    cudnn: str


class PackageNeed(NamedTuple):
    """What a package needs of an image. docs/base.md describes the fields."""

    names: tuple[str, ...]
    kind: str
    source: str
    kinds: tuple[str, ...] = ()
    low: str = ""
    below: str = ""
    architecture: str = ""
    when: str = ""
    unless: tuple[str, ...] = ()
    minimum: str = ""
    cudnn: str = ""
    run: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    finds: str = ""
    path: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    apt_from: str = ""
    headers: bool = False
    compute: str = ""
    driver: bool = False
    surprise: bool = False
    resolved: bool = False
    cpu: bool = False
    warns: bool = False
    follows: bool = False


class CudaLibrary(NamedTuple):
    """A part of CUDA, and the pip packages (with or without `-cuNN`) and conda packages that contain it.

    `folder` is its folder in `nvidia` in the site-packages.
    """

    pip_names: tuple[str, ...]
    conda_names: tuple[str, ...]
    folder: str


class SelectionPolicy(NamedTuple):
    """Preferences, which are not facts: the order of the systems, and the default versions of CUDA.

    `accepted_confidence` has the letters of `CudaImage.flavour_confidence` with which an image can be chosen.
    """

    systems: tuple[str, ...]
    default_minors: dict[str, str]
    default_major: str
    accepted_confidence: str


class Catalogue:
    """All tables of a catalogue, in the order of its text.

    `date` (YYYY-MM-DD) and `digest`, the SHA-256 of the text, identify the catalogue in a lock.
    """

    def __init__(self, data: dict[str, Any], text: str) -> None:
        self.date: str = data["date"]
        self.digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        self.repository: str = data["images"]["repository"]
        self.flavours: tuple[str, ...] = tuple(data["images"]["flavours"])
        # The images of a catalogue may be in another repository, for example in a copy of NVIDIA's.
        families = (each for each in IMAGE_FAMILIES if each.repository == self.repository)
        self.family = next(families, IMAGE_FAMILIES[0]._replace(repository=self.repository))
        self.cudnn_tag_words: list[list[str]] = data["images"]["cudnn-words"]
        self.images = [
            CudaImage(cuda, system, confidence, tuple(architectures.split()), status, cudnn, sources)
            for cuda, system, confidence, architectures, status, cudnn, sources in data["images"]["rows"]
        ]
        self.digests = {tag: digest for tag, digest in data["digests"]["rows"]}  # noqa: C416 - checks the shape
        self.deleted_releases: list[str] = data["deleted"]
        self.runtimes = {runtime: toolkits.split() for runtime, toolkits in data["runtimes"]["rows"]}
        self.drivers = {toolkit: driver for toolkit, driver, _ in data["drivers"]["rows"]}
        self.minimum_drivers: dict[str, str] = data["drivers"]["floors"]
        self.driver_branches = {toolkit: branches.split() for toolkit, branches in data["drivers"]["branches"]}
        self.gpu_architectures = {row[0]: GpuArchitecture(*row) for row in data["compute"]["rows"]}
        self.torch_builds = [
            TorchBuild(cuda, low, below, tuple(compute.split()), ptx)
            for cuda, low, below, compute, ptx in data["compute"]["torch"]
        ]
        self.bundles = [FrameworkBundle(*row) for row in data["bundles"]["rows"]]
        self.package_needs: dict[str, list[PackageNeed]] = {}
        for row in data["needs"]:
            need = _parse_need(row)
            for name in need.names:
                self.package_needs.setdefault(name, []).append(need)
        self.libraries = {
            name: CudaLibrary(tuple(row["pip"]), tuple(row["conda"]), row["folder"])
            for name, row in data["libraries"].items()
        }
        self.nvcc_wheels: tuple[str, ...] = tuple(data["nvcc-wheel"])
        self.systems = {row[0]: CatalogueSystem(*row) for row in data["systems"]["rows"]}
        self.debian_code_names: dict[str, str] = data["systems"]["debian"]
        self.image_sizes: list[tuple[str, str, float]] = [(a, b, float(c)) for a, b, c in data["sizes"]["rows"]]
        policy = data["policy"]
        self.policy = SelectionPolicy(tuple(policy["systems"]), policy["minors"], policy["major"], policy["confidence"])

    @cached_property
    def minor_releases(self) -> list[str]:
        """Return every CUDA release (X.Y) that has an image, oldest first."""
        return sorted({minor_release(image.cuda) for image in self.images}, key=version_numbers)

    @cached_property
    def toolkit_releases(self) -> frozenset[str]:
        """Return every known toolkit release, with or without an image, as X.Y.Z, X.Y and X."""
        known = {image.cuda for image in self.images} | {name for names in self.runtimes.values() for name in names}
        known |= {minor_release(name) for name in known}
        return frozenset(known | {name.partition(".")[0] for name in known})

    @cached_property
    def _cudnn_by_cuda(self) -> dict[str, str]:
        """The oldest known cuDNN in the images of each CUDA version.

        If none is known for a CUDA version, its value is that of the CUDA version before it.
        """
        found: dict[str, str] = {}
        last = ""
        for cuda in sorted({image.cuda for image in self.images}, key=version_numbers):
            versions = [image.cudnn for image in self.images if image.cuda == cuda and image.cudnn]
            last = found[cuda] = min(versions, key=version_numbers) if versions else last
        return found

    def find_cudnn(self, image: CudaImage) -> str:
        """Return the version of cuDNN in an image.

        If it is unknown, the one of the CUDA version before it is returned, because newer images never have an older
        cuDNN.
        """
        return image.cudnn or self._cudnn_by_cuda[image.cuda]

    def format_tag(self, image: CudaImage, flavour: str) -> str:
        """Return the tag of an image, such as `12.6.3-cudnn-runtime-ubuntu24.04`."""
        word = next(
            word
            for first, word in reversed(self.cudnn_tag_words)
            if version_numbers(image.cuda) >= version_numbers(first)
        )
        return self.family.tag_format.format(
            version=image.cuda, flavour=flavour.replace("cudnn", word), system=image.system
        )

    def has_flavour(self, image: CudaImage, flavour: str) -> bool:
        """Whether the image exists in the flavour, with sufficient confidence."""
        return image.flavour_confidence[self.flavours.index(flavour)] in self.policy.accepted_confidence

    def find_native_driver(self, release: str) -> str | None:
        """Return the oldest driver that shipped with a toolkit release (X.Y).

        For an unknown release, that is the driver of the nearest earlier release, or None if all known ones are later.
        """
        known = {
            minor_release(toolkit)
            for toolkit in self.drivers
            if version_numbers(minor_release(toolkit)) <= version_numbers(release)
        }
        newest = max(known, key=version_numbers, default=None)
        drivers = [driver for toolkit, driver in self.drivers.items() if minor_release(toolkit) == newest]
        return min(drivers, key=version_numbers, default=None)


def _parse_need(row: dict[str, Any]) -> PackageNeed:
    words = {"class": "kind", "from": "low", "apt-from": "apt_from"}
    values: dict[str, Any] = {}
    for key, value in row.items():
        values[words.get(key, key)] = tuple(value) if isinstance(value, list) else value
    return PackageNeed(**values)


def parse_catalogue(text: str) -> Catalogue:
    """Return the catalogue in a text (JSON, `schemas/catalogue.v1.json`).

    Raises `InvalidInputError` if the format is unknown or the text is not a catalogue.
    """
    try:
        data = json.loads(text)
        if data["format"] != CATALOGUE_FORMAT:
            message = (
                f"the CUDA catalogue is of format {data['format']}, and this release reads format {CATALOGUE_FORMAT}"
            )
            raise InvalidInputError(message, "take the catalogue of this release, or a newer release")
        return Catalogue(data, text)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        message = f"the CUDA catalogue cannot be read: {type(error).__name__} at {error}"
        raise InvalidInputError(message, "check it against `schemas/catalogue.v1.json`") from error


@cache
def load_default_catalogue() -> Catalogue:
    """Return the catalogue of this release."""
    return parse_catalogue(files("envcompile.base_image").joinpath("data/catalogue.json").read_text("utf-8"))
