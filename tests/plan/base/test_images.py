"""What holds of every image that is chosen, whatever is asked: enumerated, or with catalogues in another order."""

from __future__ import annotations

import itertools
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcompile.plan.base.catalogue import read, shipped
from envcompile.plan.base.decide import decide
from envcompile.plan.base.model import Locked, Question
from envcompile.plan.base.versions import architecture, major, minor, number

if TYPE_CHECKING:
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.model import Decision, Stage

CATALOGUE = shipped()
DATA: dict[str, Any] = json.loads(files("envcompile.plan.base").joinpath("data/catalogue.json").read_text("utf-8"))
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
    f"{CATALOGUE.repository}:{CATALOGUE.tag(image, kind)}": image.architectures
    for image in CATALOGUE.images
    for kind in CATALOGUE.flavours
    if CATALOGUE.has(image, kind)
}


def stages(decision: Decision) -> list[Stage]:
    return [each for each in (decision.build, decision.run) if each]


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
@pytest.mark.parametrize("flavour", NEEDING)
def test_no_tag_is_chosen_that_is_not_there(flavour: str, platform: str) -> None:
    """For every release of CUDA, flavour, system and architecture: one that is there, or an error that says so."""
    chosen = 0
    releases = sorted({each.cuda for each in CATALOGUE.images} | {*CATALOGUE.minors, "11", "12", "13"}, key=number)
    combined = itertools.product(releases, [None, *CATALOGUE.systems])
    # A patch of a release is looked for as the release is: on every system only that one.
    for release, system in (each for each in combined if each[1] is None or each[0].count(".") == 1):
        if package := NEEDING[flavour].get(major(release)):
            asked = Question(python="3.12", platforms=(platform,), cuda=release, system=system)
            decision = decide(asked, (Locked(*package, "wheel"),), CATALOGUE)
            assert bool(decision.errors) is (decision.run is None)
            for each in stages(decision):
                if each.image.startswith(f"{CATALOGUE.repository}:"):
                    chosen += 1
                    assert architecture(platform) in TAGS[each.image]
                    assert f"{each.cuda}.".startswith(f"{release}.")
                    assert system in (None, each.system)
    assert chosen


def with_needs(*rows: dict[str, Any]) -> Catalogue:
    return read(json.dumps({**DATA, "needs": [*DATA["needs"], *rows]}))


def test_a_tighter_bound_never_yields_an_older_image() -> None:
    """A package that needs a newer CUDA or cuDNN, and nothing else changed."""
    for release in ("11", "12", "13"):
        bounds = [each for each in CATALOGUE.minors if each.partition(".")[0] == release]
        row = {"class": "system", "kinds": ["wheel"], "run": ["runtime"], "source": "made up"}
        known = with_needs(*({**row, "names": [f"needs-{each}"], "minimum": each} for each in bounds))
        images = []
        for each in bounds:
            run = decide(Question(python="3.12"), (Locked(f"needs-{each}", "1.0", "wheel"),), known).run
            assert run
            assert number(minor(run.cuda)) >= number(each)
            images.append(number(run.cuda))
        assert images == sorted(images)


def test_a_newer_cudnn_never_yields_an_older_image() -> None:
    wanted = ["9.0", "9.1", "9.3", "9.5", "9.7", "9.8"]
    row = {"class": "system", "kinds": ["wheel"], "run": ["runtime", "cudnn"], "minimum": "12.0", "source": "made up"}
    known = with_needs(*({**row, "names": [f"needs-{each}"], "cudnn": each} for each in wanted))
    images = []
    for each in wanted:
        run = decide(Question(python="3.12"), (Locked(f"needs-{each}", "1.0", "wheel"),), known).run
        assert run
        images.append(number(run.cuda))
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
    asked = Question(python="3.12", platforms=(platform,), cuda=cuda)
    packages = (Locked(*package, "wheel"), Locked("torch", "2.8.0", "wheel"))
    one, other = decide(asked, packages, CATALOGUE), decide(asked, packages, read(json.dumps(data)))
    assert (one.build, one.run, one.cuda, one.errors) == (other.build, other.run, other.cuda, other.errors)
    assert (one.compute, one.env, one.saving) == (other.compute, other.env, other.saving)
