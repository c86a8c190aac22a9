"""Parse the channels of a spec to names and URLs, and find the Python distributions in conda packages.

A distribution that a conda package contains must neither be installed again by pip nor be replaced by it.
"""

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

# The server of channels without a URL: the default of the conda setting `channel_alias`.
CHANNEL_ALIAS = "https://conda.anaconda.org"


def parse_channel(text: str, folder: Path) -> Channel:
    """Parse a channel: a name, a URL, or a path relative to `folder`, the folder of the spec.

    The name of a channel given by URL is the path of the URL; that of a local channel is the last part of the path.
    Characters that are not allowed in a name become `-`.
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


def add_distributions(packages: tuple[CondaPackage, ...]) -> tuple[CondaPackage, ...]:
    """Return the packages with the distributions that each provides."""
    return tuple(dataclasses.replace(package, provides=find_distributions(package.name)) for package in packages)


def find_distributions(name: str) -> tuple[str, ...]:
    """Return the normalized names (PEP 503) of the distributions in a conda package, sorted; () if it is unknown."""
    # A binary search: parsing all 20,000 rows took a tenth of the time of a small lock.
    rows = _load_name_table()
    index = bisect_left(rows, name, key=_parse_row_name)
    if index == len(rows) or _parse_row_name(rows[index]) != name:
        return ()
    _, _, distributions = rows[index].partition("=")
    return tuple(distributions.split(",")) if distributions else (name,)


@cache
def _load_name_table() -> list[str]:
    # Not by `importlib.resources`, which imports `zipfile`: 4 ms of every lock.
    text = Path(__file__).with_name("conda_pypi.txt").read_text("utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def _parse_row_name(row: str) -> str:
    return row.partition("=")[0]
