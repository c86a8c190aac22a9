"""The simple API of a package index (PEP 503, 592, 658, 691, 700): the files of a project, with their hashes."""

from __future__ import annotations

import json
import re
import ssl
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from http.client import HTTPException
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined] # typeshed does not know the last one
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
    proxy_bypass_environment,
)

from envcompile.errors import MissingOutside, Unusable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_ATTEMPTS = 3
_SECONDS = 60
_THREADS = 8
# What another attempt does not change, and what credentials may.
_FINAL = re.compile(r"4\d\d ")
_REFUSED = re.compile(r"40[137]\b")


class IndexFile(NamedTuple):
    """One file of a project. `sha256`, `uploaded` (RFC 3339 in UTC) and `requires_python` are "" where not told."""

    name: str
    sha256: str
    size: int | None
    uploaded: str
    yanked: bool
    requires_python: str


class SimpleIndex:
    """One index, asked with the proxies, certificates and credentials of this environment and of no other."""

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        """Raises `Unusable` when `url` is no web address."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unusable("the package index is not a web address", "give it as `https://host/simple`")
        host = parts.netloc.rpartition("@")[2]
        self._root = parts._replace(netloc=host, path=parts.path.rstrip("/"), query="", fragment="").geturl()
        self._authorization = _authorization(parts, environment)
        self._opener = _opener(parts, environment)

    def files(self, names: Iterable[str]) -> dict[str, tuple[IndexFile, ...]]:
        """Every file of each project. Raises `MissingOutside` when the index does not answer for one of them."""
        wanted = list(names)
        with ThreadPoolExecutor(_THREADS) as pool:
            return dict(zip(wanted, pool.map(self._project, wanted), strict=True))

    def _project(self, name: str) -> tuple[IndexFile, ...]:
        request = Request(f"{self._root}/{name}/", headers={"Accept": _ACCEPT})  # noqa: S310 - http(s), checked above
        if self._authorization:
            # Unredirected: a password is for this host, not for one that it points to.
            request.add_unredirected_header("Authorization", self._authorization)
        kind, body = self._fetch(request, name)
        try:
            return tuple(_from_json(body) if kind.endswith("+json") else _from_html(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MissingOutside(f"the package index answers for `{name}` with something else than a page") from None

    def _fetch(self, request: Request, name: str) -> tuple[str, bytes]:
        answer: tuple[str, bytes] | str = ""
        for _ in range(_ATTEMPTS):
            answer = self._once(request)
            if not isinstance(answer, str):
                return answer
            if _FINAL.match(answer):
                break
        raise silent(str(answer), name)

    def _once(self, request: Request) -> tuple[str, bytes] | str:
        """The content type and the body, or why there is none."""
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                return str(answer.headers.get_content_type()), bytes(answer.read())
        except HTTPError as problem:
            problem.close()
            return f"{problem.code} {problem.reason}"
        except (OSError, HTTPException) as problem:
            return str(problem.reason if isinstance(problem, URLError) else problem)


def silent(reason: str, name: str) -> MissingOutside:
    """The error of an index that does not answer for a project; `reason` without credentials."""
    refused = _REFUSED.match(reason)
    hint = "give its credentials where the package clients look for them, such as netrc" if refused else None
    said = f"the package index did not answer for `{name}`: {reason.strip()}"
    return MissingOutside(said, hint or "check the network")


def _opener(parts: SplitResult, environment: Mapping[str, str]) -> OpenerDirector:
    proxies = {
        scheme: value
        for scheme in ("http", "https")
        for key in (f"{scheme.upper()}_PROXY", f"{scheme}_proxy", "ALL_PROXY", "all_proxy")
        if (value := environment.get(key))
    }
    around = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if proxy_bypass_environment(parts.netloc.rpartition("@")[2], {"no": around}):
        proxies = {}
    handlers: list[Any] = [ProxyHandler(proxies)]
    if parts.scheme == "https":
        file = next((environment[key] for key in _CERTIFICATES if environment.get(key)), None)
        try:
            context = ssl.create_default_context(cafile=file)
        except OSError as problem:
            raise MissingOutside(f"the certificates in `{file}` cannot be read: {problem.strerror}") from None
        handlers.append(HTTPSHandler(context=context))
    return build_opener(*handlers)


def _authorization(parts: SplitResult, environment: Mapping[str, str]) -> str:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user:
        file = environment.get("NETRC") or str(Path(environment.get("HOME", "")) / ".netrc")
        try:
            found = netrc(file).authenticators(parts.hostname or "")
        except (OSError, NetrcParseError):
            found = None
        if not found:
            return ""
        user, password = found[0], found[2] or ""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def _from_json(body: bytes) -> Iterable[IndexFile]:
    for row in json.loads(body)["files"]:
        yield IndexFile(
            name=str(row["filename"]),
            sha256=str(row["hashes"].get("sha256", "")),
            size=row.get("size"),
            uploaded=row.get("upload-time") or "",
            yanked=bool(row.get("yanked")),
            requires_python=row.get("requires-python") or "",
        )


def _from_html(body: bytes) -> Iterable[IndexFile]:
    page = _Anchors()
    page.feed(body.decode())
    for attributes in page.found:
        parts = urlsplit(attributes["href"])
        algorithm, _, digest = parts.fragment.partition("=")
        yield IndexFile(
            name=unquote(parts.path.rpartition("/")[2]),
            sha256=digest if algorithm == "sha256" else "",
            size=None,
            uploaded="",
            yanked="data-yanked" in attributes,
            requires_python=attributes.get("data-requires-python", ""),
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
