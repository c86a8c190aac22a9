"""How a program is started: what it sees, its limits, and its end when we are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envcompile.diagnostics.errors import UnavailableError
from envcompile.net.process import (
    ProcessTimeoutError,
    ProgramNotFoundError,
    run_in_threads,
    run_process,
    select_environment,
)

SECRET = "a-secret-nobody-may-see"


def python(*lines: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", "\n".join(("import os, sys, time", *lines)))


def test_the_result_has_all_that_the_program_wrote(tmp_path: Path) -> None:
    lines = "print(os.getcwd(), *sorted(os.environ)); sys.stderr.write('caf\\u00e9\\r\\n'); sys.exit(7)"
    result = run_process(python("sys.stderr.reconfigure(encoding='utf-8')", lines), tmp_path, {"ONLY": "this"})
    assert (result.exit_code, result.stderr) == (7, "café\n")
    assert result.stdout.split()[0] == str(tmp_path)
    # Python may add variables of its own for the locale.
    assert {name for name in result.stdout.split()[1:] if not name.startswith("LC_")} == {"ONLY"}


def test_the_standard_input_is_what_is_given_and_empty_otherwise() -> None:
    echo = python("sys.stdout.buffer.write(sys.stdin.buffer.read())")
    assert run_process(echo, None, {}, stdin=b"\xff\x00").output == b"\xff\x00"
    assert run_process(echo, None, {}).output == b""


def test_a_program_is_looked_up_on_the_path_of_its_environment(tmp_path: Path) -> None:
    script = tmp_path / "greet"
    script.write_text("#!/bin/sh\necho hello\n", "utf-8")
    script.chmod(0o755)
    assert run_process(("greet",), None, {"PATH": str(tmp_path)}).stdout == "hello\n"
    for path in ("", str(tmp_path / "elsewhere")):
        with pytest.raises(ProgramNotFoundError, match=r"^`greet` cannot be started: it is not on the PATH$") as caught:
            run_process(("greet",), None, {"PATH": path}, hint="install it")
        assert caught.value.hint == "install it"


def test_what_cannot_be_started_is_named(tmp_path: Path) -> None:
    script = tmp_path / "greet"
    script.write_text("hello", "utf-8")
    with pytest.raises(UnavailableError, match=r"^the greeter cannot be started: Permission denied$") as caught:
        run_process((str(script),), None, {}, label="the greeter")
    assert not isinstance(caught.value, ProgramNotFoundError)


def test_a_program_that_does_not_finish_is_killed(tmp_path: Path) -> None:
    """Even if it ignores a request to end, and if a child of its own keeps its output open. The child ends too."""
    lines = (
        "import signal, subprocess",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
        f"print({SECRET!r}, flush=True)",
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')",
        "time.sleep(60)",
    )
    with pytest.raises(ProcessTimeoutError, match=r"did not finish within 3 seconds$") as caught:
        run_process(python(*lines), None, {}, timeout=3.0)
    assert caught.value.__context__ is None
    parent, child = map(int, (tmp_path / "pids").read_text("utf-8").split())
    assert [has_ended(each) for each in (parent, child)] == [True, True]


def has_ended(pid: int) -> bool:
    """Whether a process has ended. A zombie, whose new parent has not asked for its exit code yet, has ended too."""
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot limit a running process")
def test_the_memory_of_a_program_and_of_its_children_is_limited() -> None:
    hungry = "time.sleep(0.2); print(len(bytearray(512 << 20)))"
    assert run_process(python(hungry), None, {}, memory=1 << 30).stdout == f"{512 << 20}\n"
    for lines in ((hungry,), ("import subprocess", f"sys.exit(subprocess.call({python(hungry)!r}))")):
        result = run_process(python(*lines), None, {}, memory=256 << 20)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "MemoryError" in result.stderr


def test_only_the_network_and_the_user_are_passed_on() -> None:
    here = {"PATH": "/bin", "https_proxy": "p", "NETRC": "n", "CURL_CA_BUNDLE": "c", "UV_INDEX": "x", "PIP_PRE": "1"}
    kept = {key: here[key] for key in ("PATH", "https_proxy", "NETRC", "CURL_CA_BUNDLE")}
    assert select_environment(here) == kept
    assert select_environment(here, "UV_INDEX", "UV_CACHE_DIR") == {**kept, "UV_INDEX": "x"}


def test_threads_give_results_in_order_and_the_first_error() -> None:
    def work(number: int) -> int:
        time.sleep(0.05 * (3 - number))
        if number > 1:
            raise UnavailableError(f"number {number}")
        return number * 10

    assert run_in_threads(work, [1, 0, 1]) == [10, 0, 10]
    assert run_in_threads(work, [1]) == [10]
    with pytest.raises(UnavailableError, match="number 2"):
        run_in_threads(work, [1, 2, 3])


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("items", ["[1]", "[1, 2]"], ids=["main thread", "threads"])
def test_an_interrupt_ends_the_programs(tmp_path: Path, items: str) -> None:
    """Also those of other threads, which Python does not interrupt, and one that such a thread starts afterwards."""
    program = f"""
import sys
from envcompile.net.process import run_in_threads, run_process

def work(number):
    for attempt in range(2):
        script = "import os, time; open(f'{tmp_path}/{{}}', 'w').close(); time.sleep(60)"
        run_process((sys.executable, "-I", "-c", script.replace("{{}}", f"{{number}}-{{attempt}}")), None, {{}})

try:
    run_in_threads(work, {items})
except KeyboardInterrupt:
    print("interrupted")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while len(list(tmp_path.glob("*-0"))) < len(eval(items)):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)
    assert said == ("interrupted\n", "")
