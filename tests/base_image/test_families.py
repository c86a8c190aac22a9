"""Families of vendor images are rows: repository, tags and flavours are in one place."""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import combinations
from typing import TYPE_CHECKING

from envcompile.base_image import catalogue as module
from envcompile.base_image.catalogue import IMAGE_FAMILIES, ImageFamily, load_default_catalogue, parse_catalogue
from envcompile.base_image.decide import decide_base_images
from envcompile.base_image.model import BaseImageRequest, PackageSummary
from envcompile.spec.model import CudaRequest

if TYPE_CHECKING:
    import pytest

(CUDA,) = IMAGE_FAMILIES


def test_the_catalogue_has_the_flavours_of_its_family() -> None:
    catalogue = load_default_catalogue()
    assert catalogue.family is CUDA
    assert sorted(catalogue.flavours) == sorted(each.name for each in CUDA.flavours)


def test_the_smallest_flavour_with_the_features() -> None:
    features = sorted(frozenset[str]().union(*(each.features for each in CUDA.flavours)))
    for count in range(len(features) + 1):
        for wanted in map(set, combinations(features, count)):
            name = CUDA.find_smallest_flavour(wanted)
            assert bool(name) == bool(wanted)
            assert CUDA.find_features(name) >= wanted
            sufficient = [each.name for each in CUDA.flavours if each.features >= wanted]
            assert not wanted or name == sufficient[0]
    assert CUDA.find_smallest_flavour({"something else"}) == ""


def test_larger_flavours() -> None:
    assert [each.name for each in CUDA.list_larger_flavours("devel")] == ["cudnn-devel"]
    assert [*CUDA.list_larger_flavours("")] == [*CUDA.flavours]


def test_a_new_family_is_a_row_and_a_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another vendor's images with tags of their own are chosen without a change of any other module."""
    toy = ImageFamily("example/toy", "{system}-{flavour}-{version}", CUDA.flavours)
    monkeypatch.setattr(module, "IMAGE_FAMILIES", (*IMAGE_FAMILIES, toy))
    data = json.loads(files("envcompile.base_image").joinpath("data/catalogue.json").read_text("utf-8"))
    data["images"]["repository"] = "example/toy"
    catalogue = parse_catalogue(json.dumps(data))
    packages = (PackageSummary("onnxruntime-gpu", "1.22.0", "wheel"),)
    ours = decide_base_images(BaseImageRequest(python="3.12", cuda=CudaRequest("12.6")), packages, catalogue)
    theirs = decide_base_images(
        BaseImageRequest(python="3.12", cuda=CudaRequest("12.6")), packages, load_default_catalogue()
    )
    assert ours.run is not None
    assert theirs.run is not None
    version, *flavour, system = theirs.run.image.removeprefix("nvidia/cuda:").split("-")
    assert ours.run.image == f"example/toy:{system}-{'-'.join(flavour)}-{version}"
    assert (ours.run.flavour, ours.run.system) == (theirs.run.flavour, theirs.run.system)
