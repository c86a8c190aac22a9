"""The script that looks for distributions in conda packages, run as the build runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import envcompile

SCRIPT = Path(envcompile.__file__).parent / "emit" / "scripts" / "check_provided.py"


def run(folder: Path, *lines: str, **installed: str) -> subprocess.CompletedProcess[str]:
    """Run it on lines `DISTRIBUTION VERSION PACKAGE`, with these distributions installed."""
    site = folder / "site"
    for name, version in installed.items():
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    (folder / "list").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    argv = [sys.executable, "-S", "-B", str(SCRIPT), str(folder / "list")]
    return subprocess.run(argv, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("locked", "found"),
    [("2.9.0", "2.9"), ("2.9", "2.9.0.80"), ("2.5.1", "2.5.1.post3"), ("2024.1", "2024.1"), ("1!2", "1!2.0")],
)
def test_the_same_version(tmp_path: Path, locked: str, found: str) -> None:
    done = run(tmp_path, f"my-lib {locked} lib", my_lib=found)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_mistake_is_a_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, "absent 1.0 py", "other 0.26.2 gym", "right 1.0 right", other="4.15.0", right="1.0")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "envcompile: conda's py 1.0 does not contain the distribution absent",
        "envcompile: conda's gym 0.26.2 contains other 4.15.0",
        "envcompile: pip packages need it: correct `provides` in `[conda]` of the spec, and run `envcompile lock`",
    ]
