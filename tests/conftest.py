"""What all tests share: the goldens and the one option that rewrites them."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.kit.effort import count_examples
from tests.kit.network import cut_off, keep_from_public_registries

if TYPE_CHECKING:
    from collections.abc import Generator

    from xdist.remote import Producer  # type: ignore[import-untyped]


# On the host's network, as the engine has no bridge: one at a time.
USING_FIXED_PORTS = {"tests/engine/test_ml.py", "tests/engine/test_benchmark.py"}

# A shell's background job ignores interrupts, and so would whatever it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-goldens", action="store_true", help="write what the tests got into fixtures/: then read the diff"
    )
    parser.addoption(
        "--long", action="store_true", help="run the tests marked `long` too, and properties on five times the examples"
    )


class EngineByFile(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Each test goes to the next free process, and the engine's tests by file: their fixtures build images."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in USING_FIXED_PORTS:
            return "fixed ports"
        return file if file.startswith("tests/engine/") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> EngineByFile:
    return EngineByFile(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Give this process an engine of its own: tests empty the caches of theirs."""
    engines = os.environ.get("ENVCOMPILE_TEST_ENGINES", "").split()
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if engines:
        variables = Path(engines[worker % len(engines)]).read_text("utf-8")
        os.environ.update(dict(re.findall(r"^export (\w+)=(.*)$", variables, re.MULTILINE)))
    if config.getoption("--long"):
        # Decorators read it while the tests are imported.
        os.environ["ENVCOMPILE_TEST_LONG"] = "yes"
    # A deadline is an assertion on elapsed time, and fails on a busy machine.
    settings.register_profile("tests", parent=settings(), deadline=None, max_examples=count_examples(100))
    settings.load_profile("tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    long = {item for item in items if item.get_closest_marker("long")}
    config.hook.pytest_deselected(items=[item for item in items if item in long])
    items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Cut the network off for every test that does not say that it needs one, and public registries for the others."""
    if any(item.get_closest_marker(name) for name in ("engine", "index")):
        with keep_from_public_registries():
            return (yield)
    with cut_off() as done:
        # A user who may not make namespaces runs the tests with the network; CI does not.
        if not done and os.environ.get("CI"):
            pytest.exit("the network cannot be cut off: this needs root and Linux", 3)
        return (yield)


class Golden(Protocol):
    """Compares a text with a whole file of fixtures/."""

    def __call__(self, path: Path, text: str) -> None: ...


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--rewrite-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        assert path.is_file(), f"{path} is not there: run pytest --rewrite-goldens, and read it"
        assert text == path.read_bytes().decode()

    return compare
