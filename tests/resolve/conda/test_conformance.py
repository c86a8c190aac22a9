"""What every conda back end must answer alike: real channel data and made channels, from files and from loopback."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import datetime, timezone
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.diagnostics.errors import EnvcompileError, InvalidInputError, UnavailableError
from envcompile.lock.model import Channel, CondaPackage
from envcompile.resolve.conda.channels import parse_channel
from envcompile.resolve.conda.conda_lock import CondaLockResolver
from envcompile.resolve.conda.rattler import RattlerResolver
from envcompile.resolve.model import Effects, UnsolvableError
from envcompile.spec.model import CudaRequest
from tests.kit.channel import made_channel, request, served
from tests.kit.fork_server import run_forked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Engine = type[RattlerResolver | CondaLockResolver]
    Solve = Callable[..., dict[str, CondaPackage]]

# Looked for, not imported: it must not crash the tests at their end.
pytestmark = pytest.mark.skipif(not find_spec("rattler"), reason="py-rattler is not installed")

STACK = ("numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "pytorch", "python 3.12.*")


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """With a cache of its own: nothing that another test has read. And no conda program, which would solve."""
    return Effects(run_forked, {**os.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache"), "PATH": ""})


@pytest.fixture(
    params=[
        RattlerResolver,
        pytest.param(
            CondaLockResolver,
            marks=pytest.mark.skipif(not find_spec("conda_lock"), reason="conda-lock is not installed"),
        ),
    ]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param
    return made


@pytest.fixture
def solve(engine: Engine, effects: Effects) -> Solve:
    """The back end's answer to some requirements, by name."""

    def solving(*requirements: str, effects: Effects = effects, **more: Any) -> dict[str, CondaPackage]:
        effects = replace(effects, offline=more.pop("offline", False))
        (packages,) = engine().resolve((request(*requirements, **more),), effects)
        assert [package.name for package in packages] == sorted(package.name for package in packages)
        return {package.name: package for package in packages}

    return solving


def test_the_real_stack_for_both_platforms_at_once(engine: Engine, effects: Effects) -> None:
    """Two runs, from empty caches each, give the same answer to the last field, and each back end the default's."""
    requests = (
        request(*STACK),
        request(*STACK, cuda=CudaRequest("12.9")),
        request("numpy", "python 3.12.*", platform="linux-aarch64"),
    )
    answers = []
    for index, each in enumerate((engine, RattlerResolver)):
        fresh = {**effects.environment, "RATTLER_CACHE_DIR": f"{effects.environment['RATTLER_CACHE_DIR']}{index}"}
        answers.append(each().resolve(requests, Effects(run_forked, fresh)))
    assert answers[0] == answers[1]
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


def test_pins_stay_until_they_are_upgraded(solve: Solve) -> None:
    """Promise 8, for conda."""
    old = solve("numpy <2", "python 3.12.*")
    kept = solve("numpy", "python 3.12.*", preferences=tuple(old.values()))
    assert kept == old
    one = solve("numpy", "python 3.12.*", preferences=tuple(old.values()), upgrade=frozenset({"numpy"}))
    assert one["numpy"].version.startswith("2.")
    assert one["python"] == old["python"]
    newest = solve("numpy", "python 3.12.*", preferences=tuple(old.values()), upgrade=True)
    assert newest == solve("numpy", "python 3.12.*")


def test_what_is_new_comes_as_it_fits(solve: Solve, tmp_path: Path) -> None:
    """Promise 8: change one package, nothing else moves unless it must. A free upgrade may move what it needs."""
    rows: list[dict[str, Any]] = [
        *({"name": "lib", "version": each} for each in "12"),
        *({"name": "new", "version": each, "depends": [f"lib =={each}"]} for each in "12"),
        {"name": "forced", "version": "1", "depends": ["lib >=2"]},
    ]
    channels = (made_channel(tmp_path / "x", *rows),)
    pins = tuple(solve("lib ==1", channels=channels).values())

    def answer(*words: str, **more: Any) -> dict[str, str]:
        found = solve(*words, channels=channels, preferences=pins, **more)
        return {name: package.version for name, package in found.items()}

    assert answer("lib", "new") == answer("new", "lib") == {"lib": "1", "new": "1"}
    assert answer("lib", "forced") == {"lib": "2", "forced": "1"}
    assert answer("lib", "new", upgrade=frozenset({"lib"})) == {"lib": "2", "new": "2"}
    assert answer("lib", "new", upgrade=frozenset({"lib"}), exact={"lib": "2"}) == {"lib": "2", "new": "2"}
    # It asks for nothing itself, and must be there.
    assert answer("lib", exact={"new": "2"}) == {"lib": "1"}
    with pytest.raises(UnsolvableError):
        answer("lib", exact={"lib": "3"}, upgrade=frozenset({"lib"}))


def test_exclude_newer_is_a_wall(solve: Solve) -> None:
    now = solve("numpy", "python 3.12.*")
    then = solve("numpy", "python 3.12.*", exclude_newer="2025-06-01T00:00:00Z")
    assert then["numpy"].version != now["numpy"].version


@pytest.mark.parametrize(
    ("newer", "version"),
    [("2024-01-01T00:00:00Z", "1"), ("2024-06-01T00:00:00Z", "4"), ("2025-01-01T01:00:00+01:00", "2")],
)
def test_exclude_newer_goes_by_when_the_channel_got_it(solve: Solve, tmp_path: Path, newer: str, version: str) -> None:
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
    pins = tuple(solve("a ==3", channels=(made,)).values())
    assert solve("a", channels=(made,), exclude_newer=newer, preferences=pins)["a"].version == version


def test_channels_are_strict_and_can_be_named(solve: Solve, tmp_path: Path) -> None:
    first = made_channel(tmp_path / "first", {"name": "a", "version": "1"})
    second = made_channel(tmp_path / "second", {"name": "a", "version": "2"})
    both = (first, second)
    assert solve("a", channels=both)["a"].version == "1"
    assert solve("second::a", channels=both)["a"].channel == "second"
    with pytest.raises(UnsolvableError):
        solve("a >=2", channels=both)


def test_pins_do_not_pass_the_strict_order(solve: Solve, tmp_path: Path) -> None:
    """A channel that is put before another one takes its packages over, also those that are pinned."""
    first = made_channel(tmp_path / "first", {"name": "a", "version": "1"})
    second = made_channel(tmp_path / "second", {"name": "a", "version": "2"}, {"name": "e", "version": "1"})
    pins = tuple(solve("a", "e", channels=(second,)).values())
    both = (first, second)
    now = solve("a", "e", channels=both, preferences=pins)
    assert (now["a"].channel, now["e"].channel) == ("first", "second")
    assert solve("second::a", channels=both, preferences=pins)["a"] == pins[0]
    assert solve('a[channel="second"]', channels=both)["a"] == pins[0]


def test_a_dependency_comes_from_the_first_channel_too(solve: Solve, tmp_path: Path) -> None:
    first = made_channel(tmp_path / "first", {"name": "a", "version": "1"})
    second = made_channel(
        tmp_path / "second", {"name": "a", "version": "2"}, {"name": "e", "version": "1", "depends": ["a >=2"]}
    )
    with pytest.raises(UnsolvableError) as said:
        solve("e", channels=(first, second))
    assert "strict channel priority not using this option from: 'second'" in said.value.reason
    freed = solve("e", "second::a", channels=(first, second))
    assert {each.channel for each in freed.values()} == {"second"}


def test_other_channels_are_not_joined(solve: Solve, tmp_path: Path) -> None:
    """Not even where a channel says so (CEP 42): the spec alone names channels."""
    made_channel(tmp_path / "other", {"name": "b", "version": "1"})
    asked = made_channel(tmp_path / "asked", {"name": "a", "version": "1", "depends": ["b"]})
    for file in (tmp_path / "asked").glob("*/repodata.json"):
        value = json.loads(file.read_text("utf-8"))
        value["info"]["channel_relations"] = {"base": "../other"}
        file.write_text(json.dumps(value), "utf-8")
    with pytest.raises(UnsolvableError, match="no set"):
        solve("a", channels=(asked,))


def test_brackets_say_the_same(solve: Solve, tmp_path: Path) -> None:
    rows = [{"name": "a", "version": version, "build": f"{kind}_0"} for version in "123" for kind in ("cpu", "gpu")]
    folders = tmp_path / "cpu", tmp_path / "gpu"
    cpu, gpu = (made_channel(each, *rows[index::2]) for index, each in enumerate(folders))
    made = {"channels": (cpu, gpu)}
    assert solve("a ==2", **made)["a"].build == "cpu_0"
    assert solve('gpu::a[version="<3", build="gpu*"]', **made)["a"].version == "2"
    assert solve("a[channel=gpu,version='1|2']", **made)["a"].version == "2"
    assert solve("gpu::a = 1 gpu_*", **made)["a"].version == "1"
    with pytest.raises(UnsolvableError):
        solve("a * gpu*", **made)


def test_what_a_url_spells_otherwise(solve: Solve, tmp_path: Path) -> None:
    made = made_channel(tmp_path / "é b", {"name": "a.b_c", "version": "1!2.0"})
    assert solve("a.b_c >=1!2", channels=(made,))["a.b_c"].file == "a.b_c-1!2.0-0.tar.bz2"
    assert solve(f"{made.name}::a.b_c", channels=(made,))["a.b_c"].channel == made.name


def test_virtual_packages_and_rings(solve: Solve, tmp_path: Path) -> None:
    """What the target is said to have may be asked for; packages may need each other."""
    made = made_channel(
        tmp_path / "x",
        {"name": "a", "version": "1", "depends": ["b", "__glibc >=2.17,<3", "__archspec 1 x86_64"]},
        {"name": "b", "version": "1", "depends": ["c >=1,<2", "c * 0", "__unix"]},
        {"name": "c", "version": "1", "depends": ["a"]},
    )
    assert list(solve("a", "__glibc >=2.36", channels=(made,))) == ["a", "b", "c"]
    with pytest.raises(UnsolvableError):
        solve("a", "__glibc >=2.37", channels=(made,))


def test_a_spec_may_name_the_subdir_or_the_hash(solve: Solve, engine: Engine, tmp_path: Path) -> None:
    """The answer is the one that was asked for, or there is none: conda-lock would leave these parts out."""
    made = made_channel(tmp_path / "x", {"name": "a", "version": "2"})
    made_channel(tmp_path / "y", {"name": "a", "version": "1", "md5": "1" * 32}, subdir="linux-64")
    shutil.copy(tmp_path / "y" / "linux-64" / "repodata.json", tmp_path / "x" / "linux-64")
    newest = solve("a", channels=(made,))["a"]
    assert (newest.version, newest.subdir) == ("2", "noarch")
    for text in ("a[subdir=linux-64]", "x/linux-64::a", f"a[md5={'1' * 32}]"):
        if engine is CondaLockResolver:
            with pytest.raises(InvalidInputError, match="`conda-lock` reads the requirement") as refused:
                solve(text, channels=(made,), preferences=(newest,))
            assert 'resolver = "rattler"' in str(refused.value.hint)
            continue
        old = solve(text, channels=(made,), preferences=(newest,))["a"]
        assert (old.version, old.subdir) == ("1", "linux-64")
    with pytest.raises(InvalidInputError if engine is CondaLockResolver else UnsolvableError):
        solve("a >=2[subdir=linux-64]", channels=(made,))


def test_a_channel_that_is_not_one_of_the_spec(solve: Solve, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="requests the channel `bioconda`") as raised:
        solve("bioconda::numpy")
    assert raised.value.hint == "add it to `channels` in `[conda]`, which has `conda-forge`"
    twins = (parse_channel("./a/x", tmp_path), parse_channel("./b/x", tmp_path))
    with pytest.raises(InvalidInputError, match="two channels have the name `x`"):
        solve("a", channels=twins)


def test_the_driver_decides_the_build(solve: Solve) -> None:
    """`__cuda` is there when it is asked for, whatever this machine has."""
    asked = ("pytorch ==2.7.1", "python 3.12.*")
    assert solve(*asked)["pytorch"].build.startswith("cpu_mkl_py312")
    assert solve(*asked, cuda=CudaRequest("12.9"))["pytorch"].build.startswith("cuda129_mkl_py312")
    with pytest.raises(UnsolvableError) as said:
        solve("pytorch * cuda*", "python 3.12.*")
    assert said.value.reason.endswith("__cuda is available if `version` in `[cuda]` is set.")


def test_unsolvable_says_why(solve: Solve, tmp_path: Path) -> None:
    with pytest.raises(UnsolvableError) as said:
        solve("numpy >=99")
    assert "numpy >=99" in said.value.reason
    assert said.value.table == "conda"
    arm = made_channel(tmp_path / "arm", {"name": "b", "version": "1"}, subdir="linux-aarch64")
    with pytest.raises(UnsolvableError, match="no set of packages") as said:
        solve("b", channels=(arm,))
    assert "b is available for linux-aarch64, but not for linux-64" in said.value.reason
    deep = made_channel(tmp_path / "deep", {"name": "c", "version": "1", "depends": ["b"]})
    with pytest.raises(UnsolvableError) as said:
        solve("c", channels=(arm, deep))
    assert said.value.reason.splitlines()[-1] == "b is available for linux-aarch64, but not for linux-64."
    with pytest.raises(UnsolvableError) as said:
        solve("nunpy")
    assert said.value.reason.splitlines() == [
        "No candidates were found for nunpy *.",
        "No channel has nunpy for linux-64; similar names: numpy.",
    ]


@pytest.mark.parametrize(
    ("broken", "error", "said", "hint"),
    [
        ("404", InvalidInputError, "there is no channel `x` at `http://127.0.0.1:", "check the name"),
        ("403", UnavailableError, "the conda channel `x` requires credentials", "rattler auth login"),
        ("500", UnavailableError, "cannot read the conda channel `x`: HTTP status server error (500", "try again"),
        ("cut", UnavailableError, "`x`: failed to download http://127.0.0.1:", "try again"),
        ('{"info": {', UnavailableError, "`x`: failed to parse repodata.json: EOF", "try again"),
        ("<html>Hello", UnavailableError, "`x`: failed to parse repodata.json: expected value", "try again"),
        ("silent", UnavailableError, "cannot read the conda channel `x`", "try again"),
    ],
)
def test_a_channel_that_cannot_be_read(  # noqa: PLR0913, PLR0917 - a row of the table
    engine: Engine, effects: Effects, tmp_path: Path, broken: str, error: type[EnvcompileError], said: str, hint: str
) -> None:
    """The one that fails is named, whatever is beside it."""
    good = made_channel(tmp_path / "good", {"name": "a", "version": "1"})
    made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    if not broken.isalnum():  # a file that is not whole, served well
        (tmp_path / "x" / "noarch" / "repodata.json").write_text(broken, "utf-8")
    with served(tmp_path / "x", broken) as url, pytest.raises(error) as raised:
        engine(timeout=1).resolve((request("a", channels=(good, Channel("x", url))),), effects)
    assert said in raised.value.message
    assert "\n" not in raised.value.message
    assert hint in str(raised.value.hint)


def test_a_channel_that_is_not_there(solve: Solve, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="there is no channel `none`"):
        solve("a", channels=(parse_channel(str(tmp_path / "none"), tmp_path),))
    with pytest.raises(UnavailableError, match=r"cannot read the conda channel `x`: .*Connection refused"):
        solve("a", channels=(Channel("x", "http://127.0.0.1:1/x"),))


def test_offline_asks_the_cache_alone(solve: Solve, tmp_path: Path) -> None:
    made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    with served(tmp_path / "x") as url:
        web = (Channel("x", url),)
        with pytest.raises(UnavailableError, match="`x` is not in the cache"):
            solve("a", channels=web, offline=True)
        known = solve("a", channels=web)
    assert any((tmp_path / "cache" / "repodata").iterdir()), "`RATTLER_CACHE_DIR` is where rattler's tools look"
    assert solve("a", channels=web, offline=True) == known
    assert solve("numpy", "python 3.12.*", offline=True)["numpy"].version


def test_credentials_are_those_of_rattler(solve: Solve, effects: Effects, tmp_path: Path) -> None:
    """And no message holds one."""
    made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    file = tmp_path / "credentials.json"
    mine = Effects(run_forked, {**effects.environment, "RATTLER_AUTH_FILE": str(file)})
    with served(tmp_path / "x", token="opensesame") as url:
        with pytest.raises(UnavailableError, match="`x` requires credentials") as raised:
            solve("a", channels=(Channel("x", url),))
        file.write_text(json.dumps({"127.0.0.1": {"BearerToken": "opensesame"}}), "utf-8")
        assert solve("a", channels=(Channel("x", url),), effects=mine)["a"].version == "1"
        with pytest.raises(UnsolvableError) as unsolvable:
            solve("b", channels=(Channel("x", url),), effects=mine)
        assert "opensesame" not in f"{raised.value.message}{unsolvable.value.reason}"


def test_mirrors_are_those_of_rattler(solve: Solve, effects: Effects, tmp_path: Path) -> None:
    """And the answer is that of the channel's own name."""
    made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    settings = tmp_path / ".config" / "rattler" / "config.toml"
    settings.parent.mkdir(parents=True)
    mine = Effects(
        run_forked, {**effects.environment, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}
    )
    corp = (Channel("corp", "http://corp.invalid/corp"),)
    with served(tmp_path / "x") as url:
        settings.write_text(f'[mirrors]\n"http://corp.invalid/corp" = ["{url}"]\n', "utf-8")
        assert solve("a", channels=corp, effects=mine)["a"].channel == "corp"
    settings.write_text("mirrors = 3\n", "utf-8")
    with pytest.raises(InvalidInputError, match="cannot read the configuration of rattler"):
        solve("a", channels=corp, effects=mine)


def test_a_record_without_a_hash_is_not_locked(solve: Solve, tmp_path: Path) -> None:
    """The one that counts is sha256."""
    young = made_channel(tmp_path / "y", {"name": "a", "version": "1", "md5": None})
    assert solve("a", channels=(young,))["a"].md5 is None
    bare = made_channel(tmp_path / "x", {"name": "a", "version": "1", "sha256": None})
    with pytest.raises(UnavailableError, match=r"no sha256 of `a-1-0\.tar\.bz2`"):
        solve("a", channels=(bare,))
