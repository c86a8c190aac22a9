"""The conda resolver on real channel data (fixtures/channels), from files and from a loopback server."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.errors import MissingOutside
from envcompile.lock.model import Channel, CondaPackage
from envcompile.platforms import PLATFORMS
from envcompile.resolve.channels import channel
from envcompile.resolve.conda import CondaRequest
from envcompile.resolve.process import run
from envcompile.resolve.protocol import Effects, Unsolvable
from envcompile.resolve.rattler import Rattler
from tests.made import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REAL = channel(str(FIXTURES / "channels" / "conda-forge"), FIXTURES)
STACK = ("numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "pytorch", "python 3.12.*")


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """With a cache of its own: nothing that another test has read."""
    return Effects(run, {**os.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache")})


def request(*requirements: str, platform: str = "linux-64", **more: Any) -> CondaRequest:
    return CondaRequest(requirements, more.pop("channels", (REAL,)), PLATFORMS[platform], "2.36", **more)


def solve(effects: Effects, *requirements: str, **more: Any) -> dict[str, CondaPackage]:
    (packages,) = Rattler().resolve((request(*requirements, **more),), effects)
    assert [package.name for package in packages] == sorted(package.name for package in packages)
    return {package.name: package for package in packages}


def test_the_real_stack_for_both_platforms_at_once(effects: Effects) -> None:
    """Three runs, from empty caches each, give the same answer."""
    requests = (
        request(*STACK),
        request("pytorch * cuda*", "cuda-version 12.9.*", "python 3.12.*", cuda="12.9"),
        request("numpy", "python 3.12.*", platform="linux-aarch64"),
    )
    answers = []
    for index in range(3):
        fresh = {**effects.environment, "RATTLER_CACHE_DIR": f"{effects.environment['RATTLER_CACHE_DIR']}{index}"}
        answers.append(Rattler().resolve(requests, Effects(run, fresh)))
    assert answers[0] == answers[1] == answers[2]
    stack, cuda, arm = ({package.name: package for package in each} for each in answers[0])
    assert len(stack) > 100
    assert stack["pytorch"].build.startswith("cpu")
    assert stack["numpy"].subdir == "linux-64"
    assert stack["tzdata"].subdir == "noarch"
    assert cuda["pytorch"].build.startswith("cuda129")
    assert cuda["cuda-version"].version == "12.9"
    assert arm["numpy"].subdir == "linux-aarch64"
    for package in (*stack.values(), *cuda.values(), *arm.values()):
        assert package.channel == "conda-forge"
        assert len(package.sha256) == 64
        assert package.file.startswith(f"{package.name}-")


def test_pins_stay_until_they_are_upgraded(effects: Effects) -> None:
    """Promise 8, for conda."""
    old = solve(effects, "numpy <2", "python 3.12.*")
    kept = solve(effects, "numpy", "python 3.12.*", preferences=tuple(old.values()))
    assert kept == old
    one = solve(effects, "numpy", "python 3.12.*", preferences=tuple(old.values()), upgrade=frozenset({"numpy"}))
    assert one["numpy"].version.startswith("2.")
    assert one["python"] == old["python"]
    newest = solve(effects, "numpy", "python 3.12.*", preferences=tuple(old.values()), upgrade=True)
    assert newest == solve(effects, "numpy", "python 3.12.*")


def test_exclude_newer_is_a_wall(effects: Effects) -> None:
    now = solve(effects, "numpy", "python 3.12.*")
    then = solve(effects, "numpy", "python 3.12.*", exclude_newer="2025-06-01T00:00:00Z")
    assert then["numpy"].version != now["numpy"].version


def made_channel(folder: Path, *records: dict[str, Any], subdir: str = "noarch") -> Channel:
    for each in ("noarch", "linux-64", "linux-aarch64"):
        (folder / each).mkdir(parents=True, exist_ok=True)
        rows = {
            f"{row['name']}-{row['version']}-0.tar.bz2": {
                "build": "0",
                "build_number": 0,
                "depends": [],
                "md5": "0" * 32,
                "sha256": "0" * 64,
                "size": 1,
                "subdir": each,
                **row,
            }
            for row in (records if each == subdir else ())
        }
        (folder / each / "repodata.json").write_text(json.dumps({"info": {"subdir": each}, "packages": rows}), "utf-8")
    return channel(str(folder), folder)


def test_channels_are_strict_and_can_be_named(effects: Effects, tmp_path: Path) -> None:
    first = made_channel(tmp_path / "first", {"name": "a", "version": "1"})
    second = made_channel(tmp_path / "second", {"name": "a", "version": "2"})
    both = (first, second)
    assert solve(effects, "a", channels=both)["a"].version == "1"
    assert solve(effects, "second::a", channels=both)["a"].channel == "second"
    with pytest.raises(Unsolvable):
        solve(effects, "a >=2", channels=both)


def test_unsolvable_says_why(effects: Effects, tmp_path: Path) -> None:
    with pytest.raises(Unsolvable) as said:
        solve(effects, "numpy >=99")
    assert "numpy >=99" in said.value.reason
    assert said.value.table == "conda"
    arm = made_channel(tmp_path / "arm", {"name": "b", "version": "1"}, subdir="linux-aarch64")
    with pytest.raises(Unsolvable, match="no set of packages") as said:
        solve(effects, "b", channels=(arm,))
    assert "b is there for linux-aarch64, and not for linux-64" in said.value.reason


@contextmanager
def served(folder: Path, status: int = 200, cut: int | None = None) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            path = folder / self.path.strip("/")
            if status != 200 or not path.is_file():
                self.send_error(status if status != 200 else 404)
                return
            data = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:cut])

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@pytest.mark.parametrize(("status", "cut"), [(404, None), (200, 100)])
def test_a_channel_that_cannot_be_read(effects: Effects, tmp_path: Path, status: int, cut: int | None) -> None:
    made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    with served(tmp_path / "x", status, cut) as url, pytest.raises(MissingOutside, match="cannot be read"):
        solve(effects, "a", channels=(Channel("x", url),))


def test_a_channel_that_is_not_there(effects: Effects, tmp_path: Path) -> None:
    with pytest.raises(MissingOutside, match="cannot be read"):
        solve(effects, "a", channels=(channel(str(tmp_path / "none"), tmp_path),))


def test_a_record_without_a_hash_is_not_locked(effects: Effects, tmp_path: Path) -> None:
    bare = made_channel(tmp_path / "x", {"name": "a", "version": "1", "sha256": None})
    with pytest.raises(MissingOutside, match=r"no sha256 of `a-1-0\.tar\.bz2`"):
        solve(effects, "a", channels=(bare,))


def test_no_answer_is_an_error(tmp_path: Path) -> None:
    """However the process ends: without a whole answer there is none."""
    broken = tmp_path / "envcompile"
    shutil.copytree(FIXTURES.parent / "envcompile", broken)
    (broken / "resolve" / "rattler_solve.py").write_text("import nothing_of_that_name\n", "utf-8")
    effects = Effects(run, {**os.environ, "PYTHONPATH": str(tmp_path)})
    with pytest.raises(MissingOutside, match="ended without an answer"):
        Rattler().resolve((request("numpy"),), effects)


def test_names_urls_and_paths(tmp_path: Path) -> None:
    assert channel("conda-forge", tmp_path).url.endswith("/conda-forge")
    assert channel("https://example.invalid/a/b/", tmp_path) == Channel("a/b", "https://example.invalid/a/b")
    assert channel("./here", tmp_path) == Channel("here", (tmp_path / "here").as_uri())
