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
from envcompile.spec.conda import parse_dependency_name
from envcompile.spec.pip import normalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.lock.model import CondaPackage

# The server of channels without a URL: the default of the conda setting `channel_alias`.
CHANNEL_ALIAS = "https://conda.anaconda.org"
# Conda names may start with characters that PEP 503 does not allow.
_PIP_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


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


def add_distributions(
    packages: Iterable[CondaPackage], urls: Mapping[str, str], stated: Mapping[str, tuple[str, ...]]
) -> tuple[CondaPackage, ...]:
    """Return the packages with the distributions that each provides.

    `urls` maps channel names to URLs. `stated` are the distributions of a package that the spec states.
    """
    return tuple(
        dataclasses.replace(
            package,
            provides=stated[package.name]
            if package.name in stated
            else find_distributions(package, is_conda_forge=_is_conda_forge(urls.get(package.channel, ""))),
        )
        for package in packages
    )


def _is_conda_forge(url: str) -> bool:
    """Whether a channel has the packages of conda-forge: the channel itself, a mirror of it, or a copy of a part."""
    return urlsplit(url).path.rstrip("/").rpartition("/")[2] == "conda-forge"


def find_distributions(package: CondaPackage, *, is_conda_forge: bool) -> tuple[str, ...]:
    """Return the normalized names (PEP 503) of the distributions in a conda package, sorted; () if there are none.

    The name table covers all packages of conda-forge, and a few packages of any channel. Every other package is assumed
    to contain the distribution of its own name if it depends on Python, because most projects have the same name in all
    channels. The build of the image checks each distribution that a pip package uses.
    """
    # A binary search: parsing all 20,000 rows took a tenth of the time of a small lock.
    rows = _load_name_table()
    index = bisect_left(rows, package.name, key=_parse_row_name)
    row = rows[index] if index < len(rows) and _parse_row_name(rows[index]) == package.name else None
    _, _, value = row.partition("=") if row else ("", "", "")
    if value.startswith("*"):
        return tuple(filter(None, value[1:].split(",")))
    own_name = normalize_name(package.name)
    if is_conda_forge:
        return () if row is None else tuple(value.split(",")) if value else (own_name,)
    depends_on_python = any(parse_dependency_name(text) == "python" for text in package.depends)
    return (own_name,) if depends_on_python and _PIP_NAME.fullmatch(own_name) else ()


def list_known_distributions() -> list[str]:
    """Return the names of all distributions in the name table, each once."""
    values = (row.partition("=")[2].lstrip("*") or row.partition("=")[0] for row in _load_name_table())
    return list(dict.fromkeys(name for value in values for name in value.split(",")))


@cache
def _load_name_table() -> list[str]:
    # `importlib.resources` would import `zipfile`, which takes 4 ms in every lock.
    text = Path(__file__).with_name("conda_pypi.txt").read_text("utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def _parse_row_name(row: str) -> str:
    return row.partition("=")[0]
