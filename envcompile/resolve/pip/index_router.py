"""Several indexes as one: what lets every resolver take each package from its own index and from no other.

None of the resolvers can say "these names from there, and from nowhere else" of names that only turn up on the way. So
they are given one index, on the loopback interface, that holds nothing: it sends whoever asks for a project to the one
index that serves it. Pages and files come straight from there, with the resolver's own credentials for it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.spec.pip import DEFAULT_INDEX, collect_index_urls, find_index_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envcompile.lock.model import PlatformLock
    from envcompile.spec.model import ExtraIndex, PipSpec

_PROJECT = re.compile(r"/simple/([a-z0-9]+(?:-[a-z0-9]+)*)/?")
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Signpost:
    """The one index: its URL, those it sends to by name, and for each project that was asked for the index's name."""

    url: str
    indexes: Mapping[str, str]
    served: dict[str, str] = field(default_factory=dict)

    def environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        """An environment in which this machine's own address is asked by no proxy."""
        around = outer.get("no_proxy") or outer.get("NO_PROXY") or ""
        hosts = around if around == "*" else ",".join(filter(None, (around, _HOST)))
        return {**outer, "no_proxy": hosts, "NO_PROXY": hosts}

    def shown(self, text: str) -> str:
        """A text of a resolver's without the address that nobody else can know."""
        return text.replace(f"{self.url}/", "").replace(self.url, "the index")


@contextmanager
def signpost(indexes: tuple[ExtraIndex, ...], default: str) -> Iterator[Signpost]:
    """The one index, answering for as long as the block lasts. `default` is the default index's URL, without userinfo.

    Raises `InvalidInputError` when that is no web address.
    """
    from http.server import BaseHTTPRequestHandler  # noqa: PLC0415 - for several indexes only
    from socketserver import ThreadingTCPServer  # noqa: PLC0415 - http.server's own looks up the name of the machine
    from threading import Thread  # noqa: PLC0415

    if not default.startswith(("http://", "https://")):
        raise InvalidInputError("the default index is not a web address", "give it as `https://host/simple`")
    routes = {DEFAULT_INDEX: default.rstrip("/")} | {each.name: each.url for each in indexes}
    served: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            found = _PROJECT.fullmatch(self.path)
            self.send_response(307 if found else 404)
            if found:
                project = found[1]
                served[project] = find_index_name(project, indexes)
                self.send_header("Location", f"{routes[served[project]]}/{project}/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    with ThreadingTCPServer((_HOST, 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield Signpost(f"http://{_HOST}:{server.server_address[1]}/simple", routes, served)
        finally:
            server.shutdown()


def private_indexes(pip: PipSpec, platforms: Iterable[PlatformLock], environment: Mapping[str, str]) -> tuple[str, ...]:
    """The names, sorted, of the indexes that show a locked package to nobody without credentials.

    Only those with a URL in the spec: these are asked by the build too. Raises `UnavailableError` when one is silent.
    """
    known = collect_index_urls(pip)
    packages = {package.index: package.name for each in platforms for package in each.pip if package.index in known}
    if not packages:
        return ()
    from envcompile.resolve.pip.simple_index import SimpleIndex  # noqa: PLC0415 - brings `ssl` and `http`

    asked = ((index, SimpleIndex(known[index], environment, anonymous=True)) for index in sorted(packages))
    return tuple(index for index, stranger in asked if stranger.hides(packages[index]))
