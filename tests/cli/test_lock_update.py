"""Update one of N, add one: whatever else moves is told with its reason. Real channel data, and the real index."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from tests.kit.project import FIXTURES, spec_of

if TYPE_CHECKING:
    from envcompile.lock.model import Lock

ML = (Path(__file__).parents[2] / "examples" / "ml" / "envcompile.toml").read_text("utf-8")
ASKED = [each.name for each in spec_of(ML).pip.packages]
STACK = ("numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "pytorch")
CONDA = f"""
name = "x"
python = "3.12"
[conda]
channels = ["{FIXTURES / "channels" / "conda-forge"}"]
packages = {[*STACK]}
[image]
base = "debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251"
"""
OLD = {"ml": "2025-02-01T00:00:00Z", "conda": "2025-06-01T00:00:00Z"}
solver = pytest.mark.skipif(not importlib.util.find_spec("rattler"), reason="py-rattler is not installed")


def lock(folder: Path, text: str, *options: str, code: int = 0) -> str:
    (folder / "envcompile.toml").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", "lock", *options], cwd=folder, capture_output=True, check=False, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def locked(folder: Path) -> Lock:
    return parse_lock((folder / "envcompile.lock").read_text("utf-8"), "x")


def pins(lock: Lock) -> dict[tuple[str, str], tuple[str, str]]:
    (platform,) = lock.platforms
    found = {("conda", each.name): (each.version, each.sha256) for each in platform.conda}
    return found | {("pip", each.name): (each.version, each.sha256) for each in platform.pip}


def older(text: str, newest: str) -> str:
    """The spec as it was answered at some moment."""
    return text.replace("\npython = ", f"\nexclude-newer = {newest}\npython = ")


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders that hold an older lock each, made when first asked for."""
    return {name: tmp_path_factory.mktemp(name) for name in OLD}


def start(states: dict[str, Path], name: str, text: str, folder: Path) -> Lock:
    if not (states[name] / "envcompile.lock").exists():
        lock(states[name], older(text, OLD[name]))
    shutil.copy(states[name] / "envcompile.lock", folder)
    return locked(folder)


def check_reasons(said: str, before: Lock, after: Lock, *asked: str) -> set[str]:
    """Every pin is equal, or is told with a reason; those that were asked for need none. The names that moved."""
    lines = said.splitlines()
    moved = {key for key in {**pins(before), **pins(after)} if pins(before).get(key) != pins(after).get(key)}
    told = {}
    for index, line in enumerate(lines):
        if found := re.match(r"  [-+~] (conda )?(\S+) ", line):
            told["conda" if found[1] else "pip", found[2]] = lines[index + 1].startswith("      ")
    assert told.keys() == moved
    # A reason that says that there is none does not count.
    assert "the locks do not show the reason" not in said
    assert {key for key, reason in told.items() if not reason} <= {key for key in moved if key[1] in asked}
    return {key[1] for key in moved}


@solver
@pytest.mark.parametrize("one", STACK)
def test_update_one_of_conda(one: str, tmp_path: Path, states: dict[str, Path]) -> None:
    """Promise 8: change one package, nothing else moves unless it must, and the tool says what moved."""
    before = start(states, "conda", CONDA, tmp_path)
    assert lock(tmp_path, CONDA, "--dry-run", "-P", one).count("would write") <= 1
    assert locked(tmp_path) == before
    said = lock(tmp_path, CONDA, "-P", one)
    after = locked(tmp_path)
    moved = check_reasons(said, before, after, one)
    # In this data there is nothing newer of some; of the others, only those that the newest one cannot do without.
    expected = {"numpy": {"numpy", "scipy"}, "scipy": {"scipy"}, "scikit-learn": {"scikit-learn"}}
    if one != "pytorch":
        assert moved == expected.get(one, set())
    else:
        assert {"pytorch", "libtorch"} <= moved
        assert not {"numpy", "scipy", "pandas", "matplotlib", "scikit-learn"} & moved
    assert "is current" in lock(tmp_path, CONDA, "--check")


@solver
def test_an_exact_version_of_conda(tmp_path: Path, states: dict[str, Path]) -> None:
    before = start(states, "conda", CONDA, tmp_path)
    said = lock(tmp_path, CONDA, "-P", "numpy==1.26.4")
    after = locked(tmp_path)
    assert check_reasons(said, before, after, "numpy") == {"numpy"}
    assert pins(after)["conda", "numpy"][0] == "1.26.4"
    assert "is current" in lock(tmp_path, CONDA, "--check")
    lock(tmp_path, CONDA, "-P", "numpy==2.*", "-P", "scipy==1.18.0")
    assert pins(locked(tmp_path))["conda", "numpy"][0].startswith("2.")
    assert pins(locked(tmp_path))["conda", "scipy"][0] == "1.18.0"


@solver
def test_a_version_that_the_spec_or_the_world_does_not_allow(tmp_path: Path, states: dict[str, Path]) -> None:
    start(states, "conda", CONDA, tmp_path)
    whole = (tmp_path / "envcompile.lock").read_bytes()
    said = lock(tmp_path, CONDA.replace("'numpy'", "'numpy >=2'"), "-P", "numpy==1.26.4", code=1)
    assert "error[unsolvable]: no set of packages satisfies the requirements with `numpy==1.26.4` on `linux-64`" in said
    assert said.count("the constraint numpy ==1.26.4 cannot be fulfilled") == 1
    assert " --> envcompile.toml:6:13\n" in said
    for word, sentence in (
        ("numpy==one two", "error: "),
        ("numpy==", "error: "),
        ("torch", "hint: a conda package provides it: write `-P pytorch`"),
        ("nunpy==2", "hint: did you mean `numpy`?"),
    ):
        assert sentence in lock(tmp_path, CONDA, "-P", word, code=2), word
    assert (tmp_path / "envcompile.lock").read_bytes() == whole
    (tmp_path / "envcompile.lock").unlink()
    said = lock(tmp_path, CONDA, "-P", "numpy==2.2.6", code=2)
    assert "there is no lock yet, so `numpy` cannot be upgraded" in said


@solver
@pytest.mark.parametrize("one", STACK)
def test_adding_one_to_conda_keeps_all_others(one: str, tmp_path: Path) -> None:
    """Promise 8: change one package, nothing else moves unless it must."""
    lock(tmp_path, older(CONDA.replace(f"'{one}'", "'zlib'"), OLD["conda"]))
    before = locked(tmp_path)
    said = lock(tmp_path, CONDA.replace(f"'{one}'", f"'zlib', '{one}'"))
    after = locked(tmp_path)
    moved = check_reasons(said, before, after, one)
    # No matplotlib of this data goes with the icu that came with libxml2: nothing answers `icu ==75.1` and it.
    must = {"matplotlib": {"icu", "libhwloc", "liblzma", "libxml2"}}
    assert moved & {name for _, name in pins(before)} == must.get(one, set())


@pytest.mark.index
@pytest.mark.parametrize("one", ASKED)
def test_update_one_of_ml(one: str, tmp_path: Path, states: dict[str, Path]) -> None:
    """Promise 8 for every requirement of examples/ml, from where it was in February 2025."""
    before = start(states, "ml", ML, tmp_path)
    said = lock(tmp_path, ML, "-P", one)
    after = locked(tmp_path)
    check_reasons(said, before, after, one)
    # No requirement of the spec moves but for this one, or for what it needs in another version.
    others = {each for each in ASKED if pins(before)["pip", each] != pins(after)["pip", each]} - {one}
    assert others <= {"jupyterlab": {"notebook"}, "notebook": {"jupyterlab"}}.get(one, set())
    assert "is current" in lock(tmp_path, ML, "--check")


@pytest.mark.index
def test_an_exact_version_of_ml(tmp_path: Path, states: dict[str, Path]) -> None:
    before = start(states, "ml", ML, tmp_path)
    said = lock(tmp_path, ML, "-P", "numpy==1.26.4", "-P", "Pandas==2.1.0")
    after = locked(tmp_path)
    check_reasons(said, before, after, "numpy", "pandas")
    assert (pins(after)["pip", "numpy"][0], pins(after)["pip", "pandas"][0]) == ("1.26.4", "2.1.0")
    assert "is current" in lock(tmp_path, ML, "--check")
    said = lock(tmp_path, ML.replace('"numpy"', '"numpy >=2"'), "-P", "numpy==1.26.4", code=1)
    assert "no set of packages satisfies the requirements with `numpy==1.26.4` on `linux-64`" in said
    assert "you require numpy>=2 and numpy==1.26.4" in " ".join(said.split())


@pytest.mark.index
def test_adding_one_to_ml_keeps_all_others(tmp_path: Path, states: dict[str, Path]) -> None:
    before = start(states, "ml", ML, tmp_path)
    said = lock(tmp_path, ML.replace('"numpy"', '"numpy", "statsmodels"'))
    after = locked(tmp_path)
    assert "statsmodels" in check_reasons(said, before, after, "statsmodels")
    assert pins(after).items() >= pins(before).items()
