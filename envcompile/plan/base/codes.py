"""The table of what can be said of a base: one row for each code, to become a rule of `explain` and of diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics import Diagnostic

if TYPE_CHECKING:
    from envcompile.plan.base.model import Said


class Code(NamedTuple):
    """`slug` as `envcompile.rules` names rules, `key` the spec's key that it is about, what to know and to do."""

    slug: str
    key: tuple[str, ...]
    summary: str
    explanation: str


_VERSION = ("cuda", "version")
_BASE = ("image", "base")

CODES = {
    "E_MIXED_CUDA_MAJOR": Code(
        "cuda-mixed",
        (),
        "locked packages bring or need more than one major version of CUDA",
        "Two CUDA runtimes of different major versions in one process crash or hide each other. Take releases of the "
        "packages that are built for the same major version.",
    ),
    "E_CUDA_CONFLICT": Code(
        "cuda-conflict",
        _VERSION,
        "what is locked uses another major version of CUDA than the spec asks for",
        "A major version of CUDA is another set of libraries: take packages that are built for the one asked for, or "
        "ask for theirs.",
    ),
    "E_CUDA_TOO_OLD": Code(
        "cuda-too-old",
        _VERSION,
        "a package needs a newer CUDA than the spec asks for",
        "A package that takes CUDA from the image was built with a newer minor version than the one asked for.",
    ),
    "E_UNKNOWN_CUDA": Code(
        "cuda-unknown",
        _VERSION,
        "no such version of CUDA is known",
        "The version is neither a toolkit nor an image that the catalogue knows. There never was a 12.7: `nvidia-smi` "
        "shows what the driver supports, which is no release of the toolkit.",
    ),
    "E_TAG_DELETED": Code(
        "cuda-deleted",
        _VERSION,
        "the images of this version of CUDA were deleted",
        "NVIDIA deletes images of versions that are no longer supported: 10.x and older, and all but the last patch of "
        "each 11.x.",
    ),
    "E_NO_IMAGE": Code(
        "cuda-no-image",
        _BASE,
        "no nvidia/cuda image fits",
        "What the packages need of the image, the system and the version of CUDA together exist in no image that is "
        "known with enough confidence.",
    ),
    "E_NO_CUDNN_MATCH": Code(
        "cudnn-no-match",
        _BASE,
        "no nvidia/cuda image has the cuDNN that a package needs",
        "cuDNN must be of the same major version and of at least the same minor version as the one a package was "
        "built with.",
    ),
    "E_ARCH_NO_IMAGE": Code(
        "cuda-no-platform",
        ("platforms",),
        "the nvidia/cuda image that fits is not there for a platform",
        "Images of older versions and of some systems are for amd64 only.",
    ),
    "E_GLIBC": Code(
        "base-glibc",
        _BASE,
        "the base's C library is too old for what is locked, or too new for its compiler",
        "A wheel runs with the glibc of its tag (manylinux_2_31) or newer; and nvcc up to 12.9 does not read the "
        "headers of glibc 2.41.",
    ),
    "E_MUSL": Code(
        "base-musl",
        _BASE,
        "the base has musl, and what is locked needs glibc",
        "Packages are locked for glibc, and there is no CUDA for Alpine.",
    ),
    "E_DRIVER_TOO_OLD": Code(
        "driver-too-old",
        ("cuda", "driver"),
        "the oldest driver to support cannot run this CUDA",
        "A major version of CUDA has an oldest driver, whatever its minor version; an nvidia/cuda image starts only on "
        "drivers of its own minor version.",
    ),
    "E_SM_UNSUPPORTED": Code(
        "compute-unsupported",
        ("cuda", "compute"),
        "what is locked has no code for a GPU architecture",
        "A toolkit compiles for a range of GPU architectures, and a wheel holds code for some of them.",
    ),
    "E_CONDA_CPU_BUILD": Code(
        "conda-cpu-build",
        ("conda", "packages"),
        "conda locked a build without CUDA",
        "A solver that is told of no CUDA takes builds for the CPU in silence.",
    ),
    "W_CPU_ONLY_WHEEL": Code(
        "cpu-only-wheel",
        ("pip", "packages"),
        "the locked wheel has no CUDA",
        "It runs on the CPU only, whatever the image brings.",
    ),
    "W_ORT_PRELOAD": Code(
        "onnxruntime-preload",
        ("pip", "packages"),
        "onnxruntime finds CUDA only when it is told to look",
        "Call `onnxruntime.preload_dlls()` (from 1.21) or import torch first: it does not look into other wheels.",
    ),
    "W_CUDA_MINOR_DIFFERS": Code(
        "cuda-minor-differs",
        _VERSION,
        "what is locked brings another minor version of CUDA than the spec asks for",
        "The locked one is used. Drivers of a major version run all of its minor versions.",
    ),
    "W_MINOR_COMPAT_ONLY": Code(
        "driver-minor-only",
        ("cuda", "driver"),
        "the oldest driver to support is older than this CUDA",
        "It runs by minor version compatibility: what newer drivers added is missing, and PTX of a newer minor version "
        "cannot be compiled by it.",
    ),
    "W_NVCC_MINOR_DIFFERS": Code(
        "nvcc-minor-differs",
        _BASE,
        "nvcc is of another minor version of CUDA than the packages",
        "There is no image of their minor version, and the nearest one of the same major version is taken.",
    ),
    "W_EOL_TAG": Code(
        "cuda-old-image",
        _VERSION,
        "the image is superseded, or its version no longer supported",
        "NVIDIA maintains the newest patch of a minor version only, and deletes the others after six months or more.",
    ),
}


def diagnostic(said: Said) -> Diagnostic:
    """What was said, as a diagnostic at the key of the spec that it is about."""
    code = CODES[said.code]
    return Diagnostic(code.slug, said.message, code.key, said.hint)
