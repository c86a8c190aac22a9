"""Asking a web server: a few attempts, redirects that carry no credentials elsewhere, and sentences for what fails."""

from __future__ import annotations

import random
import re
import socket
import ssl
import time
from contextlib import closing
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead, InvalidURL
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit

from envcompile.errors import MissingOutside
from envcompile.resolve.registry.addresses import origin, web_address
from envcompile.resolve.registry.connection import Opener, TimedRequest, is_proxied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.client import HTTPResponse

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often a server is asked; times in seconds.

    `limit` bounds one wait for the network and a small answer as a whole, `layer_limit` a layer as a whole; `attempts`
    counts the first. So one question takes `attempts` times its limit at most, and 10 seconds between two attempts.
    """

    limit: float = 20.0
    layer_limit: float = 900.0
    attempts: int = 3
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Question:
    """One request. What may hold a credential does not show in its text; `hint` is for the error, if there is one."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    method: str = "GET"
    data: bytes | None = field(default=None, repr=False)
    total: float | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What came back from the address that answered in the end.

    Headers are spelt `Like-This`; `challenges` are those of WWW-Authenticate, which may come more than once; `value`
    is what was made of the body if the status is 200.
    """

    status: int
    headers: Mapping[str, str]
    challenges: tuple[str, ...]
    url: str = field(repr=False)
    value: T | None = field(default=None, repr=False)


class Readable(Protocol):
    """A body that is being received."""

    def read(self, amount: int, /) -> bytes:
        """Up to so many bytes; none at its end."""


class Web:
    """The network."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._opener = Opener()

    def ask(self, question: Question, consume: Callable[[Readable], T]) -> Answer[T]:
        """The answer, whatever its status, but for 429 and 5xx: those, and a broken connection, are tried again.

        `consume` reads the body of a 200, once for each attempt. Raises `MissingOutside`.
        """
        failure, pause = "", 0.0
        for attempt in range(self._patience.attempts):
            if attempt:
                self._patience.sleep(pause)
            asked = [question.url]
            try:
                answer = self._once(question, consume, asked)
            except (OSError, HTTPException) as problem:
                failure = _explain(problem, asked[-1], self._limits(question))
                if not _passes(problem):
                    break
                retry_after = None
            else:
                if answer.status != HTTPStatus.TOO_MANY_REQUESTS and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return answer
                failure = _busy(answer.status, _host(answer.url), self._patience.attempts)
                retry_after = answer.headers.get("Retry-After")
            pause = self._pause(attempt, retry_after)
        # Outside the except clause: what went wrong knows the question's headers, and is not to travel along.
        raise MissingOutside(failure, question.hint)

    def _once(self, question: Question, consume: Callable[[Readable], T], asked: list[str]) -> Answer[T]:
        """One attempt, with its redirects; `asked` gets the address of each."""
        headers = dict(question.headers)
        for _ in range(_HOPS):
            url = asked[-1]
            request = TimedRequest(url, question.data, dict(headers), method=question.method)
            request.total = question.total or self._patience.limit
            with closing(self._opener.open(request, self._patience.limit)) as response:
                target = _redirect(url, response) if question.method != "POST" else None
                if target is None:
                    challenges = tuple(response.headers.get_all("WWW-Authenticate", []))
                    value = _finish(response, consume) if response.status == HTTPStatus.OK else None
                    named = {name.title(): value for name, value in response.headers.items()}
                    return Answer(response.status, named, challenges, url, value)
            if origin(target) != origin(url):
                # Stores of layers are other people's: what proves who we are is for the registry alone.
                headers.pop("Authorization", None)
            asked.append(target)
        raise InvalidURL("too many redirects")

    def _limits(self, question: Question) -> str:
        limit = f"{self._patience.limit:g} seconds"
        return f"{limit} for a wait, {question.total:g} for all of it" if question.total else limit

    def _pause(self, attempt: int, retry_after: str | None) -> float:
        """Seconds to the next attempt: as the server asks, else growing and uneven, so that not all come at once."""
        asked = _seconds(retry_after) if retry_after else None
        if asked is None:
            asked = _FIRST_PAUSE * 2**attempt * (0.5 + self._patience.random())
        return min(max(asked, 0.0), _LONGEST_PAUSE)


def whole(cap: int) -> Callable[[Readable], bytes]:
    """A reader of bodies that stops one byte after `cap`: longer than `cap` means too long."""

    def read(body: Readable) -> bytes:
        read = bytearray()
        while len(read) <= cap and (chunk := body.read(cap + 1 - len(read))):
            read += chunk
        return bytes(read)

    return read


def _finish(response: HTTPResponse, consume: Callable[[Readable], T]) -> T:
    """The body, unless the connection ended before it did: `read(amount)` of http.client does not say so."""
    value = consume(response)
    if response.length and not response.read(1):
        raise IncompleteRead(b"")
    return value


def _redirect(url: str, response: HTTPResponse) -> str | None:
    """Where an answer sends us, if it does and may: never from https down to http."""
    location = response.headers.get("Location")
    if response.status not in _REDIRECTS or not location:
        return None
    try:
        target = urljoin(url, location)
    except ValueError:
        return None
    if not web_address(target) or (url.startswith("https:") and not target.startswith("https:")):
        return None
    return target


def _passes(problem: Exception) -> bool:
    """Whether trying again may help."""
    reason = _reason(problem)
    unknown = isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME
    return not unknown and not isinstance(reason, (ssl.SSLCertVerificationError, InvalidURL))


def _reason(problem: Exception) -> Exception:
    return problem.reason if isinstance(problem, URLError) and isinstance(problem.reason, Exception) else problem


class _Wording(NamedTuple):
    kind: type[Exception]
    text: str


# The first that fits. Of the exceptions' own texts nothing is used: some hold addresses with signatures in them.
_WORDINGS = (
    _Wording(ssl.SSLCertVerificationError, "shows a TLS certificate that is not trusted here"),
    _Wording(ssl.SSLError, "and this machine find no way to speak TLS"),
    _Wording(TimeoutError, "did not answer in time ({limits})"),
    _Wording(socket.gaierror, "is not a name that the network knows"),
    _Wording(ConnectionRefusedError, "refuses the connection"),
    _Wording(ConnectionError, "broke off the connection"),
    _Wording(IncompleteRead, "broke off in the middle of an answer"),
    _Wording(InvalidURL, "sends us in circles, or to an address that cannot be asked"),
    _Wording(HTTPException, "does not speak HTTP"),
    _Wording(Exception, "cannot be reached"),
)


def _explain(problem: Exception, url: str, limits: str) -> str:
    """The sentence for a failed connection."""
    reason = _reason(problem)
    text = next(wording.text for wording in _WORDINGS if isinstance(reason, wording.kind)).format(limits=limits)
    if isinstance(reason, ssl.SSLCertVerificationError):
        text += f" ({reason.verify_message}); `SSL_CERT_FILE` names a file of trusted ones"
    elif tunnel := re.match(r"Tunnel connection failed: ([0-9]{3})", str(reason)):
        text += f" (HTTP {tunnel[1]} from the proxy)"
    elif text == _WORDINGS[-1].text and isinstance(reason, OSError) and reason.strerror:
        text += f" ({reason.strerror})"
    proxy = " (asked through the proxy that the environment names)" if is_proxied(url) else ""
    return f"`{_host(url)}` {text}{proxy}"


def _busy(status: int, host: str, attempts: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"`{host}` has been asked too often and wants us to wait (HTTP 429, {attempts} attempts)"
    return f"`{host}` has a fault of its own (HTTP {status}, {attempts} attempts)"


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _seconds(retry_after: str) -> float | None:
    """What Retry-After asks for: seconds, or a date."""
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
