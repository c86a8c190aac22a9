"""A project's page in the simple API (PEP 503, 592, 658, 691, 700), read: as JSON or as HTML."""

from __future__ import annotations

import json
import re
import ssl
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from html.parser import HTMLParser
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import (  # type: ignore[attr-defined] # typeshed does not know the last one
    HTTPSHandler,
    ProxyHandler,
    Request,
    build_opener,
    proxy_bypass_environment,
)

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.resolve.model import CERTIFICATE_HINT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class IndexFile(NamedTuple):
    """One file of a project. `sha256`, `uploaded` (RFC 3339 in UTC) and `requires_python` are "" where not told.

    `metadata`: the index serves the file's metadata beside it, at `url` with `.metadata` (PEP 658).
    """

    name: str
    sha256: str
    size: int | None
    uploaded: str
    yanked: bool
    requires_python: str
    url: str = ""
    metadata: bool = False


def from_json(body: bytes, page: str) -> Iterable[IndexFile]:
    """The files of a page that came from the address `page`. Raises `ValueError` and others when it is none."""
    for row in json.loads(body)["files"]:
        yield IndexFile(
            name=str(row["filename"]),
            sha256=str(row["hashes"].get("sha256", "")),
            size=row.get("size"),
            uploaded=row.get("upload-time") or "",
            yanked=bool(row.get("yanked")),
            requires_python=row.get("requires-python") or "",
            url=urljoin(page, str(row.get("url", ""))),
            metadata=bool(row.get("core-metadata") or row.get("data-dist-info-metadata")),
        )


def from_html(body: bytes, page: str) -> Iterable[IndexFile]:
    """The same of HTML."""
    anchors = _Anchors()
    anchors.feed(body.decode())
    for attributes in anchors.found:
        parts = urlsplit(attributes["href"])
        algorithm, _, digest = parts.fragment.partition("=")
        yield IndexFile(
            name=unquote(parts.path.rpartition("/")[2]),
            sha256=digest if algorithm == "sha256" else "",
            size=None,
            uploaded="",
            yanked="data-yanked" in attributes,
            requires_python=attributes.get("data-requires-python", ""),
            url=urljoin(page, attributes["href"].partition("#")[0]),
            metadata=bool({"data-core-metadata", "data-dist-info-metadata"} & attributes.keys()),
        )


class _Anchors(HTMLParser):
    """The attributes of every link of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        if tag == "a" and "href" in attributes:
            self.found.append(attributes)


# The simple API of a package index (PEP 503, 592, 658, 691, 700): the files of a project, with their hashes.


_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_ATTEMPTS = 3
_SECONDS = 60
_THREADS = 4
# What another attempt does not change, and what credentials may.
_FINAL = re.compile(r"4\d\d ")
_REFUSED = re.compile(r"40[137]\b")


class _Page(NamedTuple):
    """What came from an address: its type and body, the address in the end, and which part it is, if not all."""

    kind: str
    body: bytes
    url: str
    span: str = ""


class SimpleIndex:
    """One index, asked with the proxies, certificates and credentials of this environment and of no other.

    An `anonymous` one asks without credentials.
    """

    def __init__(self, url: str, environment: Mapping[str, str], *, anonymous: bool = False) -> None:
        """Raises `InvalidInputError` when `url` is no web address."""
        try:
            parts = urlsplit(url)
            web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            web = False
        if not web:
            raise InvalidInputError("the package index is not a web address", "give it as `https://host/simple`")
        self._host = parts.netloc.rpartition("@")[2]
        self._root = parts._replace(netloc=self._host, path=parts.path.rstrip("/"), query="", fragment="")
        self._authorization = "" if anonymous else _authorization(parts, environment)
        self._proxies = _proxies(parts.scheme, self._host, environment)
        self._context = _context(environment) if parts.scheme == "https" else None
        handlers = (ProxyHandler(self._proxies), *([HTTPSHandler(context=self._context)] if self._context else []))
        self._opener = build_opener(*handlers)

    def files(self, names: Iterable[str]) -> dict[str, tuple[IndexFile, ...]]:
        """Every file of each project. Raises `UnavailableError` when the index does not answer for one of them."""
        wanted = list(names)
        with ThreadPoolExecutor(_THREADS) as pool:
            shares = list(pool.map(self._share, [wanted[first::_THREADS] for first in range(_THREADS)]))
        return {name: files for share in shares for name, files in share.items()}

    def hides(self, name: str) -> bool:
        """Whether the index refuses the page of a project that it has; many say that it is not there.

        Raises `UnavailableError` when it does not answer at all.
        """
        request = self._request(name)
        for _ in range(_ATTEMPTS):
            answer = self._once(request)
            if not isinstance(answer, str) or _FINAL.match(answer):
                return isinstance(answer, str)
        raise silent(str(answer), name)

    def piece(self, name: str, url: str, span: str = "") -> tuple[bytes, str]:
        """What an address of a page of project `name` holds: all of it, or the `span` that HTTP's Range header names.

        With the Content-Range of the answer; "" where it is all. Raises `UnavailableError`.
        """
        if not url.startswith(("http://", "https://")):
            raise UnavailableError(f"the package index names a file of `{name}` that is at no web address")
        request = Request(url, headers={"Range": span} if span else {})  # noqa: S310 - http(s), checked above
        if self._authorization and urlsplit(url).netloc == self._host:
            request.add_unredirected_header("Authorization", self._authorization)
        found = self._fetch(request, name)
        return found.body, found.span

    def _share(self, names: list[str]) -> dict[str, tuple[IndexFile, ...]]:
        """Some of the projects, over one connection: a look-up of the host and a handshake for each would be slower."""
        secure = self._context
        connection = (
            HTTPSConnection(self._host, timeout=_SECONDS, context=secure)
            if secure
            else HTTPConnection(self._host, timeout=_SECONDS)
        )
        with closing(connection):
            return {name: self._project(name, connection) for name in names}

    def _request(self, name: str) -> Request:
        page = self._root._replace(path=f"{self._root.path}/{name}/")
        return Request(page.geturl(), headers={"Accept": _ACCEPT})  # noqa: S310 - http(s), checked above

    def _project(self, name: str, connection: HTTPConnection) -> tuple[IndexFile, ...]:
        request = self._request(name)
        if self._authorization:
            # Unredirected: a password is for this host, not for one that it points to.
            request.add_unredirected_header("Authorization", self._authorization)
        page = self._kept(request, connection) or self._fetch(request, name)
        read = from_json if page.kind.endswith("+json") else from_html
        try:
            return tuple(read(page.body, page.url))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UnavailableError(f"the package index answers for `{name}` with something else than a page") from None

    def _kept(self, request: Request, connection: HTTPConnection) -> _Page | None:
        """The plain case: no proxy, no redirect, no trouble. None for any other, which `_fetch` is for."""
        if self._proxies:
            return None
        headers = {"Accept": _ACCEPT, **({"Authorization": self._authorization} if self._authorization else {})}
        try:
            connection.request("GET", request.selector, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException):
            connection.close()
            return None
        kind = answer.headers.get_content_type()
        return _Page(kind, body, request.full_url) if answer.status == HTTPStatus.OK else None

    def _fetch(self, request: Request, name: str) -> _Page:
        answer: _Page | str = ""
        for _ in range(_ATTEMPTS):
            answer = self._once(request)
            if not isinstance(answer, str):
                return answer
            if _FINAL.match(answer):
                break
        raise silent(str(answer), name)

    def _once(self, request: Request) -> _Page | str:
        """The page, or why there is none."""
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                span = answer.headers.get("Content-Range", "")
                return _Page(str(answer.headers.get_content_type()), bytes(answer.read()), answer.url, span)
        except HTTPError as problem:
            problem.close()
            return f"{problem.code} {problem.reason}"
        except (OSError, HTTPException) as problem:
            return str(problem.reason if isinstance(problem, URLError) else problem)


def silent(reason: str, name: str) -> UnavailableError:
    """The error of an index that does not answer for a project; `reason` without credentials."""
    refused = _REFUSED.match(reason)
    hint = CERTIFICATE_HINT if "certificate" in reason.lower() else "check the network"
    if refused:
        hint = "give its credentials where the package clients look for them, such as netrc"
    return UnavailableError(f"the package index did not answer for `{name}`: {reason.strip()}", hint)


def _proxies(scheme: str, host: str, environment: Mapping[str, str]) -> dict[str, str]:
    around = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    keys = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    proxy = next((environment[key] for key in keys if environment.get(key)), None)
    return {scheme: proxy} if proxy and not proxy_bypass_environment(host, {"no": around}) else {}


def _context(environment: Mapping[str, str]) -> ssl.SSLContext:
    file = next((environment[key] for key in _CERTIFICATES if environment.get(key)), None)
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as problem:
        raise UnavailableError(f"the certificates in `{file}` cannot be read: {problem.strerror}") from None


def _authorization(parts: SplitResult, environment: Mapping[str, str]) -> str:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user:
        file = environment.get("NETRC") or str(Path(environment.get("HOME", "")) / ".netrc")
        try:
            found = netrc(file).authenticators(parts.hostname or "")
        except (OSError, NetrcParseError, UnicodeDecodeError):
            found = None
        if not found:
            return ""
        user, password = found[0], found[2] or ""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
