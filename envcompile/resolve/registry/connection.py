"""Connections: http and https, the environment's proxies, and a deadline for every answer as a whole.

Why urllib.request of the standard library: it knows HTTPS_PROXY and NO_PROXY, and ssl knows SSL_CERT_FILE. Measured on
Python 3.11, median of 15 starts over a bare interpreter's 9 ms: http.client with ssl 28 ms, urllib.request 38 ms,
urllib3 72 ms, requests 90 ms; and urllib3 has neither the proxies of the environment nor a limit on a whole answer.
"""

from __future__ import annotations

import io
import ssl
import time
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from urllib.request import AbstractHTTPHandler, OpenerDirector, ProxyHandler, Request, getproxies, proxy_bypass

from envcompile.resolve.registry.addresses import is_loopback

if TYPE_CHECKING:
    import socket
    from http.client import HTTPResponse


class TimedRequest(Request):
    """A request whose answer has to be there as a whole within `total` seconds."""

    total = 20.0


class Opener:
    """Opens web addresses. Knows no ftp: and no file:, follows no redirect and takes every status for an answer."""

    def __init__(self) -> None:
        self._director = OpenerDirector()
        self._director.addheaders = [("User-Agent", "envcompile")]
        for handler in (_Proxies(), _Handler()):
            self._director.add_handler(handler)

    def open(self, request: TimedRequest, limit: float) -> HTTPResponse:
        """The answer as it begins to come in, after `limit` seconds at most for one wait.

        Raises OSError (URLError, TimeoutError, ...) and HTTPException; so does reading from the answer.
        """
        return cast("HTTPResponse", self._director.open(request, timeout=limit))


def is_proxied(url: str) -> bool:
    """Whether an address is asked for through a proxy that the environment names."""
    parts = urlsplit(url)
    return parts.scheme in getproxies() and not is_loopback(parts.hostname or "") and not proxy_bypass(parts.netloc)


class _Proxies(ProxyHandler):
    """The environment's proxies, but as for docker never for this machine itself."""

    def proxy_open(self, req: Request, proxy: str, type: str) -> Any:  # noqa: A002 - the name is the base's
        return None if is_loopback(req.host) else super().proxy_open(req, proxy, type)


class _Handler(AbstractHTTPHandler):
    """http and https over connections with a deadline."""

    http_request = https_request = AbstractHTTPHandler.do_request_
    _context: ssl.SSLContext | None = None

    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(cast("Any", _Plain), request, total=cast("TimedRequest", request).total)

    def https_open(self, request: Request) -> HTTPResponse:
        if self._context is None:  # reading the system's certificates takes 20 ms: not for a registry on this machine
            self._context = ssl.create_default_context()
        total = cast("TimedRequest", request).total
        return self.do_open(cast("Any", _Secure), request, total=total, context=self._context)


class _Plain(HTTPConnection):
    def __init__(self, *arguments: Any, total: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline = time.monotonic() + total

    def connect(self) -> None:
        super().connect()
        self.sock = cast("socket.socket", _TimedSocket(self.sock, self._deadline))


class _Secure(HTTPSConnection):
    def __init__(self, *arguments: Any, total: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline = time.monotonic() + total

    def connect(self) -> None:
        super().connect()
        self.sock = cast("socket.socket", _TimedSocket(self.sock, self._deadline))


class _TimedSocket:
    """What http.client uses of a socket. A socket's own timeout starts anew with every byte that drips in."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self.sendall = sock.sendall
        self.close = sock.close

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the connection open until this is closed
        self._deadline = deadline
        self._limit = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left if self._limit is None else min(left, self._limit))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
