"""Promise 10: signals leave nothing behind, and no traceback. Real processes, and signals at many moments.

No moment is found by waiting: the process sends itself the signal at the Nth import or write, or a server on the
loopback interface sees that the resolver has started.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from envcompile.cli import fast_path
from envcompile.diagnostics.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from envcompile.project import TEMPORARY_MARK
from envcompile.project.files import remove_leftovers
from tests.kit.effort import is_long
from tests.kit.project import FIXTURES

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

# Sends itself a signal at its Nth import. `run_command_line` has been called by then.
IMPORTING = """
import os, sys
from envcompile.cli.entry import run_command_line
number, stop = map(int, sys.argv[1:3])
sys.argv[1:3] = []
class Counter:
    count = 0
    def find_spec(self, *_):
        Counter.count += 1
        if Counter.count == stop:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Counter())
run_command_line()
"""
# Sends itself a signal before or after its Nth call of a function that creates, writes, renames or removes a file.
WRITING = """
import os, signal, shutil, sys, tempfile
number, stop = map(int, sys.argv[1:3])
sys.argv[1:3] = []
import envcompile.project.files
count = 0
def counted(module, name):
    function = getattr(module, name)
    def call(*arguments, **names):
        global count
        count += 1
        if count == stop:
            os.kill(os.getpid(), number)
        return function(*arguments, **names)
    setattr(module, name, call)
for module, name in ((tempfile, "mkdtemp"), (tempfile, "mkstemp"), (os, "fsync"), (os, "replace"), (os, "close"),
                     (shutil, "rmtree")):
    counted(module, name)
from envcompile.cli.entry import run_command_line
run_command_line()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "compile" / "several", tmp_path / "project"))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def run(program: str, *words: str, folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize("words", [("dockerfile",), ("lock", "--offline", "-U")])
def test_an_interrupt_during_imports_is_one_word(words: tuple[str, ...], project: Path, scratch: Path) -> None:
    """Ctrl-C in the first third of a second ended in a traceback in one of ten runs."""
    stop, step, interrupted = 1, 2 if is_long() else 23, 0
    while True:
        done = run(IMPORTING, str(int(signal.SIGINT)), str(stop), *words, folder=project, scratch=scratch)
        if done.returncode != EXIT_INTERRUPTED:
            break
        assert done.stderr == "\ninterrupted\n"
        stop, interrupted = stop + step, interrupted + 1
    assert "interrupted" not in done.stderr, "there are no more imports"
    assert interrupted > 5
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, EXIT_INTERRUPTED), (signal.SIGTERM, EXIT_TERMINATED), (signal.SIGHUP, EXIT_TERMINATED)],
)
def test_each_signal_ends_the_resolver_and_removes_its_files(
    number: signal.Signals, code: int, project: Path, scratch: Path, tmp_path: Path
) -> None:
    word = "interrupted" if number == signal.SIGINT else "terminated"
    before = {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {
            "UV_DEFAULT_INDEX": f"http://127.0.0.1:{silent.getsockname()[1]}/simple",
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            "TMPDIR": str(scratch),
            "NO_PROXY": "127.0.0.1",
        }
        with subprocess.Popen(
            # The tests may run by `nohup`, whose programs ignore SIGHUP.
            ["env", "--default-signal=HUP", sys.executable, "-m", "envcompile", "lock", "-U"],
            cwd=project,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **settings},
        ) as process:
            silent.settimeout(60)
            connection, _ = silent.accept()
            tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
            children = [child for task in tasks for child in task.read_text("utf-8").split()]
            os.kill(process.pid, number)
            assert process.stderr
            said = process.stderr.read()
            connection.close()
    assert (process.returncode, said) == (code, f"\n{word}\n")
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()} == before
    assert not list(scratch.iterdir())


def test_a_signal_that_the_caller_ignores_stays_ignored(project: Path, scratch: Path) -> None:
    """`nohup` and a shell's background jobs ignore signals for their programs."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        program = f"import signal; signal.signal(signal.{name}, signal.SIG_IGN)\n{IMPORTING}"
        done = run(program, str(int(getattr(signal, name))), "20", "tag", folder=project, scratch=scratch)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_next_run_removes_what_a_killed_one_left(number: signal.Signals, project: Path, scratch: Path) -> None:
    """A signal at each call that touches the disk. The file is new or not there, and the next run leaves only it."""
    names = {path.name for path in project.iterdir()}
    words = ("export", "--format", "requirements", "-o", "requirements.txt")
    for stop in range(1, 40):
        (project / "requirements.txt").unlink(missing_ok=True)
        done = run(WRITING, str(int(number)), str(stop), *words, folder=project, scratch=scratch)
        left = {path.name for path in project.iterdir()} - names
        if "requirements.txt" in left:
            assert (project / "requirements.txt").read_text("utf-8").endswith("\n")
        if number != signal.SIGKILL:
            assert "Traceback" not in done.stderr
            assert done.returncode in {0, 128 + number}
        assert run("from envcompile.cli.entry import run_command_line; run_command_line()", *words, folder=project,
                   scratch=scratch).returncode == 0  # fmt: skip
        assert {path.name for path in project.iterdir()} - names == {"requirements.txt"}
        if done.returncode == 0:
            break
    else:
        pytest.fail("the run never came to its end")
    assert stop > 4


def test_files_in_use_and_files_of_others_stay(tmp_path: Path) -> None:
    """Leftovers are recognized by their locks: the names alone say nothing about the process."""
    target = tmp_path / "envcompile.lock"
    holder = (
        "import pathlib, sys\nfrom envcompile.project.files import atomic_replacement\n"
        "with atomic_replacement(pathlib.Path(sys.argv[1])) as new: print(new.name, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        held = process.stdout.readline().strip()
        others = (".envcompile.lock.original", f".envcompile.lock{TEMPORARY_MARK}mine", f"x{TEMPORARY_MARK}12345678")
        for name in (*others, f".envcompile.lock{TEMPORARY_MARK}12345678"):
            (tmp_path / name).touch()
        remove_leftovers(target)
        assert {path.name for path in tmp_path.iterdir()} == {held, *others}
        process.kill()
        process.wait()
    remove_leftovers(target)
    assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_temporary_folders_of_killed_processes_are_removed(tmp_path: Path) -> None:
    holder = (
        "import sys\nfrom envcompile.project.files import temporary_folder\n"
        "with temporary_folder() as folder: (folder / 'file').touch(); print(folder.name, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "envcompile-examples").mkdir()

    def start() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", holder], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        return process, process.stdout.readline().strip()

    (first, killed), (second, held) = start(), start()
    first.kill()
    first.communicate()
    third, last = start()
    assert killed != held
    assert {path.name for path in tmp_path.iterdir()} == {"envcompile-examples", held, last}
    second.communicate("")
    third.communicate("")
    assert [path.name for path in tmp_path.iterdir()] == ["envcompile-examples"]


def test_a_lock_that_is_current_is_cleaned_up_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short path of `lock` reads only digests, so it leaves the cleaning to the long one."""
    monkeypatch.setattr(fast_path, "_is_shipped", lambda _: True)
    monkeypatch.chdir(project)
    assert fast_path.is_nothing_to_lock(["-q"])
    leftover = project / f".envcompile.lock{TEMPORARY_MARK}12345678"
    leftover.touch()
    assert not fast_path.is_nothing_to_lock(["-q"])
    command = [sys.executable, "-m", "envcompile", "lock", "--offline"]
    subprocess.run(command, cwd=project, capture_output=True, check=False)
    assert not leftover.exists()
