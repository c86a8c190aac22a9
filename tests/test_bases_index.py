"""Which bases real locks of the real index stand on. Images are asked of a hub on loopback, which has all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.file import loads
from tests.resolve.hub import made_hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.index,
    pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg signs the archives beside the images"),
]
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


@pytest.fixture(scope="module")
def settings() -> Iterator[str]:
    with made_hub() as (_, text):
        yield text


@pytest.mark.parametrize("name", CASES)
def test_base_of_a_real_lock(name: str, tmp_path: Path, settings: str) -> None:
    requirement, cuda, image = CASES[name]
    head = 'name = "x"\npython = "3.12"\nexclude-newer = 2026-11-22T00:00:00Z\n'
    (tmp_path / "envcompile.toml").write_text(f'{head}[pip]\npackages = ["{requirement}"]\n[cuda]\n{cuda}\n', "utf-8")
    (tmp_path / "config/envcompile").mkdir(parents=True)
    (tmp_path / "config/envcompile/config.toml").write_text(settings, "utf-8")
    own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    argv = [sys.executable, "-m", "envcompile", "lock"]
    # uv's own cache is the user's, as it is for every test of the real index.
    environment = {**os.environ, **own, "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(tmp_path / "uv"))}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    (platform,) = loads((tmp_path / "envcompile.lock").read_text("utf-8"), "x").platforms
    assert platform.run.image.partition("@")[0] == image
    assert platform.decided
    gpu = platform.decided.cuda is not None
    assert gpu is (name not in {"scikit-learn", "tensorflow alone"})
    assert ("NVIDIA_VISIBLE_DEVICES" in dict(platform.decided.env)) is (gpu and image == SLIM)
