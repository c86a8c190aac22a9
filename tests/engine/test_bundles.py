"""Builds without a network: each kind of step takes its files from a bundle and compares them with the lock."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from envcompile.base_image.python_builds import RELEASE_URL
from envcompile.lock.writer import format_lock
from tests.engine.test_apt import Work
from tests.engine.test_conda import assert_contains
from tests.engine.test_conda import lock as conda_lock
from tests.engine.test_conda import spec as conda_spec
from tests.engine.test_sdists import LOOK, SDIST
from tests.engine.test_standalone_python import make_stand_in
from tests.engine.test_standalone_python import spec as standalone_spec
from tests.kit.built_channel import serve, sha256, unpack
from tests.kit.debian_archive import debian_archive
from tests.kit.engine import docker
from tests.kit.index import Index, served
from tests.kit.standalone_python import make_archive

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.kit.built_channel import Channel
    from tests.kit.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.index]

TAG = "envcompile-test-bundle"


def download(requirements: Iterable[str], folder: Path) -> None:
    """Download wheels from the package index, for the Python and the machine of the stand-in images."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--dest", str(folder))
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", *options, *requirements)
    subprocess.run(command, check=True)


def build(text: str, bundle: Path, *, check: bool = True) -> str:
    """Build without a network and without anything that an earlier build has kept."""
    docker("buildx", "prune", "--all", "--force")
    options = ("--network=none", "--progress=plain", "--build-context", f"bundle={bundle}", "--tag", TAG)
    return docker("buildx", "build", *options, "-", text=text, check=check)


def test_conda_packages(engine: Engine, conda_channel: Channel, tmp_path: Path) -> None:
    """The installer is a wheel of the bundle, and an archive with other bytes is refused before it is unpacked."""
    locked = conda_lock(tmp_path, conda_spec(engine, conda_channel.url, '"everything"', '[pip]\npackages = ["six"]'))
    bundle = tmp_path / "bundle"
    download((f"{each.name}=={each.version}" for each in (*locked.pip, *locked.conda_installer)), bundle / "pip")
    (bundle / "conda").mkdir()
    stored = {}
    for each in locked.conda:
        suffix = ".conda" if each.file.endswith(".conda") else ".tar.bz2"
        stored[each.name] = bundle / "conda" / f"{each.sha256}{suffix}"
        shutil.copyfile(conda_channel.folder / each.subdir / each.file, stored[each.name])
    text = (tmp_path / "Dockerfile").read_text("utf-8")
    build(text, bundle)
    assert_contains(engine, TAG, locked)
    stored["greeting"].write_bytes(b"other bytes")
    stored["settings"].unlink()
    said = build(text, bundle, check=False)
    found = re.search(r"envcompile: the bundle has no files with the locked sha256 for (.*)", said)
    assert found, said[-3000:]
    assert [each.partition("-")[0] for each in found[1].split(", ")] == ["greeting", "settings"]
    docker("image", "rm", "--force", TAG)


def test_debian_packages_a_standalone_python_and_an_sdist(engine: Engine, tmp_path: Path) -> None:
    """The indexes of the archive keep their signature, and each file its sha256."""
    bundle = tmp_path / "bundle"
    version, python = make_archive(unpack(engine.base, tmp_path / "root"))
    with debian_archive() as packages, served(Index((SDIST,))) as index:
        work = Work(tmp_path, packages)
        work.lock(standalone_spec(engine, index))
        lock = work.locked()
        (platform,) = lock.platforms
        assert platform.python
        stand_in = make_stand_in(platform.python, version, sha256(python))
        stand_in_build = stand_in.build
        assert stand_in_build
        platform = replace(platform, python=stand_in)
        (tmp_path / "envcompile.lock").write_text(format_lock(replace(lock, platforms=(platform,))), "utf-8")
        text = work.dockerfile()
        path = tmp_path / "host" / unquote(stand_in_build.url.removeprefix(RELEASE_URL.partition("/astral")[0] + "/"))
        path.parent.mkdir(parents=True)
        path.write_bytes(python)
        with serve(tmp_path / "host") as mirror:
            mirrors = f"snapshot.debian.org {packages.url}\ngithub.com {mirror}\n"
            (tmp_path / "mirrors").write_text(mirrors, "utf-8")
            engine.build(text, TAG, *work.secret())
        for address in dict.fromkeys(packages.asked):
            file = bundle / "apt" / "snapshot.debian.org" / address.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(packages.answer(address) or b"")
    builds = (each for build in platform.pip_build for each in build.packages)
    wheels = (each for each in (*platform.pip, *builds) if each.kind == "wheel")
    download((f"{each.name}=={each.version}" for each in wheels), bundle / "pip")
    (bundle / "pip" / SDIST.file).write_bytes(SDIST.content())
    (bundle / "python").mkdir()
    (bundle / "python" / stand_in_build.file).write_bytes(python)
    build(text, bundle)
    assert engine.run(TAG, "python", "-c", LOOK).strip() == "cext.c yes ['cext', 'iniconfig', 'six']"
    docker("image", "rm", "--force", TAG)
