"""A project's page in the simple API (PEP 503, 592, 658, 691, 700), read: as JSON or as HTML."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable


class IndexFile(NamedTuple):
    """One file of a project. `sha256`, `uploaded` (RFC 3339 in UTC) and `requires_python` are "" where not told.

    `metadata`: the index serves the file's metadata beside it, at `url` with `.metadata` (PEP 658).
    """

    name: str
    sha256: str
    size: int | None
    uploaded: str
    yanked: bool
    requires_python: str
    url: str = ""
    metadata: bool = False


def from_json(body: bytes, page: str) -> Iterable[IndexFile]:
    """The files of a page that came from the address `page`. Raises `ValueError` and others when it is none."""
    for row in json.loads(body)["files"]:
        yield IndexFile(
            name=str(row["filename"]),
            sha256=str(row["hashes"].get("sha256", "")),
            size=row.get("size"),
            uploaded=row.get("upload-time") or "",
            yanked=bool(row.get("yanked")),
            requires_python=row.get("requires-python") or "",
            url=urljoin(page, str(row.get("url", ""))),
            metadata=bool(row.get("core-metadata") or row.get("data-dist-info-metadata")),
        )


def from_html(body: bytes, page: str) -> Iterable[IndexFile]:
    """The same of HTML."""
    anchors = _Anchors()
    anchors.feed(body.decode())
    for attributes in anchors.found:
        parts = urlsplit(attributes["href"])
        algorithm, _, digest = parts.fragment.partition("=")
        yield IndexFile(
            name=unquote(parts.path.rpartition("/")[2]),
            sha256=digest if algorithm == "sha256" else "",
            size=None,
            uploaded="",
            yanked="data-yanked" in attributes,
            requires_python=attributes.get("data-requires-python", ""),
            url=urljoin(page, attributes["href"].partition("#")[0]),
            metadata=bool({"data-core-metadata", "data-dist-info-metadata"} & attributes.keys()),
        )


class _Anchors(HTMLParser):
    """The attributes of every link of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        if tag == "a" and "href" in attributes:
            self.found.append(attributes)
