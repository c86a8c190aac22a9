"""The HTTP client against servers that keep connections, redirect, hang, are busy or never end."""

from __future__ import annotations

import gc
import ssl
import time
from functools import partial
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import pytest

from envcompile.diagnostics.errors import UnavailableError
from envcompile.net.http import HttpClient, Request, Response, RetryPolicy, create_body_reader
from tests.kit.index import certificates
from tests.kit.web_server import Exchange, WebServer, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "a-secret-nobody-may-see"
LOGIN = {"Authorization": f"Basic {SECRET}"}
READ = create_body_reader(1 << 20)


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def create(slept: list[float]) -> Callable[..., HttpClient]:
    def create_client(timeout: float = 5.0, attempts: int = 3, **environment: str) -> HttpClient:
        return HttpClient(RetryPolicy(timeout, timeout, attempts, slept.append, lambda: 0.5), environment)

    return create_client


@pytest.fixture
def client(create: Callable[..., HttpClient]) -> HttpClient:
    return create()


def echo(exchange: Exchange) -> None:
    """A path like `/404` is answered with that status."""
    number = exchange.path.strip("/")
    exchange.reply(int(number) if number.isdigit() else 200, exchange.path.encode())


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving(echo) as running:
        yield running


def get(client: HttpClient, url: str, **fields: object) -> Response[bytes]:
    return client.send(Request(url, **{"headers": {}, **fields}), READ)  # type: ignore[arg-type]


def failure(client: HttpClient, url: str, **fields: object) -> str:
    with pytest.raises(UnavailableError) as caught:
        get(client, url, **fields)
    assert SECRET not in f"{caught.value!r} {caught.value.message}"
    assert caught.value.__context__ is None
    return caught.value.message


def wait_until(condition: Callable[[], bool]) -> None:
    """Until the server's threads have seen it."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError


# Connections


def test_a_connection_is_kept_for_the_next_request(server: WebServer, client: HttpClient) -> None:
    for method, path, status in (
        ("GET", "/a?b=c", 200),
        ("GET", "/404", 404),
        ("HEAD", "/a", 200),
        ("HEAD", "/404", 404),
        ("GET", "/a", 200),
    ):
        response = get(client, server.url + path, method=method)
        assert response.status == status
        assert (
            response.value == {"GET": path.encode(), "HEAD": b""}[method] if status == 200 else response.value is None
        )
    assert server.paths == ["/a?b=c", "/404", "/a", "/404", "/a"]
    assert (server.connections, set(server.sent("User-Agent"))) == (1, {"envcompile"})


def test_a_connection_with_an_unread_answer_is_not_used_again(server: WebServer, client: HttpClient) -> None:
    server.answer = lambda exchange: exchange.reply(404, bytes(1 << 20))
    assert get(client, server.url).status == 404
    server.answer = partial(Exchange.reply, body=b"x" * 100)
    first = client.send(Request(server.url, {}), lambda body: body.read(10))
    assert (first.value, get(client, server.url).value) == (b"x" * 10, b"x" * 100)
    assert server.connections == 3


def test_a_connection_that_the_server_has_closed_is_replaced(
    server: WebServer, create: Callable[..., HttpClient]
) -> None:
    """Without counting as an attempt, and not for a POST, which is never sent twice."""

    def close_afterwards(exchange: Exchange) -> None:
        exchange.close_connection = True
        echo(exchange)

    server.answer = close_afterwards
    client = create(attempts=1)
    for number in range(3):
        assert get(client, f"{server.url}/x").value == b"/x"
        wait_until(lambda seen=number + 1: server.closed_connections == seen)  # type: ignore[misc]
    server.answer = echo
    get(client, f"{server.url}/x")
    get(client, f"{server.url}/x", method="POST", data=b"a=b")
    assert server.connections == 5


def test_connections_end_with_their_client(server: WebServer, create: Callable[..., HttpClient]) -> None:
    client = create()
    get(client, server.url)
    assert server.closed_connections == 0
    del client
    gc.collect()
    wait_until(lambda: server.closed_connections == 1)


# Redirects


def test_credentials_stay_with_their_origin(server: WebServer, client: HttpClient) -> None:
    """They follow a redirect within it, and no other; nor do they come back by a second redirect."""
    with serving(echo) as other:
        targets = {"/a": "/b", "/b": f"{other.url}/c", "/c": f"{server.url}/d", "/d": ""}

        def redirect(exchange: Exchange) -> None:
            target = targets[exchange.path]
            exchange.reply(307 if target else 200, headers={"Location": target} if target else {})

        server.answer = other.answer = redirect
        response = get(client, f"{server.url}/a", headers=LOGIN)
        assert (response.status, response.url) == (200, f"{server.url}/d")
        assert server.sent("Authorization") == [LOGIN["Authorization"], LOGIN["Authorization"], None]
        assert other.sent("Authorization") == [None]


def test_a_redirect_with_other_characters_than_ascii_is_followed(server: WebServer, client: HttpClient) -> None:
    target = "/simple/caf\xe9 au lait?a=%20#b"
    server.answer = lambda exchange: exchange.reply(
        200 if "caf" in exchange.path else 302, headers={"Location": target}
    )
    assert get(client, server.url).status == 200
    assert server.paths == ["/", "/simple/caf%E9%20au%20lait?a=%20"]


# Limits


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(("wish", "pause"), [("4", 4.0), ("3600", 10.0), (None, 0.5)])
def test_a_busy_server_is_asked_again_after_the_pause_that_it_wants(  # noqa: PLR0913, PLR0917 - fixtures and the table
    server: WebServer, client: HttpClient, slept: list[float], status: int, wish: str | None, pause: float
) -> None:
    answers = iter([status, 200])
    server.answer = lambda exchange: exchange.reply(next(answers), headers={"Retry-After": wish} if wish else {})
    assert get(client, server.url).status == 200
    assert slept == [pause]


def drip_headers(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    exchange.write_forever(b"x", 0.02)


def drip_body(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    exchange.write_forever(b"x", 0.02)


def redirect_slowly(exchange: Exchange) -> None:
    exchange.server.site.stopped.wait(0.15)
    exchange.reply(302, headers={"Location": "/again"})


def redirect_and_drip(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 60000\r\n\r\n")
    exchange.write_forever(b"x", 0.02)


@pytest.mark.parametrize("answer", [drip_headers, drip_body, redirect_slowly, redirect_and_drip])
def test_an_answer_has_a_deadline_as_a_whole(
    server: WebServer, create: Callable[..., HttpClient], answer: Callable[[Exchange], None]
) -> None:
    """It ends, though each single wait is short; the attempts of this test are at most 3 of 0.4 seconds."""
    server.answer = answer
    assert "did not answer in time (0.4 seconds)" in failure(create(timeout=0.4), server.url)
    said = failure(create(timeout=5.0), server.url, total_timeout=0.3)
    assert "did not answer in time (5 seconds of silence, 0.3 for the whole response)" in said


def test_an_answer_without_end_is_read_up_to_a_limit(server: WebServer, client: HttpClient) -> None:
    def write_forever(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        exchange.write_forever(bytes(1 << 16))

    server.answer = write_forever
    response = client.send(Request(server.url, {}), create_body_reader(1000))
    assert response.value == bytes(1001)
    wait_until(lambda: server.closed_connections == 1)


def test_a_part_is_only_a_success_where_one_was_asked_for(server: WebServer, client: HttpClient) -> None:
    server.answer = lambda exchange: exchange.reply(206, b"part")
    assert get(client, server.url, headers={"Range": "bytes=0-3"}).value == b"part"
    assert get(client, server.url).value is None


# Proxies and certificates


def test_a_proxy_sees_the_whole_address_and_only_it_sees_its_password(
    server: WebServer, create: Callable[..., HttpClient]
) -> None:
    def redirect_here(exchange: Exchange) -> None:
        exchange.reply(302, headers={"Location": f"{server.url}/direct"})

    with serving(redirect_here) as proxy:
        client = create(http_proxy=proxy.url.replace("//", "//me:pass@"))
        assert get(client, "http://host.invalid/a?b", headers=LOGIN).value == b"/direct"
        assert proxy.paths == ["http://host.invalid/a?b"]
        assert proxy.sent("Host") == ["host.invalid"]
        assert proxy.sent("Proxy-Authorization") == ["Basic bWU6cGFzcw=="]
        assert server.sent("Proxy-Authorization") == server.sent("Authorization") == [None]


def test_a_proxy_that_is_down_is_mentioned(create: Callable[..., HttpClient]) -> None:
    said = failure(create(all_proxy="http://127.0.0.1:1"), "http://host.invalid/")
    assert said == "`host.invalid` refused the connection, through the proxy that the environment names"


def test_a_tunnel_that_never_opens_has_a_deadline(create: Callable[..., HttpClient]) -> None:
    with serving(drip_headers) as proxy:
        said = failure(create(timeout=0.4, https_proxy=proxy.url), "https://host.invalid/")
        assert "did not answer in time" in said
        proxy.answer = lambda exchange: exchange.reply(407)
        said = failure(create(https_proxy=proxy.url), "https://host.invalid/")
        assert "cannot be reached (HTTP 407 from the proxy), through the proxy" in said


needs_openssl = pytest.mark.skipif(which("openssl") is None, reason="needs openssl to make a certificate")


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[WebServer, str]]:
    """A server with TLS, and the file of the authority that vouches for it."""
    authority, key = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key)
    with serving(echo, context) as running:
        yield running, str(authority)


@needs_openssl
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"])
def test_certificates_are_those_of_the_given_environment(
    secure: tuple[WebServer, str],
    create: Callable[..., HttpClient],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """And of no other: the variable of this process does not count."""
    server, authority = secure
    monkeypatch.setenv(variable, authority)
    assert "TLS certificate that is not trusted" in failure(create(), server.url)
    if variable == "SSL_CERT_DIR":
        from subprocess import run

        authority = str(tmp_path / "folder")
        Path(authority).mkdir()
        Path(authority, "authority.pem").write_text((tmp_path / "authority.pem").read_text("utf-8"), "utf-8")
        run(["openssl", "rehash", authority], check=True, capture_output=True)
    client = create(**{variable: authority})
    assert [get(client, f"{server.url}/{name}").value for name in "ab"] == [b"/a", b"/b"]
    assert server.paths == ["/a", "/b"]


@needs_openssl
def test_the_first_file_of_certificates_counts(
    secure: tuple[WebServer, str], create: Callable[..., HttpClient]
) -> None:
    server, authority = secure
    assert get(create(SSL_CERT_FILE=authority, CURL_CA_BUNDLE="/nowhere"), server.url).status == 200
    with pytest.raises(UnavailableError, match=r"^the certificates in `/nowhere` cannot be read: No such file"):
        get(create(REQUESTS_CA_BUNDLE="/nowhere", CURL_CA_BUNDLE=authority), server.url)


@needs_openssl
def test_a_tunnel_through_a_proxy_is_kept_open(
    secure: tuple[WebServer, str], create: Callable[..., HttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = secure
    # The server is on this machine, which is otherwise never reached through a proxy.
    monkeypatch.setattr("envcompile.net.urls.is_loopback", lambda _: False)
    with serving(Exchange.forward) as proxy:
        client = create(https_proxy=proxy.url.replace("//", "//me:pass@"), SSL_CERT_FILE=authority)
        assert [get(client, f"{server.url}/{name}", headers=LOGIN).value for name in "ab"] == [b"/a", b"/b"]
        assert proxy.paths == [server.url.removeprefix("https://")]
        assert proxy.sent("Proxy-Authorization") == ["Basic bWU6cGFzcw=="]
        assert proxy.sent("Authorization") == [None]
        assert (server.connections, server.sent("Proxy-Authorization")) == (1, [None, None])
        del client
        gc.collect()


def test_what_is_not_http_is_told(server: WebServer, client: HttpClient) -> None:
    def speak_ssh(exchange: Exchange) -> None:
        exchange.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\xff\x00")
        exchange.close_connection = True

    server.answer = speak_ssh
    assert failure(client, server.url) == f"`{server.url.removeprefix('http://')}` does not speak HTTP"
