"""A company's proxy: it opens TLS connections with certificates of its own authority.

Some hosts are served by this machine; connections to all others are passed on unopened.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tests.kit.index import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_KEPT_HEADERS = ("Accept", "Range")
_SENT_HEADERS = ("Content-Type", "Content-Range", "Accept-Ranges")


@dataclass
class TlsProxy:
    """The proxy: its URL, the file with its authority, and the hosts that it was asked for."""

    url: str
    authority: Path
    asked: set[str] = field(default_factory=set)


@contextmanager
def tls_proxy(folder: Path, hosts: Mapping[str, str]) -> Iterator[TlsProxy]:
    """Start a proxy. `hosts` maps hosts to the URLs where they are really served."""
    authority, key = certificates(folder, ",".join(f"DNS:{host}" for host in hosts))

    class Forwarder(BaseHTTPRequestHandler):
        """Answers requests for the mapped hosts, after TLS was opened or as those of a proxy."""

        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            host = (parts.hostname or self.headers["Host"]).partition(":")[0]
            found.asked.add(host)
            kept = {name: self.headers[name] for name in _KEPT_HEADERS if name in self.headers}
            status, headers, body = _fetch(f"{hosts[host]}{parts.path}", kept)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_CONNECT(self) -> None:
            host, _, port = self.path.partition(":")
            found.asked.add(host)
            address = ("127.0.0.1", inner.server_port) if host in hosts else (host, int(port))
            with socket.create_connection(address) as upstream:
                self.send_response(200)
                self.end_headers()
                back = Thread(target=_copy, args=(upstream, self.connection), daemon=True)
                back.start()
                _copy(self.connection, upstream)
                back.join()
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key)
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Forwarder) as inner,
        ThreadingHTTPServer(("127.0.0.1", 0), Forwarder) as outer,
    ):
        inner.socket = context.wrap_socket(inner.socket, server_side=True)
        found = TlsProxy(f"http://127.0.0.1:{outer.server_port}", authority)
        for server in (inner, outer):
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield found
        finally:
            for server in (inner, outer):
                server.shutdown()


def _fetch(url: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers and the body of an answer."""
    try:
        answer = urlopen(Request(url, headers=headers))
    except HTTPError as error:
        answer = error
    with answer:
        kept = {name: answer.headers[name] for name in _SENT_HEADERS if name in answer.headers}
        return answer.status, kept, answer.read()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Pass on what a side sends until it stops."""
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other side has closed the connection
