"""A web server on the loopback interface that keeps connections open and answers as a test tells it to."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping


class Exchange(BaseHTTPRequestHandler):
    """One connection of the server, at its present request."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.site.connections += 1

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()
        with self.server.lock:
            self.server.site.closed_connections += 1

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # the client went away, which is what it is tested for
            super().handle()

    def do_GET(self) -> None:
        site = self.server.site
        site.requests.append((self.command, self.path, {name.lower(): text for name, text in self.headers.items()}))
        site.answer(self)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_CONNECT(self) -> None:
        self.do_GET()

    def reply(self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """A whole answer."""
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def write_forever(self, piece: bytes, interval: float = 0.0) -> None:
        """The same bytes again and again, until the client or the test is tired of it."""
        self.close_connection = True
        while not self.server.site.stopped.wait(interval):
            self.wfile.write(piece)

    def forward(self) -> None:
        """Be the proxy of a CONNECT: pass on bytes in both directions."""
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as other:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            thread = threading.Thread(target=_copy, args=(other, self.connection), daemon=True)
            thread.start()
            _copy(self.connection, other)
            thread.join()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - the name is the base class's


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: WebServer
    lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None: ...


class WebServer:
    """What the server has seen, and how it answers. `url` has no path."""

    def __init__(self, answer: Callable[[Exchange], None]) -> None:
        self.answer = answer
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.connections = self.closed_connections = 0
        self.stopped = threading.Event()
        self.url = ""

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _ in self.requests]

    def sent(self, header: str) -> list[str | None]:
        """A header of every request."""
        return [headers.get(header.lower()) for _, _, headers in self.requests]


@contextmanager
def serving(answer: Callable[[Exchange], None], context: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """A server that answers while the block runs."""
    site = WebServer(answer)
    with _Server(("127.0.0.1", 0), Exchange) as server:
        server.site = site
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        site.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield site
        finally:
            site.stopped.set()
            server.shutdown()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
