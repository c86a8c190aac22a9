"""Copies of the repository, in which forked processes run the tests of one mutant each.

The parent process has imported pytest and its plugins, but neither the package nor the tests. A fork therefore starts
faster than a new interpreter, and imports the package of its copy.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import hypothesis
import pytest

from mutation.targets import IGNORED_TESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from mutation.mutants import Mutant

_COPIED = ("envcompile", "tests", "fixtures", "schemas", "docs", "examples", "pyproject.toml")
_COPIED_DOCUMENTS = (".pre-commit-hooks.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "README.md")
_MARKERS = "not engine and not index"
# A mutant may loop or allocate for ever. Processor time is limited, because it does not depend on the machine's load.
_CPU_FACTOR, _MIN_CPU_SECONDS = 5, 10
_WALL_SECONDS = 600
_MEMORY_LIMIT = 4 << 30
_POLL_SECONDS = 0.02
_FAILED_TESTS = 1
# pytest's exit codes for a conftest or a test module that cannot be imported.
_FAILED_IMPORTS = (2, 3, 4)


class Outcome(Enum):
    """The result of the tests of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMED_OUT = "timed out"


class TestRecord(NamedTuple):
    """A test that passes without a mutant: its duration, and the functions of the package that it calls."""

    test: str
    seconds: float
    functions: frozenset[tuple[str, str]]


class BaselineError(Exception):
    """Tests fail without a mutant, or there are none."""


class Coverage:
    """The tests that call each function."""

    def __init__(self, records: Sequence[TestRecord]) -> None:
        self._records = sorted(records, key=lambda record: record.seconds)
        self.test_names = frozenset(record.test for record in records)

    def describe(self) -> str:
        """The number of tests and their time."""
        return f"{len(self._records)} tests, {sum(record.seconds for record in self._records):.0f} s of processor time"

    def select_tests(self, mutant: Mutant) -> list[TestRecord]:
        """The tests that can notice a mutant, fastest first.

        For a constant at the module's level these are all tests, first those of the module's own test files: tests of a
        pattern, for example, call no function of the module. The same holds if no test is known to call the function:
        some tests start processes, which are not observed.
        """
        key = (mutant.module, mutant.function.rpartition(".")[2])
        found = [record for record in self._records if key in record.functions]
        stem = mutant.module.rpartition("/")[2].removesuffix(".py")
        return found or sorted(self._records, key=lambda record: f"/test_{stem}" not in record.test)


class Sandbox:
    """One copy of the repository; at most one process runs in it."""

    _mtime = 1_000_000_000

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        self._mutated: tuple[Path, bytes] | None = None
        for name in (*_COPIED, *_COPIED_DOCUMENTS):
            source = root / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, folder / name)

    def record_coverage(self, tests: Iterable[str], modules: Iterable[str]) -> Coverage:
        """Run the tests without a mutant. Raises `BaselineError` if one fails."""
        report = self.folder / "coverage.json"
        recorder = _CoverageRecorder(self.folder, frozenset(modules), report)
        pid = self.start_tests(sorted(set(tests)), recorder)
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) != 0 or not report.exists():
            raise BaselineError(self.read_log())
        rows = json.loads(report.read_text("utf-8"))
        return Coverage([TestRecord(name, time, frozenset(map(tuple, called))) for name, time, called in rows])

    def start_mutant(self, mutant: Mutant, coverage: Coverage) -> int:
        """Start the tests of a mutant, and return the process's id."""
        path = self.folder / mutant.module
        self._mutated = path, path.read_bytes()
        self._write_module(path, mutant.source.encode())
        tests = coverage.select_tests(mutant)
        order = {record.test: position for position, record in enumerate(tests)}
        seconds = max(_MIN_CPU_SECONDS, int(_CPU_FACTOR * sum(record.seconds for record in tests)))
        return self.start_tests(
            list(dict.fromkeys(test.partition("::")[0] for test in order)),
            _Selector(order, coverage.test_names),
            seconds,
        )

    def restore(self) -> None:
        """Undo the mutation, and delete the temporary files of its tests."""
        if self._mutated:
            self._write_module(*self._mutated)
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)

    def _write_module(self, path: Path, data: bytes) -> None:
        """Write a module with a time of its own: Python compares times in whole seconds to reuse compiled modules."""
        path.write_bytes(data)
        Sandbox._mtime += 1
        os.utime(path, (Sandbox._mtime, Sandbox._mtime))

    def start_tests(self, tests: Sequence[str], plugin: object, cpu_seconds: int | None = None) -> int:
        """Fork a process that runs pytest on test files, and ends with its exit code."""
        sys.stdout.flush()
        if pid := os.fork():
            return pid
        try:
            self._run_tests(tests, plugin, cpu_seconds)
        finally:
            os._exit(70)

    def _run_tests(self, tests: Sequence[str], plugin: object, cpu_seconds: int | None) -> NoReturn:
        os.setsid()
        os.chdir(self.folder)
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        with (self.folder / "log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if cpu_seconds is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))
        tempfile.tempdir = None
        os.environ.pop("PYTEST_ADDOPTS", None)
        os.environ.update(TMPDIR=str(temporary), PYTHONPATH=str(self.folder))
        sys.path[0] = str(self.folder)
        hypothesis.settings.register_profile(
            "mutation",
            deadline=None,
            derandomize=True,
            database=None,
            # No time for a smaller example: the first one kills the mutant.
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        hypothesis.settings.load_profile("mutation")
        options = ["-q", "-x", "-m", _MARKERS, "-p", "no:cacheprovider"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        options += [f"--ignore={each}" for each in IGNORED_TESTS]
        code = pytest.main([*options, *tests], plugins=[plugin])
        sys.stdout.flush()
        os._exit(code)

    def read_log(self) -> str:
        """The end of the output of the last process."""
        return (self.folder / "log").read_text("utf-8", "replace")[-4000:]


class _CoverageRecorder:
    """A pytest plugin that writes the duration of each test and the functions that it calls to a JSON file."""

    def __init__(self, folder: Path, modules: frozenset[str], report: Path) -> None:
        self._modules = {str(folder / module): module for module in modules}
        self._report = report
        self._called: set[tuple[str, str]] = set()
        self._rows: list[tuple[str, float, list[tuple[str, str]]]] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Trace the calls of one test."""
        self._called.clear()
        _clear_caches()
        start = time.process_time()
        sys.settrace(self._trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self._rows.append((item.nodeid, time.process_time() - start, sorted(self._called)))

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        self._report.write_text(json.dumps(self._rows), "utf-8")

    def _trace(self, frame: FrameType, _event: str, _argument: object) -> None:
        module = self._modules.get(frame.f_code.co_filename)
        if module:
            self._called.add((module, frame.f_code.co_name))


class _Selector:
    """A pytest plugin that keeps the selected tests, in their order."""

    def __init__(self, order: dict[str, int], known: frozenset[str]) -> None:
        self._order, self._known = order, known

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop and sort tests. A test without a record runs first: its id may contain the mutated constant."""
        selected = [item for item in items if item.nodeid in self._order or item.nodeid not in self._known]
        items[:] = sorted(selected, key=lambda item: self._order.get(item.nodeid, -1))


def _clear_caches() -> None:
    """Empty the caches of functions, so that each test calls what it depends on."""
    for name, module in list(sys.modules.items()):
        if name.startswith("envcompile"):
            for value in list(vars(module).values()):
                clear: Callable[[], None] | None = getattr(value, "cache_clear", None)
                if callable(clear):
                    clear()


class _Run(NamedTuple):
    """A process that tests a mutant."""

    sandbox: Sandbox
    mutant: Mutant
    deadline: float


def test_mutants(
    mutants: Sequence[Mutant], coverage: Coverage, sandboxes: Sequence[Sandbox]
) -> Iterator[tuple[Mutant, Outcome]]:
    """Test each mutant, one in each sandbox at a time, and yield the outcomes as they come."""
    waiting, free = list(reversed(mutants)), list(sandboxes)
    runs: dict[int, _Run] = {}
    try:
        while waiting or runs:
            while waiting and free:
                mutant, sandbox = waiting.pop(), free.pop()
                pid = sandbox.start_mutant(mutant, coverage)
                runs[pid] = _Run(sandbox, mutant, time.monotonic() + _WALL_SECONDS)
            for pid, run in list(runs.items()):
                if time.monotonic() > run.deadline:
                    _kill_group(pid)
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    del runs[pid]
                    # Processes that the tests left behind.
                    _kill_group(pid)
                    run.sandbox.restore()
                    free.append(run.sandbox)
                    yield run.mutant, _read_outcome(os.waitstatus_to_exitcode(status), run)
            time.sleep(_POLL_SECONDS)
    finally:
        for pid in runs:
            _kill_group(pid)


def _read_outcome(code: int, run: _Run) -> Outcome:
    if code == 0:
        return Outcome.SURVIVED
    if code < 0:
        return Outcome.TIMED_OUT
    if code == _FAILED_TESTS or code in _FAILED_IMPORTS:
        return Outcome.KILLED
    raise BaselineError(f"{run.mutant.module}:{run.mutant.line}: exit code {code}\n{run.sandbox.read_log()}")


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
