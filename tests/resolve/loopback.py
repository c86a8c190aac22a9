"""A package index on the loopback interface with tiny real wheels, as the simple API serves them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of the index; `requires` as in its metadata, `extras` the names that it provides."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    tag: str = "py3-none-any"
    uploaded: str = "2024-01-01T00:00:00.000000Z"
    yanked: bool = False
    python: str = ""

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.name.replace('-', '_')}-{self.version}-{self.tag}.whl"

    def content(self) -> bytes:
        """The archive, the same bytes each time."""
        folder = f"{self.name.replace('-', '_')}-{self.version}.dist-info"
        lines = [f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}"]
        lines += [f"Requires-Python: {self.python}"] if self.python else []
        lines += [f"Requires-Dist: {each}" for each in self.requires]
        lines += [f"Provides-Extra: {each}" for each in self.extras]
        texts = {
            "METADATA": "\n".join(lines) + "\n",
            "WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {self.tag}\n",
        }
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            for name, text in texts.items():
                archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), text)
            record = "".join(f"{folder}/{name},,\n" for name in [*texts, "RECORD"])
            archive.writestr(zipfile.ZipInfo(f"{folder}/RECORD"), record)
        return written.getvalue()

    def sha256(self) -> str:
        """Of the archive, in hexadecimal digits."""
        return hashlib.sha256(self.content()).hexdigest()


@dataclass(slots=True)
class Index:
    """What is served and how; `password` is asked for from user `me`, `refused` projects answer 403."""

    wheels: tuple[Wheel, ...]
    html: bool = False
    password: str = ""
    refused: frozenset[str] = frozenset()
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def url(self, userinfo: str = "") -> str:
        """The address of the simple API."""
        return f"http://{userinfo}127.0.0.1:{self.port}/simple"

    def page(self, project: str) -> tuple[str, bytes] | None:
        """Content type and body of a project's page."""
        wheels = [each for each in self.wheels if canonicalize_name(each.name) == project]
        if not wheels:
            return None
        if self.html:
            return "text/html", "".join(["<!DOCTYPE html><html><body>", *map(_anchor, wheels)]).encode()
        body = {
            "meta": {"api-version": "1.1"},
            "name": project,
            "versions": [],
            "files": [_row(each) for each in wheels],
        }
        body["versions"] = sorted({each.version for each in wheels})
        return JSON, json.dumps(body).encode()


def _anchor(wheel: Wheel) -> str:
    python = f' data-requires-python="{wheel.python.replace(">", "&gt;")}"' if wheel.python else ""
    yanked = ' data-yanked=""' if wheel.yanked else ""
    return f'<a href="../../files/{wheel.file}#sha256={wheel.sha256()}"{python}{yanked}>{wheel.file}</a><br>'


def _row(wheel: Wheel) -> dict[str, object]:
    return {
        "filename": wheel.file,
        "url": f"../../files/{wheel.file}",
        "hashes": {"sha256": wheel.sha256()},
        "size": len(wheel.content()),
        "upload-time": wheel.uploaded,
        "yanked": "withdrawn" if wheel.yanked else False,
        "requires-python": wheel.python or None,
    }


@contextmanager
def served(index: Index) -> Iterator[Index]:
    """The index, answering for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            index.asked.append(self.path)
            project = self.path.strip("/").rpartition("/")[2]
            if index.password and self.headers.get("Authorization") != _basic(index.password):
                return self._answer(401, "text/plain", b"who are you?")
            if project in index.refused:
                return self._answer(403, "text/plain", b"not for you")
            if self.path.startswith("/files/"):
                wheel = next((each for each in index.wheels if each.file == project), None)
                found = ("application/octet-stream", wheel.content()) if wheel else None
            else:
                found = index.page(project)
            return self._answer(200, *found) if found else self._answer(404, "text/plain", b"none")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            if code == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index.port = server.server_port
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield index
        finally:
            server.shutdown()


def _basic(password: str) -> str:
    return f"Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"


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
