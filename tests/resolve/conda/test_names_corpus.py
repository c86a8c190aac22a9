"""Promise 12: no distribution is missing or twice. A corpus of real packages of conda-forge, with pip packages on top.

The channel has records with the real names and versions, and no archives. The wheels of the index are stand-ins with
nothing but metadata: one that needs the distribution, and one of the distribution itself, which must not be locked.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.consistency import check_consistency
from envcompile.lock.model import CondaPackage
from envcompile.lock.reader import parse_lock
from envcompile.resolve.conda.channels import add_distributions
from tests.kit.channel import made_channel
from tests.kit.index import Index, Wheel, served
from tests.kit.project import FIXTURES, spec_of

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    tuple(line.split())
    for line in (FIXTURES / "names" / "conda_forge.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
URLS = {"conda-forge": "https://conda.example.invalid/conda-forge"}
# Distributions that old archives of these packages contained, and the packages contain no more.
FORMER = {
    "py": "iniconfig",
    "gym": "typing-extensions",
    "bleach": "webencodings",
    "debugpy": "bytecode",
    "mypy": "tomli",
}


def test_every_package_provides_its_distribution() -> None:
    assert len(ROWS) > 600
    found: dict[str, set[str]] = {}
    expected: dict[str, set[str]] = {}
    for name, version, distribution in ROWS:
        file = f"{name}-{version}-0.conda"
        package = CondaPackage(name, version, "0", "conda-forge", "noarch", file, 64 * "0", depends=("python",))
        (package,) = add_distributions((package,), URLS, {})
        found[name] = set(package.provides)
        expected.setdefault(name, set()).add(distribution)
    assert found == expected


@pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")
@pytest.mark.parametrize("seed", [1, 2])
def test_no_distribution_is_missing_or_twice(seed: int, tmp_path: Path) -> None:
    """80 conda packages, and as many wheels that need what they contain and what they once contained."""
    rows = random.Random(seed).sample(ROWS, 80)
    records = [{"name": name, "version": version, "depends": ["python"]} for name, version, _ in rows]
    former = {name: other for name, other in FORMER.items() if name not in {row[0] for row in rows}}
    records += [{"name": name, "version": "1.0", "depends": ["python"]} for name in former]
    records.append({"name": "python", "version": "3.12.4"})
    made_channel(tmp_path / "conda-forge", *records)
    distributions = {distribution for *_, distribution in rows}
    needed = sorted(distributions | set(former.values()))
    wheels = (
        *(Wheel(f"needs-{name}", "1.0", (name,)) for name in needed),
        *(Wheel(name, "99999.0") for name in needed),
    )
    names = [record["name"] for record in records]
    digest = 64 * "0"
    with served(Index(wheels, beside=True)) as index:
        text = f"""name = "x"
python = "3.12"
[conda]
channels = ["{tmp_path / "conda-forge"}"]
packages = {names}
[pip]
index = "{index.url()}"
packages = {[f"needs-{name}" for name in needed]}
[image.base]
image = "x@sha256:{digest}"
os = "debian-12"
glibc = "2.36"
[tools]
uv = "uv@sha256:{digest}"
python = "python@sha256:{digest}"
"""
        folder = tmp_path / "x"
        folder.mkdir()
        (folder / "envcompile.toml").write_text(text, "utf-8")
        home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            [sys.executable, "-m", "envcompile", "lock"],
            cwd=folder,
            env=home,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    (platform,) = parse_lock((folder / "envcompile.lock").read_text("utf-8"), "x").platforms
    pip = {package.name for package in platform.pip}
    conda = {name for package in platform.conda for name in package.provides}
    assert not pip & conda
    assert distributions <= conda
    assert pip == {f"needs-{name}" for name in needed} | (set(former.values()) - conda)
    assert check_consistency(spec_of(text), platform) == []
    assert "conda provides for pip packages" in done.stderr
