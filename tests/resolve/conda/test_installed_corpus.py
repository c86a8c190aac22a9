"""Promise 12, with the real `pip check`: an environment of conda packages with pip packages on top has all it needs.

The archives and wheels are stand-ins: made by py-rattler-build and by the test index, with the names, versions and
dependencies of the real ones (conda-forge's records; `fixtures/names/metadata.json` has the metadata of the
distributions, from the package index, 2026-11, and that of PyQt5 without what only its wheels require), but without
their code. So is the interpreter: `pip check` runs with that of the tests, and with the version of the locked one in
its markers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.lock.freshness_pip import find_provided_versions
from envcompile.lock.reader import parse_lock
from tests.kit.index import Index, Wheel, served
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import CondaPackage, PlatformLock

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("rattler_build") and importlib.util.find_spec("rattler")),
    reason="py-rattler and py-rattler-build are not installed",
)
METADATA: dict[str, dict[str, Any]] = json.loads((FIXTURES / "names" / "metadata.json").read_text("utf-8"))
CONDA = ("numpy", "pandas", "scipy", "scikit-learn", "matplotlib")
PIP = ("seaborn", "imbalanced-learn", "mlxtend", "statsmodels", "hdbscan", "yellowbrick", "ipython")
SITE = "lib/python3.12/site-packages"
DIGEST = 64 * "0"
# Installs the records of a channel. A program of its own: py-rattler can crash when its process ends.
INSTALL = """
import asyncio, os, sys
from rattler import VirtualPackage, install, solve
channel, prefix, cache, *specs = sys.argv[1:]
async def main():
    detected = VirtualPackage.detect()
    records = await solve([channel], specs, platforms=["linux-64", "noarch"], virtual_packages=detected)
    await install(records, prefix, cache_dir=cache, show_progress=False)
    print(len(records), flush=True)
    os._exit(0)
asyncio.run(main())
"""
# pip alone on the path, beside the standard library and the environment. Markers are those of the locked Python.
CHECK = """
import sys
site, pip, version = sys.argv[1:]
sys.path[:] = [path for path in sys.path if "site-packages" not in path] + [site, pip]
from pip._vendor.packaging import markers
default = markers.default_environment
minor = version.rpartition(".")[0]
markers.default_environment = lambda: {**default(), "python_version": minor, "python_full_version": version}
from pip._internal.cli.main import main
sys.exit(main(["check", "--disable-pip-version-check"]))
"""


def wheels() -> Iterator[Wheel]:
    for name, row in METADATA.items():
        python = row.get("requires-python", "")
        yield Wheel(name, row["version"], tuple(row["requires-dist"]), python=python)


@dataclass
class Environment:
    """A folder with a lock, and the environment that was installed from it."""

    folder: Path
    locked: PlatformLock

    @property
    def site(self) -> Path:
        return self.folder / "prefix" / SITE

    def check(self) -> subprocess.CompletedProcess[str]:
        """`pip check` of the environment."""
        import pip

        alone = self.folder / "pip"
        if not alone.exists():
            shutil.copytree(Path(pip.__file__).parent, alone / "pip")
        assert self.locked.python
        argv = [sys.executable, "-I", "-c", CHECK, str(self.site), str(alone), self.locked.python.version]
        return subprocess.run(argv, capture_output=True, text=True, check=False)


def write_distribution(site: Path, name: str, version: str) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    lines += [f"Requires-Dist: {each}" for each in METADATA[name]["requires-dist"]]
    (info / "METADATA").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")


def make_archives(folder: Path, packages: tuple[CondaPackage, ...]) -> None:
    """A channel with a stand-in for each locked package, with the dependencies of its record."""
    from rattler_build import assemble_package

    rows: dict[str, dict[str, Any]] = {"linux-64": {}, "noarch": {}}
    for each in packages:
        files = folder / "files" / each.name
        files.mkdir(parents=True)
        (files / "share").mkdir()
        (files / "share" / f"{each.name}.txt").write_text("a stand-in\n")
        for name, version in find_provided_versions([each]).items():
            write_distribution(files / SITE, name, version)
        made = assemble_package(
            *(each.name, each.version, each.subdir, each.build, folder / each.subdir),
            files_dir=files,
            depends=list(each.depends),
            noarch="generic" if each.subdir == "noarch" else None,
            compression_level=1,
        )
        archive = Path(made.path)
        content = archive.read_bytes()
        rows[each.subdir][archive.name] = {
            **{key: getattr(each, key) for key in ("name", "version", "build", "subdir")},
            "build_number": 0,
            "depends": list(each.depends),
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    for subdir, found in rows.items():
        (folder / subdir).mkdir(exist_ok=True)
        text = json.dumps({"info": {"subdir": subdir}, "packages": {}, "packages.conda": found})
        (folder / subdir / "repodata.json").write_text(text, "utf-8")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("corpus")
    home = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    with served(Index(tuple(wheels()), ranges=True)) as index:
        (folder / "envcompile.toml").write_text(
            f"""name = "corpus"
python = "3.12"
[conda]
channels = ["{FIXTURES / "channels" / "conda-forge"}"]
packages = {list(CONDA)}
[pip]
index = "{index.url()}"
packages = {list(PIP)}
[image]
base = {{ image = "x@sha256:{DIGEST}", os = "debian-12", glibc = "2.36" }}
[tools]
uv = "x@sha256:{DIGEST}"
python = "x@sha256:{DIGEST}"
""",
            "utf-8",
        )
        run(sys.executable, "-m", "envcompile", "lock", cwd=folder, env=home)
        (locked,) = parse_lock((folder / "envcompile.lock").read_text("utf-8"), "x").platforms
        make_archives(folder / "channel", locked.conda)
        specs = [f"{each.name} =={each.version} {each.build}" for each in locked.conda]
        channel = (folder / "channel").as_uri()
        argv = (sys.executable, "-c", INSTALL, channel, str(folder / "prefix"), str(folder / "cache"), *specs)
        assert run(*argv, cwd=folder, env=home).strip() == str(len(locked.conda))
        run(
            sys.executable,
            "-m",
            "envcompile",
            "export",
            "--format",
            "requirements",
            "-o",
            "requirements.txt",
            cwd=folder,
            env=home,
        )
        uv = Path(sys.executable).with_name("uv")
        options = ("--no-deps", "--require-hashes", "--default-index", index.url(), "--python-version", "3.12")
        target = ("--target", str(folder / "prefix" / SITE), "-r", "requirements.txt")
        run(str(uv), "pip", "install", "-q", *options, *target, cwd=folder, env=home)
    return Environment(folder, locked)


def run(*argv: str, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pip_check_finds_nothing(environment: Environment) -> None:
    provided = find_provided_versions(environment.locked.conda)
    assert len(provided) >= 20
    assert len(environment.locked.pip) >= 20
    assert {path.name.partition("-")[0].replace("_", "-") for path in environment.site.glob("*.dist-info")} == {
        *provided,
        *(each.name for each in environment.locked.pip),
    }
    done = environment.check()
    assert (done.returncode, done.stdout.strip()) == (0, "No broken requirements found."), done.stdout + done.stderr


@pytest.mark.parametrize(("name", "owner"), [("joblib", "conda"), ("patsy", "pip")])
def test_pip_check_would_find_a_distribution_that_is_missing(environment: Environment, name: str, owner: str) -> None:
    [info] = environment.site.glob(f"{name}-*.dist-info")
    assert (name in find_provided_versions(environment.locked.conda)) == (owner == "conda")
    hidden = info.rename(environment.folder / info.name)
    try:
        done = environment.check()
    finally:
        hidden.rename(info)
    assert done.returncode == 1
    assert f"requires {name}, which is not installed" in done.stdout


def test_pip_check_would_find_another_version(environment: Environment) -> None:
    [info] = environment.site.glob("numpy-*.dist-info")
    moved = info.with_name("numpy-1.0.dist-info")
    text = (info / "METADATA").read_text("utf-8")
    version = find_provided_versions(environment.locked.conda)["numpy"]
    info.rename(moved)
    try:
        (moved / "METADATA").write_text(text.replace(f"Version: {version}", "Version: 1.0"), "utf-8")
        done = environment.check()
    finally:
        (moved / "METADATA").write_text(text, "utf-8")
        moved.rename(info)
    assert done.returncode == 1
    assert "but you have numpy 1.0" in done.stdout
