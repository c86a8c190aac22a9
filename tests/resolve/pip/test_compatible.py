"""Promise 12: the locked packages fit together. Both bounds of Requires-Python, and the facts that the lock keeps.

Through the real `envcompile lock` and uv, with an index on the loopback interface.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.model import PipPackage
from envcompile.lock.reader import parse_lock
from envcompile.net.process import run_process
from envcompile.platforms import PLATFORMS
from envcompile.resolve.model import Effects, PipRequest
from envcompile.resolve.pip.compatible import CompatibleResolver
from envcompile.resolve.pip.metadata import MetadataReader, find_index_urls
from envcompile.resolve.pip.uv import UvResolver
from envcompile.spec.pip import PipRequirement, parse_dependency_name
from tests.kit.index import Index, Wheel, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST = 64 * "0"
SPEC = """
name = "x"
python = "3.14"
[pip]
index = "URL"
packages = PACKAGES
[image.base]
image = "x@sha256:DIGEST"
os = "debian-12"
glibc = "2.36"
python = "3.14.2"
python-path = "/p"
[tools]
uv = "uv@sha256:DIGEST"
"""
WORLD = (
    Wheel("app", "1.0", ("lib >=1",), python=">=3.8"),
    Wheel("app", "2.0", ("lib >=1",), python=">=3.10,<3.14"),
    Wheel("app", "3.0", ("lib >=1",), python=">=3.10,<3.14"),
    Wheel("lib", "1.0", ("base[fast] >=1,<3 ; python_version >= '3'", "nowhere ; extra == 'other'"), python="!=3.14.1"),
    Wheel("lib", "2.0", python="!=3.14.2"),
    Wheel("base", "2.0", ("plug ~=1.0 ; extra == 'fast'", "base[slow] ; extra == 'all'"), ("fast", "slow", "all")),
    Wheel("plug", "1.4"),
    Wheel("bounded", "1.0", python="<3.14"),
    Wheel("bounded", "2.0", python="<3.13"),
    Wheel("needs-bounded", "1.0", ("bounded",)),
)


@pytest.fixture
def index() -> Iterator[Index]:
    with served(Index(WORLD, beside=True)) as index:
        yield index


def lock(folder: Path, index: Index, *packages: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    text = SPEC.replace("URL", index.url()).replace("PACKAGES", str(list(packages))).replace("DIGEST", DIGEST)
    (folder / "envcompile.toml").write_text(text, "utf-8")
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder.parent / "cache"), "HOME": str(folder.parent)}
    environment.pop("UV_CACHE_DIR", None)
    argv = [sys.executable, "-m", "envcompile", "lock", *options]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def read(folder: Path) -> dict[str, PipPackage]:
    (platform,) = parse_lock((folder / "envcompile.lock").read_text("utf-8"), "x").platforms
    return {package.name: package for package in platform.pip}


@pytest.mark.parametrize("form", ["beside", "ranges", "whole", "html"])
def test_the_newest_release_that_accepts_the_exact_python(tmp_path: Path, form: str) -> None:
    """And its facts: Requires-Python, and dependencies with their extras and versions; from every kind of index."""
    kind = Index(WORLD, beside=form == "beside", ranges=form == "ranges", html=form == "html")
    with served(kind) as index:
        done = lock(tmp_path / "x", index, "app")
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "x")
    assert {name: each.version for name, each in found.items()} == {
        "app": "1.0",
        "base": "2.0",
        "lib": "1.0",
        "plug": "1.4",
    }
    assert (found["app"].requires_python, found["app"].depends) == (">=3.8", ("lib >=1",))
    assert (found["lib"].requires_python, found["lib"].depends) == ("!=3.14.1", ("base[fast] <3,>=1",))
    assert found["base"].depends == ("plug ~=1.0",)
    assert found["plug"].requires_python == ""


def test_no_release_accepts_the_python(index: Index, tmp_path: Path) -> None:
    """The error names the package, its bound, and a Python that would fit; at the requirement that leads to it."""
    done = lock(tmp_path / "x", index, "base", "needs-bounded")
    assert done.returncode == 1
    assert "bounded 2.0 requires Python <3.13, and the environment has 3.14.2." in done.stderr
    assert 'hint: write `python = "3.12"`' in done.stderr
    assert "bounded!=" not in done.stderr
    assert not (tmp_path / "x" / "envcompile.lock").exists()


def test_a_pin_that_rejects_the_python_is_named_and_moved(index: Index, tmp_path: Path) -> None:
    """Pins of an old lock that break promise 12 move; all others stay."""
    assert lock(tmp_path / "x", index, "app").returncode == 0
    path = tmp_path / "x" / "envcompile.lock"
    wheel = next(each for each in WORLD if (each.name, each.version) == ("app", "2.0"))
    old = next(each for each in WORLD if (each.name, each.version) == ("app", "1.0"))
    text = path.read_text("utf-8").replace(old.file, wheel.file).replace(old.sha256(), wheel.sha256())
    # The lock of a release that did not check it. Its digest no longer fits, so its pins are recovered.
    path.write_text(text.replace('"app", version = "1.0"', '"app", version = "2.0"'), "utf-8")
    done = lock(tmp_path / "x", index, "app", "lib")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "x")["app"].version == "1.0"
    assert "~ app 2.0 -> 1.0" in done.stderr
    assert done.stderr.count("  ~ ") == 1


def test_metadata_is_read_once(tmp_path: Path) -> None:
    with served(Index(WORLD, beside=True)) as index:
        packages = [PipPackage(each.name, each.version, each.file, each.sha256()) for each in WORLD]
        urls = {each.sha256(): f"http://127.0.0.1:{index.port}/files/{each.file}" for each in WORLD}
        reader = MetadataReader({}, {}, tmp_path, warn=pytest.fail)
        first = reader.read(packages, urls)
        assert len(index.asked) == len(WORLD)
        again = reader.read(packages, urls)
        assert len(index.asked) == len(WORLD)
    assert again == {digest: each._replace(files=None) for digest, each in first.items()}
    later = MetadataReader({}, {}, tmp_path, warn=pytest.fail, offline=True)
    assert later.read(packages, urls) == again
    assert {digest: later.read_files(digest) for digest in first} == {d: each.files for d, each in first.items()}
    assert first[WORLD[1].sha256()].requires_python == ">=3.10,<3.14"


def test_a_server_without_parts_of_files_is_not_asked_for_them_again(tmp_path: Path) -> None:
    """The whole file would be a gigabyte for some wheels. The metadata beside it is enough; its files stay unknown."""
    large = tuple(Wheel(f"large{number}", "1.0", padding=200_000) for number in range(40))
    with served(Index(large, beside=True)) as index:
        packages = [PipPackage(each.name, each.version, each.file, each.sha256()) for each in large]
        urls = {each.sha256(): f"http://127.0.0.1:{index.port}/files/{each.file}" for each in large}
        reader = MetadataReader({}, {}, tmp_path, warn=pytest.fail)
        found = reader.read(packages, urls)
        wheels = [path for path in index.asked if path.endswith(".whl")]
    assert len(found) == len(large)
    assert {each.files for each in found.values()} == {None}
    # At most as many as there are threads at the beginning.
    assert 1 <= len(wheels) <= 24


def test_a_wheel_without_readable_metadata_is_a_warning(tmp_path: Path) -> None:
    """uv has its own cache and credentials, so the lock may still be right: but that is not checked in silence."""
    folder = tmp_path / "x"
    with served(Index(WORLD, beside=True)) as index:
        assert lock(folder, index, "base").returncode == 0
        for entry in (tmp_path / "cache" / "envcompile" / "metadata").glob("*/*.json"):
            entry.write_text("{", "utf-8")  # a damaged entry is read again
        done = lock(folder, index, "base", options=("-U", "--offline"))
    assert done.returncode == 0
    assert "the metadata of `base` was not read" in done.stderr
    assert "`--offline` is set" in done.stderr


def test_facts_of_the_earlier_lock_are_kept_offline(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    with served(Index(WORLD, beside=True)) as index:
        assert lock(folder, index, "app").returncode == 0
        before = read(folder)
        shutil.rmtree(tmp_path / "cache" / "envcompile" / "metadata")
        done = lock(folder, index, "app", "plug", options=("--offline",))
    assert done.returncode == 0, done.stderr
    after = read(folder)
    assert (after["app"], after["lib"]) == (before["app"], before["lib"])
    # `base` and `plug` have no Requires-Python, so the lock does not show whether it is known.
    assert "the metadata of `base`, `plug` was not read" in done.stderr


def test_credentials_of_the_index_are_used_for_its_files(tmp_path: Path) -> None:
    """They may be in the URL, or in the variables of uv."""
    wheel = WORLD[0]
    package = PipPackage(wheel.name, wheel.version, wheel.file, wheel.sha256())
    with served(Index(WORLD, beside=True, password="secret")) as index:
        url = f"http://127.0.0.1:{index.port}/files/{wheel.file}"
        variables = {"UV_INDEX_DEFAULT_USERNAME": "me", "UV_INDEX_DEFAULT_PASSWORD": "secret"}
        from_variables = find_index_urls(index.url(), (), variables, "")
        for number, urls in enumerate(({"default": index.url("me:secret@")}, from_variables)):
            reader = MetadataReader(urls, {}, tmp_path / str(number), warn=pytest.fail)
            assert reader.read([package], {package.sha256: url})
        warnings: list[str] = []
        MetadataReader({}, {}, tmp_path / "none", warn=warnings.append).read([package], {package.sha256: url})
    assert "401" in warnings[0]


def test_a_file_without_a_url_is_a_warning(tmp_path: Path) -> None:
    package = PipPackage("a", "1.0", "a-1.0-py3-none-any.whl", 64 * "a")
    warnings: list[str] = []
    assert MetadataReader({}, {}, tmp_path, warn=warnings.append).read([package], {}) == {}
    assert "the index does not serve the file over HTTP" in warnings[0]


# Requirements whose markers and extras are written in every way that build tools write them.
EXTRAS = (
    Wheel(
        "root",
        "1.0",
        (
            "base[Fast_Path,all]",
            "gone; python_version < '3.14' and extra == 'x'",
            "either ; python_version < '3' or extra == 'y'",
            "always ; sys_platform == 'linux' or extra == \"y\"",
            "left-out",
            "ROOT[z]; extra == 'x'",
            "deep; extra == 'z'",
        ),
        ("x", "y", "z"),
    ),
    Wheel(
        "base",
        "1.0",
        (
            'Plug_One (>=1) ; (platform_machine == "x86_64") and extra == "fast-path"',
            "base[inner]; extra == 'all'",
            "inner_dep ; extra=='inner'",
            "never; extra == 'other'",
            "always",
        ),
        ("fast-path", "all", "inner", "other"),
    ),
    *(
        Wheel(name, "1.0")
        for name in ("either", "always", "left-out", "deep", "plug-one", "inner-dep", "never", "gone")
    ),
)


@pytest.mark.parametrize(
    "requirements", [("root",), ("root[x]", "never"), ("root[x,y,z]", "gone", "either"), ("base",)]
)
@pytest.mark.parametrize("beside", [True, False])
def test_the_graph_of_the_metadata_is_that_of_the_resolver(
    tmp_path: Path, requirements: tuple[str, ...], beside: bool
) -> None:
    """uv evaluates markers and extras on its own: its graph is the witness for ours."""
    effects = Effects(run_process, {"PATH": os.environ["PATH"], "UV_CACHE_DIR": str(tmp_path / "uv")})
    with served(Index(EXTRAS, beside=beside)) as index:
        request = PipRequest(
            tuple(map(PipRequirement, requirements)),
            ("left-out",),
            PLATFORMS["linux-64"],
            python="3.14.2",
            glibc="2.36",
            index=index.url(),
        )
        found = CompatibleResolver(UvResolver(), tmp_path, warn=pytest.fail).resolve(request, effects)
        expected = UvResolver().resolve(request, effects)
    graph = {each.name: sorted(map(parse_dependency_name, each.depends)) for each in found.packages}
    assert graph == {each.name: sorted(each.depends) for each in expected.packages}
