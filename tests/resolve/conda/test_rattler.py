"""What is py-rattler's own: its process and how that may end. What it answers is asked in the conformance suite."""

from __future__ import annotations

import importlib.util
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.diagnostics.errors import UnavailableError
from envcompile.lock.model import Channel
from envcompile.net.process import ProcessResult, run_process
from envcompile.resolve.conda.channels import parse_channel
from envcompile.resolve.conda.rattler import RattlerResolver
from envcompile.resolve.model import Effects
from tests.kit.channel import request
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.lock.model import CondaPackage

# Looked for, not imported: it must not crash the tests at their end.
pytestmark = pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """With a cache of its own: nothing that another test has read."""
    return Effects(run_process, {**os.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache")})


def solve(effects: Effects, *requirements: str, **more: Any) -> dict[str, CondaPackage]:
    (packages,) = RattlerResolver().resolve((request(*requirements, **more),), effects)
    assert [package.name for package in packages] == sorted(package.name for package in packages)
    return {package.name: package for package in packages}


def test_a_crash_after_the_answer_does_no_harm(effects: Effects) -> None:
    """It is the answer that counts, and only a whole one: it appears in one step."""
    seen: dict[str, str] = {}

    def crashing(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        seen.update(environment)
        return ProcessResult(-11, run_process(argv, folder, environment).stderr)

    def killed(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        seen.update(environment)
        Path(folder, Path(argv[-1]).stem + ".part").write_text('[{"kind": "sol', "utf-8")
        return ProcessResult(-9, "")

    world = {**effects.environment, "CONDA_OVERRIDE_CUDA": "12.9", "CONDA_OVERRIDE_GLIBC": "2.17", "RUST_LOG": "trace"}
    assert solve(Effects(crashing, world), "numpy", "python 3.12.*") == solve(effects, "numpy", "python 3.12.*")
    assert not {"CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "RUST_LOG"} & set(seen)
    with pytest.raises(UnavailableError, match="ended without an answer: no output, exit code -9"):
        solve(Effects(killed, world), "numpy")


def test_without_rattler(tmp_path: Path) -> None:
    (tmp_path / "rattler.py").write_text("raise ModuleNotFoundError(\"No module named 'rattler'\")\n", "utf-8")
    with pytest.raises(UnavailableError, match="`py-rattler`, which resolves") as raised:
        solve(Effects(run_process, {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{FIXTURES.parent}"}), "numpy")
    assert raised.value.hint == "run `pip install 'envcompile[lock]'`"


def test_twenty_in_a_row_under_load(effects: Effects) -> None:
    """Each ends, and with the same answer."""

    def once(_: int) -> dict[str, CondaPackage]:
        return solve(effects, "numpy", "python 3.12.*")

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(once, range(20))
    assert all(each == first for each in others)


def test_no_answer_is_an_error(tmp_path: Path) -> None:
    """However the process ends: without a whole answer there is none."""
    broken = tmp_path / "envcompile"
    shutil.copytree(FIXTURES.parent / "envcompile", broken)
    (broken / "resolve" / "conda" / "rattler_worker.py").write_text("import nothing_of_that_name\n", "utf-8")
    effects = Effects(run_process, {**os.environ, "PYTHONPATH": str(tmp_path)})
    with pytest.raises(UnavailableError, match="ended without an answer"):
        RattlerResolver().resolve((request("numpy"),), effects)


def test_names_urls_and_paths(tmp_path: Path) -> None:
    strange = parse_channel("./a b", tmp_path)
    assert (strange.name, strange.url) == ("a-b", (tmp_path / "a b").as_uri())
    assert parse_channel(f"{strange.url}/", tmp_path) == strange
    assert parse_channel("conda-forge", tmp_path).url.endswith("/conda-forge")
    assert parse_channel("https://example.invalid/a/b/", tmp_path) == Channel("a/b", "https://example.invalid/a/b")
    assert parse_channel("./here", tmp_path) == Channel("here", (tmp_path / "here").as_uri())
