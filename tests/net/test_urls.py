from __future__ import annotations

import pytest

from envcompile.diagnostics.errors import UnavailableError
from envcompile.net.urls import Proxy, find_proxy

PLAIN = Proxy("proxy.example", 3128, uses_tls=False)
SECRET = "a-secret-nobody-may-see"


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({}, "https://host.example/", None),
        ({"https_proxy": "http://proxy.example:3128"}, "https://host.example/", PLAIN),
        ({"https_proxy": "http://proxy.example:3128"}, "http://host.example/", None),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://host.example/", PLAIN),
        ({"http_proxy": "http://proxy.example:3128/", "HTTP_PROXY": "other:1"}, "http://host.example/", PLAIN),
        ({"http_proxy": "", "all_proxy": "proxy.example:3128"}, "http://host.example/", PLAIN),
        ({"ALL_PROXY": "http://proxy.example:3128"}, "https://host.example/", PLAIN),
        ({"http_proxy": "http://proxy.example"}, "http://h/", Proxy("proxy.example", 80, uses_tls=False)),
        ({"http_proxy": "https://proxy.example"}, "http://h/", Proxy("proxy.example", 443, uses_tls=True)),
        ({"http_proxy": "http://me:p%40ss@[::1]:1"}, "http://h/", Proxy("::1", 1, uses_tls=False)),
    ],
)
def test_the_proxy_of_an_address(environment: dict[str, str], url: str, expected: Proxy | None) -> None:
    found = find_proxy(url, environment)
    assert (found and (found.host, found.port, found.uses_tls)) == (
        expected and (expected.host, expected.port, expected.uses_tls)
    )


def test_the_credentials_of_a_proxy_are_decoded_and_do_not_show() -> None:
    proxy = find_proxy("http://host.example/", {"http_proxy": "http://me:p%40ss@proxy.example"})
    assert proxy
    assert proxy.authorization == "Basic bWU6cEBzcw=="
    assert proxy.authorization not in repr(proxy)


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_excluded"),
    [
        ("host.example", "https://host.example/", True),
        ("HOST.example", "https://host.Example/", True),
        ("example", "https://host.example/", True),
        (".example", "https://host.example/", True),
        ("ample", "https://host.example/", False),
        ("other, host.example ,", "https://host.example/", True),
        ("host.example:443", "https://host.example/", True),
        ("host.example:444", "https://host.example/", False),
        ("host.example:444", "https://host.example:444/", True),
        ("*", "https://host.example/", True),
        ("", "https://host.example/", False),
        (" , ,", "https://host.example/", False),
        ("", "https://127.0.0.1:5000/", True),
        ("", "http://localhost/", True),
        ("", "http://[::1]:80/", True),
        ("", "http://127.0.0.1.example/", False),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_what_no_proxy_names_and_this_machine_are_reached_directly(
    name: str, no_proxy: str, url: str, is_excluded: bool
) -> None:
    assert (find_proxy(url, {"all_proxy": "proxy.example:1", name: no_proxy}) is None) == is_excluded


@pytest.mark.parametrize("setting", ["socks5://me:{}@h:1", "http://me:{}@", "http://me:{}@[::1", "http://me:{}@h:x"])
def test_what_is_no_http_proxy_is_an_error_without_its_password(setting: str) -> None:
    with pytest.raises(UnavailableError, match=r"^`all_proxy` is not the address of an HTTP proxy$") as caught:
        find_proxy("https://host.example/", {"all_proxy": setting.format(SECRET)})
    assert SECRET not in str(caught.value.hint)
