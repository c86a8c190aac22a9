"""A package index on the loopback interface with tiny real wheels, as the simple API serves them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import ssl
import subprocess
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit
from urllib.request import urlopen

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.kit.sdists import Sdist

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of the index; `requires` as in its metadata, `extras` the names it provides, `files` its content.

    `padding` is how many bytes it holds besides.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    tag: str = "py3-none-any"
    uploaded: str = "2024-01-01T00:00:00.000000Z"
    yanked: bool = False
    python: str = ""
    padding: int = 0
    files: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.name.replace('-', '_')}-{self.version}-{self.tag}.whl"

    def metadata(self) -> str:
        """The file METADATA."""
        lines = [f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}"]
        lines += [f"Requires-Python: {self.python}"] if self.python else []
        lines += [f"Requires-Dist: {each}" for each in self.requires]
        lines += [f"Provides-Extra: {each}" for each in self.extras]
        return "\n".join(lines) + "\n"

    def content(self) -> bytes:
        """The archive, the same bytes each time."""
        folder = f"{self.name.replace('-', '_')}-{self.version}.dist-info"
        texts = {
            "METADATA": self.metadata(),
            "WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {self.tag}\n",
        }
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            if self.padding:
                archive.writestr(zipfile.ZipInfo("padding"), bytes(self.padding))
            for path, text in [*((f"{folder}/{name}", text) for name, text in texts.items()), *self.files]:
                archive.writestr(zipfile.ZipInfo(path), text)
            record = "".join(f"{folder}/{name},,\n" for name in [*texts, "RECORD"])
            record += "".join(f"{path},sha256={_record_hash(text)},{len(text)}\n" for path, text in self.files)
            archive.writestr(zipfile.ZipInfo(f"{folder}/RECORD"), record)
        return written.getvalue()

    def sha256(self) -> str:
        """Of the archive, in hexadecimal digits."""
        return hashlib.sha256(self.content()).hexdigest()


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@dataclass(slots=True)
class Index:
    """What is served and how.

    `password` is asked for from user `me`, `token` as a bearer's, `refused` projects answer 403. `root` is the path of
    the simple API, `files` where its pages say that the files are, `tls` the key and certificate to serve it with,
    `host` the name of this machine in its URL. `beside` serves metadata beside each file, `ranges` parts of files.
    """

    wheels: tuple[Wheel | Sdist, ...]
    html: bool = False
    password: str = ""
    token: str = ""
    root: str = "/simple"
    files: str = "../../files"
    tls: Path | None = None
    host: str = "127.0.0.1"
    refused: frozenset[str] = frozenset()
    beside: bool = False
    ranges: bool = False
    port: int = 0
    asked: list[str] = field(default_factory=list)
    sent: int = 0

    def url(self, userinfo: str = "") -> str:
        """The address of the simple API."""
        return f"{'https' if self.tls else 'http'}://{userinfo}{self.host}:{self.port}{self.root}"

    def page(self, project: str) -> tuple[str, bytes] | None:
        """Content type and body of a project's page."""
        wheels = [each for each in self.wheels if canonicalize_name(each.name) == project]
        if not wheels:
            return None
        if self.html:
            return "text/html", "".join(["<!DOCTYPE html><html><body>", *map(self._anchor, wheels)]).encode()
        body = {
            "meta": {"api-version": "1.1"},
            "name": project,
            "versions": [],
            "files": [self._row(each) for each in wheels],
        }
        body["versions"] = sorted({each.version for each in wheels})
        return JSON, json.dumps(body).encode()

    def file(self, name: str) -> tuple[str, bytes] | None:
        """The same of a wheel, or of its metadata."""
        wheel = next((each for each in self.wheels if name in (each.file, f"{each.file}.metadata")), None)
        if wheel is None or (name.endswith(".metadata") and not self.beside):
            return None
        if name.endswith(".metadata"):
            return "text/plain", wheel.metadata().encode()
        return "application/octet-stream", wheel.content()

    def part(self, header: str, total: int) -> tuple[int, int]:
        """First and last byte of what a Range header asks for; of all of it where it asks for none."""
        wanted = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", header)
        if not wanted or not self.ranges:
            return 0, total - 1
        if not wanted[1]:
            return max(total - int(wanted[2]), 0), total - 1
        return int(wanted[1]), min(int(wanted[2] or total - 1), total - 1)

    def welcomes(self, authorization: str | None) -> bool:
        """Whether whoever sends this header may see anything."""
        basic = f"Basic {base64.b64encode(f'me:{self.password}'.encode()).decode()}"
        wanted = basic if self.password else f"Bearer {self.token}" if self.token else authorization
        return authorization == wanted

    def _anchor(self, wheel: Wheel | Sdist) -> str:
        python = f' data-requires-python="{wheel.python.replace(">", "&gt;")}"' if wheel.python else ""
        yanked = ' data-yanked=""' if wheel.yanked else ""
        beside = ' data-core-metadata="true"' if self.beside else ""
        href = f"{self.files}/{quote(wheel.file)}#sha256={wheel.sha256()}"
        return f'<a href="{href}"{python}{yanked}{beside}>{wheel.file}</a><br>'

    def _row(self, wheel: Wheel | Sdist) -> dict[str, object]:
        return {
            "filename": wheel.file,
            "url": f"{self.files}/{quote(wheel.file)}",
            "hashes": {"sha256": wheel.sha256()},
            "size": len(wheel.content()),
            "upload-time": wheel.uploaded,
            "yanked": "withdrawn" if wheel.yanked else False,
            "requires-python": wheel.python or None,
            **({"core-metadata": True} if self.beside else {}),
        }


def _handler(index: Index) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            index.asked.append(self.path)
            project = unquote(self.path.strip("/").rpartition("/")[2])
            if not index.welcomes(self.headers.get("Authorization")):
                return self._answer(401, "text/plain", b"who are you?")
            if project in index.refused:
                return self._answer(403, "text/plain", b"not for you")
            ours = ".whl" in project or project.endswith(".tar.gz")
            found = index.file(project) if ours else index.page(project)
            return self._answer(200, *found) if found else self._answer(404, "text/plain", b"none")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            first, last = index.part(self.headers.get("Range", ""), len(body)) if code == 200 else (0, len(body) - 1)
            span = f"bytes {first}-{last}/{len(body)}" if (first, last) != (0, len(body) - 1) else ""
            code, body = (206, body[first : last + 1]) if span else (code, body)
            index.sent += len(body)
            self.send_response(code)
            if span:
                self.send_header("Content-Range", span)
            if code == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    return Handler


@contextmanager
def served(index: Index) -> Iterator[Index]:
    """The index, answering for as long as the block lasts."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(index)) as server:
        index.port = server.server_port
        if index.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(index.tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield index
        finally:
            server.shutdown()


@contextmanager
def proxy(hosts: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy: its URL, and the URLs it was asked for. Of `hosts`, to where each of them is really served."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(self.path)
            parts = urlsplit(self.path)
            with urlopen(f"{hosts[parts.netloc]}{parts.path}") as answer:
                body = answer.read()
                self.send_response(200)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def certificates(folder: Path, names: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """An authority of one's own, as companies have, and a key with a certificate by it for `names`: two PEM files."""
    authority, server, key = folder / "authority.pem", folder / "server.pem", folder / "key.pem"
    plain = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    itself = ("-keyout", str(key), "-out", str(authority), "-subj", "/CN=authority")
    subprocess.run([*plain, *itself], check=True, capture_output=True)
    by = ("-CA", str(authority), "-CAkey", str(key), "-subj", "/CN=127.0.0.1", "-addext", "basicConstraints=CA:FALSE")
    for_it = ("-keyout", str(server), "-out", str(folder / "leaf.pem"), "-addext", f"subjectAltName={names}")
    subprocess.run([*plain, *by, *for_it], check=True, capture_output=True)
    server.write_text(server.read_text() + (folder / "leaf.pem").read_text())
    return authority, server


def write(wheels: tuple[Wheel, ...], folder: Path) -> Path:
    """The wheels as files of a folder, what find-links takes."""
    folder.mkdir()
    for wheel in wheels:
        (folder / wheel.file).write_bytes(wheel.content())
    return folder


def world(machine: str, python: str) -> tuple[Wheel, ...]:
    """A small index with a case of everything, for a machine as wheel tags spell it and a Python X.Y.Z."""
    return (
        Wheel("app", "1.0", ("lib >=1",)),
        Wheel("app", "2.0", ("lib >=1,<4", "two-words ; python_version < '3'", "plug ; extra == 'more'"), ("more",)),
        Wheel("lib", "1.0", uploaded="2024-01-01T00:00:00.000000Z"),
        Wheel("lib", "1.1", uploaded="2024-06-01T00:00:00.500000Z"),
        Wheel("lib", "2.0", uploaded="2025-06-01T00:00:00.000000Z"),
        Wheel("lib", "2.1", yanked=True),
        Wheel("lib", "2.2", python=">=99"),
        Wheel("lib", "3.0rc1"),
        Wheel("plug", "1.0", ("lib <2",)),
        Wheel("strict", "1.0", ("lib ==1.0",)),
        Wheel("strict", "2.0", ("lib >=2",)),
        Wheel("two-words", "1.0"),
        Wheel("chooses", "1.0", (f"lib ==1.1 ; python_full_version >= '{python}'",)),
        Wheel("chooses", "0.9", ("lib ==1.0",)),
        Wheel("lost", "1.0", ("nowhere >=1",)),
        Wheel("native", "1.0", tag=f"py3-none-manylinux_2_17_{machine}"),
        Wheel("native", "1.0", tag=f"py3-none-manylinux_2_28_{machine}"),
        Wheel("native", "1.0", tag="py3-none-win_amd64"),
        Wheel("native", "2.0", tag=f"py3-none-manylinux_2_31_{machine}"),
        Wheel("windows", "1.0", tag="py3-none-win_amd64"),
        # One of those that pip-compile leaves out unless it is told not to.
        Wheel("setuptools", "80.0"),
    )
