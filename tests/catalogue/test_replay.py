"""`python -m envcompile.base_image`: strict, one line for each case, the count last."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from catalogue.replay import replay_cases
from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.diagnostics.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

CASE: dict[str, Any] = {
    "id": "X",
    "title": "torch",
    "input": {
        "python": "3.12",
        "pip": [
            {"name": "torch", "version": "2.0.1", "kind": "wheel"},
            {"name": "nvidia-cuda-runtime-cu11", "version": "11.7.99", "kind": "wheel"},
        ],
    },
    "expect": {
        "build": "python:3.12-slim-bookworm",
        "run": "python:3.12-slim-bookworm",
        "warnings": [],
        "cuda": "11.7.1",
        "env": {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"},
        "min_driver": "450.80.2",
        "apt_run": [],
        "sm": ["3.7", "5.0", "5.2", "5.3", "6.0", "6.1", "7.0", "7.5", "8.0", "8.6"],
    },
}


def wrong(case: dict[str, Any]) -> tuple[str, ...]:
    (one,) = replay_cases(json.dumps({"vectors": [case]}), load_default_catalogue())
    return one.differences


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("build", "python:3.12-slim"),
        ("run", "ubuntu:24.04"),
        ("run", None),
        ("warnings", ["W_EOL_TAG"]),
        ("cuda", "11.7"),
        ("cuda", None),
        ("env", {}),
        ("env", {"NVIDIA_VISIBLE_DEVICES": "all"}),
        ("min_driver", "450.80.3"),
        ("apt_run", ["gcc"]),
        ("sm", ["8.0"]),
        ("error", "E_NO_IMAGE"),
        ("a key that nobody knows", None),
    ],
)
def test_any_difference_is_seen(key: str, value: object) -> None:
    assert wrong(CASE) == ()
    changed = copy.deepcopy(CASE)
    changed["expect"][key] = value
    assert len(wrong(changed)) == 1


def test_an_error_must_be_that_one() -> None:
    case = copy.deepcopy(CASE)
    case["input"]["cuda"] = "12"
    assert wrong(case) == ("errors: ['E_CUDA_CONFLICT'], not []",)
    case["expect"] = {"error": "E_MIXED_CUDA_MAJOR"}
    assert wrong(case) == ("errors: ['E_CUDA_CONFLICT'], not ['E_MIXED_CUDA_MAJOR']",)
    case["expect"] = {"error": "E_CUDA_CONFLICT"}
    assert wrong(case) == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"vectors": [{}]}', '{"vectors": [{"id": 1, "input": 3}]}'])
def test_no_cases(text: str) -> None:
    with pytest.raises(InvalidInputError):
        replay_cases(text, load_default_catalogue())


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-m", "catalogue.replay", *arguments)
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_program(tmp_path: Path) -> None:
    other = copy.deepcopy(CASE) | {"id": "Y"}
    other["input"]["moon"] = "full"
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"vectors": [CASE, other]}), "utf-8")
    done = run(str(file))
    assert done.stdout.splitlines() == ["X matches torch", "Y matches torch (not read: moon)", "2 of 2 match"]
    assert (done.returncode, done.stderr) == (0, "")
    other["expect"]["cuda"] = "12.8.2"
    file.write_text(json.dumps({"vectors": [CASE, other]}), "utf-8")
    done = run(str(file))
    assert done.stdout.splitlines()[1:] == [
        'Y differs torch: cuda: "11.7.1", not "12.8.2" (not read: moon)',
        "1 of 2 match",
    ]
    assert done.returncode == 1
    for arguments in ((), (str(tmp_path / "none.json"),)):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
