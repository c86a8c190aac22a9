"""conda channels: from what a spec writes to a name and a URL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from envcompile.lock.model import Channel

if TYPE_CHECKING:
    from pathlib import Path

# Where a channel is that is given by its name alone: conda's own default (`channel_alias`).
ALIAS = "https://conda.anaconda.org"


def channel(text: str, folder: Path) -> Channel:
    """The channel of a spec: a name, a URL, or a path relative to `folder`, which is the spec's.

    A channel that is given by its URL is called as the URL's path is, a folder as its last part is, both in the letters
    that a lock takes for a name.
    """
    if re.match(r"https?://", text):
        url = text.rstrip("/")
        return Channel(_name(urlsplit(url).path), url)
    if text.startswith("file://"):
        url = text.rstrip("/")
        return Channel(_name(urlsplit(url).path.rpartition("/")[2]), url)
    if text.startswith((".", "/", "~")):
        path = (folder / text).expanduser().resolve()
        return Channel(_name(path.name), path.as_uri())
    return Channel(text, f"{ALIAS}/{text}")


def _name(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9._/-]+", "-", unquote(path)).lstrip("._/-") or "channel"
