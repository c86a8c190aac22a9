"""Route each package to its own index if the spec has several indexes, and find those that require credentials.

Resolvers cannot restrict a dependency that they discover during the solve to one index. So a resolver gets the URL of a
small HTTP server on the loopback interface as its only index. The server redirects the request for a project to the
index of the project. The resolver then reads pages and files from that index, with the credentials that it finds.
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

_PROJECT_PATH = re.compile(r"/simple/([a-z0-9]+(?:-[a-z0-9]+)*)/?")
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class IndexRouter:
    """The URL of the router, the URLs of the indexes by name, and the projects that were requested from the router.

    `served` has the name of the index to which the request for each project was redirected.
    """

    url: str
    indexes: Mapping[str, str]
    served: dict[str, str] = field(default_factory=dict)

    def exclude_from_proxies(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with `no_proxy` set so that requests to the router do not go through a proxy."""
        excluded = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        hosts = excluded if excluded == "*" else ",".join(filter(None, (excluded, _HOST)))
        return {**environment, "no_proxy": hosts, "NO_PROXY": hosts}

    def hide_url(self, text: str) -> str:
        """Return a resolver's message without the URL of the router, which the user does not know."""
        return text.replace(f"{self.url}/", "").replace(self.url, "the index")


@contextmanager
def serve_index_router(indexes: tuple[ExtraIndex, ...], default: str) -> Iterator[IndexRouter]:
    """Yield a router that runs during the `with` block.

    `default` is the URL of the default index, without credentials. Raises `InvalidInputError` if `default` is not an
    HTTP URL.
    """
    from http.server import BaseHTTPRequestHandler  # noqa: PLC0415 - for several indexes only
    from socketserver import ThreadingTCPServer  # noqa: PLC0415 - the server of http.server looks up this machine's name
    from threading import Thread  # noqa: PLC0415

    if not default.startswith(("http://", "https://")):
        raise InvalidInputError(
            "the default index has an invalid URL", "set `index` in `[pip]` to a URL such as `https://host/simple`"
        )
    routes = {DEFAULT_INDEX: default.rstrip("/")} | {each.name: each.url for each in indexes}
    served: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            found = _PROJECT_PATH.fullmatch(self.path)
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
            yield IndexRouter(f"http://{_HOST}:{server.server_address[1]}/simple", routes, served)
        finally:
            server.shutdown()


def find_private_indexes(
    pip: PipSpec, platforms: Iterable[PlatformLock], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the names of the indexes that require credentials for a locked package, sorted.

    Only indexes whose URL is in the spec are checked, because the build uses the URLs in the spec. Raises
    `UnavailableError` if an index does not answer.
    """
    known = collect_index_urls(pip)
    locked = (package for each in platforms for package in (*each.conda_installer, *each.pip))
    packages = {package.index: package.name for package in locked if package.index in known}
    if not packages:
        return ()
    from envcompile.resolve.pip.simple_index import SimpleIndex  # noqa: PLC0415 - imports `ssl` and `http`

    clients = ((name, SimpleIndex(known[name], environment, anonymous=True)) for name in sorted(packages))
    return tuple(name for name, client in clients if client.is_hidden(packages[name]))
