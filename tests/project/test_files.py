"""Writing: whole or not at all, whatever happens; one run at a time."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from envcompile.diagnostics.errors import CheckFailedError, InvalidInputError
from envcompile.project.files import exclusive_lock, read_bytes, write_text

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "old\n" * 1000, "new\n" * 200_000

# Kills itself, as `kill -9` would, before or after the Nth call that touches the disk.
KILLED = """
import os, pathlib, signal, sys, tempfile
path, stop, after = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "after"
calls = 0
def counted(function):
    def call(*arguments, **names):
        global calls
        calls += 1
        if calls == stop and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **names)
        if calls == stop and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
for module, name in ((tempfile, "mkstemp"), (pathlib.Path, "open"), (os, "fsync"), (pathlib.Path, "chmod"),
                     (os, "replace"), (pathlib.Path, "unlink")):
    setattr(module, name, counted(getattr(module, name)))
from envcompile.project.files import write_text
write_text(pathlib.Path(path), "new\\n" * 200_000)
print("whole", calls)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_at_each_step_leaves_the_old_or_the_new(when: str, tmp_path: Path) -> None:
    target = tmp_path / "envcompile.lock"
    for stop in range(1, 20):
        target.write_text(OLD, "utf-8")
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(target), str(stop), when], capture_output=True, text=True, check=False
        )
        assert target.read_text("utf-8") in (OLD, NEW)
        if done.returncode == 0:
            assert done.stdout.split() == ["whole", "6"]
            assert stop == 7
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert target.read_text("utf-8") == NEW


def test_a_full_disk_leaves_the_old(tmp_path: Path) -> None:
    """A file size limit of the process stands in for the disk."""
    target = tmp_path / "envcompile.lock"
    target.write_text(OLD, "utf-8")
    script = (
        "import pathlib, resource, signal, sys; from envcompile.diagnostics.errors import CheckFailedError; "
        "from envcompile.project.files import write_text; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try: write_text(pathlib.Path(sys.argv[1]), 'new\\n' * 200_000)\n"
        "except CheckFailedError as problem: print(problem.message)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True)
    assert "cannot be written: File too large" in done.stdout
    assert target.read_text("utf-8") == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["envcompile.lock"]


def test_modes_and_links_stay(tmp_path: Path) -> None:
    target = tmp_path / "real.lock"
    target.write_text(OLD, "utf-8")
    target.chmod(0o640)
    link = tmp_path / "link.lock"
    link.symlink_to("real.lock")
    write_text(link, NEW)
    assert link.is_symlink()
    assert target.read_text("utf-8") == NEW
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "fresh", NEW)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o640


def test_what_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="does not exist"):
        read_bytes(tmp_path / "none", 10)
    with pytest.raises(InvalidInputError, match="is a folder"):
        read_bytes(tmp_path, 10)
    (tmp_path / "long").write_bytes(b"x" * 100)
    assert len(read_bytes(tmp_path / "long", 10)) == 11
    with pytest.raises(CheckFailedError, match=f"cannot be written: {os.strerror(errno.ENOENT)}"):
        write_text(tmp_path / "no" / "folder", NEW)


def test_one_at_a_time_and_nothing_stays(tmp_path: Path) -> None:
    spec = tmp_path / "envcompile.toml"
    spec.touch()
    waited: list[int] = []
    holder = (
        "import pathlib, sys, time; from envcompile.project.files import exclusive_lock\n"
        "with exclusive_lock(pathlib.Path(sys.argv[1]), lambda: None): print('held', flush=True); time.sleep(0.5)"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(spec)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with exclusive_lock(spec, lambda: waited.append(1)):
            assert other.wait(5) == 0
    assert waited == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["envcompile.toml"]
