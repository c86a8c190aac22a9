"""conda and pip as one environment: real channel data, and the real index."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from envcompile.lock.reader import parse_lock
from tests.kit.project import FIXTURES, unanswered

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.index

BASE = "debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251"
SPEC = f"""
name = "x"
python = "3.12"
[conda]
channels = ["{FIXTURES / "channels" / "conda-forge"}"]
packages = CONDA
[pip]
packages = PIP
[image]
base = "{BASE}"
"""


def lock(folder: Path, conda: list[str], pip: list[str], *options: str) -> tuple[int, str]:
    (folder / "envcompile.toml").write_text(SPEC.replace("CONDA", str(conda)).replace("PIP", str(pip)), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", "lock", *options], cwd=folder, capture_output=True, check=False, text=True
    )
    # A lock of either answer is one that `verify` takes, requirement by requirement (promise 7).
    assert done.returncode or unanswered(folder) == []
    return done.returncode, done.stderr


def test_pip_sees_what_conda_has_brought(tmp_path: Path) -> None:
    """torch from conda with transformers and accelerate from pip gives a current accelerate, not 0.0.1."""
    code, said = lock(tmp_path, ["pytorch"], ["transformers", "accelerate"])
    assert code == 0, said
    (platform,) = parse_lock((tmp_path / "envcompile.lock").read_text("utf-8"), "x").platforms
    conda = {package.name: package for package in platform.conda}
    pip = {package.name: package for package in platform.pip}
    assert conda["pytorch"].provides == ("torch",)
    assert platform.python
    assert (platform.python.version, platform.python.source) == (conda["python"].version, "conda")
    assert Version(pip["accelerate"].version) >= Version("1.10")
    assert any(text.startswith("torch ") for text in pip["accelerate"].depends)
    assert not {name for each in platform.conda for name in each.provides} & set(pip)
    code, said = lock(tmp_path, ["pytorch"], ["transformers", "accelerate"], "--check")
    assert (code, "is current" in said) == (0, True)


def test_one_conda_package_can_be_upgraded(tmp_path: Path) -> None:
    """Promise 8, on conda's side, by conda's names."""
    path = tmp_path / "envcompile.lock"
    assert lock(tmp_path, ["numpy <2.3", "zlib"], ["six"])[0] == 0
    (before,) = parse_lock(path.read_text("utf-8"), "x").platforms
    assert lock(tmp_path, ["numpy", "zlib"], ["six"], "--check")[1].count("  ~ ") == 0
    code, said = lock(tmp_path, ["numpy", "zlib"], ["six"], "-P", "NumPy")
    assert (code, "  ~ conda numpy " in said) == (0, True), said
    (after,) = parse_lock(path.read_text("utf-8"), "x").platforms
    assert after.pip == before.pip
    code, said = lock(tmp_path, ["numpy", "zlib"], ["six"], "-P", "_openmp_mutexx")
    assert (code, "is not a package name" in said) == (2, True), said


def test_asked_for_twice(tmp_path: Path) -> None:
    code, said = lock(tmp_path, ["pytorch", "numpy"], ["six", "torch >=2"])
    assert code == 2
    assert "error[duplicate]: the conda requirement `pytorch` already provides the pip package `torch >=2`" in said
    assert " --> envcompile.toml:8:20\n" in said
    assert not (tmp_path / "envcompile.lock").exists()


def test_provides_for_a_package_that_is_not_locked(tmp_path: Path) -> None:
    """An entry without an effect is a mistake in its name: it is reported before pip resolves."""
    (tmp_path / "envcompile.toml").write_text(
        SPEC.replace("CONDA", '["numpy"]\nprovides = { numpyy = ["numpy"], zzzz = [], numpy = ["numpy"] }').replace(
            "PIP", '["six"]'
        ),
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", "lock"], cwd=tmp_path, capture_output=True, check=False, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "error[unsolvable]: the lock has no conda package `numpyy`" in done.stderr
    assert "did you mean `numpy`?" in done.stderr
    assert "error[unsolvable]: the lock has no conda package `zzzz`" in done.stderr
    assert "2 mistakes in `envcompile.toml`" in done.stderr
    assert not (tmp_path / "envcompile.lock").exists()


def test_what_pip_asks_and_conda_contradicts(tmp_path: Path) -> None:
    """numpy comes as a dependency of what is asked of conda: pip may ask for it too, if it fits."""
    assert lock(tmp_path, ["scipy"], ["numpy >=1.20", "six"])[0] == 0
    code, said = lock(tmp_path, ["scipy"], ["numpy <1", "six"])
    assert (code, "error[unsolvable]" in said, "+conda" in said) == (1, True, True), said
