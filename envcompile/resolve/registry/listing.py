"""The tags of a repository (OCI distribution 1.1, "Listing tags"), page by page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from envcompile.resolve.registry.addresses import origin, web_address
from envcompile.resolve.registry.document import parsed, refused
from envcompile.resolve.registry.http import Question, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.resolve.registry.place import Place
    from envcompile.resolve.registry.session import Session

_PAGE = 1000  # what we ask for; a registry may give fewer
_MOST_PAGES = 1000
_PAGE_CAP = 8 << 20
_NEXT = re.compile(r"<([^>]*)>[^,]*;\s*rel=\"?next\"?")


def tags(session: Session, place: Place) -> tuple[str, ...]:
    """Every tag, sorted. Raises `MissingOutside`, when the pages come to no end too."""
    found: set[str] = set()
    url: str | None = f"{place.base}/v2/{place.repository}/tags/list?n={_PAGE}"
    for _ in range(_MOST_PAGES):
        if url is None:
            return tuple(sorted(found))
        answer = session.ask(place, Question(url, {}, hint=place.hint), whole(_PAGE_CAP))
        if answer.value is None:
            raise refused(place, answer.status)
        rows = parsed(place, answer.value).get("tags") or []
        if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
            raise place.strange("a list of tags that is none")
        found.update(rows)
        url = _next(place, url, answer.headers)
    raise place.strange("a list of tags without end")


def _next(place: Place, url: str, headers: Mapping[str, str]) -> str | None:
    """The address of the page after this one, which only the same registry may have."""
    link = _NEXT.search(headers.get("Link", ""))
    if link is None:
        return None
    target = str(urljoin(url, link[1]))
    if not web_address(target) or origin(target) != origin(place.base):
        raise place.strange("the next page of its tags is somewhere else")
    return target
