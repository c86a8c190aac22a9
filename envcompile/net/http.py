"""The HTTP client of registries, package indexes and Debian archives: retries, redirects, limits, error messages."""

from __future__ import annotations

import random
import re
import socket
import ssl
import string
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead, InvalidURL
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from envcompile.diagnostics.errors import UnavailableError
from envcompile.net.connection import ConnectionPool, ProxyTunnelError
from envcompile.net.urls import find_proxy, is_web_url, parse_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.client import HTTPResponse

ValueT = TypeVar("ValueT")

_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_MAX_REQUESTS = 5  # in one attempt: the first request and those to the targets of redirects
_MAX_IGNORED_BYTES = 1 << 16  # an error page up to this size is read, so that the connection can be used again
_FIRST_DELAY = 0.5
_MAX_DELAY = 10.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Timeouts in seconds, and the number of attempts, the first one included.

    `timeout` limits each wait for data, and a small response as a whole. `download_timeout` limits a large
    response as a whole, such as a layer. Two attempts are at most 10 seconds apart.
    """

    timeout: float = 20.0
    download_timeout: float = 900.0
    attempts: int = 3
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Its `repr` hides the headers and the data, which may contain credentials.

    `total_timeout` limits the response as a whole, in seconds; None for the policy's `timeout`. `hint` is the hint of
    the errors about this request.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    method: str = "GET"
    data: bytes | None = field(default=None, repr=False)
    total_timeout: float | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Response(Generic[ValueT]):
    """The response of the last server, after redirects, from the URL `url`.

    Header names are spelt `Like-This`. `challenges` are the WWW-Authenticate headers, of which there may be
    several. `value` is the consumed body. It is None unless the status is 200, or 206 for a request with a Range
    header.
    """

    status: int
    headers: Mapping[str, str]
    challenges: tuple[str, ...]
    url: str = field(repr=False)
    value: ValueT | None = field(default=None, repr=False)


class ReadableBody(Protocol):
    """A response body that is being received."""

    def read(self, amount: int, /) -> bytes:
        """Return at most `amount` bytes, or b"" at the end of the body."""


class HttpClient:
    """An HTTP client with the proxies and certificates of one environment. Several threads may use it."""

    def __init__(self, policy: RetryPolicy, environment: Mapping[str, str]) -> None:
        self._policy = policy
        self._environment = environment
        self._connections = ConnectionPool(environment, policy.timeout)

    def send(self, request: Request, consume: Callable[[ReadableBody], ValueT]) -> Response[ValueT]:
        """Send a request and return its response. Status 429, status 5xx and a broken connection lead to a retry.

        `consume` reads the body of a successful response. It is called again if a retry follows. Raises
        `UnavailableError` if the last attempt fails, or one fails for a reason that a retry does not change.
        """
        failure, delay = "", 0.0
        for attempt in range(self._policy.attempts):
            if attempt:
                self._policy.sleep(delay)
            visited = [request.url]
            try:
                response = self._send_once(request, consume, visited)
            except (OSError, HTTPException) as problem:
                failure = self._describe_failure(problem, visited[-1], request)
                if not _is_transient(problem):
                    break
                retry_after = None
            else:
                if (
                    response.status != HTTPStatus.TOO_MANY_REQUESTS
                    and response.status < HTTPStatus.INTERNAL_SERVER_ERROR
                ):
                    return response
                failure = _describe_busy_server(response.status, _find_host(response.url), self._policy.attempts)
                retry_after = response.headers.get("Retry-After")
            delay = self._compute_delay(attempt, retry_after)
        # Raised outside the `except` block. Inside it, Python would attach the caught exception to this one, and the
        # caught exception has the request's headers.
        raise UnavailableError(failure, request.hint)

    def _send_once(
        self, request: Request, consume: Callable[[ReadableBody], ValueT], visited: list[str]
    ) -> Response[ValueT]:
        """Make one attempt and follow its redirects, whose URLs are appended to `visited`."""
        headers = dict(request.headers)
        deadline = time.monotonic() + (request.total_timeout or self._policy.timeout)
        successes = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT} if "Range" in headers else {HTTPStatus.OK}
        for _ in range(_MAX_REQUESTS):
            url = visited[-1]
            with self._connections.send(request.method, url, headers, request.data, deadline) as received:
                target = _find_redirect_target(url, received) if request.method != "POST" else None
                value = None
                if received.status in successes:
                    value = _read_body(received, consume)
                else:
                    _skip_body(received)
            if target is None:
                challenges = tuple(received.headers.get_all("WWW-Authenticate", []))
                named = {name.title(): text for name, text in received.headers.items()}
                return Response(received.status, named, challenges, url, value)
            if parse_origin(target) != parse_origin(url):
                # Another host must not receive the credentials.
                headers.pop("Authorization", None)
            visited.append(target)
        raise InvalidURL("too many redirects")

    def _compute_delay(self, attempt: int, retry_after: str | None) -> float:
        """The seconds until the next attempt: those of Retry-After, otherwise exponential with a random part."""
        wish = _parse_retry_after(retry_after) if retry_after else None
        if wish is None:
            wish = _FIRST_DELAY * 2**attempt * (0.5 + self._policy.random())
        return min(max(wish, 0.0), _MAX_DELAY)

    def _describe_failure(self, problem: Exception, url: str, request: Request) -> str:
        """The error message for a failed attempt."""
        limits = f"{self._policy.timeout:g} seconds"
        if request.total_timeout:
            limits += f" of silence, {request.total_timeout:g} for the whole response"
        text = next(row.text for row in _FAILURE_MESSAGES if isinstance(problem, row.kind)).format(limits=limits)
        if isinstance(problem, ssl.SSLCertVerificationError):
            text += f" ({problem.verify_message}); `SSL_CERT_FILE` names a file of trusted certificates"
        elif isinstance(problem, ProxyTunnelError):
            text += f" (HTTP {problem.status} from the proxy)"
        elif text == _FAILURE_MESSAGES[-1].text and isinstance(problem, OSError) and problem.strerror:
            text += f" ({problem.strerror})"
        proxy = ", through the proxy that the environment names" if find_proxy(url, self._environment) else ""
        return f"`{_find_host(url)}` {text}{proxy}"


class _FailureMessage(NamedTuple):
    kind: type[Exception]
    text: str


# The first row whose kind matches an exception gives the message. The text of the exception is not shown, because it
# may contain a URL with a signature.
_FAILURE_MESSAGES = (
    _FailureMessage(ssl.SSLCertVerificationError, "presented a TLS certificate that is not trusted"),
    _FailureMessage(ssl.SSLError, "failed the TLS handshake"),
    _FailureMessage(TimeoutError, "did not answer in time ({limits})"),
    _FailureMessage(socket.gaierror, "cannot be resolved to an address"),
    _FailureMessage(ConnectionRefusedError, "refused the connection"),
    _FailureMessage(ConnectionError, "closed the connection"),
    _FailureMessage(IncompleteRead, "closed the connection in the middle of a response"),
    _FailureMessage(InvalidURL, "redirects in circles, or to an invalid address"),
    _FailureMessage(HTTPException, "does not speak HTTP"),
    _FailureMessage(Exception, "cannot be reached"),
)


def create_body_reader(limit: int) -> Callable[[ReadableBody], bytes]:
    """A function that reads a body and stops one byte after `limit`. A result with that byte means a body too long."""

    def read(body: ReadableBody) -> bytes:
        content = bytearray()
        while len(content) <= limit and (chunk := body.read(limit + 1 - len(content))):
            content += chunk
        return bytes(content)

    return read


def _read_body(response: HTTPResponse, consume: Callable[[ReadableBody], ValueT]) -> ValueT:
    """The result of `consume` for the body of a response.

    Raises IncompleteRead if the connection ended early, which `read(amount)` does not report.
    """
    value = consume(response)
    if response.length and not response.read(1):
        raise IncompleteRead(b"")
    return value


def _skip_body(response: HTTPResponse) -> None:
    """Read a short body to its end, so that the connection can be used again."""
    if response.length is not None and response.length <= _MAX_IGNORED_BYTES:
        with suppress(OSError, HTTPException):
            response.read()


def _find_redirect_target(url: str, response: HTTPResponse) -> str | None:
    """The URL that a response redirects to; None if there is none, or if it is invalid or leads from https to http."""
    location = response.headers.get("Location")
    if response.status not in _REDIRECT_STATUSES or not location:
        return None
    try:
        # Some servers send other characters than ASCII; http.client decodes headers as Latin-1.
        target = urljoin(url, quote(location, encoding="iso-8859-1", safe=string.punctuation))
    except ValueError:
        return None
    if not is_web_url(target) or (url.startswith("https:") and not target.startswith("https:")):
        return None
    return target


def _is_transient(problem: Exception) -> bool:
    """Whether another attempt may succeed."""
    is_unknown_host = isinstance(problem, socket.gaierror) and problem.errno == socket.EAI_NONAME
    return not is_unknown_host and not isinstance(problem, (ssl.SSLCertVerificationError, InvalidURL))


def _describe_busy_server(status: int, host: str, attempts: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"`{host}` limits the number of requests (HTTP 429, {attempts} attempts)"
    return f"`{host}` reports an error of its own (HTTP {status}, {attempts} attempts)"


def _find_host(url: str) -> str:
    return urlsplit(url).netloc


def _parse_retry_after(retry_after: str) -> float | None:
    """The seconds until the time in a Retry-After header, which holds seconds or a date; None if it is invalid."""
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
