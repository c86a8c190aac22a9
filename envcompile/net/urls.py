"""URLs: which of them may be requested, their origins, and the proxy for each.

This module uses no network and imports nothing slow: every build parses image references with it.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from envcompile.diagnostics.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The port of a URL that states none, by scheme.
DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK_HOST = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1|\[::1\]")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; `authorization` is the value of its Proxy-Authorization header, "" for none."""

    host: str
    port: int
    uses_tls: bool
    authorization: str = field(default="", repr=False)


def is_web_url(url: str) -> bool:
    """Whether a URL from outside may be requested: http or https, printable ASCII, no user name or password in it."""
    if not re.fullmatch(r"https?://[!-~]+", url):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:  # an incomplete IPv6 address, or a port that is not a number
        return False


def parse_origin(url: str) -> tuple[str, str, int]:
    """The scheme, the host and the port of a URL. Credentials for one origin are never sent to another."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    return _LOOPBACK_HOST.fullmatch(host if host == "::1" else re.sub(r":[0-9]+$", "", host)) is not None


def format_basic_authorization(user: str, password: str) -> str:
    """The value of an Authorization header for a user name and a password."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode('ascii')}"


def find_proxy(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment or the system's settings name for a URL, or None.

    Loopback addresses never use a proxy, because to the proxy they would mean its own machine. Raises
    `UnavailableError` if the setting is not the URL of an HTTP proxy.
    """
    scheme, host, port = parse_origin(url)
    if is_loopback(host):
        return None
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    name = next((name for name in names if environment.get(name)), None)
    if name is None:
        return _find_system_proxy(scheme, host)
    if _is_excluded(host, port, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    return _parse_proxy(environment[name], name)


def _is_excluded(host: str, port: int, no_proxy: str) -> bool:
    """Whether `no_proxy` names the host or a domain that it belongs to, with or without the port; `*` is every host."""
    suffixes = [each.strip().lstrip(".").lower() for each in no_proxy.split(",")]
    names = [f".{host.lower()}", f".{host.lower()}:{port}"]
    return "*" in suffixes or any(name.endswith(f".{suffix}") for suffix in suffixes if suffix for name in names)


def _find_system_proxy(scheme: str, host: str) -> Proxy | None:
    """The proxy in the system's settings on macOS and Windows; None on other systems."""
    if sys.platform not in {"darwin", "win32"}:
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - 10 ms, for these systems only

    setting = None if proxy_bypass(host) else getproxies().get(scheme)
    return _parse_proxy(setting, "the system's proxy") if setting else None


def _parse_proxy(setting: str, name: str) -> Proxy:
    try:
        parts = urlsplit(setting if "://" in setting else f"http://{setting}")
        host, port = parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in DEFAULT_PORTS or not host or not port:
        # The setting itself is not shown: it may hold a password.
        raise UnavailableError(f"`{name}` is not the address of an HTTP proxy", "write it as `http://HOST:PORT`")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    authorization = format_basic_authorization(user, password) if user else ""
    return Proxy(host, port, parts.scheme == "https", authorization)
