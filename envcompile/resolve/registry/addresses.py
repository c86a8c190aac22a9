"""Web addresses: which may be requested, and who may see what was meant for one."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1|\[::1\]")
# The port that an address means when it names none.
PORTS = {"http": 80, "https": 443}


def web_address(url: str) -> bool:
    """Whether a URL that came from outside may be asked: http or https, plain ASCII, no user name or password in it."""
    if not re.fullmatch(r"https?://[!-~]+", url):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:  # half an IPv6 address, or a port that is no number
        return False


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a web address: who may see what was meant for it."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme]


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    return _LOOPBACK.fullmatch(host if host == "::1" else re.sub(r":[0-9]+$", "", host)) is not None
