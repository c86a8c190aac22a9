"""Promise 12: the locked packages fit together. The check of a lock's own facts, and families of packages."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from envcompile.lock.consistency import accepts_python, check_consistency
from envcompile.lock.families import FAMILIES, PackageFamily
from envcompile.lock.model import BaseImage, CondaPackage, PipPackage, PlatformLock, PythonInterpreter, SdistBuild
from tests.kit.project import CASES, parsed, spec_of

BASE = BaseImage(f"x@sha256:{64 * '0'}", "debian-12", "2.36")


def pip(name: str, version: str = "1.0", **more: object) -> PipPackage:
    return PipPackage(name, version, f"{name}-{version}-py3-none-any.whl", 64 * "a", **more)  # type: ignore[arg-type]


def conda(name: str, version: str = "1.0", *provides: str, depends: tuple[str, ...] = ()) -> CondaPackage:
    file = f"{name}-{version}-0.conda"
    return CondaPackage(name, version, "0", "c", "noarch", file, 64 * "b", depends=depends, provides=provides)


def check(
    wheels: list[PipPackage],
    archives: list[CondaPackage] = [],  # noqa: B006 - never changed
    *,
    requests: tuple[list[str], list[str]] = ([], []),
    more: str = "",
    **fields: object,
) -> list[tuple[str, tuple[object, ...]]]:
    """The messages and the places. `requests` are the requirements from pip and from conda; by default all packages."""
    names = [[each.name for each in packages] for packages in (wheels, archives)]
    own, theirs = (list(given or found) for given, found in zip(requests, names, strict=True))
    text = (
        f'name = "x"\npython = "3.12"\n[conda]\nchannels = ["c"]\npackages = {theirs}\n[pip]\npackages = {own}\n{more}'
    )
    python = PythonInterpreter("3.12.4", "/p", "spec")
    locked = PlatformLock("linux-64", python, BASE, BASE, (), tuple(wheels), tuple(archives), **fields)  # type: ignore[arg-type]
    return [(found.message, found.path) for found in check_consistency(spec_of(text), locked)]


ACCEPTED = ["", ">=3.10", "<3.12.5", "not a range"]
REJECTED = ["<3.12", "!=3.12.*", "~=3.12.5"]


@pytest.mark.parametrize("bound", [*ACCEPTED, *REJECTED])
def test_both_bounds_of_requires_python(bound: str) -> None:
    assert accepts_python(bound, "3.12.4") == (bound in ACCEPTED)
    message = f"`a` 1.0 requires Python {bound}, but the Python of `linux-64` is 3.12.4"
    expected = [] if bound in ACCEPTED else [(message, ("pip", "packages", 0))]
    assert check([pip("a", requires_python=bound)]) == expected


def test_a_prerelease_of_python_is_not_excluded_for_being_one() -> None:
    assert accepts_python(">=3.12", "3.15.0a1")


def test_build_dependencies_run_on_the_same_python() -> None:
    build = SdistBuild("a", (pip("tool", requires_python="<3"),))
    [(message, path)] = check([replace(pip("a"), kind="sdist")], pip_build=(build,))
    assert message.startswith("`tool` 1.0 requires Python <3")
    assert path == ("pip", "packages")


def test_versions_of_dependencies_from_pip_and_from_conda() -> None:
    app = pip("app", depends=("lib[x] <2,>=1", "torch >=2.6"))
    assert check([app, pip("lib", "1.4")], [conda("pytorch", "2.6.0", "torch")]) == []
    found = check([app, pip("lib", "2.0")], [conda("pytorch", "2.5.1", "torch")], requests=(["app"], []))
    assert found == [
        ("`app` 1.0 needs `lib[x] <2,>=1`, but the lock has lib 2.0", ("pip", "packages", 0)),
        ("`app` 1.0 needs `torch >=2.6`, but the lock has conda's torch 2.5.1", ("pip", "packages", 0)),
    ]
    # A lock of an earlier release has only names. A prerelease was chosen by the resolver.
    assert check([pip("app", depends=("lib",)), pip("lib")]) == []
    assert check([pip("app", depends=("lib >=1",)), pip("lib", "2.0rc1")]) == []


def test_no_distribution_twice() -> None:
    [(message, path)] = check([pip("numpy")], [conda("numpy", "2.0", "numpy")])
    assert message == "the lock has `numpy` from pip, and conda's `numpy` contains it too"
    assert path == ("pip", "packages", 0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["opencv-python", "opencv-contrib-python-headless"], []),
        (["opencv-contrib-python"], ["py-opencv"]),
        (["opencv-contrib-python"], ["opencv"]),
        (["numpy"], ["numpy-base"]),
        (["tensorflow", "tensorflow-cpu"], []),
        (["tf-nightly"], ["tensorflow-base"]),
        (["onnxruntime", "onnxruntime-gpu"], []),
        (["nvidia-nccl-cu12"], ["nccl"]),
        (["nvidia-nccl"], ["nccl"]),
        (["nvidia-cudnn-cu13"], ["cudnn"]),
        (["nvidia-cudnn-cu12"], ["libcudnn"]),
        (["nvidia-cublas"], ["libcublas"]),
        (["psycopg2", "psycopg2-binary"], []),
        (["faiss-cpu", "faiss-gpu-cu12"], []),
        (["faiss-cpu"], ["faiss"]),
        (["cupy-cuda12x"], ["cupy-core"]),
    ],
)
def test_one_of_a_family(ours: list[str], theirs: list[str]) -> None:
    """Promise 9: CUDA libraries are never shipped twice, not by conda and pip together either."""
    found = check(list(map(pip, ours)), list(map(conda, theirs)))
    assert all(" both contain " in message for message, _ in found)
    places = {path for _, path in found}
    assert places == {
        *(("pip", "packages", index) for index in range(len(ours))),
        *(("conda", "packages", index) for index in range(len(theirs))),
    }
    assert check(list(map(pip, ours)), list(map(conda, theirs)), more=f'allow-overlap = ["{ours[0]}"]\n') == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["nvidia-nccl-cu12", "nvidia-nccl-cu13"], []),  # other majors are other files
        (["opencv-python"], []),
        (["nvidia-nccl-cu12"], ["pytorch"]),
        (["nvidia-cuda-runtime-cu12"], ["cuda-cudart", "cuda-nvcc"]),  # nvcc of conda for wheels of pip
        ([], ["numpy", "numpy-base"]),
        (["numpy", "numpydoc", "opencv-python-rolling"], ["libcublas"]),
    ],
)
def test_no_family_conflict(ours: list[str], theirs: list[str]) -> None:
    assert check(list(map(pip, ours)), list(map(conda, theirs))) == []


def test_both_requirements_that_lead_to_a_family_are_named() -> None:
    wheels = [pip("xgboost", depends=("nvidia-nccl-cu12",)), pip("nvidia-nccl-cu12")]
    archives = [conda("pytorch", "2.9", "torch", depends=("nccl >=2",)), conda("nccl", "2.29")]
    found = check(wheels, archives, requests=(["xgboost"], ["pytorch"]))
    assert found == [
        ("`nvidia-nccl-cu12 1.0` and `conda nccl 2.29` both contain NCCL", ("pip", "packages", 0)),
        ("`conda nccl 2.29` and `nvidia-nccl-cu12 1.0` both contain NCCL", ("conda", "packages", 0)),
    ]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.content)
def test_every_family_has_a_source_and_patterns(family: PackageFamily) -> None:
    assert family.content
    assert family.source
    for pattern in (family.pip, family.conda):
        re.compile(pattern)


@pytest.mark.parametrize("name", CASES)
def test_the_locks_of_the_fixtures_are_consistent(name: str) -> None:
    spec, lock = parsed(name)
    assert [found for platform in lock.platforms for found in check_consistency(spec, platform)] == []
