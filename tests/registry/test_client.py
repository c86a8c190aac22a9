from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import textwrap
import traceback
from functools import partial
from shutil import which
from typing import TYPE_CHECKING

import pytest

from envcompile.diagnostics.errors import EnvcompileError, InvalidInputError, UnavailableError
from envcompile.net.http import RetryPolicy
from envcompile.net.urls import find_proxy, is_loopback, is_web_url
from envcompile.registry.auth import create_helper_runner
from envcompile.registry.client import ImageProperties, RegistryClient
from envcompile.registry.reference import HUB_LOGIN_KEY, locate_image
from tests.kit.registry import (
    BASIC,
    IDENTITY,
    INDEX,
    MANIFEST,
    PASSWORD,
    TOKEN,
    USER,
    Server,
    layer,
    sha256,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., RegistryClient]

SECRETS = (TOKEN, PASSWORD, IDENTITY, BASIC.split()[1], "a-secret")
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
STATUS = """\
Package: libc6
Status: install ok installed
Version: 2.36-9+deb12u13

Package: python3-minimal
Status: install ok installed
Version: 3.11.2-1+b1

Package: python3.11-minimal
Status: install ok installed
Version: 3.11.2-6+deb12u6

Package: python3.12-minimal
Status: deinstall ok config-files
Version: 3.12.1-1
"""
BASE = {"usr/lib/os-release": DEBIAN, "./var/lib/dpkg/status": STATUS}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def servers() -> Iterator[Callable[..., Server]]:
    """Starts registries; ends them all."""
    running = []

    def begin(context: ssl.SSLContext | None = None) -> Server:
        server = Server()
        running.append((server, start(server, context)))
        return server

    yield begin
    for server, web in running:
        server.stopped.set()
        web.shutdown()
        web.server_close()


@pytest.fixture
def server(servers: Callable[..., Server]) -> Server:
    return servers()


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def make(tmp_path: Path, slept: list[float]) -> Make:
    """A client with this docker configuration."""

    def registry(config: object = None, mirrors: dict[str, str] | None = None, limit: float = 2.0) -> RegistryClient:
        if config is not None:
            (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config), "utf-8")
        patience = RetryPolicy(timeout=limit, download_timeout=limit, sleep=slept.append, random=lambda: 0.5)
        environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ.get('PATH', '')}"}
        return RegistryClient(tmp_path, mirrors, patience, create_helper_runner(environment, timeout=5.0))

    return registry


def fails(ask: Callable[[], object], kind: type[EnvcompileError] = UnavailableError) -> str:
    """The sentence and the hint of a failure, which holds no secret anywhere, nor does what is drawn of its origins."""
    with pytest.raises(kind) as caught:
        ask()
    error = caught.value
    drawn = "".join(traceback.format_exception(error))
    assert not [secret for secret in SECRETS if secret in f"{drawn} {error!r} {error.hint}"]
    assert error.__context__ is None
    assert "\n" not in error.message
    return f"{error.message}; {error.hint}"


def login(host: str) -> dict[str, object]:
    return {"auths": {host: {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}}


# Digests


def test_a_tag_gives_the_digest_of_the_bytes_that_were_received(server: Server, make: Make) -> None:
    digest = server.image([layer(BASE)])
    assert make().resolve_digest(f"{server.host}/team/python:1") == digest
    assert [(each.method, each.path.rsplit("/", 1)[1]) for each in server.seen] == [("HEAD", "1"), ("GET", digest)]


@pytest.mark.parametrize(("head", "tells"), [(200, False), (404, True), (405, True), (405, False)])
def test_a_registry_that_does_not_tell_the_digest_is_asked_for_the_bytes(
    server: Server, make: Make, head: int, tells: bool
) -> None:
    server.head, server.tells_digest = head, tells
    digest = server.image([layer(BASE)])
    assert make().resolve_digest(f"{server.host}/team/python:1") == digest


def test_a_reference_with_a_digest_is_checked_too(server: Server, make: Make) -> None:
    digest = server.image([layer(BASE)])
    assert make().resolve_digest(f"{server.host}/team/python:gone@{digest}") == digest


@pytest.mark.parametrize("tells", [True, False])
def test_bytes_that_do_not_match_their_digest_are_an_error(server: Server, make: Make, tells: bool) -> None:
    digest = server.image([layer(BASE)])
    server.wrong, server.tells_digest = {digest}, tells
    text = fails(lambda: make().resolve_digest(f"{server.host}/team/python@{digest}"))
    assert digest in text
    assert "has the digest" in text


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"<html>Please log in to the hotel's network</html>", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"schemaVersion": 1, "signatures": []}', "schema version 2"),
        (b" " * ((4 << 20) + 1), "4 MiB"),
    ],
)
def test_garbage_has_no_digest(server: Server, make: Make, raw: bytes, words: str) -> None:
    server.raw = raw
    assert words in fails(lambda: make().resolve_digest(f"{server.host}/team/python:1"))


def test_an_image_that_is_not_there(server: Server, make: Make) -> None:
    text = fails(lambda: make().resolve_digest(f"{server.host}/team/python:2"))
    assert f"has no image `{server.host}/team/python:2`" in text


# Who asks


def test_an_anonymous_token_is_fetched_once(server: Server, make: Make) -> None:
    server.auth = "token"
    digest = server.image([layer(BASE)])
    registry = make()
    registry.resolve_digest(f"{server.host}/team/python:1")
    registry.read_image(f"{server.host}/team/python@{digest}", "linux/amd64")
    assert [each.path for each in server.asked("/token")] == ["/token?service=here&scope=repository%3Ax%3Apull"]


def test_an_expired_token_is_renewed(server: Server, make: Make) -> None:
    server.auth = "token"
    digest = server.image([layer(BASE)])
    registry = make()
    registry.resolve_digest(f"{server.host}/team/python:1")
    registry._session._authorization_headers = dict.fromkeys(
        registry._session._authorization_headers, "Bearer of-yesterday"
    )
    assert registry.resolve_digest(f"{server.host}/team/python:1") == digest


@pytest.mark.parametrize("auth", ["login", "basic"])
@pytest.mark.parametrize("form", ["auth", "plain", "address"])
def test_the_login_of_docker_is_used(server: Server, make: Make, auth: str, form: str) -> None:
    server.auth = auth
    digest = server.image([layer(BASE)])
    entry = {"username": USER, "password": PASSWORD}
    config = {"auth": login(server.host), "plain": {"auths": {server.host: entry}}}.get(form)
    registry = make(config or {"auths": {f"https://{server.host}/v1/": entry}})
    assert registry.resolve_digest(f"{server.host}/team/python:1") == digest
    assert PASSWORD not in f"{registry!r} {vars(registry)!r}"


def test_an_identity_token_goes_by_post(server: Server, make: Make) -> None:
    server.auth = "token"
    digest = server.image([layer(BASE)])
    registry = make({"auths": {server.host: {"identitytoken": IDENTITY}}})
    assert registry.resolve_digest(f"{server.host}/team/python:1") == digest
    assert [each.method for each in server.asked("/token")] == ["POST"]


@pytest.mark.parametrize("auth", ["login", "basic"])
def test_without_a_login_the_error_says_how_to_log_in(server: Server, make: Make, auth: str) -> None:
    server.auth = auth
    server.image([layer(BASE)])
    text = fails(lambda: make().resolve_digest(f"{server.host}/team/python:1"))
    assert "HTTP 401" in text
    assert f"docker login {server.host}" in text


def test_a_wrong_password_is_no_secret_told(server: Server, make: Make) -> None:
    server.auth = "basic"
    server.image([layer(BASE)])
    registry = make({"auths": {server.host: {"username": "bob", "password": PASSWORD}}})
    assert "HTTP 401" in fails(lambda: registry.resolve_digest(f"{server.host}/team/python:1"))


def test_forbidden(server: Server, make: Make) -> None:
    server.statuses = [403]
    assert "HTTP 403" in fails(lambda: make().resolve_digest(f"{server.host}/team/python:1"))


@pytest.mark.parametrize("token", [f"{TOKEN}\r\nX-Evil: 1", "", None, {"a": TOKEN}])
def test_a_token_that_is_none(server: Server, make: Make, token: object) -> None:
    server.auth, server.token = "token", token
    server.image([layer(BASE)])
    assert "sent no token" in fails(lambda: make().resolve_digest(f"{server.host}/team/python:1"))


@pytest.mark.parametrize(
    "realm", ["file:///etc/passwd", "ftp://example.invalid/", "http://a:b@example.invalid/", "x y"]
)
def test_a_token_server_that_cannot_be_asked(server: Server, make: Make, realm: str) -> None:
    server.auth, server.realm = "token", realm
    server.image([layer(BASE)])
    assert "token server is invalid or insecure" in fails(lambda: make().resolve_digest(f"{server.host}/team/python:1"))


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '"\xff'])
def test_a_configuration_that_is_no_json(server: Server, make: Make, text: str) -> None:
    server.auth = "basic"
    assert "config.json` is not JSON" in fails(lambda: make(text).resolve_digest(f"{server.host}/team/python:1"))


def helper(folder: Path, text: str) -> None:
    """A credential helper that is really run."""
    path = folder / "docker-credential-test"
    path.write_text(
        f"#!{sys.executable} -I\nimport json, sys\nhost = sys.stdin.read()\n{textwrap.dedent(text)}", "utf-8"
    )
    path.chmod(0o755)


needs_scripts = pytest.mark.skipif(sys.platform == "win32", reason="a script with #! is no program on Windows")


@needs_scripts
@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
@pytest.mark.parametrize(("user", "secret", "auth"), [(USER, PASSWORD, "basic"), ("<token>", IDENTITY, "token")])
def test_a_credential_helper(  # noqa: PLR0913, PLR0917 - fixtures and the table
    server: Server, make: Make, tmp_path: Path, key: str, user: str, secret: str, auth: str
) -> None:
    server.auth = auth
    digest = server.image([layer(BASE)])
    answer = {"ServerURL": server.host, "Username": user, "Secret": secret}
    helper(tmp_path, f"assert sys.argv[1:] == ['get'] and host == {server.host!r}\nprint({json.dumps(answer)!r})")
    registry = make({key: "test" if key == "credsStore" else {server.host: "test"}})
    assert registry.resolve_digest(f"{server.host}/team/python:1") == digest


@needs_scripts
def test_a_helper_without_credentials_means_anonymous(server: Server, make: Make, tmp_path: Path) -> None:
    server.auth = "token"
    digest = server.image([layer(BASE)])
    helper(tmp_path, "print('credentials not found in native keychain')\nsys.exit(1)")
    assert make({"credsStore": "test"}).resolve_digest(f"{server.host}/team/python:1") == digest


@needs_scripts
@pytest.mark.parametrize("text", [f"print('{PASSWORD} cannot be unlocked')\nsys.exit(1)", "sys.exit(1)"])
def test_a_helper_that_fails_is_named_and_not_quoted(server: Server, make: Make, tmp_path: Path, text: str) -> None:
    server.auth = "token"
    helper(tmp_path, text)
    message = fails(lambda: make({"credsStore": "test"}).resolve_digest(f"{server.host}/team/python:1"))
    assert "`docker-credential-test` returned no credentials" in message


@needs_scripts
def test_a_helper_that_does_not_end(tmp_path: Path) -> None:
    helper(tmp_path, f"import time\nprint('{PASSWORD}', flush=True)\ntime.sleep(60)")
    run = create_helper_runner({"PATH": str(tmp_path)}, timeout=0.3)
    assert "did not finish within 0.3 seconds" in fails(lambda: run(("docker-credential-test", "get"), "x"))


@pytest.mark.parametrize(
    ("name", "words"), [("missing", "is not on the PATH"), ("../../bin/sh", "invalid credential helper")]
)
def test_a_helper_that_is_none(server: Server, make: Make, name: str, words: str) -> None:
    server.auth = "token"
    assert words in fails(lambda: make({"credsStore": name}).resolve_digest(f"{server.host}/team/python:1"))


# Redirects, mirrors, proxies, TLS


@pytest.mark.parametrize("auth", ["token", "basic"])
def test_no_credential_goes_along_with_a_redirect(servers: Callable[..., Server], make: Make, auth: str) -> None:
    server, store = servers(), servers()
    server.auth = auth
    digest = server.image([layer(BASE)])
    store.blobs, server.blobs_at = server.blobs, store.url
    facts = make(login(server.host)).read_image(f"{server.host}/team/python@{digest}", "linux/amd64")
    assert facts.os == "debian-12"
    assert [each.authorization for each in store.seen] == [None, None]
    assert all(each.authorization for each in server.asked("/blobs/"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_store_that_wants_a_login_gets_none(servers: Callable[..., Server], make: Make, status: int) -> None:
    server, store = servers(), servers()
    digest = server.image([layer(BASE)])
    server.blobs_at, store.statuses = store.url, [status]
    store.headers = {"WWW-Authenticate": "Basic"}
    config = {"auths": {host: login(host)["auths"][host] for host in (server.host, store.host)}}  # type: ignore[index]
    assert f"{status}" in fails(lambda: make(config).read_image(f"{server.host}/team/python@{digest}", "linux/amd64"))
    assert [each.authorization for each in store.seen] == [None]


def test_redirects_in_circles_end(server: Server, make: Make) -> None:
    server.statuses, server.headers = [302], {"Location": "/v2/"}
    assert "in circles" in fails(lambda: make().resolve_digest(f"{server.host}/team/python:1"))
    assert len(server.seen) == 5


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "http://a:b@example.invalid/"])
def test_redirects_to_what_cannot_be_asked_are_not_followed(server: Server, make: Make, location: str) -> None:
    server.statuses, server.headers = [302], {"Location": location}
    assert "HTTP 302" in fails(lambda: make().resolve_digest(f"{server.host}/team/python:1"))


def test_a_mirror_is_asked_with_its_own_login(server: Server, make: Make) -> None:
    server.auth = "basic"
    digest = server.image([layer(BASE)], name="library/python")
    server.image([layer(BASE)], name="hub/library/python")
    config = {"auths": {**login(server.host)["auths"], HUB_LOGIN_KEY: {"username": "x", "password": "y"}}}  # type: ignore[dict-item]
    registry = make(config, {"docker.io": server.host})
    assert registry.resolve_digest("python:1") == registry.resolve_digest("docker.io/library/python:1") == digest
    assert make(config, {"docker.io": f"{server.url}/hub/"}).resolve_digest("python:1") == digest
    assert server.asked("/v2/hub/library/python/")
    for mirror in (f"http://ann:{PASSWORD}@{server.host}", "ftp://example.invalid", "https://", "http://a:0x1/"):
        fails(partial(make(config, {"docker.io": mirror}).resolve_digest, "python:1"), InvalidInputError)


def test_a_proxy_that_refuses_is_named_and_its_password_is_not(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://ann:{PASSWORD}@{server.host}")
    text = fails(lambda: make().resolve_digest("registry.example.invalid/team/python:1"))
    assert "`registry.example.invalid` cannot be reached (HTTP 407 from the proxy)" in text
    assert "proxy that the environment names" in text
    assert server.seen[0].path == "registry.example.invalid:443"
    monkeypatch.setenv("no_proxy", "example.invalid")
    assert find_proxy("https://registry.example.org/", os.environ)
    assert not find_proxy("https://registry.example.invalid/", os.environ)


def test_this_machine_is_not_asked_through_a_proxy(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    digest = server.image([layer(BASE)])
    assert make().resolve_digest(f"{server.host}/team/python:1") == digest


@pytest.mark.skipif(which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_is_checked_against_ssl_cert_file(
    servers: Callable[..., Server], make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=example.invalid "
    )
    argv += f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(argv.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = servers(context)
    digest = server.image([layer(BASE)], name="library/python")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    text = fails(lambda: make(None, {"docker.io": server.url}).resolve_digest("python:1"))
    assert "TLS certificate that is not trusted" in text
    assert not server.seen
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert make(None, {"docker.io": server.url}).resolve_digest("python:1") == digest
    # From https down to http nobody is followed: not by a redirect, and not to a token server.
    server.auth, server.realm = "token", "http://127.0.0.1:1/token"
    assert "invalid or insecure" in fails(lambda: make(None, {"docker.io": server.url}).resolve_digest("python:1"))
    server.auth, server.statuses, server.headers = "none", [307], {"Location": "http://127.0.0.1:1/"}
    assert "HTTP 307" in fails(lambda: make(None, {"docker.io": server.url}).resolve_digest("python:1"))


# Networks that fail


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_registry_is_asked_again(server: Server, make: Make, slept: list[float], status: int) -> None:
    digest = server.image([layer(BASE)])
    server.statuses = [status, status, 0]
    assert make().resolve_digest(f"{server.host}/team/python:1") == digest
    assert slept == [0.5, 1.0]


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("7", 7.0), ("86400", 10.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", 0.5), ("-1", 0.5)],
)
def test_retry_after_is_honoured_with_a_cap(
    server: Server, make: Make, slept: list[float], asked: str, waited: float
) -> None:
    server.statuses, server.headers = [429], {"Retry-After": asked}
    assert "HTTP 429, 3 attempts" in fails(lambda: make().resolve_digest(f"{server.host}/team/python:1"))
    assert slept[0] == waited


def test_a_fault_for_ever_ends(server: Server, make: Make) -> None:
    server.statuses = [500]
    text = fails(lambda: make().resolve_digest(f"{server.host}/team/python:1"))
    assert "reports an error of its own (HTTP 500, 3 attempts)" in text
    assert f'give its digest in the spec: `"{server.host}/team/python:1@sha256:..."`' in text
    assert len(server.seen) == 3


@pytest.mark.parametrize("how", ["silent", "drip"])
def test_a_hanging_registry_gets_three_attempts(server: Server, make: Make, slept: list[float], how: str) -> None:
    server.hang = how
    text = fails(lambda: make(limit=0.2).resolve_digest(f"{server.host}/team/python:1"))
    assert "did not answer in time (0.2 seconds)" in text
    assert (len(server.seen), len(slept)) == (3, 2)


def test_a_refused_connection(make: Make) -> None:
    assert "`127.0.0.1:1` refused the connection" in fails(lambda: make().resolve_digest("127.0.0.1:1/team/python:1"))


def test_a_layer_that_breaks_off_is_fetched_again(server: Server, make: Make) -> None:
    digest = server.image([layer(BASE)])
    registry = make()
    registry.resolve_digest(f"{server.host}/team/python@{digest}")
    server.cut = 2
    facts = registry.read_image(f"{server.host}/team/python@{digest}", "linux/amd64")
    assert facts.python == "3.11.2"
    server.cut = 9
    text = fails(lambda: registry.read_image(f"{server.host}/team/python@{digest}", "linux/amd64"))
    assert "closed the connection in the middle of a response" in text


# What is in an image


def facts(server: Server, make: Make, layers: list[bytes], *env: str) -> ImageProperties:
    digest = server.image(layers, env)
    return make().read_image(f"{server.host}/team/python:1@{digest}", "linux/amd64")


@pytest.mark.parametrize("packed", [True, False])
def test_debians_own_python(server: Server, make: Make, packed: bool) -> None:
    found = facts(server, make, [layer(BASE, packed=packed)])
    assert found == ImageProperties("debian-12", "2.36", "3.11.2", "/usr/bin/python3", "2026-11-01T00:00:00Z")


def test_the_pythons_own_image_says_its_version_and_needs_its_lowest_layer_only(server: Server, make: Make) -> None:
    found = facts(
        server, make, [layer(BASE), layer({"usr/local/bin/python3": "x"})], "PATH=/x", "PYTHON_VERSION=3.12.12"
    )
    assert (found.os, found.glibc) == ("debian-12", "2.36")
    assert (found.python, found.python_path) == ("3.12.12", "/usr/local/bin/python3")
    assert len(server.asked("/blobs/")) == 2


def test_a_version_that_is_not_exact_is_not_known(server: Server, make: Make) -> None:
    found = facts(server, make, [layer(BASE)], "PYTHON_VERSION=3.15.0rc1")
    assert (found.python, found.python_path) == (None, None)


def test_the_uppermost_list_of_packages_counts(server: Server, make: Make) -> None:
    newer = STATUS.replace("3.11.2-6+deb12u6", "1:3.11.9-1")
    found = facts(server, make, [layer(BASE), layer({"var/lib/dpkg/status": newer}), layer({"x": "y"})])
    assert (found.os, found.python) == ("debian-12", "3.11.9")


def test_a_python_that_a_layer_above_has_removed_is_not_there(server: Server, make: Make) -> None:
    without = layer({"var/lib/dpkg/status": STATUS.partition("\n\n")[0]})
    found = facts(server, make, [layer(BASE), without])
    assert (found.os, found.glibc, found.python) == ("debian-12", "2.36", None)


def test_a_layer_that_cannot_be_read_leaves_python_unknown(server: Server, make: Make) -> None:
    zstd = b"\x28\xb5\x2f\xfd" + b"x" * 50
    for unread in (zstd, b"not a tar at all" * 50, layer({"x": "y"})[:-30]):
        found = facts(server, make, [layer(BASE), unread])
        assert (found.os, found.glibc, found.python) == ("debian-12", "2.36", None)
        below = facts(server, make, [unread, layer(BASE)])
        assert below.python == "3.11.2"


def test_packages_without_dpkg(server: Server, make: Make) -> None:
    def part(name: str, version: str) -> dict[str, str]:
        return {f"var/lib/dpkg/status.d/{name}": f"Package: {name}\nVersion: {version}\n"}

    lower = layer({"etc/os-release": DEBIAN, **part("libc6", "2.36-9")})
    found = facts(server, make, [lower, layer(part("python3.11-minimal", "3.11.2-6"))])
    assert (found.os, found.glibc, found.python, found.python_path) == (
        "debian-12",
        "2.36",
        "3.11.2",
        "/usr/bin/python3.11",
    )
    linked = layer(part("python3.11-minimal", "3.11.2-6"), {"usr/bin/python3": "/usr/bin/python3.11"})
    assert facts(server, make, [lower, linked]).python_path == "/usr/bin/python3"


def test_a_system_without_packages_of_debian(server: Server, make: Make) -> None:
    banner = b"\0GNU C Library (GNU libc) stable release version 2.34.\nCopyright\0"
    files: dict[str, str | bytes] = {"usr/lib64/libc.so.6": banner, "etc/os-release": "ID='rocky'\nVERSION_ID='9.4'\n"}
    found = facts(server, make, [layer({"opt/x/lib64/libc.so.6": banner.replace(b"34", b"99"), **files})])
    assert found == ImageProperties("rocky-9.4", "2.34", created="2026-11-01T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    ["ID=alpine\n", "ID=debian\nVERSION_ID='12\n'", 'ID="de bian"\nVERSION_ID=1', "ID=`x`\nVERSION_ID=1", "\xff"],
)
def test_an_image_says_strange_things(server: Server, make: Make, text: str) -> None:
    found = facts(
        server, make, [layer({"etc/os-release": text, "var/lib/dpkg/status": "Package: libc6\nVersion: $(x)\n"})]
    )
    assert (found.os, found.glibc, found.python) == (None, None, None)


@pytest.mark.parametrize("which_one", ["config", "layers"])
def test_a_part_that_does_not_match_its_digest(server: Server, make: Make, which_one: str) -> None:
    digest = server.image([layer(BASE)])
    manifest = json.loads(server.manifests["team/python", digest][1])
    part = manifest["config"] if which_one == "config" else manifest["layers"][0]
    server.wrong = {part["digest"]}
    text = fails(lambda: make().read_image(f"{server.host}/team/python@{digest}", "linux/amd64"))
    assert f"instead of `{part['digest']}`" in text
    server.wrong, server.blobs = set(), {}
    assert "HTTP 404" in fails(lambda: make().read_image(f"{server.host}/team/python@{digest}", "linux/amd64"))


def test_of_an_index_the_platform_is_chosen(server: Server, make: Make) -> None:
    rows = []
    for architecture, system in (("amd64", DEBIAN), ("arm64", DEBIAN.replace("12", "13"))):
        digest = server.image([layer({"etc/os-release": system})], architecture=architecture)
        platform = {"os": "linux", "architecture": architecture, **({"variant": "v8"} if system != DEBIAN else {})}
        rows.append({"mediaType": MANIFEST, "digest": digest, "size": 1, "platform": platform})
    rows.append({**rows[0], "platform": {"os": "unknown", "architecture": "unknown"}})
    index = server.document("team/python", "all", INDEX, {"manifests": rows})
    reference = f"{server.host}/team/python:all@{index}"
    registry = make()
    assert registry.resolve_digest(f"{server.host}/team/python:all") == index
    assert [registry.read_image(reference, f"linux/{name}").os for name in ("amd64", "arm64")] == [
        "debian-12",
        "debian-13",
    ]
    text = fails(lambda: registry.read_image(reference, "linux/s390x"))
    assert "does not exist for `linux/s390x`, only for `linux/amd64`, `linux/arm64/v8`;" in text
    one = rows[0]["digest"]
    assert "only for `linux/amd64`;" in fails(
        lambda: registry.read_image(f"{server.host}/team/python@{one}", "linux/arm64")
    )


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"config": None},
        {"config": {"digest": "sha256:x", "size": 1}},
        {"config": {"digest": sha256(b""), "size": -1}},
        {"manifests": 1},
        {"manifests": [1]},
    ],
)
def test_a_manifest_that_is_none(server: Server, make: Make, value: dict[str, object]) -> None:
    digest = server.document("team/python", "1", MANIFEST, value)
    text = fails(lambda: make().read_image(f"{server.host}/team/python@{digest}", "linux/amd64"))
    assert "does not answer like a registry" in text


# Names


@pytest.mark.parametrize(
    ("reference", "url", "login_key"),
    [
        ("python:3.12-slim", "https://registry-1.docker.io/v2/library/python/manifests/3.12-slim", HUB_LOGIN_KEY),
        ("docker.io/team/app", "https://registry-1.docker.io/v2/team/app/manifests/latest", HUB_LOGIN_KEY),
        ("index.docker.io/app", "https://registry-1.docker.io/v2/library/app/manifests/latest", HUB_LOGIN_KEY),
        ("example.invalid/app:1", "https://example.invalid/v2/app/manifests/1", "example.invalid"),
        ("localhost/app:1", "http://localhost/v2/app/manifests/1", "localhost"),
        ("localhost:5000/a/b:1", "http://localhost:5000/v2/a/b/manifests/1", "localhost:5000"),
        ("127.3.2.1:5000/a:1", "http://127.3.2.1:5000/v2/a/manifests/1", "127.3.2.1:5000"),
        ("[::1]:5000/a:1", "http://[::1]:5000/v2/a/manifests/1", "[::1]:5000"),
    ],
)
def test_where_an_image_is(reference: str, url: str, login_key: str) -> None:
    place = locate_image(reference, {})
    assert place.format_api_url("manifests", place.tag_or_digest) == url
    assert place.login_key == login_key


def test_what_is_no_reference(make: Make) -> None:
    assert "the image reference is invalid" in fails(
        lambda: make().resolve_digest(f"https://ann:{PASSWORD}@example.invalid/x"), InvalidInputError
    )
    assert "has no digest" in fails(lambda: make().read_image("python:3.12", "linux/amd64"), InvalidInputError)


def test_hosts_and_addresses() -> None:
    assert all(is_loopback(host) for host in ("localhost", "localhost:1", "127.0.0.1", "::1", "[::1]:80"))
    assert not any(
        is_loopback(host) for host in ("localhost.example.invalid", "127.example.invalid", "1127.0.0.1", "10.0.0.1")
    )
    assert not any(map(is_web_url, ("http://", "http://a b", "http://x:99999", "http://[", "//x", "http://ü.invalid")))


# A real registry, and Debian's own Python in an image that stands in for the hub's


needs_engine = pytest.mark.skipif(
    not {"ENVCOMPILE_TEST_REGISTRY", "ENVCOMPILE_TEST_BASE"} <= set(os.environ), reason="no registry of `.ci/engine`"
)


@pytest.mark.engine
@pytest.mark.engine
@needs_engine
def test_a_real_registry(tmp_path: Path) -> None:
    base = os.environ["ENVCOMPILE_TEST_BASE"]
    tag, _, digest = base.partition("@")
    registry = RegistryClient(tmp_path)
    assert registry.resolve_digest(tag) == digest
    found = registry.read_image(base, "linux/amd64")
    exact = os.environ.get("ENVCOMPILE_TEST_BASE_PYTHON", "3.11.2")
    assert (found.os, found.glibc, found.python, found.python_path) == ("debian-12", "2.36", exact, "/usr/bin/python3")
    missing = tag.replace("3.11", "3.99")
    assert "HTTP 404" in fails(lambda: registry.resolve_digest(missing))
    mirrored = RegistryClient(tmp_path, {"docker.io": os.environ["ENVCOMPILE_TEST_REGISTRY"]})
    with pytest.raises(UnavailableError, match="has no image"):  # the mirror is asked, not the hub
        mirrored.resolve_digest("python:3.99-slim-bookworm")


def test_tags_come_page_by_page(server: Server, make: Make) -> None:
    for tag in ("3", "1", "2", "10", "2-slim"):
        server.document("nvidia/cuda", tag, MANIFEST, {})
    server.page = 2
    assert make().list_tags(f"{server.host}/nvidia/cuda") == ("1", "10", "2", "2-slim", "3")
    assert len(server.asked("/tags/list")) == 3


@pytest.mark.parametrize(
    ("next_at", "raw", "said"),
    [
        ("http://example.invalid/v2/nvidia/cuda/tags/list", None, "the next page of its tags is at another server"),
        ("file:///etc/passwd", None, "the next page of its tags is at another server"),
        ("/v2/nvidia/cuda/tags/list?n=1", None, "a list of tags without end"),
        (None, b'{"tags": [1]}', "an invalid list of tags"),
        (None, b'{"tags": "x"}', "an invalid list of tags"),
        (None, b"<html>", "not a JSON object"),
    ],
)
def test_a_list_of_tags_is_read_with_suspicion(  # noqa: PLR0913, PLR0917
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch, next_at: str | None, raw: bytes | None, said: str
) -> None:
    monkeypatch.setattr("envcompile.registry.client._MAX_PAGES", 20)
    for tag in ("1", "2"):
        server.document("nvidia/cuda", tag, MANIFEST, {})
    server.page, server.next_at, server.raw = 1, next_at, raw
    with pytest.raises(UnavailableError, match=said):
        make().list_tags(f"{server.host}/nvidia/cuda")


def test_no_tags_of_what_is_not_there(server: Server, make: Make) -> None:
    with pytest.raises(UnavailableError, match="has no image"):
        make().list_tags(f"{server.host}/nvidia/none")


def test_the_contents_of_a_tag(server: Server, make: Make) -> None:
    server.image([], ("A=1", "B=x=y"), "nvidia/cuda", "arm64")
    assert make().read_tag(f"{server.host}/nvidia/cuda:1") == (("linux/arm64",), {"A": "1", "B": "x=y"})
    entries = []
    for architecture in ("arm64", "amd64"):
        digest = server.image([], (f"OF={architecture}",), "nvidia/cuda", architecture)
        size = len(server.manifests["nvidia/cuda", digest][1])
        platform = {"os": "linux", "architecture": architecture}
        entries.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform})
    attested = {**entries[0], "platform": {"os": "unknown", "architecture": "unknown"}}
    server.document("nvidia/cuda", "2", INDEX, {"manifests": [*entries, attested]})
    found = make().read_tag(f"{server.host}/nvidia/cuda:2")
    assert found == (("linux/amd64", "linux/arm64"), {"OF": "amd64"})
