"""A client for the simple API of a package index: it lists the files of projects (JSON or HTML) and downloads files.

Specifications: PEP 503, 592, 658, 691 and 700.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from http import HTTPStatus
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.http import HttpClient, Request, RetryPolicy, create_body_reader
from envcompile.net.urls import format_basic_authorization, is_web_url, parse_origin
from envcompile.resolve.model import CERTIFICATE_HINT
from envcompile.resolve.pip.metadata import MAX_METADATA_BYTES, FileTail
from envcompile.spec.pip import collect_index_urls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.lock.model import PipPackage
    from envcompile.net.http import Response
    from envcompile.resolve.model import Effects
    from envcompile.spec.model import PipSpec

_ACCEPT_HEADERS = {
    "Accept": "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
}
# Some indexes compute their pages, so the first byte can take long.
_RETRY_POLICY = RetryPolicy(timeout=60.0)
_PAGE_TIMEOUT = 300.0
_MAX_PAGE_BYTES = 64 << 20  # three times the largest pages of public indexes
_MAX_FILE_BYTES = 1 << 30
_MAX_FIELD_LENGTH = 4_000  # characters of a file name, a hash, a time or a Requires-Python
_CONTENT_RANGE = re.compile(r"bytes [0-9]+-[0-9]+/([0-9]{1,18})")
# Some file servers return 403 for a file that does not exist.
_MISSING_STATUSES = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_THREADS = 4
_LOGIN_STATUSES = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)


class IndexFile(NamedTuple):
    """One file of a project. `sha256`, `uploaded` (RFC 3339 in UTC) and `requires_python` are "" if unknown.

    `size` is in bytes.
    """

    name: str
    sha256: str
    size: int | None
    uploaded: str
    is_yanked: bool
    requires_python: str
    url: str = ""


class SimpleIndex:
    """A client for one index, with the proxies, certificates and credentials of an environment.

    Credentials come from the URL or from netrc; an `anonymous` client uses none.
    """

    def __init__(
        self,
        url: str,
        environment: Mapping[str, str],
        *,
        anonymous: bool = False,
        policy: RetryPolicy = _RETRY_POLICY,
    ) -> None:
        """Raise `InvalidInputError` if `url` is not an HTTP URL."""
        try:
            parts = urlsplit(url)
        except ValueError:  # such as an IPv6 address with only one bracket
            parts = urlsplit("")
        root = parts._replace(
            netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/"), query="", fragment=""
        )
        self._root = root.geturl()
        if not is_web_url(self._root):
            raise InvalidInputError("the package index has an invalid URL", "use a URL such as `https://host/simple`")
        self._authorization = "" if anonymous else _find_authorization(parts, environment)
        self._http = HttpClient(policy, environment)
        self._hosts_without_ranges: set[str] = set()
        self._file_timeout = policy.download_timeout

    def fetch_files(self, projects: Iterable[str]) -> dict[str, tuple[IndexFile, ...]]:
        """Return all files of each project. Raises `UnavailableError` if a page cannot be read."""
        names = list(projects)
        pool = ThreadPoolExecutor(_THREADS)
        try:
            # Each thread reuses its connection. With new connections, 200 pages take 1.5 times as long on the loopback
            # interface, and 2.4 times with TLS.
            return dict(zip(names, pool.map(self._fetch_existing, names), strict=True))
        finally:
            # After an error or an interrupt, do not wait for the other responses.
            pool.shutdown(wait=False, cancel_futures=True)

    def fetch_known_files(self, projects: Iterable[str]) -> dict[str, tuple[IndexFile, ...] | None]:
        """Return all files of each project, or None for a project that the index does not have.

        Projects whose page cannot be read are missing in the result.
        """

        def fetch(project: str) -> tuple[tuple[IndexFile, ...] | None] | None:
            try:
                return (self._fetch_project(project),)
            except UnavailableError:
                return None

        names = list(projects)
        pool = ThreadPoolExecutor(_THREADS)
        try:
            found = zip(names, pool.map(fetch, names), strict=True)
            return {name: result[0] for name, result in found if result}
        finally:
            # After an interrupt, do not wait for the other responses.
            pool.shutdown(wait=False, cancel_futures=True)

    def is_hidden(self, project: str) -> bool:
        """Whether the index refuses access to a project that exists.

        The status 404 counts as a refusal, because many indexes return it for requests without credentials.
        Raises `UnavailableError` if the index does not answer.
        """
        response = self._send(project, self._create_page_request(project), _MAX_PAGE_BYTES)
        if response.value is None and not _is_refusal(response.status):
            raise create_no_answer_error(_format_status(response.status), project)
        return response.value is None

    def fetch_content(self, project: str, url: str, byte_range: str = "") -> tuple[bytes, str]:
        """Download a file of a project, or only a `byte_range` (the value of the Range header).

        Returns the content and the Content-Range header ("" for the whole file). Raises `UnavailableError` if the
        download fails.
        """
        if not is_web_url(url):
            raise UnavailableError(f"the package index lists a file of `{project}` with an invalid URL")
        headers = {"Range": byte_range} if byte_range else {}
        request = Request(url, self._authorize(url, headers), total_timeout=self._file_timeout)
        response = self._send(project, request, _MAX_FILE_BYTES)
        if response.value is None:
            raise create_no_answer_error(_format_status(response.status), project)
        return response.value, response.headers.get("Content-Range", "")

    def fetch_tail(self, project: str, url: str, length: int) -> FileTail | None:
        """Return the last `length` bytes of a file, or the whole file if it is shorter.

        Returns None if the server does not send parts of files, or if it rejects the request. Servers that do not send
        parts are not requested again. Raises `UnavailableError` if the server does not answer.
        """
        if not is_web_url(url):
            raise UnavailableError(f"the package index lists a file of `{project}` with an invalid URL")
        host = urlsplit(url).netloc
        if host in self._hosts_without_ranges:
            return None
        request = Request(url, self._authorize(url, {"Range": f"bytes=-{length}"}), total_timeout=self._file_timeout)
        try:
            response = self._http.send(request, create_body_reader(length))
        except UnavailableError as problem:
            raise create_no_answer_error(problem.message, project) from None
        if response.value is None:
            return None
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found:
            return FileTail(response.value, int(found[1]))
        if len(response.value) <= length:
            return FileTail(response.value, len(response.value))
        self._hosts_without_ranges.add(host)
        return None

    def fetch_optional_content(self, project: str, url: str) -> bytes | None:
        """Return a file of a project, or None if the index does not have it.

        Raises `UnavailableError` if the download fails.
        """
        if not is_web_url(url):
            raise UnavailableError(f"the package index lists a file of `{project}` with an invalid URL")
        response = self._send(project, Request(url, self._authorize(url, {})), MAX_METADATA_BYTES)
        if response.value is None and response.status not in _MISSING_STATUSES:
            raise create_no_answer_error(_format_status(response.status), project)
        return response.value

    def _fetch_existing(self, project: str) -> tuple[IndexFile, ...]:
        files = self._fetch_project(project)
        if files is None:
            raise create_no_answer_error(_format_status(HTTPStatus.NOT_FOUND), project)
        return files

    def _fetch_project(self, project: str) -> tuple[IndexFile, ...] | None:
        """Return the files of a project, or None if the index does not have the project."""
        response = self._send(project, self._create_page_request(project), _MAX_PAGE_BYTES)
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.value is None:
            raise create_no_answer_error(_format_status(response.status), project)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        parse_page = parse_json_page if media_type.endswith("+json") else parse_html_page
        try:
            return tuple(map(_check_file, parse_page(response.value, response.url)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise create_no_page_error(project) from None

    def _create_page_request(self, project: str) -> Request:
        url = f"{self._root}/{project}/"
        return Request(url, self._authorize(url, _ACCEPT_HEADERS), total_timeout=_PAGE_TIMEOUT)

    def _authorize(self, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a request, with credentials only if the URL is on the host of the index."""
        is_own = bool(self._authorization) and parse_origin(url) == parse_origin(self._root)
        return {**headers, "Authorization": self._authorization} if is_own else dict(headers)

    def _send(self, project: str, request: Request, limit: int) -> Response[bytes]:
        try:
            response = self._http.send(request, create_body_reader(limit))
        except UnavailableError as problem:
            raise create_no_answer_error(problem.message, project) from None
        if response.value is not None and len(response.value) > limit:
            message = f"the package index sent more than {limit >> 20} MiB for `{project}`"
            raise UnavailableError(message, "check the URL of the index")
        return response


def _check_file(file: IndexFile) -> IndexFile:
    """Return the file. Raises `ValueError` if a field of it has another type or is absurdly long.

    `packaging` fails on versions of thousands of digits, and no file system has such names.
    """
    texts: tuple[object, ...] = (file.name, file.sha256, file.uploaded, file.requires_python)
    is_size = file.size is None or (type(file.size) is int and 0 <= file.size < 1 << 63)
    if not is_size or not all(isinstance(text, str) and len(text) <= _MAX_FIELD_LENGTH for text in texts):
        raise ValueError(file.name[:80])
    return file


def parse_json_page(body: bytes, page_url: str) -> Iterable[IndexFile]:
    """Return the files of a page in JSON. Raises `ValueError`, `KeyError` and others for an invalid page."""
    for row in json.loads(body)["files"]:
        yield IndexFile(
            name=str(row["filename"]),
            sha256=str(row["hashes"].get("sha256", "")),
            size=row.get("size"),
            uploaded=row.get("upload-time") or "",
            is_yanked=bool(row.get("yanked")),
            requires_python=row.get("requires-python") or "",
            url=urljoin(page_url, str(row.get("url", ""))),
        )


def parse_html_page(body: bytes, page_url: str) -> Iterable[IndexFile]:
    """Return the files of a page in HTML. Raises `ValueError` if the page is not text."""
    parser = _LinkParser()
    parser.feed(body.decode())
    for attributes in parser.links:
        parts = urlsplit(attributes["href"])
        algorithm, _, digest = parts.fragment.partition("=")
        yield IndexFile(
            name=unquote(parts.path.rpartition("/")[2]),
            sha256=digest if algorithm == "sha256" else "",
            size=None,
            uploaded="",
            is_yanked="data-yanked" in attributes,
            requires_python=attributes.get("data-requires-python", ""),
            url=urljoin(page_url, attributes["href"].partition("#")[0]),
        )


class _LinkParser(HTMLParser):
    """Collects the attributes of all links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes)


def create_no_answer_error(reason: str, project: str) -> UnavailableError:
    """Return the error for a failed request. `reason` starts with the HTTP status if the index returned one."""
    hint = CERTIFICATE_HINT if "certificate" in reason.lower() else "check the network"
    if re.match("|".join(rf"{status:d}\b" for status in _LOGIN_STATUSES), reason):
        hint = "add the credentials of the index to your netrc file"
    return UnavailableError(f"the package index did not answer for `{project}`: {reason.strip()}", hint)


def create_no_page_error(project: str) -> UnavailableError:
    """Return the error for a response that is not a page of the simple API."""
    message = f"the package index has no valid page of the simple API for `{project}`"
    return UnavailableError(message, "check the URL of the index")


def _is_refusal(status: int) -> bool:
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


def _format_status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _find_authorization(parts: SplitResult, environment: Mapping[str, str]) -> str:
    """Return the value of the Authorization header for an index, or "" without credentials."""
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
    return format_basic_authorization(user, password)


# The URLs of locked files, read from the pages of their indexes.


def find_file_urls(pip: PipSpec, packages: Iterable[PipPackage], effects: Effects) -> dict[str, str]:
    """Return the URL of each locked file by its sha256, without credentials.

    Raises `UnavailableError` in an offline run, if an index does not answer or no longer has a file, and if a URL has a
    query.
    """
    from envcompile.resolve.pip.uv import find_default_index  # noqa: PLC0415 - only uv knows the default index

    by_index: dict[str, list[PipPackage]] = {}
    for package in packages:
        by_index.setdefault(package.index, []).append(package)
    if by_index and effects.offline:
        message = "the URLs of the files must be read from the index, and `--offline` is set"
        raise UnavailableError(message, "run the command without `--offline`")
    known, urls = collect_index_urls(pip), {}
    for index, wanted in sorted(by_index.items()):
        client = SimpleIndex(known.get(index) or find_default_index(effects), effects.environment)
        files = client.fetch_files(sorted({each.name for each in wanted}))
        for package in wanted:
            rows = (row for row in files[package.name] if row.name == package.file)
            url = next((row.url for row in rows if row.sha256 in ("", package.sha256)), "")
            if not url:
                message = f"the index has no `{package.file}` with the locked hash"
                raise UnavailableError(message, "run `envcompile lock -U`")
            parts = urlsplit(url)
            if parts.query:
                # A query may be a signature that expires, or that belongs to this user.
                message = f"the URL of `{package.file}` in the index has a query, which may be a secret"
                raise UnavailableError(message, "name the folder of the files: `envcompile export --files URL`")
            urls[package.sha256] = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    return urls
