"""What holds of every image that is chosen, whatever is asked: enumerated, or with catalogues in another order."""

from __future__ import annotations

import itertools
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcompile.base_image.catalogue import load_default_catalogue, parse_catalogue
from envcompile.base_image.decide import decide_base_images
from envcompile.base_image.model import BaseImageRequest, PackageSummary, platform_architecture
from envcompile.spec.model import CudaRequest
from envcompile.versions import major_version, minor_release, version_numbers

if TYPE_CHECKING:
    from envcompile.base_image.catalogue import Catalogue
    from envcompile.base_image.model import BaseImageResult, StageImage

CATALOGUE = load_default_catalogue()
DATA: dict[str, Any] = json.loads(files("envcompile.base_image").joinpath("data/catalogue.json").read_text("utf-8"))
# Packages that need a flavour of the run image, for each major version of CUDA.
NEEDING = {
    "base": dict.fromkeys((11, 12, 13), ("flashinfer-python", "0.6.6")),
    "runtime": {each: (f"cupy-cuda{each}x", "14.2.0") for each in (11, 12, 13)},
    "cudnn-runtime": {
        each: ("onnxruntime-gpu", version) for each, version in ((11, "1.18.1"), (12, "1.22.0"), (13, "1.31.1"))
    },
    "devel": dict.fromkeys((11, 12, 13), ("numba-cuda", "0.20.0")),
    "cudnn-devel": {each: (f"jax-cuda{each}-plugin", "0.8.0") for each in (12, 13)},
}
# Every tag that is known well enough, by its architectures.
TAGS = {
    f"{CATALOGUE.repository}:{CATALOGUE.format_tag(image, kind)}": image.architectures
    for image in CATALOGUE.images
    for kind in CATALOGUE.flavours
    if CATALOGUE.has_flavour(image, kind)
}


def stages(decision: BaseImageResult) -> list[StageImage]:
    return [each for each in (decision.build, decision.run) if each]


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
@pytest.mark.parametrize("flavour", NEEDING)
def test_no_tag_is_chosen_that_is_not_there(flavour: str, platform: str) -> None:
    """For every release of CUDA, flavour, system and architecture: one that is there, or an error that says so."""
    chosen = 0
    releases = sorted(
        {each.cuda for each in CATALOGUE.images} | {*CATALOGUE.minor_releases, "11", "12", "13"}, key=version_numbers
    )
    combined = itertools.product(releases, [None, *CATALOGUE.systems])
    # A patch of a release is looked for as the release is: on every system only that one.
    for release, system in (each for each in combined if each[1] is None or each[0].count(".") == 1):
        if package := NEEDING[flavour].get(major_version(release)):
            asked = BaseImageRequest(python="3.12", platforms=(platform,), cuda=CudaRequest(release), system=system)
            decision = decide_base_images(asked, (PackageSummary(*package, "wheel"),), CATALOGUE)
            assert bool(decision.errors) is (decision.run is None)
            for each in stages(decision):
                if each.image.startswith(f"{CATALOGUE.repository}:"):
                    chosen += 1
                    assert platform_architecture(platform) in TAGS[each.image]
                    assert f"{each.cuda}.".startswith(f"{release}.")
                    assert system in (None, each.system)
    assert chosen


def with_needs(*rows: dict[str, Any]) -> Catalogue:
    return parse_catalogue(json.dumps({**DATA, "needs": [*DATA["needs"], *rows]}))


def test_a_tighter_bound_never_yields_an_older_image() -> None:
    """A package that needs a newer CUDA or cuDNN, and nothing else changed."""
    for release in ("11", "12", "13"):
        bounds = [each for each in CATALOGUE.minor_releases if each.partition(".")[0] == release]
        row = {"class": "system", "kinds": ["wheel"], "run": ["runtime"], "source": "made up"}
        known = with_needs(*({**row, "names": [f"needs-{each}"], "minimum": each} for each in bounds))
        images = []
        for each in bounds:
            run = decide_base_images(
                BaseImageRequest(python="3.12"), (PackageSummary(f"needs-{each}", "1.0", "wheel"),), known
            ).run
            assert run
            assert version_numbers(minor_release(run.cuda)) >= version_numbers(each)
            images.append(version_numbers(run.cuda))
        assert images == sorted(images)


def test_a_newer_cudnn_never_yields_an_older_image() -> None:
    wanted = ["9.0", "9.1", "9.3", "9.5", "9.7", "9.8"]
    row = {"class": "system", "kinds": ["wheel"], "run": ["runtime", "cudnn"], "minimum": "12.0", "source": "made up"}
    known = with_needs(*({**row, "names": [f"needs-{each}"], "cudnn": each} for each in wanted))
    images = []
    for each in wanted:
        run = decide_base_images(
            BaseImageRequest(python="3.12"), (PackageSummary(f"needs-{each}", "1.0", "wheel"),), known
        ).run
        assert run
        images.append(version_numbers(run.cuda))
    assert images == sorted(images)


@settings(max_examples=25, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from([package for rows in NEEDING.values() for package in rows.values()]),
    st.sampled_from([None, "11", "12", "12.8", "13.0"]),
    st.sampled_from(["linux/amd64", "linux/arm64"]),
)
def test_the_order_of_the_catalogue_does_not_matter(
    random: Any, package: tuple[str, str], cuda: str | None, platform: str
) -> None:
    data = json.loads(json.dumps(DATA))
    tables = ("images", "runtimes", "drivers", "compute", "bundles", "sizes", "digests")
    for rows in (*(data[each]["rows"] for each in tables), data["needs"]):
        random.shuffle(rows)
    asked = BaseImageRequest(python="3.12", platforms=(platform,), cuda=CudaRequest(cuda))
    packages = (PackageSummary(*package, "wheel"), PackageSummary("torch", "2.8.0", "wheel"))
    one, other = (
        decide_base_images(asked, packages, CATALOGUE),
        decide_base_images(asked, packages, parse_catalogue(json.dumps(data))),
    )
    assert (one.build, one.run, one.cuda, one.errors) == (other.build, other.run, other.cuda, other.errors)
    assert (one.compute, one.env, one.saving) == (other.compute, other.env, other.saving)
