"""Testing mutants in a copy of a small repository."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
def is_positive(number):
    return number > 0


def unused():
    return 1


def count_down(number):
    while number != 0:
        number = number - 1
    return "done"
"""
TEST = """
from envcompile.toy import count_down, is_positive

def test_positive():
    assert is_positive(1)
    assert not is_positive(-1)

def test_count_down():
    assert count_down(2) == "done"
"""
# A process of its own: the parent of the forks must not have imported the package.
SCRIPT = """
import sys
from pathlib import Path
from mutation import sandbox
from mutation.mutants import find_mutants

sandbox._MIN_CPU_SECONDS = 1
root = Path(sys.argv[1])
box = sandbox.Sandbox(root, root / "copy")
coverage = box.record_coverage(["tests"], ["envcompile/toy.py"])
mutants = find_mutants("envcompile/toy.py", (root / "envcompile" / "toy.py").read_text())
for mutant, outcome in sandbox.test_mutants(mutants, coverage, [box]):
    print(mutant.after, outcome.value, sep=" -> ")
"""


def test_mutants_are_killed_survive_or_time_out(tmp_path: Path) -> None:
    for name, text in (("envcompile/toy.py", MODULE), ("tests/test_toy.py", TEST), ("envcompile/__init__.py", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["engine", "index"]\n')
    (tmp_path / "copy").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=FIXTURES.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    outcomes = dict(line.split(" -> ") for line in done.stdout.splitlines())
    assert outcomes["return number >= 0"] == "survived"
    assert outcomes["return number > 1"] == "killed"
    assert outcomes["return 2"] == "survived"
    assert outcomes["number = number + 1"] == "timed out"
    assert outcomes["return 'doneX'"] == "killed"
    # The user's files are as they were.
    assert (tmp_path / "envcompile" / "toy.py").read_text() == MODULE
