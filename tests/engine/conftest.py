"""The engine that `.ci/engine` has started, or the reason why there is none."""

from __future__ import annotations

import os

import pytest

from tests.kit.built_channel import conda_channel
from tests.kit.engine import Engine

__all__ = ["conda_channel", "engine"]

NEEDED = (
    "DOCKER_HOST",
    "ENVCOMPILE_TEST_BASE",
    "ENVCOMPILE_TEST_BASE_PYTHON",
    "ENVCOMPILE_TEST_UV",
    "ENVCOMPILE_TEST_DEBIAN",
)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The real engine with its stand-in images; skipped where there is none, failed in CI."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        reason = f"no engine: {', '.join(missing)} not set; run the tests by `.ci/engine with pytest` as root on Debian"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Engine(
        base=os.environ["ENVCOMPILE_TEST_BASE"],
        python=os.environ["ENVCOMPILE_TEST_BASE_PYTHON"],
        uv=os.environ["ENVCOMPILE_TEST_UV"],
    )
