"""The conda resolver on real channel data (fixtures/channels), from files and from a loopback server."""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.errors import EnvcompileError, MissingOutside, Unusable
from envcompile.lock.model import Channel, CondaPackage
from envcompile.platforms import PLATFORMS
from envcompile.resolve.channels import channel
from envcompile.resolve.conda import CondaRequest
from envcompile.resolve.process import Finished, run
from envcompile.resolve.protocol import Effects, Unsolvable
from envcompile.resolve.rattler import Rattler
from tests.made import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Looked for, not imported: it must not crash the tests at their end.
pytestmark = pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")

REAL = channel(str(FIXTURES / "channels" / "conda-forge"), FIXTURES)
STACK = ("numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "pytorch", "python 3.12.*")


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """With a cache of its own: nothing that another test has read."""
    return Effects(run, {**os.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache")})


def request(*requirements: str, platform: str = "linux-64", **more: Any) -> CondaRequest:
    return CondaRequest(requirements, more.pop("channels", (REAL,)), PLATFORMS[platform], "2.36", **more)


def solve(effects: Effects, *requirements: str, **more: Any) -> dict[str, CondaPackage]:
    effects = replace(effects, offline=more.pop("offline", False))
    (packages,) = Rattler().resolve((request(*requirements, **more),), effects)
    assert [package.name for package in packages] == sorted(package.name for package in packages)
    return {package.name: package for package in packages}


def test_the_real_stack_for_both_platforms_at_once(effects: Effects) -> None:
    """Three runs, from empty caches each, give the same answer."""
    requests = (
        request(*STACK),
        request(*STACK, cuda="12.9"),
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


def test_what_is_new_comes_as_it_fits(effects: Effects, tmp_path: Path) -> None:
    """Promise 8: change one package, nothing else moves unless it must. A free upgrade may move what it needs."""
    rows: list[dict[str, Any]] = [
        *({"name": "lib", "version": each} for each in "12"),
        *({"name": "new", "version": each, "depends": [f"lib =={each}"]} for each in "12"),
        {"name": "forced", "version": "1", "depends": ["lib >=2"]},
    ]
    channels = (made_channel(tmp_path / "x", *rows),)
    pins = tuple(solve(effects, "lib ==1", channels=channels).values())

    def answer(*words: str, **more: Any) -> dict[str, str]:
        found = solve(effects, *words, channels=channels, preferences=pins, **more)
        return {name: package.version for name, package in found.items()}

    assert answer("lib", "new") == answer("new", "lib") == {"lib": "1", "new": "1"}
    assert answer("lib", "forced") == {"lib": "2", "forced": "1"}
    assert answer("lib", "new", upgrade=frozenset({"lib"})) == {"lib": "2", "new": "2"}
    assert answer("lib", "new", upgrade=frozenset({"lib"}), exact={"lib": "2"}) == {"lib": "2", "new": "2"}
    # It asks for nothing itself, and must be there.
    assert answer("lib", exact={"new": "2"}) == {"lib": "1"}
    with pytest.raises(Unsolvable):
        answer("lib", exact={"lib": "3"}, upgrade=frozenset({"lib"}))


def test_exclude_newer_is_a_wall(effects: Effects) -> None:
    now = solve(effects, "numpy", "python 3.12.*")
    then = solve(effects, "numpy", "python 3.12.*", exclude_newer="2025-06-01T00:00:00Z")
    assert then["numpy"].version != now["numpy"].version


@pytest.mark.parametrize(
    ("newer", "version"),
    [("2024-01-01T00:00:00Z", "1"), ("2024-06-01T00:00:00Z", "4"), ("2025-01-01T01:00:00+01:00", "2")],
)
def test_exclude_newer_goes_by_when_the_channel_got_it(
    effects: Effects, tmp_path: Path, newer: str, version: str
) -> None:
    """`indexed_timestamp`, else `timestamp`, else never; what is of that very moment is in, and a pin must go."""

    def at(year: int, month: int = 1) -> int:
        return int(datetime(year, month, 1, tzinfo=timezone.utc).timestamp() * 1000)

    rows: tuple[dict[str, Any], ...] = (
        {"version": "1", "timestamp": at(2024)},
        {"version": "2", "timestamp": at(2025)},
        {"version": "3", "timestamp": at(2024, 2), "indexed_timestamp": at(2026)},
        {"version": "4", "timestamp": at(2026), "indexed_timestamp": at(2024, 3)},
        {"version": "5"},
    )
    if version == "2":
        rows = tuple(row for row in rows if row["version"] != "4")
    made = made_channel(tmp_path / "x", *({"name": "a", **row} for row in rows))
    pins = tuple(solve(effects, "a ==3", channels=(made,)).values())
    assert solve(effects, "a", channels=(made,), exclude_newer=newer, preferences=pins)["a"].version == version


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


def test_pins_do_not_pass_the_strict_order(effects: Effects, tmp_path: Path) -> None:
    """A channel that is put before another one takes its packages over, also those that are pinned."""
    first = made_channel(tmp_path / "first", {"name": "a", "version": "1"})
    second = made_channel(tmp_path / "second", {"name": "a", "version": "2"}, {"name": "e", "version": "1"})
    pins = tuple(solve(effects, "a", "e", channels=(second,)).values())
    both = (first, second)
    now = solve(effects, "a", "e", channels=both, preferences=pins)
    assert (now["a"].channel, now["e"].channel) == ("first", "second")
    assert solve(effects, "second::a", channels=both, preferences=pins)["a"] == pins[0]
    assert solve(effects, 'a[channel="second"]', channels=both)["a"] == pins[0]


def test_a_dependency_comes_from_the_first_channel_too(effects: Effects, tmp_path: Path) -> None:
    first = made_channel(tmp_path / "first", {"name": "a", "version": "1"})
    second = made_channel(
        tmp_path / "second", {"name": "a", "version": "2"}, {"name": "e", "version": "1", "depends": ["a >=2"]}
    )
    with pytest.raises(Unsolvable) as said:
        solve(effects, "e", channels=(first, second))
    assert "strict channel priority not using this option from: 'second'" in said.value.reason
    freed = solve(effects, "e", "second::a", channels=(first, second))
    assert {each.channel for each in freed.values()} == {"second"}


def test_other_channels_are_not_joined(effects: Effects, tmp_path: Path) -> None:
    """Not even where a channel says so (CEP 42): the spec alone names channels."""
    made_channel(tmp_path / "other", {"name": "b", "version": "1"})
    asked = made_channel(tmp_path / "asked", {"name": "a", "version": "1", "depends": ["b"]})
    for file in (tmp_path / "asked").glob("*/repodata.json"):
        value = json.loads(file.read_text("utf-8"))
        value["info"]["channel_relations"] = {"base": "../other"}
        file.write_text(json.dumps(value), "utf-8")
    with pytest.raises(Unsolvable, match="no set"):
        solve(effects, "a", channels=(asked,))


def test_a_spec_may_name_the_subdir(effects: Effects, tmp_path: Path) -> None:
    made = made_channel(tmp_path / "x", {"name": "a", "version": "2"})
    made_channel(tmp_path / "y", {"name": "a", "version": "1"}, subdir="linux-64")
    shutil.copy(tmp_path / "y" / "linux-64" / "repodata.json", tmp_path / "x" / "linux-64")
    newest = solve(effects, "a", channels=(made,))["a"]
    assert (newest.version, newest.subdir) == ("2", "noarch")
    for text in ("a[subdir=linux-64]", "x/linux-64::a"):
        old = solve(effects, text, channels=(made,), preferences=(newest,))["a"]
        assert (old.version, old.subdir) == ("1", "linux-64")
    with pytest.raises(Unsolvable, match="no set"):
        solve(effects, "a >=2[subdir=linux-64]", channels=(made,))


def test_a_channel_that_is_not_one_of_the_spec(effects: Effects, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="asks for the channel `bioconda`") as raised:
        solve(effects, "bioconda::numpy")
    assert raised.value.hint == "add it to `channels`, which are: `conda-forge`"
    twins = (channel("./a/x", tmp_path), channel("./b/x", tmp_path))
    with pytest.raises(Unusable, match="two channels are called `x`"):
        solve(effects, "a", channels=twins)


def test_the_driver_decides_the_build(effects: Effects) -> None:
    """`__cuda` is there when it is asked for, whatever this machine has."""
    asked = ("pytorch ==2.7.1", "python 3.12.*")
    assert solve(effects, *asked)["pytorch"].build.startswith("cpu_mkl_py312")
    assert solve(effects, *asked, cuda="12.9")["pytorch"].build.startswith("cuda129_mkl_py312")
    with pytest.raises(Unsolvable) as said:
        solve(effects, "pytorch * cuda*", "python 3.12.*")
    assert said.value.reason.endswith("__cuda is there when `version` under `[cuda]` says which one.")


def test_unsolvable_says_why(effects: Effects, tmp_path: Path) -> None:
    with pytest.raises(Unsolvable) as said:
        solve(effects, "numpy >=99")
    assert "numpy >=99" in said.value.reason
    assert said.value.table == "conda"
    arm = made_channel(tmp_path / "arm", {"name": "b", "version": "1"}, subdir="linux-aarch64")
    with pytest.raises(Unsolvable, match="no set of packages") as said:
        solve(effects, "b", channels=(arm,))
    assert "b is there for linux-aarch64, and not for linux-64" in said.value.reason
    deep = made_channel(tmp_path / "deep", {"name": "c", "version": "1", "depends": ["b"]})
    with pytest.raises(Unsolvable) as said:
        solve(effects, "c", channels=(arm, deep))
    assert said.value.reason.splitlines()[-1] == "b is there for linux-aarch64, and not for linux-64."
    with pytest.raises(Unsolvable) as said:
        solve(effects, "nunpy")
    assert said.value.reason.splitlines() == [
        "No candidates were found for nunpy *.",
        "nunpy is in none of the channels for linux-64; near it are: numpy.",
    ]


class Handler(http.server.BaseHTTPRequestHandler):
    """Files of a folder, whole or not; see `served`."""

    folder: Path
    broken: str
    token: str
    over: threading.Event

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.broken == "silent":
            self.over.wait(60)
            return
        path = self.folder / self.path.strip("/")
        status = 200 if path.is_file() else 404
        status = int(self.broken) if self.broken.isdigit() else status
        if self.token and self.headers["Authorization"] != f"Bearer {self.token}":
            status = 401
        data = path.read_bytes() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:100] if self.broken == "cut" else data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that has heard enough hangs up."""


@contextmanager
def served(folder: Path, broken: str = "", token: str = "") -> Iterator[str]:
    """A folder on loopback. `broken` is a status; `cut`, which hangs up within a file; or `silent`."""
    over = threading.Event()
    handler = type("Mine", (Handler,), {"folder": folder, "broken": broken, "token": token, "over": over})
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            over.set()
            server.shutdown()


@pytest.mark.parametrize(
    ("broken", "error", "said", "hint"),
    [
        ("404", Unusable, "there is no channel `x` at `http://127.0.0.1:", "check its name"),
        ("403", MissingOutside, "the conda channel `x` lets nobody in without credentials", "rattler auth login"),
        ("500", MissingOutside, "the conda channel `x` cannot be read: HTTP status server error (500", "try again"),
        ("cut", MissingOutside, "cannot be read: failed to download http://127.0.0.1:", "try again"),
        ('{"info": {', MissingOutside, "cannot be read: failed to parse repodata.json: EOF", "try again"),
        ("<html>Hello", MissingOutside, "cannot be read: failed to parse repodata.json: expected value", "try again"),
        ("silent", MissingOutside, "the conda channel `x` cannot be read", "try again"),
    ],
)
def test_a_channel_that_cannot_be_read(  # noqa: PLR0913, PLR0917 - a row of the table
    effects: Effects, tmp_path: Path, broken: str, error: type[EnvcompileError], said: str, hint: str
) -> None:
    """The one that fails is named, whatever is beside it."""
    good = made_channel(tmp_path / "good", {"name": "a", "version": "1"})
    made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    if not broken.isalnum():  # a file that is not whole, served well
        (tmp_path / "x" / "noarch" / "repodata.json").write_text(broken, "utf-8")
    with served(tmp_path / "x", broken) as url, pytest.raises(error) as raised:
        Rattler(timeout=1).resolve((request("a", channels=(good, Channel("x", url))),), effects)
    assert said in raised.value.message
    assert "\n" not in raised.value.message
    assert hint in str(raised.value.hint)


def test_a_channel_that_is_not_there(effects: Effects, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="there is no channel `none`"):
        solve(effects, "a", channels=(channel(str(tmp_path / "none"), tmp_path),))
    with pytest.raises(MissingOutside, match=r"`x` cannot be read: .*Connection refused"):
        solve(effects, "a", channels=(Channel("x", "http://127.0.0.1:1/x"),))


def test_offline_asks_the_cache_alone(effects: Effects, tmp_path: Path) -> None:
    made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    with served(tmp_path / "x") as url:
        web = (Channel("x", url),)
        with pytest.raises(MissingOutside, match="`x` is not in the cache"):
            solve(effects, "a", channels=web, offline=True)
        known = solve(effects, "a", channels=web)
    assert solve(effects, "a", channels=web, offline=True) == known
    assert solve(effects, "numpy", "python 3.12.*", offline=True)["numpy"].version


def test_credentials_are_those_of_rattler(effects: Effects, tmp_path: Path) -> None:
    """And no message holds one."""
    made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    file = tmp_path / "credentials.json"
    mine = Effects(run, {**effects.environment, "RATTLER_AUTH_FILE": str(file)})
    with served(tmp_path / "x", token="opensesame") as url:
        with pytest.raises(MissingOutside, match="`x` lets nobody in") as raised:
            solve(effects, "a", channels=(Channel("x", url),))
        file.write_text(json.dumps({"127.0.0.1": {"BearerToken": "opensesame"}}), "utf-8")
        assert solve(mine, "a", channels=(Channel("x", url),))["a"].version == "1"
        with pytest.raises(Unsolvable) as unsolvable:
            solve(mine, "b", channels=(Channel("x", url),))
        assert "opensesame" not in f"{raised.value.message}{unsolvable.value.reason}"


def test_mirrors_are_those_of_rattler(effects: Effects, tmp_path: Path) -> None:
    """And the answer is that of the channel's own name."""
    made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    settings = tmp_path / ".config" / "rattler" / "config.toml"
    settings.parent.mkdir(parents=True)
    mine = Effects(run, {**effects.environment, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")})
    corp = (Channel("corp", "http://corp.invalid/corp"),)
    with served(tmp_path / "x") as url:
        settings.write_text(f'[mirrors]\n"http://corp.invalid/corp" = ["{url}"]\n', "utf-8")
        assert solve(mine, "a", channels=corp)["a"].channel == "corp"
    settings.write_text("mirrors = 3\n", "utf-8")
    with pytest.raises(Unusable, match="rattler's own configuration cannot be read"):
        solve(mine, "a", channels=corp)


def test_a_record_without_a_hash_is_not_locked(effects: Effects, tmp_path: Path) -> None:
    bare = made_channel(tmp_path / "x", {"name": "a", "version": "1", "sha256": None})
    with pytest.raises(MissingOutside, match=r"no sha256 of `a-1-0\.tar\.bz2`"):
        solve(effects, "a", channels=(bare,))


def test_a_crash_after_the_answer_does_no_harm(effects: Effects) -> None:
    """It is the answer that counts, and only a whole one: it appears in one step."""
    seen: dict[str, str] = {}

    def crashing(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> Finished:
        seen.update(environment)
        return Finished(-11, run(argv, folder, environment).errors)

    def killed(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> Finished:
        seen.update(environment)
        Path(folder, Path(argv[-1]).stem + ".part").write_text('[{"kind": "sol', "utf-8")
        return Finished(-9, "")

    world = {**effects.environment, "CONDA_OVERRIDE_CUDA": "12.9", "CONDA_OVERRIDE_GLIBC": "2.17", "RUST_LOG": "trace"}
    assert solve(Effects(crashing, world), "numpy", "python 3.12.*") == solve(effects, "numpy", "python 3.12.*")
    assert not {"CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "RUST_LOG"} & set(seen)
    with pytest.raises(MissingOutside, match="ended without an answer: it said nothing, and its code was -9"):
        solve(Effects(killed, world), "numpy")


def test_without_rattler(tmp_path: Path) -> None:
    (tmp_path / "rattler.py").write_text("raise ModuleNotFoundError(\"No module named 'rattler'\")\n", "utf-8")
    with pytest.raises(MissingOutside, match="`py-rattler`, which resolves") as raised:
        solve(Effects(run, {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{FIXTURES.parent}"}), "numpy")
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
    (broken / "resolve" / "rattler_solve.py").write_text("import nothing_of_that_name\n", "utf-8")
    effects = Effects(run, {**os.environ, "PYTHONPATH": str(tmp_path)})
    with pytest.raises(MissingOutside, match="ended without an answer"):
        Rattler().resolve((request("numpy"),), effects)


def test_names_urls_and_paths(tmp_path: Path) -> None:
    strange = channel("./a b", tmp_path)
    assert (strange.name, strange.url) == ("a-b", (tmp_path / "a b").as_uri())
    assert channel(f"{strange.url}/", tmp_path) == strange
    assert channel("conda-forge", tmp_path).url.endswith("/conda-forge")
    assert channel("https://example.invalid/a/b/", tmp_path) == Channel("a/b", "https://example.invalid/a/b")
    assert channel("./here", tmp_path) == Channel("here", (tmp_path / "here").as_uri())
