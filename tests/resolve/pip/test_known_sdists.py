"""Common sdists whose metadata are dynamic lock without `[pip.metadata]`, through the real uv and a loopback index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envcompile.resolve.pip.known_sdists import load_known_sdists
from envcompile.resolve.pip.sdists import read_sdist
from envcompile.spec.pip import normalize_name
from envcompile.spec.values import _RESERVED_BUILD_VARIABLES
from tests.kit.index import Index, Wheel, served
from tests.kit.sdists import Sdist, metadata, system
from tests.resolve.pip.test_sdists import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD = metadata("flash-attn", "2.8.3", form="2.1")
REQUIRES = "einops\ntorch>=2 \n\n[:python_version < '3']\ntyping\n\n[dev]\npytest\n"
WHEELS = (
    *(Wheel(name, "1.0") for name in ("einops", "psutil", "ninja", "packaging", "wheel", "typing", "pytest")),
    Wheel("setuptools", "80.0"),
    Wheel("setuptools", "82.0"),
    Wheel("torch", "2.8.0", ("nvidia-cuda-runtime-cu12",)),
    Wheel("nvidia-cuda-runtime-cu12", "12.8.90"),
)
SDISTS = (
    Sdist("flash-attn", "2.8.3", (OLD, ("flash_attn.egg-info/requires.txt", REQUIRES))),
    Sdist("torch-scatter", "2.1.2", (metadata("torch-scatter", "2.1.2", form="2.1"),)),
    Sdist("docopt", "0.6.2", (metadata("docopt", "0.6.2", form="1.1"),)),
    Sdist("unknown", "1.0", (metadata("unknown", "1.0", form="2.1"),)),
)


@pytest.fixture
def index() -> Iterator[Index]:
    with served(Index((*WHEELS, *SDISTS))) as index:
        yield index


def test_a_known_sdist_needs_no_metadata_in_the_spec(index: Index, tmp_path: Path) -> None:
    locked, said = lock(
        tmp_path / "x",
        index,
        'packages = ["flash-attn", "torch-scatter", "docopt"]\nallow-sdist = ["flash-attn", "torch-scatter", "docopt"]',
    )
    assert locked, said
    packages = {each.name: each for each in locked.pip}
    assert set(packages) == {"docopt", "einops", "flash-attn", "nvidia-cuda-runtime-cu12", "torch", "torch-scatter"}
    assert packages["flash-attn"].depends == ("einops", "torch >=2")
    assert packages["flash-attn"].build_env == (("FLASH_ATTENTION_FORCE_BUILD", "TRUE"),)
    assert packages["torch-scatter"].build_env == (("FORCE_CUDA", "1"),)  # because CUDA is locked
    assert packages["docopt"].build_env == ()
    builds = {build.name: {each.name for each in build.packages} for build in locked.pip_build}
    assert builds["flash-attn"] >= {"torch", "psutil", "ninja", "packaging", "setuptools", "wheel"}
    assert "torch" in builds["torch-scatter"]
    assert builds["docopt"] == {"setuptools", "wheel"}


def test_the_spec_overrides_what_is_known(index: Index, tmp_path: Path) -> None:
    table = """packages = ["flash-attn"]
allow-sdist = ["flash-attn"]
[pip.metadata.flash-attn]
requires-dist = ["packaging"]
build-requires = ["torch", "setuptools <81"]
build-env = { FLASH_ATTENTION_FORCE_BUILD = "FALSE" }"""
    locked, said = lock(tmp_path / "x", index, table)
    assert locked, said
    (flash_attn, _) = locked.pip
    assert flash_attn.depends == ("packaging",)
    [build] = locked.pip_build
    assert {each.name: each.version for each in build.packages}["setuptools"] == "80.0"
    assert "psutil" not in {each.name for each in build.packages}


def test_an_unknown_sdist_needs_metadata_in_the_spec(index: Index, tmp_path: Path) -> None:
    locked, said = lock(tmp_path / "x", index, 'packages = ["unknown"]\nallow-sdist = ["unknown"]')
    assert locked is None
    assert "`unknown-1.0.tar.gz` has dynamic dependencies" in said
    assert "[pip.metadata.unknown]" in said


def test_dependencies_in_requires_txt() -> None:
    sdist = Sdist(
        "a", "1.0", (OLD, ("a.egg-info/requires.txt", REQUIRES), ("b/c.egg-info/requires.txt", "no"), system())
    )
    assert read_sdist(sdist.file, sdist.content()).declared.requires == (
        "einops",
        "torch>=2",
        "typing ; python_version < '3'",
        'pytest ; extra == "dev"',
    )


@pytest.mark.parametrize("name", load_known_sdists())
def test_a_row_can_be_used(name: str) -> None:
    known = load_known_sdists()[name]
    assert name == normalize_name(name)
    for requirement in known.build_requires:
        requirement.validate()
    assert not {key for key, _ in (*known.build_env, *known.cuda_env)} & set(_RESERVED_BUILD_VARIABLES)


def test_there_are_rows_for_the_commonest_sdists() -> None:
    assert len(load_known_sdists()) >= 12
