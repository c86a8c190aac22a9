"""CUDA builds of conda packages, on real channel data and on a made channel."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

from envcompile.base_image.model import find_cuda_releases
from envcompile.net.process import run_process
from envcompile.resolve.model import Effects, UnsolvableError
from envcompile.spec.model import NO_CUDA, CudaRequest
from tests.kit.channel import made_channel
from tests.resolve.conda.test_rattler import solve

if TYPE_CHECKING:
    from pathlib import Path

needs_rattler = pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    return Effects(run_process, {**os.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache")})


@needs_rattler
@pytest.mark.parametrize(("asked", "cuda"), [("12.9", "12.9"), ("12", "12.9"), ("12.6", "12.6")])
def test_what_is_asked_is_what_is_locked(effects: Effects, asked: str, cuda: str) -> None:
    """The channel's newest pytorch was built for the processor alone: it must not win over one for this CUDA."""
    assert solve(effects, "pytorch")["pytorch"].build.startswith("cpu")
    found = solve(effects, "pytorch", cuda=CudaRequest(asked))
    assert found["pytorch"].build.startswith(f"cuda{cuda.replace('.', '')}")
    assert found["cuda-version"].version == cuda
    assert found["cuda-cudart"].version.startswith(f"{cuda}.")


@needs_rattler
def test_only_what_asks_for_cuda_gets_it(effects: Effects) -> None:
    assert "cuda-version" not in solve(effects, "numpy", cuda=CudaRequest("12.9"))
    assert solve(effects, "pytorch * cpu*", cuda=CudaRequest("12.9"))["pytorch"].build.startswith("cpu")
    assert not find_cuda_releases(solve(effects, "pytorch", "numpy", cuda=NO_CUDA).values(), ())
    with pytest.raises(UnsolvableError):
        solve(effects, "cuda-version", cuda=NO_CUDA)


@needs_rattler
def test_a_pinned_build_for_the_processor_gives_way(effects: Effects) -> None:
    before = tuple(solve(effects, "pytorch ==2.7.1").values())
    kept = solve(effects, "pytorch ==2.7.1", preferences=before)
    assert kept["pytorch"].build.startswith("cpu")
    after = solve(effects, "pytorch ==2.7.1", preferences=before, cuda=CudaRequest("12.9"))
    assert after["pytorch"].build.startswith("cuda129")
    # And nothing moves back and forth once it is there.
    assert solve(effects, "pytorch ==2.7.1", preferences=tuple(after.values()), cuda=CudaRequest("12.9")) == after


@needs_rattler
def test_a_need_of_the_driver_alone_counts_too(effects: Effects, tmp_path: Path) -> None:
    old = {"name": "a", "version": "1", "depends": ["__cuda >=12"]}
    made = made_channel(tmp_path / "x", old, {"name": "a", "version": "2"}, {"name": "b", "version": "1"})
    assert solve(effects, "a", channels=(made,))["a"].version == "2"
    assert solve(effects, "a", "b", channels=(made,), cuda=CudaRequest("12.4"))["a"].version == "1"
    assert solve(effects, "a", channels=(made,), cuda=CudaRequest("11.8"))["a"].version == "2"
    assert solve(effects, "a >=2", channels=(made,), cuda=CudaRequest("12.4"))["a"].version == "2"
