"""`envcompile lock` with conda packages that have activation scripts, from real archives on loopback."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.activation import UNKNOWN_SCRIPTS
from envcompile.lock.reader import parse_lock
from tests.kit.channel import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import CondaPackage

BASE = "debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251"
ACTIVATE = "etc/conda/activate.d"
GEO = """\
if [ -n "${GEO_DATA:-}" ]; then
    export _CONDA_SET_GEO_DATA="$GEO_DATA"
fi
if [ -d "${CONDA_PREFIX}/share/geo" ]; then
    export GEO_DATA="${CONDA_PREFIX}/share/geo"
fi
"""
PACKAGES: dict[str, dict[str, str]] = {
    "geo": {f"{ACTIVATE}/geo.sh": GEO, "share/geo/table.csv": "1,2\n"},
    "gcc": {f"{ACTIVATE}/gcc.sh": "_set() { export CC=gcc; }\n_set\n", "bin/x": "x"},
    "half": {f"{ACTIVATE}/half.sh": "export HALF=1 PATH=/env/half:$PATH\n"},
    "vars": {"etc/conda/env_vars.d/vars.json": json.dumps({"VARS_HOME": "/env/vars", "LEVEL": "json", "PATH": "/x"})},
    "level": {f"{ACTIVATE}/zlevel.sh": "export LEVEL='the script'\n"},
    "nothing": {"share/nothing.txt": "x"},
}
LARGE = 17 << 20


def make_channel(folder: Path) -> None:
    from rattler_build import ArchiveType, assemble_package

    rows: dict[str, dict[str, object]] = {"packages": {}, "packages.conda": {}}
    # `old` and `large` are archives that can be read only as a whole; the second is too large for that.
    old = {f"{ACTIVATE}/old.sh": "export OLD=1\n"}
    for name, files in {**PACKAGES, "old": old, "large": {**old, "share/x": ""}}.items():
        source = folder / "files" / name
        for path, text in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_text(text)
        if name == "large":
            (source / "share/x").write_bytes(os.urandom(LARGE))
        is_old = name in ("old", "large")
        kind = ArchiveType.TarBz2 if is_old else ArchiveType.Conda
        made = assemble_package(
            name, "1.0", "linux-64", "0", folder / "linux-64", files_dir=source, compression_level=1, archive_type=kind
        )
        content = Path(made.path).read_bytes()
        rows["packages" if is_old else "packages.conda"][Path(made.path).name] = {
            "name": name,
            "version": "1.0",
            "build": "0",
            "build_number": 0,
            "depends": [],
            "subdir": "linux-64",
            # A wrong size, so that the archive is requested, and the limit of the download counts.
            "size": 1 if is_old else len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    (folder / "noarch").mkdir()
    nothing: dict[str, dict[str, object]] = {"packages": {}, "packages.conda": {}}
    for subdir, found in (("linux-64", rows), ("noarch", nothing)):
        data = {"info": {"subdir": subdir}, **found}
        (folder / subdir / "repodata.json").write_text(json.dumps(data))


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channel")
    make_channel(folder)
    return folder


class Served:
    """A channel on loopback, and the archives that were requested: their names and the bytes that were sent."""

    def __init__(self, folder: Path, *, ranges: bool) -> None:
        self.folder, self.ranges, self.url = folder, ranges, ""
        self.requests: list[tuple[str, int]] = []
        self.status: dict[str, int] = {}

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.requests}


@contextmanager
def serve(folder: Path, *, ranges: bool = True) -> Iterator[Served]:
    served = Served(folder, ranges=ranges)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = folder / self.path.strip("/")
            name = path.name.partition("-")[0]
            is_archive = path.name.endswith((".conda", ".tar.bz2"))
            status = served.status.get(name, 200) if is_archive else 200
            content = path.read_bytes() if path.is_file() and status == 200 else b""
            found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
            whole = len(content)
            self.send_response(206 if found and ranges and content else status if content or status != 200 else 404)
            if found and ranges and content:
                start = int(found[1]) if found[1] else max(0, whole - int(found[2]))
                end = int(found[2]) if found[1] and found[2] else whole - 1
                content = content[start : end + 1]
                self.send_header("Content-Range", f"bytes {start}-{start + len(content) - 1}/{whole}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if is_archive:
                served.requests.append((name, len(content)))
            self.wfile.write(content)

    with Server(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield served
        finally:
            server.shutdown()


class Machine:
    """A folder with a spec, and caches that nothing else has filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, channel: str, *packages: str, more: str = "") -> None:
        (self.folder / "envcompile.toml").write_text(
            f'name = "x"\n[conda]\nchannels = ["{channel}"]\npackages = {list(packages)}\n'
            f'[image]\nbase = "{BASE}"\n{more}\n[tools]\npython = "x@sha256:{"0" * 64}"\nuv = "x@sha256:{"0" * 64}"\n',
            "utf-8",
        )

    def run(self, *words: str) -> tuple[int, str]:
        environment = {"HOME": str(self.folder), "PATH": os.environ["PATH"]}
        argv = [sys.executable, "-m", "envcompile", *words]
        done = subprocess.run(
            argv, cwd=self.folder, capture_output=True, check=False, encoding="utf-8", env=environment
        )
        return done.returncode, done.stdout + done.stderr

    def lock(self, *options: str) -> str:
        code, said = self.run("lock", *options)
        assert code == 0, said
        return said

    @property
    def conda(self) -> dict[str, CondaPackage]:
        (platform,) = parse_lock((self.folder / "envcompile.lock").read_text("utf-8"), "x").platforms
        return {each.name: each for each in platform.conda}

    @property
    def env(self) -> dict[str, str]:
        """The variables of the Dockerfile's last ENV instruction."""
        code, text = self.run("dockerfile")
        assert code == 0, text
        line = text.replace("\\\n", " ").partition("\nENV PATH")[2].partition("\n")[0]
        found = re.findall(r'(\w+)=(?:"((?:\\.|[^"\\])*)"|(\S+))', line)
        return {name: quoted or bare for name, quoted, bare in found}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_static_variables_are_in_the_image(machine: Machine, channel: Path, ranges: bool) -> None:
    with serve(channel, ranges=ranges) as served:
        machine.write(served.url, *PACKAGES, "old")
        said = machine.lock()
        assert served.names == {*PACKAGES, "old"}
    conda = machine.conda
    assert {name: [(each.name, each.value) for each in row.env] for name, row in conda.items() if row.env} == {
        "geo": [("GEO_DATA", "/env/share/geo")],
        "half": [("HALF", "1")],
        "level": [("LEVEL", "the script")],
        "old": [("OLD", "1")],
        "vars": [("LEVEL", "json"), ("VARS_HOME", "/env/vars")],
    }
    assert {name: row.activate for name, row in conda.items() if row.activate} == {
        "gcc": (f"{ACTIVATE}/gcc.sh",),
        "half": (f"{ACTIVATE}/half.sh",),
    }
    env = machine.env
    expected = {
        "GEO_DATA": "/env/share/geo",
        "HALF": "1",
        "LEVEL": "the script",
        "OLD": "1",
        "VARS_HOME": "/env/vars",
        "CONDA_PREFIX": "/env",
    }
    assert {name: env.get(name) for name in expected} == expected
    assert "gcc, half" in said
    assert "/env/bin/activated" in said
    assert machine.run("verify", "--full")[0] == 0
    explained = machine.run("explain")[1]
    assert "GEO_DATA=/env/share/geo" in explained


def test_image_env_wins(machine: Machine, channel: Path) -> None:
    with serve(channel) as served:
        machine.write(served.url, "geo", more='env = { GEO_DATA = "/mine" }')
        machine.lock()
    assert machine.env["GEO_DATA"] == "/mine"


def test_a_lock_requests_an_archive_only_once(machine: Machine, channel: Path) -> None:
    """Neither a current lock, nor an updated one, nor one without the earlier lock reads an archive again."""
    with serve(channel) as served:
        machine.write(served.url, "geo", "gcc")
        machine.lock()
        assert served.names == {"geo", "gcc"}
        before = machine.conda
        served.requests.clear()
        machine.lock()
        machine.lock("-U")
        machine.write(served.url, "geo", "gcc", "half")
        machine.lock()
        assert served.names == {"half"}
        served.requests.clear()
        (machine.folder / "envcompile.lock").unlink()
        machine.lock()
        assert served.requests == []
        after = machine.conda
        assert {name: after[name] for name in before} == before
        # The lock alone is enough too.
        for path in (machine.folder / ".cache/envcompile").glob("activation*/*"):
            path.unlink()
        machine.write(served.url, "geo", "half")
        machine.lock()
        assert served.requests == []
        # A damaged file of the cache is read again.
        (machine.folder / "envcompile.lock").unlink()
        machine.lock()
        for path in (machine.folder / ".cache/envcompile").glob("activation*/*"):
            path.write_text("{")
        (machine.folder / "envcompile.lock").unlink()
        machine.lock()
        assert machine.conda["geo"].env == before["geo"].env


def test_only_a_part_of_a_large_archive_is_read(machine: Machine, channel: Path) -> None:
    with serve(channel) as served:
        machine.write(served.url, "nothing", "geo")
        machine.lock()
        assert all(size <= 65536 for _, size in served.requests)


def test_an_archive_that_is_too_large_is_named(machine: Machine, channel: Path) -> None:
    with serve(channel) as served:
        machine.write(served.url, "large", "geo")
        said = machine.lock()
        assert machine.conda["large"].activate == (UNKNOWN_SCRIPTS,)
        assert "large" in said
        served.requests.clear()
        machine.lock("--check")
        machine.write(served.url, "large")
        machine.lock()
        assert served.requests == []
    assert "OLD" not in machine.env


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, 0, "could not be read"),
        (403, 3, "requires credentials"),
        (503, 3, "cannot read `geo-1.0-0.conda` in the conda channel"),
    ],
)
def test_an_archive_that_cannot_be_read(machine: Machine, channel: Path, status: int, code: int, message: str) -> None:
    with serve(channel) as served:
        served.status["geo"] = status
        machine.write(served.url, "geo", "gcc")
        exit_code, said = machine.run("lock")
        assert (exit_code, message in said) == (code, True), said
        if code == 0:
            served.status.clear()
            assert machine.conda["geo"].activate == (UNKNOWN_SCRIPTS,)
            assert "+ variable GEO_DATA of conda packages /env/share/geo" in machine.lock("-U")
            assert not machine.conda["geo"].activate


def test_offline(machine: Machine, channel: Path) -> None:
    with serve(channel) as served:
        machine.write(served.url, "geo")
        machine.lock()
        machine.write(served.url, "geo", "half")
        # The index of the channel is in the cache now, but not this archive.
        code, said = machine.run("lock", "--offline")
        message = "archive of the conda package `half` has not been read, and `--offline` is set"
        assert (code, message in said) == (3, True), said
        machine.lock()
        (machine.folder / "envcompile.lock").unlink()
        machine.lock("--offline")
    assert machine.conda["half"].env[0].name == "HALF"


def test_a_local_channel_is_read_offline(machine: Machine, channel: Path) -> None:
    machine.write(str(channel), "geo", "old")
    machine.lock("--offline")
    assert [each.name for row in machine.conda.values() for each in row.env] == ["GEO_DATA", "OLD"]
