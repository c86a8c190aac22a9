"""The client of package indexes: what it reads, whom it shows its credentials, and what it says when that fails."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.http import RetryPolicy
from envcompile.resolve.pip.simple_index import SimpleIndex
from tests.kit.web_server import Exchange, WebServer, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSWORD = "a-password-nobody-may-see"
BASIC = "Basic bWU6YS1wYXNzd29yZC1ub2JvZHktbWF5LXNlZQ=="
MEDIA_TYPE = "application/vnd.pypi.simple.v1+json; charset=utf-8"


def reply_with_page(exchange: Exchange, *urls: str) -> None:
    rows = [{"filename": url.rpartition("/")[2], "url": url, "hashes": {"sha256": "0" * 64}} for url in urls]
    exchange.reply(200, json.dumps({"files": rows}).encode(), {"Content-Type": MEDIA_TYPE})


def reply_with_wheel(exchange: Exchange) -> None:
    project = exchange.path.strip("/").rpartition("/")[2]
    reply_with_page(exchange, f"../../files/{project}-1-py3-none-any.whl")


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving(reply_with_wheel) as running:
        yield running


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def create(server: WebServer, slept: list[float]) -> Callable[..., SimpleIndex]:
    def create_index(userinfo: str = "", timeout: float = 5.0, **fields: Any) -> SimpleIndex:
        policy = RetryPolicy(timeout, timeout, 3, slept.append, lambda: 0.5)
        url = f"{server.url.replace('//', f'//{userinfo}')}/simple/"
        return SimpleIndex(url, fields.pop("environment", {}), policy=policy, **fields)

    return create_index


def failure(ask: Callable[[], object]) -> tuple[str, str]:
    """The message and the hint, which hold no password anywhere."""
    with pytest.raises(UnavailableError) as caught:
        ask()
    error = caught.value
    assert PASSWORD not in f"{error.message} {error.hint} {error!r} {error.__cause__!r} {error.__context__!r}"
    assert BASIC.split()[1] not in f"{error.message} {error.__context__!r}"
    return error.message, str(error.hint)


def test_the_pages_of_many_projects_come_over_few_connections(
    server: WebServer, create: Callable[..., SimpleIndex]
) -> None:
    names = [f"lib{number}" for number in range(40)]
    files = create().fetch_files(names)
    assert [*files] == names
    assert [file.url for file in files["lib7"]] == [f"{server.url}/files/lib7-1-py3-none-any.whl"]
    assert sorted(server.paths) == sorted(f"/simple/{name}/" for name in names)
    assert server.connections <= 4


def test_a_busy_index_is_asked_again_after_the_pause_that_it_wants(
    server: WebServer, create: Callable[..., SimpleIndex], slept: list[float]
) -> None:
    def be_busy_once(exchange: Exchange) -> None:
        server.answer = reply_with_wheel
        exchange.reply(429, headers={"Retry-After": "7"})

    server.answer = be_busy_once
    assert len(create().fetch_files(["lib"])["lib"]) == 1
    assert slept == [7.0]
    server.answer = partial(Exchange.reply, status=429, headers={"Retry-After": "86400"})
    message, hint = failure(lambda: create().fetch_files(["lib"]))
    host = server.url.removeprefix("http://")
    assert message == (
        f"the package index did not answer for `lib`: `{host}` limits the number of requests (HTTP 429, 3 attempts)"
    )
    assert (hint, slept) == ("check the network", [7.0, 10.0, 10.0])


def test_a_busy_index_is_not_taken_for_a_private_one(server: WebServer, create: Callable[..., SimpleIndex]) -> None:
    """Whoever asks too often is told so, and not that the project is hidden."""
    for status, is_hidden in ((200, False), (401, True), (403, True), (404, True)):
        server.answer = partial(Exchange.reply, status=status)
        assert create(anonymous=True).is_hidden("lib") is is_hidden
    for status in (302, 429, 503):
        server.answer = partial(Exchange.reply, status=status)
        assert f"{status}" in failure(lambda: create(anonymous=True).is_hidden("lib"))[0]


def test_an_anonymous_client_has_no_credentials(server: WebServer, create: Callable[..., SimpleIndex]) -> None:
    create(f"me:{PASSWORD}@").fetch_files(["lib"])
    create(f"me:{PASSWORD}@", anonymous=True).is_hidden("lib")
    assert server.sent("Authorization") == [BASIC, None]


def test_credentials_do_not_follow_to_another_host(server: WebServer, create: Callable[..., SimpleIndex]) -> None:
    """Neither by a redirect of a page, nor to a file that a page names; within the index they stay."""
    with serving(lambda exchange: reply_with_page(exchange, f"{server.url}/files/a.whl")) as other:
        targets = {"/simple/lib/": "/simple/LIB/", "/simple/LIB/": f"{other.url}/simple/lib/"}

        def redirect(exchange: Exchange) -> None:
            exchange.reply(301, headers={"Location": targets[exchange.path]})

        server.answer = redirect
        index = create(f"me:{PASSWORD}@")
        (file,) = index.fetch_files(["lib"])["lib"]
        assert (file.url, other.paths) == (f"{server.url}/files/a.whl", ["/simple/lib/"])
        server.answer = other.answer = partial(Exchange.reply, body=b"content")
        assert [index.fetch_content("lib", url)[0] for url in (file.url, f"{other.url}/b.whl")] == [b"content"] * 2
        # A request to the same host without TLS, or at another port, is one to somebody else too.
        assert server.sent("Authorization") == [BASIC] * 3
        assert other.sent("Authorization") == [None] * 2


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["headers", "body"])
def test_a_slow_page_has_a_deadline(
    server: WebServer, create: Callable[..., SimpleIndex], monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    def drip(exchange: Exchange) -> None:
        exchange.wfile.write(start)
        exchange.write_forever(b"x", 0.02)

    monkeypatch.setattr("envcompile.resolve.pip.simple_index._PAGE_TIMEOUT", 0.3)
    server.answer = drip
    message, _ = failure(lambda: create().fetch_files(["lib"]))
    assert "`lib`" in message
    assert "did not answer in time (5 seconds of silence, 0.3 for the whole response)" in message
    message, _ = failure(lambda: create(timeout=0.2).fetch_content("lib", f"{server.url}/a.whl"))
    assert "did not answer in time" in message
    assert len(server.paths) == 6


def test_a_page_or_file_without_end_is_read_up_to_a_limit(
    server: WebServer, create: Callable[..., SimpleIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_forever(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        exchange.write_forever(bytes(1 << 16))

    module = "envcompile.resolve.pip.simple_index"
    monkeypatch.setattr(f"{module}._MAX_PAGE_BYTES", 2 << 20)
    monkeypatch.setattr(f"{module}._MAX_FILE_BYTES", 3 << 20)
    server.answer = write_forever
    message, _ = failure(lambda: create().fetch_files(["lib"]))
    assert message == "the package index sent more than 2 MiB for `lib`"
    message, _ = failure(lambda: create().fetch_content("lib", f"{server.url}/a.whl"))
    assert message == "the package index sent more than 3 MiB for `lib`"
    assert len(server.paths) == 2


@pytest.mark.parametrize(
    ("status", "words", "hint"),
    [
        (401, "401 Unauthorized", "add the credentials"),
        (403, "403 Forbidden", "add the credentials"),
        (404, "404 Not Found", "check the network"),
        (418, "418", "check the network"),
        (500, "reports an error of its own (HTTP 500, 3 attempts)", "check the network"),
        (599, "(HTTP 599, 3 attempts)", "check the network"),
    ],
)
def test_the_error_says_why_and_for_which_project(
    server: WebServer, create: Callable[..., SimpleIndex], status: int, words: str, hint: str
) -> None:
    server.answer = partial(Exchange.reply, status=status)
    for ask in (
        lambda: create().fetch_files(["lib"]),
        lambda: create().fetch_content("lib", f"{server.url}/a.whl"),
    ):
        message, remedy = failure(ask)
        assert message.startswith("the package index did not answer for `lib`: ")
        assert words in message
        assert hint in remedy


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"files": [{}]}', b'{"files": 1}', b"[" * 100_000, b"\xff"])
@pytest.mark.parametrize("media_type", [MEDIA_TYPE, "text/html"])
def test_an_invalid_page_is_an_error(
    server: WebServer, create: Callable[..., SimpleIndex], body: bytes, media_type: str
) -> None:
    server.answer = lambda exchange: exchange.reply(200, body, {"Content-Type": media_type})
    if media_type == "text/html" and body != b"\xff":
        assert create().fetch_files(["lib"]) == {"lib": ()}
        return
    message, _ = failure(lambda: create().fetch_files(["lib"]))
    assert message == "the package index has no valid page of the simple API for `lib`"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/a", "http://me:x@h/a", "http://[", "", "http://h/a b"])
def test_a_file_at_no_web_address_is_not_fetched(create: Callable[..., SimpleIndex], url: str) -> None:
    message, _ = failure(lambda: create().fetch_content("lib", url))
    assert message == "the package index lists a file of `lib` with an invalid URL"


@pytest.mark.parametrize(
    "url",
    [
        "file:///simple",
        "simple",
        "ftp://host/simple",
        "http://[",
        "https://",
        "http://h:0/",
        "http://h:x/",
        "http://h/é",
    ],
)
def test_an_index_is_a_web_address(url: str) -> None:
    with pytest.raises(InvalidInputError, match="the package index has an invalid URL"):
        SimpleIndex(url, {})


@pytest.mark.parametrize(
    "row",
    [
        {"filename": f"lib-{5_000 * '1'}-py3-none-any.whl", "hashes": {}},
        {"filename": "lib-1.tar.gz", "hashes": {}, "requires-python": f">={5_000 * '3'}"},
        {"filename": "lib-1.tar.gz", "hashes": {}, "requires-python": 3},
        {"filename": "lib-1.tar.gz", "hashes": {}, "upload-time": 1.5},
        {"filename": "lib-1.tar.gz", "hashes": {}, "size": "7"},
        {"filename": "lib-1.tar.gz", "hashes": {}, "size": -1},
        {"filename": "lib-1.tar.gz", "hashes": {}, "size": 1 << 64},
    ],
)
def test_nonsense_in_a_page_is_told_as_such(
    row: dict[str, Any], server: WebServer, create: Callable[..., SimpleIndex]
) -> None:
    """`packaging` raises errors of its own for numbers of more than 4,300 digits."""
    body = json.dumps({"files": [row]}).encode()
    server.answer = lambda exchange: exchange.reply(200, body, {"Content-Type": MEDIA_TYPE})
    message, _ = failure(lambda: create().fetch_files(["lib"]))
    assert message == "the package index has no valid page of the simple API for `lib`"
