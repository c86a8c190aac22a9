"""The rules about base images and CUDA, rows of the table in `rules`."""

from __future__ import annotations

from envcompile.rule import Rule

ROWS = (
    Rule(
        "cuda-mixed",
        "locked packages bring or need more than one major version of CUDA",
        "Two CUDA runtimes of different major versions in one process crash or hide each other. Take releases of "
        "the packages that are built for the same major version.",
    ),
    Rule(
        "cuda-too-old",
        "a package needs a newer CUDA than the spec asks for",
        "A package that takes CUDA from the image was built with a newer minor version than the one asked for.",
    ),
    Rule(
        "cuda-unknown",
        "no such version of CUDA is known",
        "The version is neither a toolkit nor an image that the catalogue knows. There never was a 12.7: "
        "`nvidia-smi` shows what the driver supports, which is no release of the toolkit.",
    ),
    Rule(
        "cuda-deleted",
        "the images of this version of CUDA were deleted",
        "NVIDIA deletes images of versions that are no longer supported: 10.x and older, and all but the last patch "
        "of each 11.x.",
    ),
    Rule(
        "cuda-no-image",
        "no nvidia/cuda image fits",
        "What the packages need of the image, the system and the version of CUDA together exist in no image that is "
        "known with enough confidence.",
    ),
    Rule(
        "cudnn-no-match",
        "no nvidia/cuda image has the cuDNN that a package needs",
        "cuDNN must be of the same major version and of at least the same minor version as the one a package was "
        "built with.",
    ),
    Rule(
        "cuda-no-platform",
        "the nvidia/cuda image that fits is not there for a platform",
        "Images of older versions and of some systems are for amd64 only.",
    ),
    Rule(
        "base-glibc",
        "the base's C library is too old for what is locked, or too new for its compiler",
        "A wheel runs with the glibc of its tag (manylinux_2_31) or newer; and nvcc up to 12.9 does not read the "
        "headers of glibc 2.41.",
    ),
    Rule(
        "base-musl",
        "the base has musl, and what is locked needs glibc",
        "Packages are locked for glibc, and there is no CUDA for Alpine.",
    ),
    Rule(
        "driver-too-old",
        "the oldest driver to support cannot run this CUDA",
        "A major version of CUDA has an oldest driver, whatever its minor version; an nvidia/cuda image starts only "
        "on drivers of its own minor version.",
    ),
    Rule(
        "compute-unsupported",
        "what is locked has no code for a GPU architecture",
        "A toolkit compiles for a range of GPU architectures, and a wheel holds code for some of them.",
    ),
    Rule(
        "base-python",
        "the base that is needed has no such Python",
        "An nvidia/cuda image has no Python of its own, and takes its distribution's: 3.12 with Ubuntu 24.04, 3.10 "
        "with 22.04, 3.8 with 20.04. Conda brings any Python.",
    ),
    Rule(
        "cuda-unpinned",
        "a package needs what only NVIDIA's own archive has, which has no snapshot",
        "Debian packages of NVIDIA are not kept: what is locked today cannot be had in a year. What they hold is "
        "taken from wheels or from conda packages instead, which have hashes.",
    ),
    Rule(
        "conda-cpu-build",
        "conda locked a build without CUDA",
        "A solver that is told of no CUDA takes builds for the CPU in silence.",
    ),
    Rule(
        "cpu-only-wheel",
        "the locked wheel has no CUDA",
        "It runs on the CPU only, whatever the image brings.",
    ),
    Rule(
        "onnxruntime-preload",
        "onnxruntime finds CUDA only when it is told to look",
        "Call `onnxruntime.preload_dlls()` (from 1.21) or import torch first: it does not look into other wheels.",
    ),
    Rule(
        "cuda-minor-differs",
        "what is locked brings another minor version of CUDA than the spec asks for",
        "The locked one is used. Drivers of a major version run all of its minor versions.",
    ),
    Rule(
        "driver-minor-only",
        "the oldest driver to support is older than this CUDA",
        "It runs by minor version compatibility: what newer drivers added is missing, and PTX of a newer minor "
        "version cannot be compiled by it.",
    ),
    Rule(
        "nvcc-minor-differs",
        "nvcc is of another minor version of CUDA than the packages",
        "There is no image of their minor version, and the nearest one of the same major version is taken.",
    ),
    Rule(
        "cuda-old-image",
        "the image is superseded, or its version no longer supported",
        "NVIDIA maintains the newest patch of a minor version only, and deletes the others after six months or more.",
    ),
    Rule(
        "gpu-unused",
        "libraries for a GPU in an environment that uses none",
        "Some packages bring NVIDIA's libraries whether or not there is a GPU: hundreds of megabytes that nothing "
        "loads. A build without them may have a name of its own (`xgboost-cpu`), or `exclude` under `[pip]` leaves "
        "them out.",
    ),
)
