"""A spec and its user's settings, for the real command line against a hub and an index on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from envcompile.lock.reader import parse_lock

if TYPE_CHECKING:
    from pathlib import Path

    from envcompile.lock.model import Lock
    from tests.kit.hub import Hub
    from tests.kit.index import Index


class Machine:
    """A folder with a spec, and the settings of its user."""

    def __init__(self, folder: Path, hub: Hub, settings: str, index: Index) -> None:
        self.folder, self.hub = folder, hub
        (folder / "config/envcompile").mkdir(parents=True)
        (folder / "config/envcompile/config.toml").write_text(settings, "utf-8")
        self.environment = {
            **os.environ,
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "UV_CACHE_DIR": str(folder / "uv"),
            "RATTLER_CACHE_DIR": str(folder / "rattler"),
            "UV_DEFAULT_INDEX": index.url(),
        }

    def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        argv = [sys.executable, "-m", "envcompile", *words]
        done = subprocess.run(argv, cwd=self.folder, env=self.environment, capture_output=True, check=False, text=True)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    def lock(self, packages: list[str], more: str = "", *words: str, python: str = "3.12", code: int = 0) -> Lock:
        text = f'name = "x"\npython = "{python}"\n[pip]\npackages = {json.dumps(packages)}\n{more}'
        (self.folder / "envcompile.toml").write_text(text, "utf-8")
        self.said = self.run("lock", *words, code=code)[1]
        return self.read()

    def read(self) -> Lock:
        return parse_lock((self.folder / "envcompile.lock").read_text("utf-8"), "x")
