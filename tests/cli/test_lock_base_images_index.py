"""Which bases real locks of the real index stand on. Images are asked of a hub on loopback, which has all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from tests.kit.hub import made_hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.lock.model import PlatformLock

pytestmark = [
    pytest.mark.index,
    pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg signs the archives beside the images"),
]
COMMAND = [sys.executable, "-m", "envcompile"]
SLIM = "python:3.12-slim-bookworm"
# What is asked, and what must run it. Dated, so that tomorrow's releases do not change the answer.
CASES = {
    "torch": ("torch", "", SLIM),
    "jax": ("jax[cuda12]", "", SLIM),
    "tensorflow with its libraries": ("tensorflow[and-cuda]", "", SLIM),
    "tensorflow alone": ("tensorflow", "", SLIM),
    "tensorflow for a GPU": ("tensorflow", 'version = "12"', "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04"),
    "cupy": ("cupy-cuda12x", "", "nvidia/cuda:12.6.3-runtime-ubuntu24.04"),
    "onnxruntime": ("onnxruntime-gpu", "", "nvidia/cuda:13.0.3-cudnn-runtime-ubuntu24.04"),
    "faster-whisper": ("faster-whisper", "", "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04"),
    "scikit-learn": ("scikit-learn", "", SLIM),
    # 200 packages: some ten seconds.
    "vllm": ("vllm", "", SLIM),
}


# It has no wheel, and its setup.py says what it needs only when it runs.
FLASH_ATTENTION = """[pip]
packages = ["torch ==2.8.0", "flash-attn ==2.8.3"]
allow-sdist = ["flash-attn"]
[pip.metadata.flash-attn]
requires-dist = ["torch", "einops"]
build-requires = ["torch", "psutil", "ninja", "packaging"]
build-env = { FLASH_ATTENTION_FORCE_BUILD = "TRUE", MAX_JOBS = "4" }
[cuda]
compute = ["8.0", "9.0"]
"""


@pytest.fixture(scope="module")
def settings() -> Iterator[str]:
    with made_hub() as (_, text):
        yield text


@pytest.mark.parametrize("name", CASES)
def test_base_of_a_real_lock(name: str, tmp_path: Path, settings: str) -> None:
    requirement, cuda, image = CASES[name]
    platform = locked(tmp_path, settings, f'[pip]\npackages = ["{requirement}"]\n[cuda]\n{cuda}\n')
    assert platform.run.image.partition("@")[0] == image
    assert platform.base_decision
    gpu = platform.base_decision.cuda is not None
    assert gpu is (name not in {"scikit-learn", "tensorflow alone"})
    assert ("NVIDIA_VISIBLE_DEVICES" in dict(platform.base_decision.env)) is (gpu and image == SLIM)


def test_an_sdist_that_compiles_cuda(tmp_path: Path, settings: str) -> None:
    """nvcc where it is compiled; where it runs the plain image of the same system, without what the build needs."""
    platform = locked(tmp_path, settings, FLASH_ATTENTION)
    assert [each.file for each in platform.pip if each.kind == "sdist"] == ["flash_attn-2.8.3.tar.gz"]
    assert platform.build.image.partition("@")[0] == "nvidia/cuda:12.8.2-devel-ubuntu24.04"
    assert platform.run.image.partition("@")[0] == "ubuntu:24.04"
    assert platform.base_decision
    assert platform.base_decision.apt == ("python3.12",)
    assert platform.base_decision.apt_build == ("python3.12", "python3.12-dev")
    assert platform.base_decision.build_env == (("CUDA_HOME", "/usr/local/cuda"), ("TORCH_CUDA_ARCH_LIST", "8.0;9.0"))
    assert dict(platform.base_decision.env)["NVIDIA_VISIBLE_DEVICES"] == "all"
    # It is compiled against the very torch that runs.
    together = (*platform.pip, *platform.pip_build[0].packages)
    assert [each.version for each in together if each.name == "torch"] == ["2.8.0", "2.8.0"]
    text = subprocess.run([*COMMAND, "dockerfile"], cwd=tmp_path, capture_output=True, check=True, text=True).stdout
    lines = "CUDA_HOME=/usr/local/cuda\nFLASH_ATTENTION_FORCE_BUILD=TRUE\nMAX_JOBS=4\nTORCH_CUDA_ARCH_LIST=8.0;9.0\n"
    assert f"COPY <<'EOF' /sdist-1/environment.txt\n{lines}EOF\n" in text


def locked(tmp_path: Path, settings: str, spec: str) -> PlatformLock:
    """The one platform of a lock of the real index."""
    head = 'name = "x"\npython = "3.12"\nexclude-newer = 2026-11-22T00:00:00Z\n'
    (tmp_path / "envcompile.toml").write_text(head + spec, "utf-8")
    (tmp_path / "config/envcompile").mkdir(parents=True)
    (tmp_path / "config/envcompile/config.toml").write_text(settings, "utf-8")
    own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    # uv's own cache is the user's, as it is for every test of the real index.
    environment = {**os.environ, **own, "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(tmp_path / "uv"))}
    done = subprocess.run(
        [*COMMAND, "lock"], cwd=tmp_path, env=environment, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    (platform,) = parse_lock((tmp_path / "envcompile.lock").read_text("utf-8"), "x").platforms
    return platform
