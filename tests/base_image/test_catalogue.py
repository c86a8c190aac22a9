"""The catalogue: its shape, its facts, and what is said of one that is broken."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from envcompile.base_image.catalogue import load_default_catalogue, parse_catalogue
from envcompile.base_image.explain import locate_in_spec
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.diagnostics.rules import RULES
from envcompile.versions import version_numbers
from tests.kit.effort import count_calls
from tests.kit.project import spec_of

TEXT = files("envcompile.base_image").joinpath("data/catalogue.json").read_text("utf-8")
DATA: dict[str, Any] = json.loads(TEXT)
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/catalogue.v1.json").read_text("utf-8"))


def test_schema_accepts_the_shipped_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(DATA, SCHEMA)


@pytest.mark.parametrize(
    "broken",
    [
        {"format": 2},
        {"images": 3},
        {"images": {**DATA["images"], "rows": [["12.8.1", "ubuntu24.04"]]}},
        {"runtimes": {"rows": [["12.8.90"]]}},
        {"drivers": {}},
        {"needs": [{"names": ["x"], "class": "system"}]},
        {"needs": [{"names": ["x"], "class": "system", "source": "s", "wants": "moon"}]},
        {"policy": {}},
    ],
)
def test_schema_and_reader_refuse_alike(broken: dict[str, Any]) -> None:
    data = {**DATA, **broken}
    assert not jsonschema.Draft7Validator(SCHEMA).is_valid(data)
    with pytest.raises(InvalidInputError, match="the CUDA catalogue"):
        parse_catalogue(json.dumps(data))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"format": "1"}', "\x00"])
def test_no_catalogue(text: str) -> None:
    with pytest.raises(InvalidInputError, match="the CUDA catalogue"):
        parse_catalogue(text)


def test_the_catalogue_is_small_and_parsing_it_calls_few_functions() -> None:
    assert len(TEXT.encode()) < 60_000
    # Twice the present number. The catalogue lists 1,449 flavours, so a search for each of them would exceed it.
    assert count_calls(lambda: parse_catalogue(TEXT)) < 5_000


def test_images() -> None:
    catalogue = load_default_catalogue()
    kinds = [kind for image in catalogue.images for kind in image.flavour_confidence if kind != "-"]
    assert len(kinds) == 1449  # as many as were gathered
    assert len({(image.cuda, image.system) for image in catalogue.images}) == len(catalogue.images)
    assert not [image for image in catalogue.images if image.cuda.startswith("12.7")]
    assert all("amd64" in image.architectures and image.system in catalogue.systems for image in catalogue.images)


def test_tags() -> None:
    catalogue = load_default_catalogue()
    known = {(image.cuda, image.system): image for image in catalogue.images}
    assert catalogue.format_tag(known["12.2.2", "ubuntu22.04"], "cudnn-devel") == "12.2.2-cudnn8-devel-ubuntu22.04"
    assert catalogue.format_tag(known["12.3.2", "ubuntu22.04"], "cudnn-runtime") == "12.3.2-cudnn9-runtime-ubuntu22.04"
    assert catalogue.format_tag(known["12.4.1", "ubi9"], "cudnn-runtime") == "12.4.1-cudnn-runtime-ubi9"
    assert catalogue.format_tag(known["13.4.2", "ubuntu26.04"], "base") == "13.4.2-base-ubuntu26.04"
    tags = {catalogue.format_tag(image, kind) for image in catalogue.images for kind in catalogue.flavours}
    assert catalogue.digests.keys() <= tags


def test_cudnn_never_goes_back() -> None:
    """Where an image's cuDNN is not known, that of the version before it is taken: so no known one may be older."""
    images = sorted(
        (image for image in load_default_catalogue().images if image.cudnn),
        key=lambda image: version_numbers(image.cuda),
    )
    oldest: dict[str, tuple[int, ...]] = {}
    for image in images:
        oldest[image.cuda] = min(oldest.get(image.cuda, version_numbers(image.cudnn)), version_numbers(image.cudnn))
    # 11.8.0 on ubuntu18.04 was left behind at 8.6; 12.0 came out before the last 11.8 was rebuilt.
    del oldest["11.8.0"]
    assert list(oldest.values()) == sorted(oldest.values())


@pytest.mark.parametrize(
    ("release", "driver"),
    [("12.8", "570.26"), ("12.0", "525.60.13"), ("11.7", "510.39.01"), ("13.5", "616.00"), ("12.7", "560.28.03")],
)
def test_driver_of_a_release(release: str, driver: str) -> None:
    assert load_default_catalogue().find_native_driver(release) == driver


def test_no_driver_is_known_for_what_is_older_than_all() -> None:
    assert load_default_catalogue().find_native_driver("9.0") is None


SPEC = """
name = "x"
python = "3.12"
[pip]
packages = ["y"]
[conda]
channels = ["c"]
packages = ["z"]
[cuda]
version = "12"
[image]
base = "b"
"""


@pytest.mark.parametrize("slug", sorted(slug for slug, rule in RULES.items() if rule.key))
def test_a_rule_about_base_images_points_at_its_key(slug: str) -> None:
    made = locate_in_spec(Diagnostic(slug, "a sentence", hint="a hint"), spec_of(SPEC))
    assert (made.rule, made.path, made.hint) == (slug, RULES[slug].key, "a hint")


def test_a_warning_of_another_release_points_at_the_whole_spec() -> None:
    made = locate_in_spec(Diagnostic("from-the-future", "a sentence", hint="h", severity="warning"), spec_of(SPEC))
    assert made.path == ()


@pytest.mark.parametrize(
    ("without", "path"),
    [
        ((), ("image", "base")),
        (('[image]\nbase = "b"\n',), ("cuda", "version")),
        (('[image]\nbase = "b"\n', '[cuda]\nversion = "12"\n'), ("pip", "packages")),
    ],
)
def test_what_the_spec_does_not_have_is_not_pointed_at(without: tuple[str, ...], path: tuple[str, ...]) -> None:
    text = SPEC
    for each in without:
        text = text.replace(each, "")
    assert locate_in_spec(Diagnostic("cuda-no-image", "a sentence", hint="a hint"), spec_of(text)).path == path
