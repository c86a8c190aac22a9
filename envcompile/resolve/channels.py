"""conda channels: from what a spec writes to a name and a URL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.lock.model import Channel

if TYPE_CHECKING:
    from pathlib import Path

# Where a channel is that is given by its name alone: conda's own default (`channel_alias`).
ALIAS = "https://conda.anaconda.org"


def channel(text: str, folder: Path) -> Channel:
    """The channel of a spec: a name, a URL, or a path relative to `folder`, which is the spec's.

    A channel that is given by its URL is called as the end of its path is.
    """
    if re.match(r"(?:https?|file)://", text):
        url = text.rstrip("/")
        return Channel(re.sub(r"^[a-z]+://[^/]*/?", "", url).strip("/") or "channel", url)
    if text.startswith((".", "/", "~")):
        path = (folder / text).expanduser().resolve()
        return Channel(path.name, path.as_uri())
    return Channel(text, f"{ALIAS}/{text}")
