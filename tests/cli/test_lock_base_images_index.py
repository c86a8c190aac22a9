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
    # 200 packages.
    "vllm": ("vllm", "", SLIM),
}
LONG = {"tensorflow with its libraries", "vllm"}


# It has no wheel, and its dependencies count as dynamic: that they hold is a known fact, and so is how it is built.
FLASH_ATTENTION = """[pip]
packages = ["torch ==2.8.0", "flash-attn ==2.8.3"]
allow-sdist = ["flash-attn"]
[pip.metadata.flash-attn]
build-env = { MAX_JOBS = "4" }
[cuda]
compute = ["8.0", "9.0"]
"""


@pytest.fixture(scope="module")
def settings() -> Iterator[str]:
    with made_hub() as (_, text):
        yield text


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in CASES],
)
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
    assert f"COPY <<'EOF' /run/sdist/environment\n{lines}EOF\n" in text


MMCV = """[pip]
packages = ["torch ==2.1.2", "torchvision ==0.16.2", "numpy <2", "mmengine", "mmcv ==2.1.0"]
allow-sdist = ["mmcv"]
[cuda]
compute = ["8.0"]
"""


def test_an_unknown_sdist_that_is_built_with_torch(tmp_path: Path, settings: str) -> None:
    """Signs of CUDA are never ignored: nvcc in the build stage, and a warning."""
    platform = locked(tmp_path, settings, MMCV, python="3.10")
    assert platform.build.image.partition("@")[0] == "nvidia/cuda:12.1.1-devel-ubuntu22.04"
    assert platform.run.image.partition("@")[0] == "ubuntu:22.04"
    assert platform.base_decision
    assert [each.rule for each in platform.base_decision.warnings] == ["cuda-sdist"]
    [mmcv] = [each for each in platform.pip if each.kind == "sdist"]
    assert mmcv.build_env == (("FORCE_CUDA", "1"), ("MMCV_WITH_OPS", "1"))


@pytest.mark.parametrize(
    ("packages", "cuda", "rules"),
    [
        (["torch ==2.4.1", "gsplat", "nerfacc"], "", ["run-time-compiler", "run-time-compiler"]),
        (["unsloth"], "", ["run-time-compiler"]),
        (["unsloth"], "jit = true", []),
    ],
)
def test_code_that_is_compiled_when_it_runs(
    packages: list[str], cuda: str, rules: list[str], tmp_path: Path, settings: str
) -> None:
    platform = locked(tmp_path, settings, f"[pip]\npackages = {packages}\n[cuda]\n{cuda}\n")
    assert platform.base_decision
    assert [each.rule for each in platform.base_decision.warnings] == rules


def test_cuda_python_follows_the_major_version_of_cuda(tmp_path: Path, settings: str) -> None:
    platform = locked(tmp_path, settings, '[pip]\npackages = ["torch ==2.8.0", "cuda-python"]\n')
    versions = {each.name: each.version.partition(".")[0] for each in platform.pip}
    assert (versions["cuda-python"], versions["cuda-bindings"]) == ("12", "12")


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        (
            '[pip]\npackages = ["torch"]\n[cuda]\ncompute = ["7.0"]\n',
            "error[compute-unsupported]: GPU architecture 7.0 is not supported",
            'write `version = "12"` in `[cuda]`',
        ),
        (
            '[pip]\npackages = ["torch", "tensorflow[and-cuda]"]\n',
            "error[cuda-mixed]",
            'write `version = "12"` in `[cuda]`',
        ),
        (
            'platforms = ["linux-aarch64"]\n[pip]\npackages = ["torch ==2.9.1"]\n[cuda]\ncompute = ["9.0"]\n',
            "error[compute-unsupported]: the locked wheel of `torch` 2.9.1 has no CUDA",
            "take a release or an index that has builds with CUDA",
        ),
        (
            '[pip]\npackages = ["tensorrt-llm"]\n',
            "error[unsolvable]: no wheel of `tensorrt-llm` satisfies",
            "NVIDIA publishes its wheels in an index of its own",
        ),
    ],
)
def test_an_error_has_a_hint_that_is_true(spec: str, message: str, hint: str, tmp_path: Path, settings: str) -> None:
    done = lock(tmp_path, settings, spec)
    assert done.returncode == 1
    assert message in done.stderr
    assert hint in done.stderr
    if 'version = "12"' in hint:
        table = spec if "[cuda]" in spec else f"{spec}[cuda]\n"
        solved = lock(tmp_path, settings, table.replace("[cuda]\n", '[cuda]\nversion = "12"\n'))
        assert solved.returncode == 0, solved.stderr


def locked(tmp_path: Path, settings: str, spec: str, python: str = "3.12") -> PlatformLock:
    """The one platform of a lock of the real index."""
    done = lock(tmp_path, settings, spec, python)
    assert done.returncode == 0, done.stderr
    (platform,) = parse_lock((tmp_path / "envcompile.lock").read_text("utf-8"), "x").platforms
    return platform


def lock(tmp_path: Path, settings: str, spec: str, python: str = "3.12") -> subprocess.CompletedProcess[str]:
    head = f'name = "x"\npython = "{python}"\nexclude-newer = 2026-11-22T00:00:00Z\n'
    (tmp_path / "envcompile.toml").write_text(head + spec, "utf-8")
    (tmp_path / "config/envcompile").mkdir(parents=True, exist_ok=True)
    (tmp_path / "config/envcompile/config.toml").write_text(settings, "utf-8")
    own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    # uv's own cache is the user's, as it is for every test of the real index.
    environment = {**os.environ, **own, "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(tmp_path / "uv"))}
    return subprocess.run(
        [*COMMAND, "lock"], cwd=tmp_path, env=environment, capture_output=True, check=False, text=True
    )
