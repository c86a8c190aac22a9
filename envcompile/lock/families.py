"""Distributions and conda packages that contain the same module or library under different names.

Package managers know only names, so none of them notices that `opencv-python` and `opencv-python-headless` overwrite
each other, or that conda's `nccl` and pip's `nvidia-nccl-cu12` contain the same library.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import CondaPackage, PipPackage, PlatformLock


class PackageFamily(NamedTuple):
    """Packages of which an environment should have only one.

    - `content`: what they contain, for messages.
    - `pip`: a pattern of the normalised names of distributions. `conda`: a pattern of the names of conda packages.
    - `is_module`: whether the distributions install the same files, so that one overwrites another. CUDA libraries
      for different major versions of CUDA do not.
    - `source`: the source of these facts.
    """

    content: str
    pip: str
    conda: str
    is_module: bool
    source: str


def _make_library_family(content: str, pip: str, conda: str) -> PackageFamily:
    """Return the family of a CUDA library. Its wheels have a suffix such as `-cu12` up to CUDA 12, and later none."""
    return PackageFamily(
        content, rf"nvidia-{pip}(?:-cu[0-9]+)?", conda, False, "the names of NVIDIA's wheels, and conda-forge"
    )


_MODULE_FAMILIES = (
    # module, pip, conda, source
    (
        "cv2",
        "opencv(?:-contrib)?-python(?:-headless)?",
        "opencv|py-opencv",
        "the README of opencv-python: install only one of its four packages",
    ),
    ("numpy", "numpy", "numpy|numpy-base", "the recipe of numpy in the channel defaults"),
    (
        "tensorflow",
        "tensorflow(?:-cpu|-gpu|-intel|-rocm|-cpu-aws)?|tf-nightly(?:-cpu|-gpu)?",
        "tensorflow|tensorflow-base|tensorflow-cpu|tensorflow-gpu",
        "the top-level modules of their wheels",
    ),
    (
        "onnxruntime",
        "onnxruntime(?:-gpu|-training|-training-cpu|-openvino|-qnn|-rocm|-migraphx|-directml)?|ort-nightly(?:-gpu)?",
        "onnxruntime|onnxruntime-novec",
        "the top-level modules of their wheels",
    ),
    ("faiss", "faiss-(?:cpu|gpu(?:-cu[0-9]+)?)", "faiss|faiss-cpu|faiss-gpu", "the top-level modules of their wheels"),
    ("psycopg2", "psycopg2|psycopg2-binary", "psycopg2", "the installation page of psycopg2"),
    ("PIL", "pillow|pillow-simd", "pillow", "the README of pillow-simd"),
    ("xgboost", "xgboost(?:-cpu)?", "py-xgboost(?:-.*)?", "the installation page of xgboost"),
    ("cupy", "cupy(?:-cuda[0-9]+x?|-rocm-[0-9-]+)?", "cupy|cupy-core", "the installation page of CuPy"),
)
FAMILIES = (
    *(
        PackageFamily(f"the module `{module}`", pip, conda, True, source)
        for module, pip, conda, source in _MODULE_FAMILIES
    ),
    _make_library_family("NCCL", "nccl", "nccl"),
    _make_library_family("cuDNN", "cudnn", "cudnn|libcudnn.*"),
    _make_library_family("cuBLAS", "cublas", "libcublas"),
    _make_library_family("cuFFT", "cufft", "libcufft"),
    _make_library_family("cuRAND", "curand", "libcurand"),
    _make_library_family("cuSOLVER", "cusolver", "libcusolver"),
    _make_library_family("cuSPARSE", "cusparse", "libcusparse"),
    _make_library_family("cuSPARSELt", "cusparselt", "cusparselt"),
    _make_library_family("nvJitLink", "nvjitlink", "libnvjitlink"),
    _make_library_family("NVSHMEM", "nvshmem", "libnvshmem3?"),
    _make_library_family("cuFile", "cufile", "libcufile"),
    # The CUDA runtime is not listed. It has only 1 MB, and conda's nvcc, which pip packages may need, depends on the
    # runtime from conda.
    _make_library_family("NVRTC", "cuda-nvrtc", "cuda-nvrtc"),
    _make_library_family("CUPTI", "cuda-cupti", "cuda-cupti"),
    _make_library_family("NVTX", "nvtx", "cuda-nvtx"),
)


class FamilyConflict(NamedTuple):
    """Locked packages of one family: the pip packages, and the conda packages, each sorted by name."""

    family: PackageFamily
    pip: tuple[PipPackage, ...]
    conda: tuple[CondaPackage, ...]


class FileOverlap(NamedTuple):
    """Packages that install different files at the same path, which only the wheels show, not the lock.

    `packages` are their names in the order of their installation; `path` is one of `path_count` such paths, that of a
    shared library if one of them is. `is_fatal` means that one of the packages cannot work: a path is a shared library,
    or the file of one package is a folder of the other.
    """

    packages: tuple[str, ...]
    path: str
    path_count: int
    is_fatal: bool


def find_family_conflicts(locked: PlatformLock) -> Iterator[FamilyConflict]:
    """Yield the families with a pip package beside a conda package, or with several pip packages of one module.

    Distributions that a conda package provides do not count, because pip does not install them.
    """
    provided = {name for package in locked.conda for name in package.provides}
    packages = [each for each in locked.pip if each.name not in provided]
    for family in FAMILIES:
        pip = tuple(each for each in packages if re.fullmatch(family.pip, each.name))
        conda = tuple(each for each in locked.conda if re.fullmatch(family.conda, each.name))
        if pip and (conda or (family.is_module and len(pip) > 1)):
            yield FamilyConflict(family, pip, conda)
