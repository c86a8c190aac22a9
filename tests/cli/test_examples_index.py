"""The examples lock from the real index and compile; ml-deep is built only on request: it is 4 GB of wheels."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envcompile.lock.reader import parse_lock
from envcompile.spec.pip import parse_dependency_name
from tests.kit.hadolint import findings

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.index
@pytest.mark.parametrize(("name", "fewest", "gigabytes"), [("ml", 100, 0.5), ("ml-deep", 150, 3.0)])
def test_it_locks_and_compiles(name: str, fewest: int, gigabytes: float, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / name / "envcompile.toml", tmp_path)
    for arguments in (["lock", "-q"], ["dockerfile", "-q", "-o", "Dockerfile"], ["lock", "--check", "-q"]):
        done = subprocess.run([sys.executable, "-m", "envcompile", *arguments], cwd=tmp_path, check=False)
        assert done.returncode == 0
    (platform,) = parse_lock((tmp_path / "envcompile.lock").read_text("utf-8"), "x").platforms
    names = [package.name for package in platform.pip]
    assert len(names) >= fewest
    assert sum(package.size or 0 for package in platform.pip) > gigabytes * 10**9
    for package in platform.pip:
        assert set(map(parse_dependency_name, package.depends)) <= set(names)
    text = (tmp_path / "Dockerfile").read_text("utf-8")
    # A package with a layer of its own is an argument, not a line of a list.
    lines = {line.removeprefix('ENV REQUIREMENT="').removesuffix('"') for line in text.splitlines()}
    assert {f"{each.name}=={each.version} --hash=sha256:{each.sha256}" for each in platform.pip} <= lines
    assert findings(tmp_path / "Dockerfile") == ""
