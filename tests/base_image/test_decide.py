"""What holds of every decision, whatever is locked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue.replay import read_packages, read_request
from envcompile.base_image.catalogue import load_default_catalogue, parse_catalogue
from envcompile.base_image.decide import decide_base_images, find_following_wheels
from envcompile.base_image.model import (
    BaseImageRequest,
    BaseImageResult,
    PackageSummary,
    find_wheel_glibc,
    summarize_packages,
)
from envcompile.base_image.needs import find_cuda_sign
from envcompile.diagnostics.rules import RULES
from envcompile.lock.model import CondaPackage, PipPackage, SizeSaving
from envcompile.spec.model import ANY_CUDA, NO_CUDA, CudaRequest
from envcompile.versions import minor_release
from tests.kit.effort import count_examples

ROOT = Path(__file__).parents[2]
CASES: list[dict[str, Any]] = json.loads((ROOT / "fixtures/base/cases.json").read_text("utf-8"))["vectors"]
CATALOGUE = load_default_catalogue()
VERSIONS = [
    "0.4.26",
    "0.18.1",
    "0.32.0",
    "1.18.1",
    "1.22.0",
    "1.31.1",
    "2.0.1",
    "2.8.0",
    "2.11.0+cu126",
    "2.16.1",
    "4.4.0",
]
PINS = [
    *(PackageSummary("nvidia-cuda-runtime-cu12", version, "wheel") for version in ("12.8.90", "12.4.127", "12.99.1")),
    *(PackageSummary("nvidia-cuda-runtime", version, "wheel") for version in ("13.0.96", "13.5.37")),
    PackageSummary("nvidia-cudnn-cu12", "9.10.2.21", "wheel"),
    PackageSummary("nvidia-cublas-cu12", "12.8.4.1", "wheel"),
    PackageSummary("nvidia-cuda-nvcc", "13.0.88", "wheel"),
    PackageSummary("cuda-toolkit", "12.9.2.0", "wheel"),
    PackageSummary("cuda-version", "12.6", "conda"),
    PackageSummary("cuda-nvcc", "12.6.85", "conda"),
]
known = st.builds(
    PackageSummary,
    st.sampled_from(sorted(CATALOGUE.package_needs)),
    st.sampled_from(VERSIONS),
    st.sampled_from(["wheel", "sdist", "conda"]),
    st.sampled_from(["", "cpu_py312", "cuda126_py312"]),
)
sets = st.lists(st.one_of(known, st.sampled_from(PINS)), max_size=7)
questions = st.builds(
    BaseImageRequest,
    python=st.sampled_from([None, "3.8", "3.12"]),
    platforms=st.sampled_from([("linux/amd64",), ("linux/arm64",), ("linux/amd64", "linux/arm64")]),
    cuda=st.sampled_from(
        [ANY_CUDA, ANY_CUDA, NO_CUDA, *map(CudaRequest, ("11", "12", "12.4", "12.7", "12.8.1", "13.0", "11.2.0", "x"))]
    ),
    system=st.sampled_from(
        [None, None, "ubuntu22.04", "ubuntu26.04", "rockylinux8", "amzn2023", "trixie", "alpine", "?"]
    ),
    image=st.sampled_from(
        [
            *[None] * 6,
            *("python:3.12-slim-bookworm", "nvidia/cuda:12.8.1-cudnn-devel-ubuntu22.04", "nvidia/cuda:11.2.0-base-x"),
            *("nvidia/cuda:12.6.3-runtime-ubuntu24.04", "registry.example.com/x@sha256:" + "0" * 64, "python:alpine"),
        ]
    ),
    driver=st.sampled_from([None, None, "470", "535.183.01", "550", "595.45.04"]),
    data_centre=st.booleans(),
    compute=st.sampled_from([(), (), ("8.0",), ("12.0",), ("7.0", "9.0"), ("nonsense",)]),
    jit=st.booleans(),
    gpu=st.sampled_from([None, None, True, False]),
    glibc=st.sampled_from([None, "2.28", "2.39"]),
    cmake=st.sampled_from(["", "-DGGML_CUDA=on -DUSE_CUDA=1"]),
    accept_old=st.booleans(),
    has_all_packages=st.booleans(),
)


def first(case: dict[str, Any]) -> BaseImageResult:
    return decide_base_images(read_request(case["input"]), read_packages(case["input"]), CATALOGUE)


@settings(max_examples=count_examples(400))
@given(questions, sets)
def test_total(asked: BaseImageRequest, held: list[PackageSummary]) -> None:
    """A decision or its errors, never a traceback; every image that is chosen exists, for every platform asked."""
    decision = decide_base_images(asked, held, CATALOGUE)
    assert bool(decision.errors) == (decision.build is None) == (decision.run is None)
    assert {each.rule for each in (*decision.errors, *decision.warnings)} <= RULES.keys()
    tags = {
        f"{CATALOGUE.repository}:{CATALOGUE.format_tag(image, kind)}": image
        for image in CATALOGUE.images
        for kind in CATALOGUE.flavours
        if CATALOGUE.has_flavour(image, kind)
    }
    for stage in (decision.build, decision.run):
        if stage and stage.flavour:
            assert stage.image in tags or asked.image
            image = tags[stage.image]
            assert {each.split("/")[1] for each in asked.platforms} <= set(image.architectures)
    if decision.build and decision.run:
        # The same system for both stages, so that what is compiled in one runs in the other.
        assert (decision.build.system, decision.build.glibc) == (decision.run.system, decision.run.glibc)
    steps = [row.step for row in decision.explanation]
    assert steps == sorted(steps)
    assert all(each.image and each.because for row in decision.explanation for each in row.rejected)
    assert all(row.decision and row.source for row in decision.explanation)


@settings(max_examples=count_examples(400))
@given(questions.filter(lambda asked: asked.image is None), sets)
def test_nothing_of_cuda_is_shipped_twice(asked: BaseImageRequest, held: list[PackageSummary]) -> None:
    """Promise 9: the smallest base that works. CUDA libraries are never shipped twice."""
    decision = decide_base_images(asked, held, CATALOGUE)
    if decision.run is None or decision.build is None:
        return
    told = [row for row in decision.explanation if row.rule == "system"]
    wanted = {word.strip(",") for row in told for word in row.decision.split()}
    if decision.run.flavour:
        # A package says what it does not find in the lock; or the driver is older than all that CUDA runs on.
        compat = decision.run.flavour == "base" and asked.data_centre
        assert told or compat
        assert ("cudnn" in wanted) is ("cudnn" in decision.run.flavour)
        assert ("devel" in wanted) is ("devel" in decision.run.flavour)
    assert ("devel" in decision.build.flavour) <= any(row.rule == "compiled" for row in decision.explanation)


@settings(max_examples=count_examples(100))
@given(questions, sets, st.randoms())
def test_order_does_not_matter(asked: BaseImageRequest, held: list[PackageSummary], random: Any) -> None:
    mixed = list(held)
    random.shuffle(mixed)
    assert decide_base_images(asked, mixed, CATALOGUE) == decide_base_images(asked, held, CATALOGUE)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_an_unrelated_package_changes_nothing(case: dict[str, Any]) -> None:
    asked, held = read_request(case["input"]), read_packages(case["input"])
    more = (*held, PackageSummary("requests", "99.0", "wheel"), PackageSummary("nvidia-ml-py", "13.590.44", "wheel"))
    assert decide_base_images(asked, more, CATALOGUE) == decide_base_images(asked, held, CATALOGUE)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES if "cuda" in case["expect"]])
def test_never_a_maximum(case: dict[str, Any]) -> None:
    """The lock states the CUDA version: a compiler or library of a newer minor beside the runtime does not move it."""
    held = read_packages(case["input"])
    before = first(case)
    newer = [
        PackageSummary("nvidia-nvjitlink", "13.99.1", "wheel"),
        PackageSummary("nvidia-cuda-nvcc", "13.99.1", "wheel"),
    ]
    mine = [each for each in newer if each.name not in {one.name for one in held}]
    after = decide_base_images(read_request(case["input"]), (*held, *mine), CATALOGUE)
    assert (after.cuda, after.driver) == (before.cuda, before.driver)


def test_what_is_smaller_than_devel_says_by_how_much() -> None:
    saved = {case["id"]: first(case).saving for case in CASES}
    assert saved["V01"] == SizeSaving("9.9", "nvidia/cuda:12.8-devel")
    assert saved["V21"] == SizeSaving("6.2", "nvidia/cuda:12.6-cudnn-devel")
    assert saved["V45"] is None  # devel is what runs
    assert saved["V69"] is None  # there is no CUDA to leave out


def test_the_trail_tells_why() -> None:
    """Which package led to which decision, and what was rejected: the example of flash-attn and torch."""
    case = {"pip": [("torch", "2.8.0", "wheel"), ("nvidia-cuda-runtime-cu12", "12.8.90", "wheel")]}
    held = [PackageSummary(*each) for each in (*case["pip"], ("flash-attn", "2.8.3", "sdist"))]
    decision = decide_base_images(BaseImageRequest("3.12"), held, CATALOGUE)
    rows = {row.rule: row for row in decision.explanation}
    assert rows["compiled"].inputs == ("flash-attn==2.8.3 (sdist)",)
    assert rows["image.build"].decision == "build: nvidia/cuda:12.8.2-devel-ubuntu24.04: newest patch of 12.8 that fits"
    assert ("nvidia/cuda:12.8.1-devel-ubuntu24.04", "12.8.2 is newer") in rows["image.build"].rejected
    assert decision.compute == ("7.0", "7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
    assert dict(decision.build_env)["TORCH_CUDA_ARCH_LIST"] == "7.0;7.5;8.0;8.6;8.9;9.0;10.0;12.0"
    assert decision.run
    assert (decision.run.os, decision.run.glibc, decision.run.python_source) == ("ubuntu-24.04", "2.39", "distribution")


def reasons(decision: BaseImageResult) -> dict[str, str]:
    return {each.image: each.because for row in decision.explanation for each in row.rejected}


def test_every_rejected_image_has_its_own_reason() -> None:
    tensorflow = [PackageSummary("tensorflow", "2.18.1", "wheel")]
    rejected = reasons(decide_base_images(BaseImageRequest("3.11"), tensorflow, CATALOGUE))
    assert rejected["nvidia/cuda:12.6.2-cudnn-runtime-ubuntu24.04"] == "12.6.3 is newer"
    assert rejected["nvidia/cuda:12.6.3-devel-ubuntu24.04"] == "larger, and nothing needs it here"
    onnxruntime = [PackageSummary("onnxruntime-gpu", "1.22.0", "wheel")]
    rejected = reasons(decide_base_images(BaseImageRequest("3.12", cuda=CudaRequest("12.8")), onnxruntime, CATALOGUE))
    because = "no such image is known with enough confidence"
    assert rejected["nvidia/cuda:12.8.2-cudnn-runtime-ubuntu24.04"] == because
    rejected = reasons(
        decide_base_images(BaseImageRequest("3.11"), [PackageSummary("tensorflow", "2.15.1", "wheel")], CATALOGUE)
    )
    assert rejected["nvidia/cuda:12.6"] == "it has cuDNN 9.5.1.17, and `tensorflow==2.15.1` needs 8.9"
    assert rejected["nvidia/cuda:12.2-cudnn-runtime-ubuntu24.04"] == "there is none that fits"


def test_an_image_that_looks_at_the_driver_says_from_which_on() -> None:
    by_id = {case["id"]: case for case in CASES}
    system, plain = first(by_id["V21"]), first(by_id["V01"])
    assert (system.driver, system.image_driver) == ("525.60.13", "560.28.03")
    assert (plain.driver, plain.image_driver) == ("525.60.13", None)


def test_all_mistakes_at_once() -> None:
    held = [PackageSummary("torch", "2.8.0", "wheel"), PackageSummary("nvidia-cuda-runtime-cu12", "12.8.90", "wheel")]
    decision = decide_base_images(
        BaseImageRequest("3.12", cuda=CudaRequest("11.8"), driver="470", compute=("3.5",)), held, CATALOGUE
    )
    assert [each.rule for each in decision.errors] == ["cuda-conflict", "compute-unsupported", "driver-too-old"]


def test_a_lock_is_whole() -> None:
    """In a whole lock a runtime's wheel is only itself: cupy finds headers in it, and no libraries."""
    held = [
        PackageSummary("cupy-cuda12x", "14.2.0", "wheel"),
        PackageSummary("nvidia-cuda-runtime-cu12", "12.6.77", "wheel"),
    ]
    decision = decide_base_images(BaseImageRequest("3.12"), held, CATALOGUE)
    assert decision.run
    assert (decision.run.image, decision.apt_run) == ("nvidia/cuda:12.6.3-runtime-ubuntu24.04", ())
    some = decide_base_images(BaseImageRequest("3.12", has_all_packages=False), held, CATALOGUE)
    assert some.run
    assert some.run.image == "python:3.12-slim-bookworm"


def test_a_newer_catalogue_is_handed_in() -> None:
    data = json.loads((ROOT / "envcompile/base_image/data/catalogue.json").read_text("utf-8"))
    data["images"]["rows"].append(["13.5.0", "ubuntu24.04", "hhhhh", "amd64 arm64", "", "9.28.1.4", "u"])
    held = [PackageSummary("onnxruntime-gpu", "1.31.1", "wheel")]
    asked = BaseImageRequest("3.12", cuda=CudaRequest("13.5"))
    assert [each.rule for each in decide_base_images(asked, held, CATALOGUE).errors] == ["cuda-no-image"]
    newer = decide_base_images(asked, held, parse_catalogue(json.dumps(data)))
    assert newer.run
    assert newer.run.image == "nvidia/cuda:13.5.0-cudnn-runtime-ubuntu24.04"


def test_code_runs_on_newer_gpus_of_its_major_version_and_ptx_on_all_newer() -> None:
    data = json.loads((ROOT / "envcompile/base_image/data/catalogue.json").read_text("utf-8"))
    held = [PackageSummary("torch", "2.8.0", "wheel"), PackageSummary("nvidia-cuda-runtime-cu12", "12.8.90", "wheel")]
    served = {}
    for ptx in (False, True):
        data["compute"]["torch"] = [["cu128", "0", "", "7.5 8.0", ptx]]
        served[ptx] = decide_base_images(BaseImageRequest("3.12"), held, parse_catalogue(json.dumps(data))).compute
    assert served == {False: ("7.5", "8.0", "8.6", "8.9"), True: ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")}


def test_from_a_lock() -> None:
    pip = PipPackage("vllm", "0.18.1", "vllm-0.18.1-cp38-abi3-manylinux_2_31_x86_64.whl", "0" * 64)
    conda = CondaPackage("cuda-version", "12.6", "h1", "conda-forge", "noarch", "cuda-version.conda", "0" * 64)
    held = summarize_packages((pip,), (conda,))
    assert [(each.name, each.kind, each.build) for each in held] == [
        ("vllm", "wheel", ""),
        ("cuda-version", "conda", "h1"),
    ]
    decision = decide_base_images(
        BaseImageRequest("3.12", system="rockylinux8"), summarize_packages((pip,), ()), CATALOGUE
    )
    assert [each.rule for each in decision.errors] == ["base-glibc"]


@pytest.mark.parametrize(
    ("file", "needed"),
    [
        ("vllm-0.18.1-cp38-abi3-manylinux_2_31_x86_64.whl", "2.31"),
        ("x-1-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "2.27"),
        ("x-1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", "2.17"),
        ("torch-2.6.0-cp311-cp311-manylinux1_x86_64.whl", "2.5"),
        ("x-1-py3-none-any.whl", None),
        ("x-1.tar.gz", None),
    ],
)
def test_glibc_of_a_wheel(file: str, needed: str | None) -> None:
    assert find_wheel_glibc(file) == needed


def test_frozen() -> None:
    decision = first(CASES[0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        decision.cuda = "x"  # type: ignore[misc]
    assert minor_release("12.8.90") == "12.8"


TORCH = (
    PackageSummary("torch", "2.8.0", "wheel"),
    PackageSummary("nvidia-cuda-runtime-cu12", "12.8.90", "wheel"),
    PackageSummary("nvidia-cublas-cu12", "12.8.4.1", "wheel"),
)
UNKNOWN = PackageSummary("acme-ops", "1.0", "sdist")


@pytest.mark.parametrize(
    ("variables", "sign"),
    [
        ({}, None),
        ({"MAX_JOBS": "4"}, None),
        ({"FORCE_CUDA": "1"}, True),
        ({"FORCE_CUDA": "0"}, False),
        ({"FORCE_CUDA": "0", "TORCH_CUDA_ARCH_LIST": "8.0"}, False),
        ({"TORCH_CUDA_ARCH_LIST": "8.0"}, True),
        ({"WITH_CUDA": "ON"}, True),
        ({"USE_CUDA": "0"}, None),
        ({"CMAKE_ARGS": "-DGGML_CUDA=on"}, True),
        ({"CMAKE_ARGS": "-DGGML_CUDA=off -DOTHER=on"}, None),
    ],
)
def test_signs_of_cuda_in_a_build_environment(variables: dict[str, str], *, sign: bool | None) -> None:
    assert find_cuda_sign(variables.items()) is sign


@pytest.mark.parametrize("question", [{"cuda_sdists": ("acme-ops",)}, {"torch_sdists": ("acme-ops",)}])
def test_an_unknown_sdist_with_a_sign_of_cuda_gets_a_compiler(question: dict[str, tuple[str, ...]]) -> None:
    """An unknown package that appears to compile CUDA code always causes an error or a warning."""
    decision = decide_base_images(BaseImageRequest("3.12", **question), (*TORCH, UNKNOWN), CATALOGUE)  # type: ignore[arg-type]
    assert decision.build
    assert decision.run
    assert (decision.build.flavour, decision.run.flavour) == ("devel", "")
    assert [each.rule for each in decision.warnings] == ["cuda-sdist"]
    assert "TORCH_CUDA_ARCH_LIST" in dict(decision.build_env)


@pytest.mark.parametrize(
    ("packages", "question"),
    [
        ((*TORCH, UNKNOWN), {}),
        ((PackageSummary("torch", "2.8.0+cpu", "wheel"), UNKNOWN), {"torch_sdists": ("acme-ops",)}),
        ((UNKNOWN,), {"cuda_sdists": ("acme-ops",), "gpu": False}),
        ((UNKNOWN,), {"cuda_sdists": ("acme-ops",), "cuda": NO_CUDA}),
        ((*TORCH, PackageSummary("acme-ops", "1.0", "wheel")), {"torch_sdists": ("acme-ops",)}),
    ],
)
def test_no_sign_of_cuda(packages: tuple[PackageSummary, ...], question: dict[str, object]) -> None:
    decision = decide_base_images(BaseImageRequest("3.12", **question), packages, CATALOGUE)  # type: ignore[arg-type]
    assert decision.build
    assert decision.build.flavour == ""
    assert "cuda-sdist" not in [each.rule for each in decision.warnings]


def test_packages_that_follow_the_major_version_of_cuda() -> None:
    bindings = PackageSummary("cuda-bindings", "13.5.0", "wheel")
    held = (*TORCH, bindings, PackageSummary("cuda-python", "12.6.2", "wheel"))
    assert find_following_wheels(held, "12.8.1", CATALOGUE) == ("cuda-bindings ==12.*",)
    assert find_following_wheels(held, "13.0.2", CATALOGUE) == ("cuda-python ==13.*",)
    assert find_following_wheels(held, None, CATALOGUE) == ()


def test_code_that_is_compiled_when_it_runs() -> None:
    gsplat = PackageSummary("gsplat", "1.5.3", "wheel")
    [warning] = decide_base_images(BaseImageRequest("3.12"), (*TORCH, gsplat), CATALOGUE).warnings
    assert warning.rule == "run-time-compiler"
    assert "nvcc" in warning.message
    decision = decide_base_images(BaseImageRequest("3.12", jit=True), (*TORCH, gsplat), CATALOGUE)
    assert decision.run
    assert decision.run.flavour == "devel"
    assert decision.warnings == ()
