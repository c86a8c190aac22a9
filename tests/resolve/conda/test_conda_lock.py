"""What is conda-lock's own: how requirements pass through it, whom it has solve, and what it says that is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.diagnostics.errors import EnvcompileError, InvalidInputError, UnavailableError
from envcompile.lock.model import Channel, CondaPackage
from envcompile.lock.reader import parse_lock
from envcompile.net.process import ProcessResult, run_process
from envcompile.resolve.conda.channels import parse_channel
from envcompile.resolve.conda.conda_lock import CondaLockResolver, format_for_conda_lock
from envcompile.resolve.conda.rattler import RattlerResolver
from envcompile.resolve.model import Effects, UnsolvableError
from envcompile.spec.conda import CondaRequirement, parse_match_spec
from envcompile.spec.model import CudaRequest
from tests.kit.channel import made_channel, request, served
from tests.kit.fork_server import run_forked
from tests.kit.micromamba import SCRIPT
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.skipif(
    not (find_spec("rattler") and find_spec("conda_lock")), reason="py-rattler or conda-lock is not installed"
)

STRICT = {"CONDA_CHANNEL_PRIORITY": "strict", "MAMBA_CHANNEL_PRIORITY": "strict"}


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """With a cache of its own, and no conda program."""
    return Effects(run_forked, {**os.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache"), "PATH": ""})


@pytest.fixture
def program(tmp_path: Path, effects: Effects) -> Effects:
    """With the stand-in for micromamba, in a folder of its own."""
    return with_program(effects, tmp_path, SCRIPT.format(python=sys.executable, root=str(FIXTURES.parent)))


def with_program(effects: Effects, folder: Path, script: str) -> Effects:
    file = folder / "programs" / "micromamba"
    file.parent.mkdir()
    file.write_text(script, "utf-8")
    file.chmod(0o755)
    return Effects(effects.run, {**effects.environment, "PATH": str(file.parent)})


def calls(effects: Effects) -> list[dict[str, Any]]:
    """What the stand-in was called with, so far."""
    log = Path(effects.environment["PATH"], "micromamba.log")
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def solve(effects: Effects, *requirements: str, **more: Any) -> dict[str, CondaPackage]:
    effects = replace(effects, offline=more.pop("offline", False))
    (packages,) = CondaLockResolver().resolve((request(*requirements, **more),), effects)
    return {package.name: package for package in packages}


def shown(error: EnvcompileError) -> str:
    return f"{error.message} {error.hint} {getattr(error, 'reason', '')}"


MEANT = (
    *("a", "A_b", "a.b-c", "a 1", "a 1.2", "a =1.2", "a=1.2", "a ==1.2", "a 1.2.*", "a==1.2.*", "a=1.2*", "a =1.2.3"),
    *(
        "a >=1",
        "a >= 1 , <2",
        "a >1,<2|3.*",
        "a 1|2|3.4.*",
        "a !=1.5",
        "a !=1.5.*",
        "a ~=1.5",
        "a >=1!2",
        "a ==1.0+cu8",
    ),
    *("a >=2.0rc1", "a 1.0_", "a ==1.0.post1", "a * b*", "a >=2 *cuda*", "a=1.2=py_0", "a 1.2.* py*", "a==1.2=py_0"),
    *(
        "a[version='>=2,<3']",
        'a[version="1.2.*", build="x_*"]',
        "a[build=x_0]",
        "x::a",
        "x/y::a >=2",
        "x::a[build='b*']",
    ),
    *("x/label/rc::a ==1", "a[channel=x]", "a * *cpu*", "a <=2", "a <2.0.0a0", "__glibc >=2.17", "_a_mutex 1.*"),
    *("x::a ==1 b_0", "x::a >=1 b*", "x::a 1.*|>3"),
)


def test_a_requirement_comes_through_with_its_meaning() -> None:
    """As conda-lock reads it from an environment.yml, and spells it for conda."""
    script = """
import json, sys
from conda_lock.conda_solver import _to_match_spec
from conda_lock.src_parser.conda_common import conda_spec_to_versioned_dep
read = [conda_spec_to_versioned_dep(each, "main") for each in json.loads(sys.argv[1])]
print(json.dumps([_to_match_spec(each.name, each.version, each.build, each.conda_channel) for each in read]))
"""
    argv = (sys.executable, "-c", script, json.dumps([format_for_conda_lock(CondaRequirement(text)) for text in MEANT]))
    came = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    # The one that it spells wrongly, which our program mends.
    came = [each.replace("x::a=[build=b*]", "x::a[build=b*]") for each in came]
    assert [parse_match_spec(each) for each in came] == [parse_match_spec(each) for each in MEANT]


def test_a_requirement_that_becomes_another_one_is_refused(effects: Effects, tmp_path: Path) -> None:
    made = made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    with pytest.raises(InvalidInputError) as refused:
        solve(effects, "pkgs/main::a", channels=(Channel("pkgs/main", made.url),))
    assert refused.value.message == "`conda-lock` reads the requirement `pkgs/main::a` as `defaults::a`"
    assert refused.value.hint == 'write `resolver = "rattler"` in `[conda]`'


SPEC = f"""
name = "x"
python = "3.12"
[conda]
channels = ["{FIXTURES / "channels" / "conda-forge"}"]
packages = ["REQUIREMENT"]
resolver = "RESOLVER"
[image]
base = "debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251"
"""


def lock(folder: Path, requirement: str, resolver: str, *options: str) -> tuple[int, str]:
    (folder / "envcompile.toml").write_text(SPEC.replace("REQUIREMENT", requirement).replace("RESOLVER", resolver))
    argv = (sys.executable, "-m", "envcompile", "lock", *options)
    world = {**os.environ, "PATH": ""}
    done = subprocess.run(argv, cwd=folder, env=world, capture_output=True, check=False, text=True)
    return done.returncode, done.stderr


def test_the_command_writes_the_same_lock(tmp_path: Path) -> None:
    """From one resolver to the other nothing moves, and what is wrong is told at the same place."""
    path = tmp_path / "envcompile.lock"
    assert lock(tmp_path, "numpy <2.3", "rattler")[0] == 0
    before = parse_lock(path.read_text("utf-8"), "x").platforms
    assert lock(tmp_path, "numpy", "conda-lock")[0] == 0
    assert parse_lock(path.read_text("utf-8"), "x").platforms == before
    code, said = lock(tmp_path, "numpy", "conda-lock", "-P", "numpy")
    assert (code, "  ~ conda numpy " in said) == (0, True), said
    after = parse_lock(path.read_text("utf-8"), "x").platforms
    assert lock(tmp_path, "numpy", "rattler", "-U")[0] == 0
    assert parse_lock(path.read_text("utf-8"), "x").platforms == after
    wrong = [lock(tmp_path, "numpy >=99", resolver) for resolver in ("conda-lock", "rattler")]
    assert wrong[0] == wrong[1]
    assert wrong[0][0] == 1
    assert "error[unsolvable]" in wrong[0][1]


def test_a_program_of_the_machine_gives_the_same_answer(program: Effects) -> None:
    asked = request("numpy <2.3", "conda-forge::scipy * py312*", "python 3.12.*")
    arm = request("numpy", "python 3.12.*", platform="linux-aarch64")
    assert CondaLockResolver().resolve((asked, arm), program) == RattlerResolver().resolve((asked, arm), program)
    assert len(calls(program)) == 2


def test_a_program_sees_none_of_the_users_settings(program: Effects, tmp_path: Path) -> None:
    """But strict priority, and whether the network may be asked."""
    (tmp_path / ".mambarc").write_text("pinned_packages:\n  - a ==1\n", "utf-8")
    made = made_channel(tmp_path / "x", {"name": "a", "version": "1"}, {"name": "a", "version": "2"})
    mine = {
        "HOME": str(tmp_path),
        "MAMBA_CHANNEL_PRIORITY": "disabled",
        "CONDA_OVERRIDE_CUDA": "12",
        "CONDA_FLAGS": "-x",
    }
    world = Effects(run_forked, {**program.environment, **mine})
    assert solve(world, "a", channels=(made,), offline=True)["a"].version == "2"
    (call,) = calls(program)
    assert call["environment"].items() >= {**STRICT, "CONDA_OFFLINE": "true", "MAMBA_OFFLINE": "true"}.items()
    assert call["environment"]["HOME"] != str(tmp_path)
    assert call["environment"]["CONDA_OVERRIDE_CUDA"] == ""


def test_a_program_keeps_the_pins_that_it_can(program: Effects, tmp_path: Path) -> None:
    """Promise 8: all at first, then fewer; and nothing stays that is needed by a pin alone."""
    rows = [{"name": name, "version": version} for name in "bcd" for version in "12"]
    made = made_channel(
        tmp_path / "x",
        *({"name": "a", "version": version, "depends": [f"b =={version}", "c"]} for version in "12"),
        *rows,
    )
    old = solve(program, "a ==1", "c ==1", "d ==1", channels=(made,))
    pins = tuple(old.values())
    assert {name: each.version for name, each in old.items()} == dict.fromkeys("abcd", "1")
    assert solve(program, "a", "c", "d", channels=(made,), preferences=pins) == old
    moved = solve(program, "a ==2", channels=(made,), preferences=pins)
    assert {name: each.version for name, each in moved.items()} == {"a": "2", "b": "2", "c": "1"}
    upgraded = solve(program, "a", channels=(made,), preferences=pins, upgrade=frozenset({"a"}))
    assert {name: each.version for name, each in upgraded.items()} == {"a": "1", "b": "1", "c": "1"}
    newest = solve(program, "a", channels=(made,), preferences=pins, upgrade=True)
    assert {name: each.version for name, each in newest.items()} == {"a": "2", "b": "2", "c": "2"}
    exact: dict[str, Any] = {"upgrade": frozenset({"b"}), "exact": {"b": "2"}}
    moved = solve(program, "a", "d", channels=(made,), preferences=pins, **exact)
    assert {name: each.version for name, each in moved.items()} == {"a": "2", "b": "2", "c": "1", "d": "1"}
    # It is not let go as a pin is.
    with pytest.raises(UnsolvableError):
        solve(program, "a ==1", channels=(made,), preferences=pins, **exact)


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("exclude-newer", {"exclude_newer": "2025-06-01T00:00:00Z"}),
        ("cuda.version", {"cuda": CudaRequest("12.9")}),
    ],
)
def test_what_a_program_cannot_be_asked_is_refused(program: Effects, key: str, more: dict[str, str]) -> None:
    with pytest.raises(
        InvalidInputError, match=f"`micromamba`, which `conda-lock` runs, does not support `{key}`"
    ) as refused:
        solve(program, "numpy", **more)
    assert refused.value.hint == 'write `resolver = "rattler"` in `[conda]`'
    assert not calls(program)


def test_a_program_without_an_answer(program: Effects, tmp_path: Path) -> None:
    with pytest.raises(UnsolvableError) as unsolvable:
        solve(program, "numpy >=99")
    assert unsolvable.value.reason.startswith("No candidates were found for numpy >=99")
    made = made_channel(tmp_path / "x", {"name": "a", "version": "1"})
    with pytest.raises(InvalidInputError, match="there is no channel `none`"):
        solve(program, "a", channels=(parse_channel(str(tmp_path / "none"), tmp_path),))
    with served(tmp_path / "x", "403") as url, pytest.raises(UnavailableError, match="`x` requires credentials"):
        solve(program, "a", channels=(Channel("x", url),))
    Path(program.environment["PATH"], "micromamba").write_text(f"#!{sys.executable}\n1 / 0\n", "utf-8")
    with pytest.raises(UnavailableError, match="`micromamba`, which `conda-lock` runs, failed: ") as said:
        solve(program, "a", channels=(made,))
    assert "Zero" in said.value.message
    assert "Traceback" not in shown(said.value)
    assert "/envcompile-" not in shown(said.value)


def test_a_program_may_answer_as_conda_does(effects: Effects, tmp_path: Path) -> None:
    """Its JSON for a mistake, as conda 24 prints it; `conda` is asked before `micromamba`."""
    script = f"""#!{sys.executable}
import json, os, sys
message = "The following packages are not available from current channels:\\n\\n  - a >=2\\n\\nCurrent channels:\\n"
message += "\\n  - " + sys.argv[sys.argv.index("--channel") + 1]
message += "\\n  - file://" + os.environ["TMPDIR"] + "/conda-lock-fake-x"
print("Collecting package metadata: done")
print(json.dumps({{"exception_name": "PackagesNotFoundError", "message": message, "error": message}}))
sys.exit(1)
"""
    world = with_program(effects, tmp_path, "#!/bin/false\n")
    folder = Path(world.environment["PATH"])
    (folder / "conda").write_text(script, "utf-8")
    (folder / "conda").chmod(0o755)
    with pytest.raises(UnsolvableError) as raised:
        solve(world, "a >=2", channels=(made_channel(tmp_path / "x", {"name": "a", "version": "1"}),))
    assert raised.value.reason.splitlines()[2:] == ["  - a >=2", "", "Current channels:", "", "  - x"]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"md5": "1" * 32}, "`a-1-0.tar.bz2` in the conda channel `x` is not the file that `conda-lock` selected"),
        ({"version": "2"}, "the conda channel `x` does not have `a-1-0.tar.bz2`, which `conda-lock` selected"),
    ],
)
def test_a_channel_that_changes_meanwhile(effects: Effects, tmp_path: Path, after: dict[str, str], said: str) -> None:
    before: dict[str, Any] = {"name": "a", "version": "1"}
    made = made_channel(tmp_path / "x", before)

    def changing(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        finished = run_process(argv, folder, environment)
        if "conda_lock" in argv:
            made_channel(tmp_path / "x", {**before, **after})
        return finished

    with pytest.raises(UnavailableError) as raised:
        solve(Effects(changing, effects.environment), "a", channels=(made,))
    assert raised.value.message == said


def test_without_conda_lock(effects: Effects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(UnavailableError) as raised:
        solve(Effects(run_process, {**effects.environment, "PYTHONPATH": str(FIXTURES.parent)}), "numpy")
    assert (raised.value.message, raised.value.hint) == (
        "`conda-lock` is not installed",
        "run `pip install 'envcompile[engines]'`",
    )


def test_without_rattler(effects: Effects, tmp_path: Path) -> None:
    (tmp_path / "rattler.py").write_text("raise ModuleNotFoundError(\"No module named 'rattler'\")\n", "utf-8")
    world = {**effects.environment, "PYTHONPATH": f"{tmp_path}{os.pathsep}{FIXTURES.parent}"}
    with pytest.raises(UnavailableError, match="`py-rattler`, which resolves"):
        solve(Effects(run_process, world), "numpy")


def broken(finished: Callable[[Path], ProcessResult]) -> Callable[..., ProcessResult]:
    def breaking(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        return finished(Path(folder)) if "conda_lock" in argv else run_process(argv, folder, environment)

    return breaking


def test_conda_lock_may_end_without_an_answer(effects: Effects) -> None:
    """And nothing of how, or where, is shown."""

    def crash(folder: Path) -> ProcessResult:
        return ProcessResult(
            1, f"Traceback (most recent call last):\n  File\nValueError: {folder}/environment.yml is odd\n"
        )

    with pytest.raises(UnavailableError) as raised:
        solve(Effects(broken(crash), effects.environment), "numpy")
    assert raised.value.message == "the conda resolver ended without an answer: ValueError: /environment.yml is odd"
    with pytest.raises(UnavailableError, match="no output, exit code -9"):
        solve(Effects(broken(lambda _: ProcessResult(-9, "")), effects.environment), "numpy")


def test_an_archive_of_another_channel_is_not_taken(effects: Effects) -> None:
    def elsewhere(folder: Path) -> ProcessResult:
        text = "@EXPLICIT\nhttps://example.invalid/other/noarch/a-1-0.conda#00000000000000000000000000000000\n"
        (folder / "conda-linux-64.lock").write_text(text, "utf-8")
        return ProcessResult(0, "")

    with pytest.raises(UnavailableError, match="from a channel that is not in `channels`"):
        solve(Effects(broken(elsewhere), effects.environment), "a")
