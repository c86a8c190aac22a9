"""conda channels for tests: an excerpt of a real one, small made ones, and how they are served on loopback."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from envcompile.platforms import PLATFORMS
from envcompile.resolve.conda.channels import parse_channel
from envcompile.resolve.model import CondaRequest
from envcompile.spec.conda import CondaRequirement
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.lock.model import Channel

REAL = parse_channel(str(FIXTURES / "channels" / "conda-forge"), FIXTURES)


def request(*requirements: str, platform: str = "linux-64", **more: Any) -> CondaRequest:
    return CondaRequest(
        tuple(map(CondaRequirement, requirements)), more.pop("channels", (REAL,)), PLATFORMS[platform], "2.36", **more
    )


def made_channel(folder: Path, *records: dict[str, Any], subdir: str = "noarch") -> Channel:
    for each in ("noarch", "linux-64", "linux-aarch64"):
        (folder / each).mkdir(parents=True, exist_ok=True)
        rows = {
            f"{row['name']}-{row['version']}-0.tar.bz2": {
                "build": "0",
                "build_number": 0,
                "depends": [],
                "md5": "0" * 32,
                "sha256": "0" * 64,
                "size": 1,
                "subdir": each,
                **row,
            }
            for row in (records if each == subdir else ())
        }
        (folder / each / "repodata.json").write_text(json.dumps({"info": {"subdir": each}, "packages": rows}), "utf-8")
    return parse_channel(str(folder), folder)


class Handler(http.server.BaseHTTPRequestHandler):
    """Files of a folder, whole or not; see `served`."""

    folder: Path
    broken: str
    token: str
    over: threading.Event

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.broken == "silent":
            self.over.wait(60)
            return
        path = self.folder / self.path.strip("/")
        status = 200 if path.is_file() else 404
        status = int(self.broken) if self.broken.isdigit() else status
        if self.token and self.headers["Authorization"] != f"Bearer {self.token}":
            status = 401
        data = path.read_bytes() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:100] if self.broken == "cut" else data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that has heard enough hangs up."""


@contextmanager
def served(folder: Path, broken: str = "", token: str = "") -> Iterator[str]:
    """A folder on loopback. `broken` is a status; `cut`, which hangs up within a file; or `silent`."""
    over = threading.Event()
    handler = type("Mine", (Handler,), {"folder": folder, "broken": broken, "token": token, "over": over})
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            over.set()
            server.shutdown()
