"""Promise 12: every package accepts the ABI of the locked Python. The free-threaded Python of conda, and PyPy.

Through the real `envcompile lock`, with a conda channel that has records only, and an index on the loopback interface.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.consistency import check_consistency
from envcompile.lock.freshness import check_freshness
from envcompile.lock.reader import parse_lock
from envcompile.resolve.pip.wheels import find_best_wheel
from tests.kit.channel import made_channel
from tests.kit.index import Index, Wheel, served
from tests.kit.project import spec_of

if TYPE_CHECKING:
    from pathlib import Path

    from envcompile.lock.model import PlatformLock

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")

DIGEST = 64 * "0"
PLATFORM = "manylinux_2_17_x86_64"
WORLD = (
    Wheel("fast", "1.0", tag=f"cp313-cp313-{PLATFORM}"),
    Wheel("fast", "1.0", tag=f"cp313-cp313t-{PLATFORM}"),
    Wheel("fast", "2.0", tag=f"cp313-cp313-{PLATFORM}"),
    Wheel("stable", "1.0", tag=f"cp39-abi3-{PLATFORM}"),
    Wheel("plain", "1.0", ("fast",)),
)


def lock(
    folder: Path, build: str, *packages: str, python: str = "3.13"
) -> tuple[subprocess.CompletedProcess[str], str]:
    folder.mkdir()
    made_channel(
        folder / "conda-forge", *({"name": "python", "version": "3.13.5", "build": each} for each in build.split())
    )
    with served(Index(WORLD, beside=True)) as index:
        text = f"""name = "x"
python = "{python}"
[conda]
channels = ["{folder / "conda-forge"}"]
packages = ["python"]
[pip]
index = "{index.url()}"
packages = {list(packages)}
[image.base]
image = "x@sha256:{DIGEST}"
os = "debian-12"
glibc = "2.36"
[tools]
uv = "uv@sha256:{DIGEST}"
python = "python@sha256:{DIGEST}"
"""
        (folder / "envcompile.toml").write_text(text, "utf-8")
        home = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "PATH": os.environ["PATH"]}
        argv = [sys.executable, "-m", "envcompile", "lock"]
        done = subprocess.run(argv, cwd=folder, env=home, capture_output=True, text=True, check=False)
    return done, text


def read(folder: Path) -> PlatformLock:
    (platform,) = parse_lock((folder / "envcompile.lock").read_text("utf-8"), "x").platforms
    return platform


@pytest.mark.parametrize(
    ("build", "abi", "file"),
    [
        ("hf636f53_102_cp313", "", f"fast-2.0-cp313-cp313-{PLATFORM}.whl"),
        ("h71033d7_2_cp313t", "cp313t", f"fast-1.0-cp313-cp313t-{PLATFORM}.whl"),
    ],
)
def test_the_newest_release_with_a_wheel_for_the_abi(tmp_path: Path, build: str, abi: str, file: str) -> None:
    done, text = lock(tmp_path / "x", build, "plain")
    assert done.returncode == 0, done.stderr
    platform = read(tmp_path / "x")
    assert platform.python
    assert platform.python.abi == abi
    assert [each.file for each in platform.pip] == [file, "plain-1.0-py3-none-any.whl"]
    assert check_consistency(spec_of(text), platform) == []


def test_the_spec_requests_the_free_threaded_build(tmp_path: Path) -> None:
    done, text = lock(tmp_path / "x", "hf636f53_102_cp313 h71033d7_2_cp313t", "fast", python="3.13t")
    assert done.returncode == 0, done.stderr
    platform = read(tmp_path / "x")
    assert [each.build for each in platform.conda if each.name == "python"] == ["h71033d7_2_cp313t"]
    assert platform.pip[0].file == f"fast-1.0-cp313-cp313t-{PLATFORM}.whl"
    value = parse_lock((tmp_path / "x/envcompile.lock").read_text("utf-8"), "x")
    assert check_freshness(spec_of(text), value) == []
    edited = text.replace('"3.13t"', '"3.13.4t"')
    assert [each.path for each in check_freshness(spec_of(edited), value)] == [("python",)]


def test_no_release_has_a_wheel_for_the_abi(tmp_path: Path) -> None:
    """Not even the stable ABI: the free-threaded Python does not load it."""
    done, _ = lock(tmp_path / "x", "h71033d7_2_cp313t", "stable")
    assert done.returncode == 1
    assert "stable 1.0 has no wheel for the ABI `cp313t`, and the environment has 3.13.5." in done.stderr


def test_a_lock_with_another_abi_is_inconsistent(tmp_path: Path) -> None:
    done, text = lock(tmp_path / "x", "h71033d7_2_cp313t", "fast")
    assert done.returncode == 0, done.stderr
    platform = read(tmp_path / "x")
    edited = replace(platform.pip[0], file=f"fast-1.0-cp313-cp313-{PLATFORM}.whl")
    [found] = check_consistency(spec_of(text), replace(platform, pip=(edited,)))
    assert "is not for the ABI `cp313t` of the locked Python" in found.message


def test_pip_packages_need_cpython(tmp_path: Path) -> None:
    done, _ = lock(tmp_path / "x", "0_73_pypy", "plain")
    assert done.returncode == 1
    assert "conda locked PyPy (`0_73_pypy`), and pip packages can only be locked for CPython" in done.stderr


def test_the_tags_of_the_free_threaded_abi() -> None:
    files = [f"a-1-cp313-cp313-{PLATFORM}.whl", f"a-1-cp313-cp313t-{PLATFORM}.whl", f"a-1-cp39-abi3-{PLATFORM}.whl"]
    assert find_best_wheel(files, "x86_64", "2.36", "3.13.5") == files[0]
    assert find_best_wheel(files, "x86_64", "2.36", "3.13.5", "cp313t") == files[1]
    assert find_best_wheel(files[::2], "x86_64", "2.36", "3.13.5", "cp313t") is None
    assert find_best_wheel(["a-1-py3-none-any.whl"], "x86_64", "2.36", "3.13.5", "cp313t") == "a-1-py3-none-any.whl"
