"""Web addresses: which may be requested, and who may see what was meant for one."""

from __future__ import annotations

import io
import random
import re
import socket
import ssl
import time
from contextlib import closing
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead, InvalidURL
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, cast
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import AbstractHTTPHandler, OpenerDirector, ProxyHandler, getproxies, proxy_bypass
from urllib.request import Request as UrllibRequest

from envcompile.diagnostics.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.client import HTTPResponse

_LOOPBACK_HOST = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1|\[::1\]")
# The port that an address means when it names none.
DEFAULT_PORTS = {"http": 80, "https": 443}


def is_web_url(url: str) -> bool:
    """Whether a URL that came from outside may be asked: http or https, plain ASCII, no user name or password in it."""
    if not re.fullmatch(r"https?://[!-~]+", url):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:  # half an IPv6 address, or a port that is no number
        return False


def parse_origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a web address: who may see what was meant for it."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    return _LOOPBACK_HOST.fullmatch(host if host == "::1" else re.sub(r":[0-9]+$", "", host)) is not None


# Connections: http and https, the environment's proxies, and a deadline for every answer as a whole.
#
# Why urllib.request of the standard library: it knows HTTPS_PROXY and NO_PROXY, and ssl knows SSL_CERT_FILE. Measured
# on Python 3.11, median of 15 starts over a bare interpreter's 9 ms: http.client with ssl 28 ms, urllib.request 38 ms,
# urllib3 72 ms, requests 90 ms; and urllib3 has neither the proxies of the environment nor a limit on a whole answer.


class TimedRequest(UrllibRequest):
    """A request whose answer has to be there as a whole within `total` seconds."""

    total_timeout = 20.0


class UrlOpener:
    """Opens web addresses. Knows no ftp: and no file:, follows no redirect and takes every status for an answer."""

    def __init__(self) -> None:
        self._director = OpenerDirector()
        self._director.addheaders = [("User-Agent", "envcompile")]
        for handler in (_RemoteProxyHandler(), _TimedHandler()):
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


class _RemoteProxyHandler(ProxyHandler):
    """The environment's proxies, but as for docker never for this machine itself."""

    def proxy_open(self, req: UrllibRequest, proxy: str, type: str) -> Any:  # noqa: A002 - the name is the base's
        return None if is_loopback(req.host) else super().proxy_open(req, proxy, type)


class _TimedHandler(AbstractHTTPHandler):
    """http and https over connections with a deadline."""

    http_request = https_request = AbstractHTTPHandler.do_request_
    _context: ssl.SSLContext | None = None

    def http_open(self, request: UrllibRequest) -> HTTPResponse:
        return self.do_open(
            cast("Any", _TimedHTTPConnection), request, total=cast("TimedRequest", request).total_timeout
        )

    def https_open(self, request: UrllibRequest) -> HTTPResponse:
        if self._context is None:  # reading the system's certificates takes 20 ms: not for a registry on this machine
            self._context = ssl.create_default_context()
        total = cast("TimedRequest", request).total_timeout
        return self.do_open(cast("Any", _TimedHTTPSConnection), request, total=total, context=self._context)


class _TimedHTTPConnection(HTTPConnection):
    def __init__(self, *arguments: Any, total: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline = time.monotonic() + total

    def connect(self) -> None:
        super().connect()
        self.sock = cast("socket.socket", _TimedSocket(self.sock, self._deadline))


class _TimedHTTPSConnection(HTTPSConnection):
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


# Asking a web server: a few attempts, redirects that carry no credentials elsewhere, and sentences for what fails.


ValueT = TypeVar("ValueT")

_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_MAX_REQUESTS = 5
_FIRST_DELAY = 0.5
_MAX_DELAY = 10.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often a server is asked; times in seconds.

    `limit` bounds one wait for the network and a small answer as a whole, `layer_timeout` a layer as a whole;
    `attempts`
    counts the first. So one question takes `attempts` times its limit at most, and 10 seconds between two attempts.
    """

    timeout: float = 20.0
    layer_timeout: float = 900.0
    attempts: int = 3
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Request:
    """One request. What may hold a credential does not show in its text; `hint` is for the error, if there is one."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    method: str = "GET"
    data: bytes | None = field(default=None, repr=False)
    total_timeout: float | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Response(Generic[ValueT]):
    """What came back from the address that answered in the end.

    Headers are spelt `Like-This`; `challenges` are those of WWW-Authenticate, which may come more than once; `value`
    is what was made of the body if the status is 200.
    """

    status: int
    headers: Mapping[str, str]
    challenges: tuple[str, ...]
    url: str = field(repr=False)
    value: ValueT | None = field(default=None, repr=False)


class ReadableBody(Protocol):
    """A body that is being received."""

    def read(self, amount: int, /) -> bytes:
        """Up to so many bytes; none at its end."""


class HttpClient:
    """The network."""

    def __init__(self, patience: RetryPolicy) -> None:
        self._retry_policy = patience
        self._opener = UrlOpener()

    def send(self, question: Request, consume: Callable[[ReadableBody], ValueT]) -> Response[ValueT]:
        """The answer, whatever its status, but for 429 and 5xx: those, and a broken connection, are tried again.

        `consume` reads the body of a 200, once for each attempt. Raises `UnavailableError`.
        """
        failure, pause = "", 0.0
        for attempt in range(self._retry_policy.attempts):
            if attempt:
                self._retry_policy.sleep(pause)
            asked = [question.url]
            try:
                answer = self._send_once(question, consume, asked)
            except (OSError, HTTPException) as problem:
                failure = _describe_failure(problem, asked[-1], self._describe_timeouts(question))
                if not _is_transient(problem):
                    break
                retry_after = None
            else:
                if answer.status != HTTPStatus.TOO_MANY_REQUESTS and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return answer
                failure = _describe_busy_server(answer.status, _find_host(answer.url), self._retry_policy.attempts)
                retry_after = answer.headers.get("Retry-After")
            pause = self._compute_delay(attempt, retry_after)
        # Outside the except clause: what went wrong knows the question's headers, and is not to travel along.
        raise UnavailableError(failure, question.hint)

    def _send_once(
        self, question: Request, consume: Callable[[ReadableBody], ValueT], asked: list[str]
    ) -> Response[ValueT]:
        """One attempt, with its redirects; `asked` gets the address of each."""
        headers = dict(question.headers)
        for _ in range(_MAX_REQUESTS):
            url = asked[-1]
            request = TimedRequest(url, question.data, dict(headers), method=question.method)
            request.total_timeout = question.total_timeout or self._retry_policy.timeout
            with closing(self._opener.open(request, self._retry_policy.timeout)) as response:
                target = _find_redirect_target(url, response) if question.method != "POST" else None
                if target is None:
                    challenges = tuple(response.headers.get_all("WWW-Authenticate", []))
                    value = _read_body(response, consume) if response.status == HTTPStatus.OK else None
                    named = {name.title(): value for name, value in response.headers.items()}
                    return Response(response.status, named, challenges, url, value)
            if parse_origin(target) != parse_origin(url):
                # Stores of layers are other people's: what proves who we are is for the registry alone.
                headers.pop("Authorization", None)
            asked.append(target)
        raise InvalidURL("too many redirects")

    def _describe_timeouts(self, question: Request) -> str:
        limit = f"{self._retry_policy.timeout:g} seconds"
        return f"{limit} for a wait, {question.total_timeout:g} for all of it" if question.total_timeout else limit

    def _compute_delay(self, attempt: int, retry_after: str | None) -> float:
        """Seconds to the next attempt: as the server asks, else growing and uneven, so that not all come at once."""
        asked = _parse_retry_after(retry_after) if retry_after else None
        if asked is None:
            asked = _FIRST_DELAY * 2**attempt * (0.5 + self._retry_policy.random())
        return min(max(asked, 0.0), _MAX_DELAY)


def create_body_reader(cap: int) -> Callable[[ReadableBody], bytes]:
    """A reader of bodies that stops one byte after `cap`: longer than `cap` means too long."""

    def read(body: ReadableBody) -> bytes:
        read = bytearray()
        while len(read) <= cap and (chunk := body.read(cap + 1 - len(read))):
            read += chunk
        return bytes(read)

    return read


def _read_body(response: HTTPResponse, consume: Callable[[ReadableBody], ValueT]) -> ValueT:
    """The body, unless the connection ended before it did: `read(amount)` of http.client does not say so."""
    value = consume(response)
    if response.length and not response.read(1):
        raise IncompleteRead(b"")
    return value


def _find_redirect_target(url: str, response: HTTPResponse) -> str | None:
    """Where an answer sends us, if it does and may: never from https down to http."""
    location = response.headers.get("Location")
    if response.status not in _REDIRECT_STATUSES or not location:
        return None
    try:
        target = urljoin(url, location)
    except ValueError:
        return None
    if not is_web_url(target) or (url.startswith("https:") and not target.startswith("https:")):
        return None
    return target


def _is_transient(problem: Exception) -> bool:
    """Whether trying again may help."""
    reason = _find_root_cause(problem)
    unknown = isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME
    return not unknown and not isinstance(reason, (ssl.SSLCertVerificationError, InvalidURL))


def _find_root_cause(problem: Exception) -> Exception:
    return problem.reason if isinstance(problem, URLError) and isinstance(problem.reason, Exception) else problem


class _FailureMessage(NamedTuple):
    kind: type[Exception]
    text: str


# The first that fits. Of the exceptions' own texts nothing is used: some hold addresses with signatures in them.
_FAILURE_MESSAGES = (
    _FailureMessage(ssl.SSLCertVerificationError, "shows a TLS certificate that is not trusted here"),
    _FailureMessage(ssl.SSLError, "and this machine find no way to speak TLS"),
    _FailureMessage(TimeoutError, "did not answer in time ({limits})"),
    _FailureMessage(socket.gaierror, "is not a name that the network knows"),
    _FailureMessage(ConnectionRefusedError, "refuses the connection"),
    _FailureMessage(ConnectionError, "broke off the connection"),
    _FailureMessage(IncompleteRead, "broke off in the middle of an answer"),
    _FailureMessage(InvalidURL, "sends us in circles, or to an address that cannot be asked"),
    _FailureMessage(HTTPException, "does not speak HTTP"),
    _FailureMessage(Exception, "cannot be reached"),
)


def _describe_failure(problem: Exception, url: str, limits: str) -> str:
    """The sentence for a failed connection."""
    reason = _find_root_cause(problem)
    text = next(wording.text for wording in _FAILURE_MESSAGES if isinstance(reason, wording.kind)).format(limits=limits)
    if isinstance(reason, ssl.SSLCertVerificationError):
        text += f" ({reason.verify_message}); `SSL_CERT_FILE` names a file of trusted ones"
    elif tunnel := re.match(r"Tunnel connection failed: ([0-9]{3})", str(reason)):
        text += f" (HTTP {tunnel[1]} from the proxy)"
    elif text == _FAILURE_MESSAGES[-1].text and isinstance(reason, OSError) and reason.strerror:
        text += f" ({reason.strerror})"
    proxy = " (asked through the proxy that the environment names)" if is_proxied(url) else ""
    return f"`{_find_host(url)}` {text}{proxy}"


def _describe_busy_server(status: int, host: str, attempts: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"`{host}` has been asked too often and wants us to wait (HTTP 429, {attempts} attempts)"
    return f"`{host}` has a fault of its own (HTTP {status}, {attempts} attempts)"


def _find_host(url: str) -> str:
    return urlsplit(url).netloc


def _parse_retry_after(retry_after: str) -> float | None:
    """What Retry-After asks for: seconds, or a date."""
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
