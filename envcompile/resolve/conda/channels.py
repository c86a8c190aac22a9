"""conda channels: from what a spec writes to a name and a URL."""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from envcompile.lock.model import Channel

if TYPE_CHECKING:
    from envcompile.lock.model import CondaPackage

# Where a channel is that is given by its name alone: conda's own default (`channel_alias`).
CHANNEL_ALIAS = "https://conda.anaconda.org"


def parse_channel(text: str, folder: Path) -> Channel:
    """The channel of a spec: a name, a URL, or a path relative to `folder`, which is the spec's.

    A channel that is given by its URL is called as the URL's path is, a folder as its last part is, both in the letters
    that a lock takes for a name.
    """
    if re.match(r"https?://", text):
        url = text.rstrip("/")
        return Channel(_derive_channel_name(urlsplit(url).path), url)
    if text.startswith("file://"):
        url = text.rstrip("/")
        return Channel(_derive_channel_name(urlsplit(url).path.rpartition("/")[2]), url)
    if text.startswith((".", "/", "~")):
        path = (folder / text).expanduser().resolve()
        return Channel(_derive_channel_name(path.name), path.as_uri())
    return Channel(text, f"{CHANNEL_ALIAS}/{text}")


def _derive_channel_name(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9._/-]+", "-", unquote(path)).lstrip("._/-") or "channel"


# Which Python distributions a conda package brings: what pip must then neither take again nor replace.


@cache
def _load_name_table() -> list[str]:
    # Beside this file, as in every installation; `importlib.resources` would bring `zipfile` for it, 4 ms of each lock.
    text = Path(__file__).with_name("conda_pypi.txt").read_text("utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def find_distributions(name: str) -> tuple[str, ...]:
    """The normalised names (PEP 503) of the distributions in a conda package, sorted; () when it is none or unknown."""
    # Looked for in the sorted rows: reading all 20,000 into a table took a tenth of the time of a small lock.
    rows = _load_name_table()
    index = bisect_left(rows, name, key=_parse_row_name)
    if index == len(rows) or _parse_row_name(rows[index]) != name:
        return ()
    _, _, distributions = rows[index].partition("=")
    return tuple(distributions.split(",")) if distributions else (name,)


def _parse_row_name(row: str) -> str:
    return row.partition("=")[0]


def add_distributions(packages: tuple[CondaPackage, ...]) -> tuple[CondaPackage, ...]:
    """The packages, each with the distributions it brings."""
    return tuple(dataclasses.replace(package, provides=find_distributions(package.name)) for package in packages)
