"""`[cuda] version`: what is asked is what is locked, or an error. On real channel data and on a made one."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.base_image.versions import find_cuda_releases
from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.lock.model import BaseImage, CondaPackage, PipPackage, PlatformLock
from envcompile.net.process import run_process
from envcompile.resolve.fixpoint import BaseImageInputs, choose_base_images
from envcompile.resolve.model import Effects, UnsolvableError
from envcompile.spec.decode import parse_spec
from tests.kit.channel import made_channel
from tests.resolve.conda.test_rattler import solve

if TYPE_CHECKING:
    from pathlib import Path

    from envcompile.base_image.default import BaseImageProperties

needs_rattler = pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    return Effects(run_process, {**os.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache")})


@needs_rattler
@pytest.mark.parametrize(("asked", "cuda"), [("12.9", "12.9"), ("12", "12.9"), ("12.6", "12.6")])
def test_what_is_asked_is_what_is_locked(effects: Effects, asked: str, cuda: str) -> None:
    """The channel's newest pytorch was built for the processor alone: it must not win over one for this CUDA."""
    assert solve(effects, "pytorch")["pytorch"].build.startswith("cpu")
    found = solve(effects, "pytorch", cuda=asked)
    assert found["pytorch"].build.startswith(f"cuda{cuda.replace('.', '')}")
    assert found["cuda-version"].version == cuda
    assert found["cuda-cudart"].version.startswith(f"{cuda}.")


@needs_rattler
def test_only_what_asks_for_cuda_gets_it(effects: Effects) -> None:
    assert "cuda-version" not in solve(effects, "numpy", cuda="12.9")
    assert solve(effects, "pytorch * cpu*", cuda="12.9")["pytorch"].build.startswith("cpu")
    assert not find_cuda_releases(solve(effects, "pytorch", "numpy", cuda=False).values(), ())
    with pytest.raises(UnsolvableError):
        solve(effects, "cuda-version", cuda=False)


@needs_rattler
def test_a_pinned_build_for_the_processor_gives_way(effects: Effects) -> None:
    before = tuple(solve(effects, "pytorch ==2.7.1").values())
    kept = solve(effects, "pytorch ==2.7.1", preferences=before)
    assert kept["pytorch"].build.startswith("cpu")
    after = solve(effects, "pytorch ==2.7.1", preferences=before, cuda="12.9")
    assert after["pytorch"].build.startswith("cuda129")
    # And nothing moves back and forth once it is there.
    assert solve(effects, "pytorch ==2.7.1", preferences=tuple(after.values()), cuda="12.9") == after


@needs_rattler
def test_a_need_of_the_driver_alone_counts_too(effects: Effects, tmp_path: Path) -> None:
    old = {"name": "a", "version": "1", "depends": ["__cuda >=12"]}
    made = made_channel(tmp_path / "x", old, {"name": "a", "version": "2"}, {"name": "b", "version": "1"})
    assert solve(effects, "a", channels=(made,))["a"].version == "2"
    assert solve(effects, "a", "b", channels=(made,), cuda="12.4")["a"].version == "1"
    assert solve(effects, "a", channels=(made,), cuda="11.8")["a"].version == "2"
    assert solve(effects, "a >=2", channels=(made,), cuda="12.4")["a"].version == "2"


def conda(name: str, version: str) -> CondaPackage:
    return CondaPackage(name, version, "0", "c", "linux-64", f"{name}-{version}-0.conda", "0" * 64)


def pip(name: str, version: str) -> PipPackage:
    return PipPackage(name, version, f"{name}-{version}-py3-none-any.whl", "0" * 64)


def test_the_release_is_read_off_the_runtime() -> None:
    """Rule 1 of the base image's rules: the runtime's own version, never a package's name."""
    packages = (
        pip("nvidia-cuda-runtime-cu12", "12.8.90"),
        pip("nvidia-cuda-runtime", "13.0.96"),
        pip("cuda-toolkit", "12.9.1"),
        pip("torch", "2.9.0+cu126"),
        pip("torchvision", "0.24.0+cpu"),
        pip("nvidia-cuda-nvcc", "13.5.37"),
        pip("cupy-cuda11x", "13.0"),
    )
    assert find_cuda_releases((conda("cuda-cudart", "12.9.79"), conda("cudatoolkit", "11.8.0")), packages) == {
        "cuda-cudart": "12.9",
        "cudatoolkit": "11.8",
        "nvidia-cuda-runtime-cu12": "12.8",
        "nvidia-cuda-runtime": "13.0",
        "cuda-toolkit": "12.9",
        "torch": "12.6",
    }


@pytest.mark.parametrize(
    ("asked", "locked", "said"),
    [
        (None, (conda("cuda-version", "12.9"),), ""),
        ('"12.9"', (conda("cuda-version", "12.9"),), ""),
        ('"12"', (conda("cuda-version", "12.9"),), ""),
        ("false", (conda("numpy", "2"), pip("torch", "2.9.0+cpu")), ""),
        ('"12"', (pip("cupy-cuda12x", "14.0.0"),), ""),
        ('"12.9"', (conda("numpy", "2"),), "asks for 12.9, and nothing of what is locked for `linux-64` uses CUDA"),
        ('"12.9"', (pip("nvidia-cuda-runtime-cu12", "12.8.90"),), "asks for CUDA 12.9, and what is locked brings 12.8"),
        ('"12.9"', (pip("torch", "2.9.0+cu130"),), "asks for CUDA 12.9, and what is locked is for another: CUDA 13"),
        ("false", (conda("cuda-cudart", "12.9.79"),), "keeps CUDA out, and what is locked uses it: CUDA 12"),
        ("false", (pip("cupy-cuda12x", "14.0.0"),), "keeps CUDA out, and what is locked uses it: CUDA 12"),
    ],
)
def test_another_cuda_is_an_error(asked: str | None, locked: tuple[CondaPackage | PipPackage, ...], said: str) -> None:
    text = 'name = "x"\npython = "3.12"\n[conda]\nchannels = ["c"]\npackages = ["x"]\n[pip]\npackages = ["y"]\n'
    source = TomlSource("envcompile.toml", text + (f"[cuda]\nversion = {asked}\n" if asked else ""))
    base = BaseImage("debian:bookworm-slim@sha256:" + "0" * 64, "debian-12", "2.36")
    one = tuple(each for each in locked if isinstance(each, PipPackage))
    other = tuple(each for each in locked if isinstance(each, CondaPackage))
    platform = PlatformLock("linux-64", None, base, base, (), one, other)
    choosing = BaseImageInputs(load_default_catalogue(), Anybody(), {}, {}, {}, {})
    if not said:
        (found,) = choose_base_images(source, parse_spec(source), (platform,), choosing)
        assert found.base_decision
        return
    with pytest.raises(DiagnosticsError) as raised:
        choose_base_images(source, parse_spec(source), (platform,), choosing)
    (mistake,) = raised.value.diagnostics
    assert (raised.value.exit_code, mistake.path) == (EXIT_FAILED, ("cuda", "version"))
    assert said in mistake.message


class Anybody:
    """A registry in which every tag is there."""

    def resolve_digest(self, reference: str) -> str:
        return f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}"

    def read_image(self, reference: str, platform: str) -> BaseImageProperties:
        raise AssertionError((reference, platform))
