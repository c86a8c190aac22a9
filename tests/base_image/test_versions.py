"""Versions in package names and tags that decide about the base image."""

from __future__ import annotations

from envcompile.base_image.model import find_cuda_releases
from envcompile.lock.model import CondaPackage, PipPackage


def conda(name: str, version: str) -> CondaPackage:
    return CondaPackage(name, version, "0", "c", "linux-64", f"{name}-{version}-0.conda", "0" * 64)


def pip(name: str, version: str) -> PipPackage:
    return PipPackage(name, version, f"{name}-{version}-py3-none-any.whl", "0" * 64)


def test_the_cuda_release_is_that_of_the_runtime() -> None:
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
