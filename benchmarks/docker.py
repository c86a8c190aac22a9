"""Measurements on a real engine: builds without a cache, sizes of images, and the start of a container."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.measure import CommandFailed, run
from benchmarks.skipped import Skipped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PATIENCE = 180  # seconds that a container may take to answer


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine that docker's own settings select. `scratch` is a folder for temporary files."""

    scratch: Path
    environment: Mapping[str, str]

    def build(self, folder: Path, argv: tuple[str, ...]) -> float:
        """The seconds of a build, from its start to the image in the engine. Raises `CommandFailed`."""
        started = time.perf_counter()
        run(argv, folder, self.environment)
        return time.perf_counter() - started

    def forget(self) -> None:
        """Remove all cached steps and cache mounts, so that the next build starts without a cache."""
        run(("docker", "buildx", "prune", "--all", "--force"), self.scratch, self.environment)

    def remove(self, tag: str) -> None:
        """Remove an image if it exists."""
        run(("docker", "image", "rm", "--force", tag), self.scratch, self.environment)

    def layers(self, tag: str) -> dict[str, int]:
        """The digests of an image's compressed layers, and their sizes in bytes."""
        path = self.scratch / "image.tar"
        run(("docker", "image", "save", "--output", str(path), tag), self.scratch, self.environment)
        with tarfile.open(path) as archive:
            sizes = {member.name: member.size for member in archive if member.isfile()}
            manifest = _json(archive, _json(archive, "index.json"))
            while "layers" not in manifest:  # an index of platforms, of which one is here
                manifest = _json(archive, manifest, sizes)
        path.unlink()
        return {each["digest"]: int(each["size"]) for each in manifest["layers"]}

    def on_disk(self, tag: str) -> int:
        """The bytes of the files that a container of the image sees."""
        argv = ("docker", "run", "--rm", "--user=0", "--network=none", "--entrypoint=du", tag, "-skx", "/")
        said = subprocess.run(argv, capture_output=True, check=True, text=True, env=dict(self.environment)).stdout
        return 1024 * int(said.split()[0])

    def answering(self, tag: str, command: tuple[str, ...], path: str) -> float:
        """The seconds from `docker run` to the first HTTP response. `{port}` in the command is a free port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        words = (each.format(port=port) for each in command)
        argv = ("docker", "run", "--detach", "--network=host", tag, *words)
        started = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, check=True, text=True, env=dict(self.environment))
        name = done.stdout.strip()
        try:
            while time.perf_counter() - started < _PATIENCE:
                with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
                    return time.perf_counter() - started
                time.sleep(0.05)
            raise CommandFailed(f"nothing answered in a container of `{tag}`")
        finally:
            run(("docker", "rm", "--force", name), self.scratch, self.environment)


def engine(scratch: Path, environment: Mapping[str, str]) -> Engine:
    """The engine. Raises `Skipped` if there is none."""
    if shutil.which("docker") is None:
        raise Skipped("`docker` is not there")
    try:
        run(("docker", "version"), scratch, environment)
    except CommandFailed as problem:
        raise Skipped(str(problem).splitlines()[-1]) from None
    return Engine(scratch, environment)


def _json(archive: tarfile.TarFile, of: str | dict[str, Any], there: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A JSON member by its name, or the first manifest of an index whose blob exists."""
    names = [of] if isinstance(of, str) else ["blobs/" + each["digest"].replace(":", "/") for each in of["manifests"]]
    file = archive.extractfile(next(name for name in names if there is None or name in there))
    assert file is not None
    value: dict[str, Any] = json.load(file)
    return value
