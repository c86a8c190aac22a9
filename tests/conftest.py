"""What all tests share: the goldens and the one option that rewrites them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Protocol

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from pathlib import Path

    from xdist.remote import Producer  # type: ignore[import-untyped]


# A shell's background job ignores interrupts, and so would whatever it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-goldens", action="store_true", help="write what the tests got into fixtures/: then read the diff"
    )


class OneEngine(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Each test goes to whoever is free, and all of the engine to one process: they empty its caches."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/engine" if nodeid.startswith("tests/engine/") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneEngine:
    return OneEngine(config, log)


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
