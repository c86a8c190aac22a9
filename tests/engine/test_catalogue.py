"""`python -m catalogue` against a real registry: its pages of tags, its indexes and its configurations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from catalogue.text import dumps
from tests.kit.engine import docker

if TYPE_CHECKING:
    from tests.kit.engine import Engine

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "envcompile/base_image/data/catalogue.json"
# What NVIDIA's own image of that version says of itself.
DOCKERFILE = """FROM scratch
ENV NV_CUDNN_VERSION=9.8.0.87-1 NV_CUDA_CUDART_VERSION=12.8.90-1
ENV NVIDIA_REQUIRE_CUDA="cuda>=12.8 brand=unknown,driver>=470,driver<471 brand=grid,driver>=535,driver<536"
WORKDIR /cuda
"""
KINDS = ("base", "runtime", "devel", "cudnn-runtime", "cudnn-devel")


def test_the_rows_of_a_real_registry(engine: Engine, tmp_path: Path) -> None:
    registry = engine.base.partition("/")[0]
    image = f"{registry}/renewed/nvidia/cuda"
    tags = [word for kind in KINDS for word in ("--tag", f"{image}:12.8.1-{kind}-ubuntu24.04")]
    platforms = ("--platform", "linux/amd64,linux/arm64", "--provenance=false")
    docker("buildx", "build", *platforms, *tags, "--push", "-", text=DOCKERFILE)
    data = json.loads(SHIPPED.read_text("utf-8"))
    data["images"]["rows"] = [["12.8.0", "ubuntu24.04", "hhhhh", "amd64", "", "9.7.0.66", "u"]]
    data["digests"]["rows"], data["drivers"]["branches"] = [], []
    data["runtimes"]["rows"], data["policy"]["minors"] = [["12.8.57", "12.8.0"]], {"12": "12.8"}
    file = tmp_path / "catalogue.json"
    file.write_text(dumps(data), "utf-8")
    (tmp_path / "envcompile").mkdir()
    settings = f'[mirrors]\n"docker.io" = "{registry}/renewed"\n'
    (tmp_path / "envcompile" / "config.toml").write_text(settings, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "catalogue", str(file), "--only", "images", "--gone", "--date", "2027-01-02"],
        cwd=ROOT,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text("utf-8"))
    assert found["images"]["rows"] == [
        ["12.8.1", "ubuntu24.04", "hhhhh", "amd64 arm64", "", "9.8.0.87", "r"],
    ]
    assert found["runtimes"]["rows"] == [["12.8.57", "12.8.0"], ["12.8.90", "12.8.1"]]
    assert found["drivers"]["branches"] == [["12.8.1", "470 535"]]
    assert done.stdout.splitlines() == [
        *(f"- 12.8.0-{kind}-ubuntu24.04" for kind in KINDS),
        *(f"+ 12.8.1-{kind}-ubuntu24.04" for kind in KINDS),
        "+ runtimes: 12.8.90 -> 12.8.1",
        "+ drivers: 12.8.1 -> 470 535",
        "+ deleted: CUDA 12.8.0",
    ]
