"""A lock whose bases follow from what was locked: the real command line, with an index and a hub on loopback."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from envcompile.base_image.python_builds import find_standalone_python
from envcompile.lock.diff import compare_locks
from envcompile.lock.model import PythonInterpreter
from envcompile.lock.writer import format_lock
from envcompile.versions import is_release_of, version_numbers
from tests.kit.channel import made_channel
from tests.kit.hub import PATCHES, made_hub
from tests.kit.index import Index, Wheel, served
from tests.kit.machine import Machine
from tests.kit.sdists import Sdist, metadata, system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.lock.model import BaseImageDecision, Lock
    from tests.kit.hub import Hub

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg signs the archives")
CUDA = ("nvidia-cuda-runtime-cu12==12.8.90", "nvidia-cudnn-cu12==9.10.2.21")
PARTS = ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-runtime", "nvidia-cuda-cccl")
WHEELS: tuple[Wheel | Sdist, ...] = (
    Wheel("tiny", "1.0"),
    *(Wheel("nvidia-cuda-runtime-cu12", version) for version in ("12.6.77", "12.8.90", "12.9.79")),
    *(Wheel(name, version) for name in PARTS for version in ("13.0.88", "13.2.86")),
    Wheel("nvidia-cudnn-cu12", "9.10.2.21"),
    Wheel("torch", "2.10.0", CUDA),
    Wheel("torch", "2.15.0", ("nvidia-cuda-runtime==13.2.86",)),
    Wheel("tensorflow", "2.21.0"),
    Wheel("onnxruntime-gpu", "1.22.0"),
    Wheel("cupy-cuda12x", "14.2.0"),
    Wheel("vllm", "0.32.0", ("nvidia-cuda-runtime==13.0.88", "nvidia-cuda-nvcc")),
    Wheel("xgboost", "3.1.0", ("nvidia-nccl-cu12",)),
    Wheel("nvidia-nccl-cu12", "2.28.9"),
    Wheel("fresh", "1.0", tag="cp310-cp310-manylinux_2_31_x86_64"),
    Wheel("fresh", "2.0", tag="cp310-cp310-manylinux_2_36_x86_64"),
    Sdist(
        "llama-cpp-python",
        "0.3.16",
        (metadata("llama-cpp-python", "0.3.16"), system("scikit-build-core", backend="scikit_build_core.build")),
    ),
    *(Wheel(name, "1.0") for name in ("scikit-build-core", "cmake", "ninja")),
    Wheel("torch", "2.1.2", ("nvidia-cuda-runtime-cu12==12.1.105",)),
    Wheel("nvidia-cuda-runtime-cu12", "12.1.105"),
    Sdist(
        "flash-attn",
        "2.6.3",
        (metadata("flash-attn", "2.6.3", form="2.1"), ("flash_attn.egg-info/requires.txt", "einops\ntorch\n")),
    ),
    *(Wheel(name, "1.0") for name in ("einops", "psutil", "packaging", "wheel", "setuptools")),
    Wheel("picky", "1.0", ("tiny; python_full_version >= '3.12.12'",)),
)


@pytest.fixture(scope="module")
def hub() -> Iterator[tuple[Hub, str]]:
    with made_hub() as found:
        yield found


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    with served(Index(WHEELS)) as index:
        yield index


@pytest.fixture
def machine(tmp_path: Path, hub: tuple[Hub, str], index: Index) -> Machine:
    return Machine(tmp_path, *hub, index)


def images(lock: Lock) -> tuple[str, str]:
    (platform,) = lock.platforms
    return platform.build.image.partition("@")[0], platform.run.image.partition("@")[0]


def decided(lock: Lock) -> BaseImageDecision:
    (platform,) = lock.platforms
    assert platform.base_decision
    return platform.base_decision


SLIM = ("python:3.12-slim-bookworm",) * 2
NVIDIA = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}


def test_nothing_of_cuda_where_there_is_none(machine: Machine) -> None:
    found = machine.lock(["tiny"])
    assert images(found) == SLIM
    assert (decided(found).cuda, decided(found).driver, decided(found).env, decided(found).apt) == (None, None, (), ())
    assert "NVIDIA" not in machine.run("dockerfile")[0]
    assert "envcompile.cuda" not in machine.run("dockerfile")[0]


def test_wheels_that_bring_cuda_stand_on_a_plain_image(machine: Machine) -> None:
    found = machine.lock(["torch"], '[cuda]\nversion = "12"\n')
    assert images(found) == SLIM
    assert (decided(found).cuda, decided(found).driver, dict(decided(found).env)) == ("12.8.2", "525.60.13", NVIDIA)
    text, _ = machine.run("dockerfile")
    assert "NVIDIA_VISIBLE_DEVICES=all" in text
    assert "LABEL envcompile.cuda=12.8.2\nLABEL envcompile.driver=525.60.13\n" in text


def test_a_compiler_at_run_time_is_locked_with_everything_else(machine: Machine) -> None:
    found = machine.lock(["torch"], "[cuda]\njit = true\n")
    assert [each.name for each in found.platforms[0].apt] == ["gcc", "libc6-dev"]
    assert found.platforms[0].apt_build == ()
    assert "gcc=1.0" in machine.run("dockerfile")[0]
    assert [each.name for each in machine.lock(["tiny"], "[cuda]\njit = true\n").platforms[0].apt] == [
        "gcc",
        "libc6-dev",
    ]


def test_an_image_with_cuda_has_the_python_of_its_system(machine: Machine) -> None:
    """Resolved for the base that is chosen: its C library, and its Python to the patch level."""
    found = machine.lock(["tensorflow", "picky"], '[cuda]\nversion = "12"\n')
    assert images(found) == ("ubuntu:24.04", "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04")
    (platform,) = found.platforms
    assert platform.python
    assert (platform.python.version, platform.python.path, platform.python.source) == (
        *("3.12.3", "/usr/bin/python3.12", "apt"),
    )
    assert [each.name for each in platform.apt] == [each.name for each in platform.apt_build] == ["python3.12"]
    assert "tiny" not in [each.name for each in platform.pip]  # which Python 3.12.12 would need
    assert [row.rule for row in decided(found).explanation][:2] == ["resolved", "resolved-again"]
    assert machine.run("verify", "-q")[1] == ""


@pytest.mark.parametrize(
    ("python", "cuda", "system"),
    [("3.11", "12", "24.04"), ("3.13", "12", "24.04"), ("3.12.4", "12", "24.04"), ("3.12", "12.4", "22.04")],
)
def test_an_image_with_cuda_and_a_python_that_its_system_does_not_have(
    machine: Machine, python: str, cuda: str, system: str
) -> None:
    """A standalone build, to the patch level, which later locks keep without a network."""
    packages, more = ["onnxruntime-gpu", "picky"], f'[cuda]\nversion = "{cuda}"\n'
    (platform,) = (found := machine.lock(packages, more, python=python)).platforms
    assert platform.run.image.partition("@")[0].endswith(f"-cudnn-runtime-ubuntu{system}")
    assert platform.python
    assert (platform.python.source, platform.python) == ("standalone", find_standalone_python(python, "linux-64"))
    assert is_release_of(platform.python.version, python)
    # It is resolved for this version: `picky` needs `tiny` from Python 3.12.12 on.
    versions = {each.name: each.version for each in platform.pip}
    assert ("tiny" in versions) == (version_numbers(platform.python.version) >= (3, 12, 12))
    assert not [each for each in platform.apt if "python" in each.name]
    [why] = [row.decision for row in decided(found).explanation if row.rule == "resolved-again"]
    assert f"for Python {platform.python.version}, a standalone build" in why
    machine.run("verify", "-q", "--full")
    machine.hub.seen.clear()
    machine.lock(packages, more, "--check", "--offline", python=python)
    assert machine.hub.seen == []
    assert " AS python\n" in machine.run("dockerfile")[0]


@pytest.mark.parametrize(
    ("packages", "python", "more", "expected"),
    [
        # diffusers with flash-attn, as many cog files have it: nvcc of the locked CUDA where it is built.
        (
            ["torch ==2.1.2", "flash-attn ==2.6.3"],
            "3.11",
            'allow-sdist = ["flash-attn"]\n[cuda]\ncompute = ["8.0"]\n',
            ("nvidia/cuda:12.1.1-devel-ubuntu22.04", "ubuntu:22.04"),
        ),
        (["cupy-cuda12x"], "3.11", "", ("ubuntu:24.04", "nvidia/cuda:12.6.3-runtime-ubuntu24.04")),
        # CUDA 12.4 has images of Ubuntu 22.04 only, whose Python is 3.10.
        (
            ["llama-cpp-python"],
            "3.12",
            (
                'allow-sdist = ["llama-cpp-python"]\n[pip.metadata.llama-cpp-python]\n'
                'build-env = { CMAKE_ARGS = "-DGGML_CUDA=on" }\n[cuda]\nversion = "12.4"\n'
            ),
            ("nvidia/cuda:12.4.1-devel-ubuntu22.04", "nvidia/cuda:12.4.1-runtime-ubuntu22.04"),
        ),
        (["vllm"], "3.11", "", ("python:3.11-slim-bookworm",) * 2),
    ],
    ids=["flash-attn", "cupy", "llama.cpp", "jit-of-cuda-13"],
)
def test_requests_with_a_python_that_no_image_has(
    machine: Machine, packages: list[str], python: str, more: str, expected: tuple[str, str]
) -> None:
    found = machine.lock(packages, more, python=python)
    assert images(found) == expected
    (platform,) = found.platforms
    assert platform.python
    assert (platform.python.source == "standalone") == (expected[0] != expected[1] or "slim" not in expected[0])
    assert is_release_of(platform.python.version, python)
    assert not [each.name for each in (*platform.apt, *platform.apt_build) if "python" in each.name]
    machine.run("verify", "-q", "--full")


def test_a_locked_standalone_python_is_kept(machine: Machine) -> None:
    """Promise 8: until `-U`, or until the spec requests another version."""
    packages, more = ["onnxruntime-gpu"], '[cuda]\nversion = "12"\n'
    lock_path = machine.folder / "envcompile.lock"
    found = machine.lock(packages, more, python="3.11")
    old = find_standalone_python("3.11.9", "linux-64")
    assert isinstance(old, PythonInterpreter)
    edited = replace(found, platforms=(replace(found.platforms[0], python=old),))
    lock_path.write_text(format_lock(edited), "utf-8")
    assert machine.lock([*packages, "tiny"], more, python="3.11").platforms[0].python == old
    assert "tiny" in machine.said
    newest = machine.lock([*packages, "tiny"], more, "-U", python="3.11").platforms[0].python
    assert newest
    assert newest == found.platforms[0].python
    assert f"Python 3.11.9 -> {newest.version}" in " ".join(machine.said.split())
    assert machine.lock(packages, more, python="3.11.4").platforms[0].python == find_standalone_python(
        "3.11.4", "linux-64"
    )
    machine.lock(packages, more, python="3.11.2", code=1)
    assert "error[base-python]: there is no standalone build of Python 3.11.2 for `linux-64`" in machine.said
    assert "3.11.1" in machine.said


def test_an_earlier_base_is_left_for_what_is_asked_now(machine: Machine) -> None:
    machine.lock(["tensorflow"], '[cuda]\nversion = "12"\n')
    assert images(machine.lock(["tensorflow"])) == SLIM
    machine.lock(["tensorflow"], '[cuda]\nversion = "12"\n')
    other = machine.lock(["tensorflow"], '[cuda]\nversion = "12"\n', python="3.10")
    assert images(other)[0] == "ubuntu:22.04"
    machine.lock(["tensorflow", "nobody"], '[cuda]\nversion = "12"\n', python="3.10", code=1)
    assert "error[unsolvable]" in machine.said


def test_a_second_lock_asks_for_nothing_anew(machine: Machine) -> None:
    """Promise 8, also where it took two passes: and it can be done without a network."""
    for packages, more in (
        (["torch"], "[cuda]\njit = true\n"),
        (["tensorflow", "picky"], '[cuda]\nversion = "12"\n'),
        (["cupy-cuda12x"], ""),
    ):
        machine.lock(packages, more, "-U")
        text = (machine.folder / "envcompile.lock").read_text("utf-8")
        machine.hub.seen.clear()
        machine.lock(packages, more, "--check", "--offline")
        assert "is current" in machine.said
        assert machine.hub.seen == []
        machine.lock(packages, more, "-U")
        assert (machine.folder / "envcompile.lock").read_text("utf-8") == text


def test_an_older_system_is_resolved_for_once_more(machine: Machine) -> None:
    """What was locked for glibc 2.36 does not stand on 2.35."""
    found = machine.lock(["tensorflow", "fresh"], '[cuda]\nversion = "12"\n', python="3.10")
    assert images(found) == ("ubuntu:22.04", "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu22.04")
    assert {each.name: each.version for each in found.platforms[0].pip}["fresh"] == "1.0"
    assert any("for glibc 2.35" in row.decision for row in decided(found).explanation if row.rule == "resolved-again")
    plain = machine.lock(["fresh"], "", "-U", python="3.10")
    assert plain.platforms[0].pip[0].version == "2.0"


def test_wheels_come_in_the_place_of_apt_packages_without_snapshots(machine: Machine) -> None:
    found = machine.lock(["cupy-cuda12x"])
    assert images(found) == ("ubuntu:24.04", "nvidia/cuda:12.6.3-runtime-ubuntu24.04")
    assert decided(found).wheels == ("nvidia-cuda-runtime-cu12 ==12.6.*",)
    assert {each.name: each.version for each in found.platforms[0].pip}["nvidia-cuda-runtime-cu12"] == "12.6.77"
    assert not [each for each in found.platforms[0].apt if each.name.startswith("cuda")]
    assert machine.run("verify", "-q")[1] == ""


def test_the_compiler_of_the_wheels_needs_no_image_of_nvidia(machine: Machine) -> None:
    found = machine.lock(["vllm"])
    assert images(found) == SLIM
    versions = {each.name: each.version for each in found.platforms[0].pip}
    assert {versions[name] for name in PARTS} == {"13.0.88"}
    assert dict(decided(found).env)["CUDA_HOME"] == "/env/lib/python3.12/site-packages/nvidia/cu13"
    assert [each.name for each in found.platforms[0].apt] == ["g++"]


def test_what_runs_without_a_gpu_is_left_to(machine: Machine) -> None:
    assert images(machine.lock(["tensorflow"])) == SLIM
    assert "it runs on the processor" in machine.run("explain")[0]
    found = machine.lock(["tensorflow", "torch"])  # for CUDA 12 and 13
    assert (images(found), decided(found).cuda) == (SLIM, "13.2.2")


def test_cuda_is_kept_out_or_the_lock_is_not_written(machine: Machine) -> None:
    assert images(machine.lock(["tensorflow"], "[cuda]\nversion = false\n")) == SLIM
    before = (machine.folder / "envcompile.lock").read_bytes()
    machine.lock(["torch"], "[cuda]\nversion = false\n", code=1)
    assert "excludes CUDA" in machine.said
    assert (machine.folder / "envcompile.lock").read_bytes() == before


@pytest.mark.parametrize(("asked", "torch"), [("12.8", "2.10.0"), ("12", "2.10.0"), ("13", "2.15.0")])
def test_the_version_constrains_pip(machine: Machine, asked: str, torch: str) -> None:
    found = machine.lock(["torch"], f'[cuda]\nversion = "{asked}"\n')
    assert {each.name: each.version for each in found.platforms[0].pip}["torch"] == torch


def test_what_cannot_be_had_is_not_locked(machine: Machine) -> None:
    (machine.folder / "envcompile.lock").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        machine.lock(["torch"], '[cuda]\nversion = "12.4"\n', code=1)
    assert "error[unsolvable]" in machine.said


def test_what_is_shipped_for_nothing_is_told_and_can_be_left_out(machine: Machine) -> None:
    for words in ("lock", "explain"):
        machine.lock(["xgboost"])
        said = "".join(machine.run(words))
        assert "warning[gpu-unused]" in said
        assert '`exclude = ["nvidia-nccl-cu12"]`' in said
    found = machine.lock(["xgboost"], 'exclude = ["nvidia-nccl-cu12"]\n')
    assert [each.name for each in found.platforms[0].pip] == ["xgboost"]
    assert "warning" not in machine.said
    assert "warning" not in machine.run("explain")[0]


def test_the_users_base_wins(machine: Machine) -> None:
    base = f"python:3.12-slim-trixie@sha256:{'5' * 64}"
    found = machine.lock(["torch ==2.10.0"], f'[image]\nbase = "{base}"\n', python="3.12.12")
    assert (found.platforms[0].build.image, found.platforms[0].run.image) == (base, base)
    assert "as the spec says" in machine.run("explain")[0]


@pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")
def test_conda_brings_any_python_to_an_image_with_cuda(machine: Machine, tmp_path: Path) -> None:
    channel = made_channel(tmp_path / "channel", {"name": "python", "version": "3.13.2"})
    more = f'[conda]\nchannels = ["{channel.url}"]\npackages = ["python"]\n'
    found = machine.lock(["onnxruntime-gpu"], more, python="3.13")
    assert images(found) == ("ubuntu:24.04", "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04")
    assert (decided(found).apt, decided(found).apt_build) == ((), ())
    assert found.platforms[0].python
    assert found.platforms[0].python.source == "conda"
    machine.lock(["onnxruntime-gpu"], more, "--check", "--offline", python="3.13")


@pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")
def test_conda_without_a_gpu_is_what_was_meant(machine: Machine, tmp_path: Path) -> None:
    """No mistake, and nothing of NVIDIA's: the solver is told of no CUDA because none was asked for."""
    row = {"name": "pytorch", "version": "2.9.1", "build": "cpu_mkl_py312_0"}
    channel = made_channel(tmp_path / "channel", {"name": "python", "version": "3.12.2"}, row)
    more = f'[conda]\nchannels = ["{channel.url}"]\npackages = ["pytorch"]\n'
    found = machine.lock(["tiny"], more)
    assert images(found) == ("debian:bookworm-slim",) * 2
    assert (decided(found).cuda, decided(found).env) == (None, ())


def test_a_base_that_changed_says_why_in_the_diff(machine: Machine) -> None:
    before = machine.lock(["torch ==2.10.0"])
    after = machine.lock(["tensorflow"], '[cuda]\nversion = "12"\n')
    moved = {change.label: change for change in compare_locks(before, after)}
    assert (moved["CUDA"].before, moved["CUDA"].after) == ("12.8.2", "12.6.3")
    assert any("newest patch of 12.6 that fits" in why for why in moved["run image"].reasons)
    assert "tensorflow==2.21.0" in "".join(moved["run image"].reasons)


def test_newer_facts_that_decide_alike_change_nothing(machine: Machine) -> None:
    found = machine.lock(["torch ==2.10.0"])
    (platform,) = found.platforms
    older = replace(platform, base_decision=replace(decided(found), catalogue="2026-01-01 sha256:0123456789ab"))
    text = format_lock(replace(found, platforms=(older,)))
    (machine.folder / "envcompile.lock").write_text(text, "utf-8")
    machine.lock(["torch ==2.10.0"], "", "--check")
    assert "is current" in machine.said


def test_json_says_all_that_the_lock_holds(machine: Machine) -> None:
    found = machine.lock(["torch ==2.10.0"])
    told = json.loads(machine.run("explain", "--as", "json")[0])["platforms"]["linux-64"]
    assert told["run"]["image"] == found.platforms[0].run.image
    assert told["decided"]["cuda"] == "12.8.2"
    assert [row["rule"] for row in told["decided"]["trail"]] == [row.rule for row in decided(found).explanation]
    assert told["decided"]["saving"] == {"gigabytes": "9.9", "against": "nvidia/cuda:12.8-devel"}
    assert PATCHES["3.12"] in told["decided"]["trail"][0]["decision"]


def test_what_cmake_is_told_decides_on_the_base(machine: Machine) -> None:
    """llama.cpp compiles CUDA code when it is told to, and then wants CUDA's libraries where it runs."""
    more = 'allow-sdist = ["llama-cpp-python"]\n'
    assert images(machine.lock(["llama-cpp-python"], more)) == SLIM
    told = '[pip.metadata.llama-cpp-python.build-env]\nCMAKE_ARGS = "-DGGML_CUDA=on"\n[cuda]\nversion = "12.6"\n'
    found = machine.lock(["llama-cpp-python"], more + told)
    assert images(found) == ("nvidia/cuda:12.6.3-devel-ubuntu24.04", "nvidia/cuda:12.6.3-runtime-ubuntu24.04")
    assert decided(found).build_env == (("CUDA_HOME", "/usr/local/cuda"),)
    assert "CMAKE_ARGS=-DGGML_CUDA=on\nCUDA_HOME=/usr/local/cuda\n" in machine.run("dockerfile")[0]
    spec = machine.folder / "envcompile.toml"
    spec.write_text(spec.read_text("utf-8").replace("=on", "=off"), "utf-8")
    assert "pip.metadata" in machine.run("verify", code=1)[1]
