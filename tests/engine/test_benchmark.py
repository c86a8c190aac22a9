"""The image part of the benchmark, on a set so small that its figures mean nothing: that it runs, what it prints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from benchmarks.images import Question, measure
from benchmarks.setting import Setting
from tests.kit.engine import docker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.long]

SPEC = """
name = "small"
python = "3.11"
[pip]
packages = ["idna", "six"]
[image]
base = "python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b"
"""


def test_the_sides_are_built_and_weighed(engine: Engine, tmp_path: Path) -> None:
    assert engine.base
    table = measure(Setting(tmp_path, tmp_path, None), Question(SPEC, "six", "1.16.0"))
    for row in table.rows.values():
        cold, rebuild, changed, compressed, on_disk, answers = (float(each.split()[0].replace(",", "")) for each in row)
        assert min(cold, rebuild) > 0
        assert 0 < changed < compressed < on_disk
        assert answers > 0
    assert len(table.rows) == 4
    assert sum(bool(re.match(r"  goal (met|MISSED): ", line)) for line in table.lines()) == len(table.goals)
    assert "envcompile-benchmark" not in docker("image", "ls")
