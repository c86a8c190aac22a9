"""A standalone Python on the real engine: installed by its sha256 into a base image without Python."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from envcompile.base_image.python_builds import RELEASE_URL
from envcompile.lock.writer import format_lock
from tests.engine.test_apt import Work, now
from tests.engine.test_sdists import LOOK, SDIST
from tests.kit.built_channel import serve, sha256, unpack
from tests.kit.debian_archive import debian_archive
from tests.kit.engine import CA_BUNDLE, docker
from tests.kit.index import Index, served
from tests.kit.standalone_python import make_archive

if TYPE_CHECKING:
    from pathlib import Path

    from envcompile.lock.model import PythonInterpreter
    from tests.kit.engine import Engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.index,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="the archive is fetched by apt, and this is no Debian"),
]

TAG = "envcompile-test-standalone"


def spec(engine: Engine, index: Index) -> str:
    return f"""name = "x"
python = "3.11"
[pip]
packages = ["cext", "iniconfig"]
allow-sdist = ["cext"]
extra-indexes = [{{ name = "made", url = "{index.url()}", packages = ["cext"] }}]
[pip.metadata.cext]
build-env = {{ TOLD = "yes" }}
[apt]
build = ["gcc", "libc6-dev"]
snapshot = {now()}
[image]
base = {{ image = "{os.environ["ENVCOMPILE_TEST_DEBIAN"]}", os = "debian-12", glibc = "2.36" }}
[tools]
uv = "{engine.uv}"
"""


def make_stand_in(python: PythonInterpreter, version: str, digest: str) -> PythonInterpreter:
    """The locked Python with another version and sha256."""
    assert python.build
    file, url = (text.replace(python.version, version) for text in (python.build.file, python.build.url))
    build = python.build._replace(file=file, url=url, sha256=digest)
    return replace(python, version=version, path=python.path.replace(python.version, version), build=build)


def test_a_base_image_without_python(engine: Engine, tmp_path: Path) -> None:
    """Promise 1: the Python interpreter is pinned by hash if the base image does not provide it."""
    version, archive = make_archive(unpack(engine.base, tmp_path / "root"))
    host = tmp_path / "host"
    with debian_archive() as packages, served(Index((SDIST,))) as index, serve(host) as mirror:
        work = Work(tmp_path, packages)
        locked = work.lock(spec(engine, index)).python
        assert locked
        assert locked.build
        assert (locked.source, locked.version) == ("standalone", locked.path.split("-")[1])
        stand_in = make_stand_in(locked, version, sha256(archive))
        for python in (locked, stand_in):
            assert python.build
            path = host / unquote(python.build.url.removeprefix(RELEASE_URL.partition("/astral")[0] + "/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive)
        work.envcompile("verify", "-q", "--full")
        text = work.dockerfile()
        mirrors = f"snapshot.debian.org {packages.url}\ngithub.com {mirror}\n"
        (tmp_path / "mirrors").write_text(mirrors, "utf-8")
        options = ("--network=host", "--progress=plain", "--secret", f"id=ca,src={CA_BUNDLE}", *work.secret())
        said = docker("buildx", "build", *options, "-", text=text, check=False)
        assert "Hash mismatch" in said
        assert "envcompile: the locked standalone Python cannot be installed" in said

        lock = work.locked()
        platforms = tuple(replace(each, python=stand_in) for each in lock.platforms)
        (tmp_path / "envcompile.lock").write_text(format_lock(replace(lock, platforms=platforms)), "utf-8")
        text = work.dockerfile()
        (tmp_path / "mirrors").write_text(mirrors, "utf-8")
        engine.forget()
        digests = [
            engine.build(text, TAG, *work.secret()),
            engine.build(text, TAG, "--no-cache-filter=python", *work.secret()),
        ]
    assert digests[0] == digests[1]
    folder = stand_in.path.removesuffix("/bin/python3")
    code = "import sys, sysconfig; print(sys.version.split()[0], sys.base_prefix, sysconfig.get_path('include'))"
    said = engine.run(TAG, "python", "-c", code)
    assert said.split() == [version, folder, f"{folder}/include/python3.11"]
    assert f"-I{folder}/include/python3.11" in engine.run(TAG, f"{folder}/bin/python3-config", "--includes").split()
    assert engine.run(TAG, "python", "-c", LOOK).strip() == "cext.c yes ['cext', 'iniconfig', 'six']"
    look = "ls -A /opt/python /installed; find /opt /env -newermt @0; find /opt ! -perm -o=r ! -type l"
    said = engine.run(TAG, "sh", "-c", f"({look}) 2>&1 || true")
    assert said.split("\n")[:2] == ["ls: cannot access '/installed': No such file or directory", "/opt/python:"]
    assert said.split("\n")[2:] == [folder.rpartition("/")[2], ""]
    docker("image", "rm", "--force", TAG)
