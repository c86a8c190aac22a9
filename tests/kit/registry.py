"""A distribution registry on this machine's loopback, in this process, with switches for what registries do wrong."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
GZIP = b"\x1f\x8b"
TOKEN = "a-token-nobody-may-see"
USER, PASSWORD, IDENTITY = "ann", "a-password-nobody-may-see", "an-identity-nobody-may-see"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer(files: Mapping[str, str | bytes], links: Mapping[str, str] | None = None, *, packed: bool = True) -> bytes:
    """A tar of files and symbolic links, gzipped."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, target in (links or {}).items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(buffer.getvalue()) if packed else buffer.getvalue()


@dataclass
class Seen:
    """One request that arrived."""

    method: str
    path: str
    authorization: str | None
    body: bytes = b""


@dataclass
class Server:
    """What a registry holds, how it behaves, and what it has been asked. `url` has no path."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    auth: str = "none"  # token, basic, or token that must not be anonymous: login
    statuses: list[int] = field(default_factory=list)  # of the next answers; the last one stays
    headers: dict[str, str] = field(default_factory=dict)  # of every answer
    realm: str | None = None
    token: Any = TOKEN
    head: int = 200
    tells_digest: bool = True
    wrong: set[str] = field(default_factory=set)  # digests that are answered with other bytes
    raw: bytes | None = None  # what manifests are answered with
    blobs_at: str | None = None
    hang: str | None = None  # silent: accept and say nothing; drip: a byte now and then, for ever
    cut: int = 0  # how many answers with a layer are broken off in the middle
    page: int = 1000  # the most tags that one answer lists
    next_at: str | None = None  # what is named as the address of the next page
    url: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def blob(self, content: bytes, media: str = "application/vnd.oci.image.layer.v1.tar+gzip") -> dict[str, Any]:
        digest = sha256(content)
        self.blobs[digest] = content
        return {"mediaType": media, "digest": digest, "size": len(content)}

    def document(self, name: str, tag: str, media: str, value: Mapping[str, Any]) -> str:
        body = json.dumps({"schemaVersion": 2, "mediaType": media, **value}).encode()
        digest = sha256(body)
        self.manifests[name, tag] = self.manifests[name, digest] = (media, body)
        return digest

    def image(
        self,
        layers: list[bytes],
        env: tuple[str, ...] = (),
        name: str = "team/python",
        architecture: str = "amd64",
        created: str = "2026-11-01T00:00:00Z",
    ) -> str:
        """The digest of a new image, which has the tag `1` too."""
        config = {"os": "linux", "architecture": architecture, "created": created}
        described = self.blob(json.dumps({**config, "config": {"Env": list(env)}}).encode())
        rows = [self.blob(each) for each in layers]
        return self.document(name, "1", MANIFEST, {"config": described, "layers": rows})

    def asked(self, part: str) -> list[Seen]:
        return [each for each in self.seen if part in each.path]


def start(server: Server, context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    """Serve on a free port; the caller shuts it down."""

    class Handler(_Handler):
        state = server

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    if context:
        web.socket = context.wrap_socket(web.socket, server_side=True, do_handshake_on_connect=False)
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{web.server_address[1]}"
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return web


class _Handler(BaseHTTPRequestHandler):
    state: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None: ...

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the client went away: that is what it is tested for
            return

    def do_CONNECT(self) -> None:
        self._see()
        self._answer(407, b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        form = parse_qs(self._see(self.rfile.read(int(self.headers["Content-Length"]))).body.decode())
        fine = form.get("refresh_token") == [IDENTITY] and form.get("grant_type") == ["refresh_token"]
        self._answer(200 if fine else 401, json.dumps({"access_token": TOKEN}).encode() if fine else b"")

    def do_GET(self) -> None:
        self._see()
        state, path = self.state, urlsplit(self.path).path
        if state.hang:
            self._hang(state.hang)
        elif path == "/token":
            self._give_token()
        elif state.statuses and (status := state.statuses.pop(0) if len(state.statuses) > 1 else state.statuses[0]) > 0:
            self._answer(status, b"")
        elif not self._let_in():
            what = f'Bearer realm="{state.realm or state.url + "/token"}",service="here",scope="repository:x:pull"'
            self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="here"' if state.auth == "basic" else what})
        elif path.endswith("/tags/list"):
            self._give_tags(path.removeprefix("/v2/").removesuffix("/tags/list"))
        elif "/manifests/" in path:
            self._give_manifest(*path.removeprefix("/v2/").split("/manifests/"))
        else:
            self._give_blob(path.rsplit("/", maxsplit=1)[-1])

    def _see(self, body: bytes = b"") -> Seen:
        seen = Seen(self.command, self.path, self.headers.get("Authorization"), body)
        self.state.seen.append(seen)
        return seen

    def _let_in(self) -> bool:
        expected = {"none": None, "basic": BASIC}.get(self.state.auth, f"Bearer {TOKEN}")
        return expected is None or self.headers.get("Authorization") == expected

    def _give_token(self) -> None:
        fine = self.state.auth != "login" or self.headers.get("Authorization") == BASIC
        self._answer(200 if fine else 401, json.dumps({"token": self.state.token}).encode() if fine else b"")

    def _give_tags(self, name: str) -> None:
        """As the distribution registry does: sorted, in pages, the next one by a link from the last tag on."""
        state, query = self.state, parse_qs(urlsplit(self.path).query)
        every = sorted({tag for each, tag in state.manifests if each == name and ":" not in tag})
        size = min(int(query.get("n", ["1000"])[0]), state.page)
        (last,) = query.get("last", [""])
        left = [tag for tag in every if tag > last]
        shown = left[:size]
        target = state.next_at or f"/v2/{name}/tags/list?last={shown[-1] if shown else ''}&n={size}"
        headers = {"Link": f'<{target}>; rel="next"'} if len(left) > size else {}
        body = state.raw if state.raw is not None else json.dumps({"name": name, "tags": shown}).encode()
        self._answer(200 if every else 404, body, headers)

    def _give_manifest(self, name: str, version: str) -> None:
        state = self.state
        media, body = state.manifests.get((name, version), ("", b""))
        if state.raw is not None:
            self._answer(200, state.raw)
        elif not body or (self.command == "HEAD" and state.head != 200):
            self._answer(state.head if body else 404, b"")
        else:
            digest = sha256(body)
            told = {"Docker-Content-Digest": digest} if state.tells_digest else {}
            changed = body.replace(b"schema", b"Schema") if digest in state.wrong else body
            self._answer(200, changed, {"Content-Type": media, **told})

    def _give_blob(self, digest: str) -> None:
        state = self.state
        body = state.blobs.get(digest)
        if state.blobs_at:
            self._answer(307, b"", {"Location": f"{state.blobs_at}/store/{digest}?signature=a-secret"})
        elif body is None:
            self._answer(404, b"")
        elif state.cut and body.startswith(GZIP):
            state.cut -= 1
            self._answer(200, body, cut=len(body) // 2)
        else:
            self._answer(200, body + b"x" if digest in state.wrong else body)

    def _answer(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in {**self.state.headers, **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])

    def _hang(self, how: str) -> None:
        if how == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not self.state.stopped.wait(0.02):
            if how == "drip":
                self.wfile.write(b"x")
        self.close_connection = True
