"""Driving the real engine by its own command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# The longest build of the suite takes less than half of it on two busy cores.
COMMAND_SECONDS = 300
# How `envcompile build` packs layers: a third of the time that gzip takes.
ZSTD = ("--output", "type=docker,compression=zstd,oci-mediatypes=true")
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def envcompile(*arguments: str, folder: Path) -> str:
    """The real command in a folder of its own; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", *arguments], cwd=folder, capture_output=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def docker(*arguments: str, text: str | None = None, check: bool = True) -> str:
    """A docker command; its standard output and error together.

    A command that does not end within `COMMAND_SECONDS` is ended and run once more: uv sometimes sleeps for ever under
    qemu's emulation of another architecture, and a suite that hangs tells nothing.
    """
    try:
        return _run_docker(arguments, text, check=check)
    except subprocess.TimeoutExpired as problem:
        print(f"once more, after {problem.timeout:g} s: docker {' '.join(arguments)}")
        return _run_docker(arguments, text, check=check)


def _run_docker(arguments: tuple[str, ...], text: str | None, *, check: bool) -> str:
    done = subprocess.run(
        ["docker", *arguments],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "SOURCE_DATE_EPOCH": "0", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"},
        timeout=COMMAND_SECONDS,
    )
    if check:
        assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@dataclass(frozen=True)
class Engine:
    """The stand-in images: role and name of the public ones, not their bytes.

    `base` is Debian's own python3 of version `python`, by digest; `uv` the real binary of its wheel, by digest.
    """

    base: str
    python: str
    uv: str

    def stand_ins(self, spec: str) -> str:
        """A spec with nothing but its base and its tools replaced by the stand-ins."""
        lines = [f"base = {self.table()}" if line.startswith("base = ") else line for line in spec.splitlines()]
        assert lines != spec.splitlines()
        return "\n".join([*lines, "[tools]", f'uv = "{self.uv}"', ""])

    def table(self) -> str:
        """The stand-in base as the spec gives an image that nobody knows."""
        facts = {"image": self.base, "os": "debian-12", "glibc": "2.36", "python": self.python}
        pairs = [f'{key} = "{value}"' for key, value in {**facts, "python-path": "/usr/bin/python3"}.items()]
        return f"{{ {', '.join(pairs)} }}"

    def forget(self) -> None:
        """Drop every cached step and cache mount: the next build starts from nothing."""
        docker("buildx", "prune", "--all", "--force")

    def build(self, dockerfile: str, tag: str, *options: str) -> str:
        """Build from standard input, with no context; the digest of the manifest."""
        with tempfile.TemporaryDirectory() as folder:
            metadata = Path(folder, "metadata.json")
            # No bridge in this engine, and a proxy's certificate on this machine: neither is the Dockerfile's business.
            docker(
                *("buildx", "build", "--network=host", "--provenance=false", "--secret", f"id=ca,src={CA_BUNDLE}"),
                *("--metadata-file", str(metadata), "--tag", tag, *options, "-"),
                text=dockerfile,
            )
            return str(json.loads(metadata.read_text("utf-8"))["containerimage.digest"])

    def run(self, tag: str, *command: str) -> str:
        """Run a command in a container that is gone afterwards; what it printed."""
        return docker("run", "--rm", "--network=host", tag, *command)
