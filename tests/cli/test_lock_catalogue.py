"""`envcompile lock --catalogue`: newer facts decide without a release, and the lock says of which day they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from envcompile.lock.reader import parse_lock
from tests.kit.index import Index, Wheel, served
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

SPEC = f"""
name = "x"
python = "3.12.4"
[pip]
packages = ["nvidia-cuda-runtime-cu12"]
[image.base]
image = "x@sha256:{64 * "a"}"
os = "debian-12"
glibc = "2.36"
python = "3.12.4"
python-path = "/p"
[tools]
uv = "uv@sha256:{64 * "a"}"
"""


def test_newer_facts_decide(tmp_path: Path) -> None:
    data = json.loads((FIXTURES.parent / "envcompile/base_image/data/catalogue.json").read_text("utf-8"))
    data["drivers"]["floors"]["12"], data["date"] = "550.54.14", "2027-01-02"
    (tmp_path / "newer.json").write_text(json.dumps(data), "utf-8")
    (tmp_path / "envcompile.toml").write_text(SPEC, "utf-8")
    with served(Index((Wheel("nvidia-cuda-runtime-cu12", "12.8.90"),))) as index:
        own = {"UV_DEFAULT_INDEX": index.url(), "UV_CACHE_DIR": str(tmp_path / "cache")}

        def lock(*words: str) -> tuple[str | None, str | None]:
            done = subprocess.run(
                [sys.executable, "-m", "envcompile", "lock", *words],
                cwd=tmp_path,
                env={**os.environ, **own, "XDG_CONFIG_HOME": str(tmp_path)},
                capture_output=True,
                check=False,
                encoding="utf-8",
            )
            assert done.returncode == 0, done.stderr
            (platform,) = parse_lock((tmp_path / "envcompile.lock").read_text("utf-8"), "x").platforms
            assert platform.base_decision
            return platform.base_decision.catalogue.partition(" ")[0], platform.base_decision.driver

        assert lock()[1] == "525.60.13"
        assert lock("--catalogue", "newer.json") == ("2027-01-02", "550.54.14")
