"""Promise 11: all errors at once. Requirements that no file satisfies are reported together, each with a true hint.

Through the real `envcompile lock` and uv, with an index on the loopback interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit.index import Index, Wheel, served
from tests.kit.sdists import Sdist, metadata
from tests.resolve.pip.test_compatible import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CP39 = "cp39-cp39-manylinux_2_17_x86_64"
CP314 = "cp314-cp314-manylinux_2_17_x86_64"
WORLD = (
    Wheel("fine", "1.0"),
    Wheel("plain", "1.0"),
    Wheel("numpy", "2.0"),
    Wheel("old", "1.3.0", tag=CP39),
    Wheel("old", "2.0", tag=CP39),
    Wheel("old", "3.0", tag=CP314),
    Wheel("old", "4.0rc1", tag=CP314),
    Wheel("withdrawn", "1.0"),
    Wheel("withdrawn", "2.0", yanked=True),
    Wheel("far", "1.0", tag="cp314-cp314-manylinux_2_39_x86_64"),
    Wheel("needs-nowhere", "1.0", ("nowhere",)),
    Sdist("source", "1.0", (metadata("source", "1.0"),)),
    Sdist("tensorrt-llm", "1.0", (metadata("tensorrt-llm", "1.0"),)),
)


@pytest.fixture
def index() -> Iterator[Index]:
    with served(Index(WORLD, beside=True)) as index:
        yield index


@pytest.mark.parametrize(
    ("requirement", "message", "hint"),
    [
        ("nunpy", "the package index has no package `nunpy`", "did you mean `sunpy` or `numpy`?"),
        ("xqzw-qq", "the package index has no package `xqzw-qq`", "check the name, and the index in `[pip]`"),
        ("fine >=99", "no release of `fine` satisfies `fine >=99`", "the newest release is 1.0"),
        (
            "old ==1.3.0",
            "no wheel of `old` satisfies `old ==1.3.0` for Python 3.14.2 on `linux-64`",
            'request `old >=3.0`, or write `python = "3.9"`, for which there are wheels',
        ),
        (
            "withdrawn >=2",
            "every release of `withdrawn` that satisfies `withdrawn >=2` was yanked by its authors",
            "request another release, or accept it with `withdrawn ==2.0`",
        ),
        ("far", "no wheel of `far` satisfies `far` for Python 3.14.2 on `linux-64`", None),
        (
            "source",
            "no wheel of `source` satisfies `source` for Python 3.14.2 on `linux-64`",
            'build it from its sdist: `allow-sdist = ["source"]` in `[pip]`',
        ),
        (
            "tensorrt-llm",
            "no wheel of `tensorrt-llm` satisfies `tensorrt-llm` for Python 3.14.2 on `linux-64`",
            "NVIDIA publishes its wheels in an index of its own: add that to `extra-indexes` in `[pip]`",
        ),
    ],
)
def test_a_requirement_that_no_file_satisfies(
    index: Index, tmp_path: Path, requirement: str, message: str, hint: str | None
) -> None:
    done = lock(tmp_path / "x", index, "plain", requirement)
    assert done.returncode == 1
    assert f"error[unsolvable]: {message}\n" in done.stderr
    assert f"packages = ['plain', '{requirement}']" in done.stderr
    assert (f"= hint: {hint}\n" in done.stderr) if hint else "hint" not in done.stderr


def test_all_of_them_in_one_run(index: Index, tmp_path: Path) -> None:
    done = lock(tmp_path / "x", index, "fine", "nunpy", "old <2", "withdrawn >=2")
    assert done.stderr.count("error[unsolvable]") == 3


def test_a_hint_is_true(index: Index, tmp_path: Path) -> None:
    for requirement in ("old >=3.0", "withdrawn ==2.0"):
        assert lock(tmp_path / "x", index, requirement).returncode == 0


def test_a_conflict_between_requirements_is_that_of_the_resolver(index: Index, tmp_path: Path) -> None:
    done = lock(tmp_path / "x", index, "fine", "needs-nowhere")
    assert done.returncode == 1
    assert "the resolver reports for `linux-64`" in done.stderr
    assert "nowhere" in done.stderr
