"""Connections of the HTTP client: kept open between requests, through proxies, with a deadline for each response.

They use `http.client`, because `urllib.request` opens a new connection for each request and reads the settings of
the process. Measured on Python 3.11 against a bare interpreter's 9 ms: http.client with ssl 28 ms, urllib.request
38 ms, urllib3 72 ms, requests 90 ms; none of them limits the time of a whole response.
"""

from __future__ import annotations

import io
import socket
import ssl
import sys
import time
import weakref
from contextlib import contextmanager
from http import HTTPStatus
from http.client import BadStatusLine, HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from envcompile.diagnostics.errors import UnavailableError
from envcompile.net.urls import DEFAULT_PORTS, find_proxy, parse_origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.net.urls import Proxy

# The variables with which OpenSSL, requests (and so pip and conda) and curl find the file of trusted certificates. The
# first one that is set is used.
_CERTIFICATE_FILE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Errors of a connection that the server has closed since the last answer.
_CLOSED_ERRORS = (ConnectionError, ssl.SSLError, BadStatusLine)


class ProxyTunnelError(OSError):
    """A proxy refused to open a tunnel to the server."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class ConnectionPool:
    """Connections with the proxies and certificates of one environment.

    A connection whose response was read to its end is kept for the next request to the same origin. Kept
    connections are closed with the pool. Several threads may use a pool.
    """

    def __init__(self, environment: Mapping[str, str], timeout: float) -> None:
        self._environment = environment
        self._timeout = timeout
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}
        self._context: ssl.SSLContext | None = None
        self._context_lock = Lock()
        weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: float
    ) -> Iterator[HTTPResponse]:
        """Send a request, and yield the response once its headers have arrived.

        `deadline` is a value of `time.monotonic`. Sending and reading raise TimeoutError after the deadline, or after
        the pool's `timeout` in seconds without data. Other errors of the connection are OSError or HTTPException too.
        Raises `UnavailableError` if the setting of the proxy is invalid or the certificates cannot be read.
        """
        origin = parse_origin(url)
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        waiting = self._idle.setdefault(origin, [])
        # If the server has closed a kept connection, the request is sent again. A repeated POST might take effect
        # twice, so a POST always gets a new connection.
        connection = _pop(waiting) if method != "POST" else None
        response = None
        if connection is not None:
            try:
                response = connection.exchange(method, target, headers, body, deadline)
            except _CLOSED_ERRORS:
                connection.close()
        if connection is None or response is None:
            connection = self._connect(url)
            response = connection.exchange(method, target, headers, body, deadline)
        try:
            yield response
        finally:
            if response.isclosed() and connection.sock is not None:
                waiting.append(connection)
            else:
                response.close()
                connection.close()

    def _connect(self, url: str) -> _Connection:
        proxy = find_proxy(url, self._environment)
        uses_tls = url.startswith("https:") or (proxy is not None and proxy.uses_tls)
        return _Connection(url, proxy, self._load_context() if uses_tls else None, self._timeout)

    def _load_context(self) -> ssl.SSLContext:
        # Reading the certificates takes 20 ms, so they are read only for a connection with TLS.
        with self._context_lock:
            if self._context is None:
                self._context = create_tls_context(self._environment)
            return self._context


def create_tls_context(environment: Mapping[str, str]) -> ssl.SSLContext:
    """A TLS context that trusts the certificates in the file and the folder that this environment names.

    As in OpenSSL, the system's file or folder is used for one that the environment does not name. Raises
    `UnavailableError` if the certificates cannot be read.
    """
    file = next((environment[name] for name in _CERTIFICATE_FILE_VARIABLES if environment.get(name)), None)
    folder = environment.get("SSL_CERT_DIR") or None
    if sys.platform == "win32" and not file and not folder:
        return ssl.create_default_context()
    # Only the paths that are built into OpenSSL are used, because the other fields follow the variables of this
    # process, which may differ from those of `environment`.
    defaults = ssl.get_default_verify_paths()
    try:
        return ssl.create_default_context(
            cafile=file or _existing(defaults.openssl_cafile), capath=folder or _existing(defaults.openssl_capath)
        )
    except OSError as problem:
        raise UnavailableError(f"the certificates in `{file or folder}` cannot be read: {problem.strerror}") from None


def _existing(path: str) -> str | None:
    return path if Path(path).exists() else None


def _pop(waiting: list[_Connection]) -> _Connection | None:
    try:
        return waiting.pop()
    except IndexError:
        return None


def _close_all(idle: Mapping[tuple[str, str, int], list[_Connection]]) -> None:
    for waiting in idle.values():
        for connection in waiting:
            connection.close()


class _Connection(HTTPConnection):
    """A connection to one origin, direct or through a proxy."""

    def __init__(self, url: str, proxy: Proxy | None, context: ssl.SSLContext | None, timeout: float) -> None:
        scheme, host, port = parse_origin(url)
        super().__init__(host, port)
        self.default_port = DEFAULT_PORTS[scheme]
        self._scheme, self._proxy, self._context, self._limit = scheme, proxy, context, timeout
        self._deadline = 0.0

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, deadline: float
    ) -> HTTPResponse:
        """Send a request, and return the response once its headers have arrived."""
        self._deadline = deadline
        sent = {"User-Agent": "envcompile", **headers}
        if self._proxy and self._scheme == "http":
            host = f"[{self.host}]" if ":" in self.host else self.host
            target = (
                f"http://{host}:{self.port}{target}" if self.port != self.default_port else f"http://{host}{target}"
            )
            if self._proxy.authorization:
                sent["Proxy-Authorization"] = self._proxy.authorization
        try:
            self.request(method, target, body, sent)
            return self.getresponse()
        except BaseException:
            self.close()
            raise

    def connect(self) -> None:
        """Connect, through a tunnel if there is a proxy and the server speaks TLS."""
        address = (self._proxy.host, self._proxy.port) if self._proxy else (self.host, self.port)
        sock = socket.create_connection(address, self.find_limit())
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._proxy and self._scheme == "https":
                self._open_tunnel(_DeadlineSocket(sock, self), self._proxy)
            if self._context:
                name = self._proxy.host if self._proxy and self._scheme == "http" else self.host
                sock.settimeout(self.find_limit())
                sock = self._context.wrap_socket(sock, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        self.sock = cast("socket.socket", _DeadlineSocket(sock, self))

    def find_limit(self) -> float:
        """The number of seconds to wait for data from now on. Raises TimeoutError after the deadline."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self._limit)

    def _open_tunnel(self, sock: _DeadlineSocket, proxy: Proxy) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [f"CONNECT {host}:{self.port} HTTP/1.1", f"Host: {host}:{self.port}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        sock.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii"))
        response = HTTPResponse(cast("socket.socket", sock), method="CONNECT")
        try:
            response.begin()
        finally:
            response.close()
        if response.status != HTTPStatus.OK:
            raise ProxyTunnelError(response.status)


class _DeadlineSocket:
    """The part of a socket that http.client uses, with the connection's deadline.

    The timeout of a socket itself is not enough, because it starts anew with every byte that arrives.
    """

    def __init__(self, sock: socket.socket, connection: _Connection) -> None:
        self._sock = sock
        self._connection = connection
        self.close = sock.close

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._connection.find_limit())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._connection))


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, connection: _Connection) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open until this is closed
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._connection.find_limit())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
