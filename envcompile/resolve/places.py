"""Where the indexes serve the files that are locked: asked of their pages, by the hashes of the lock."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envcompile.errors import MissingOutside
from envcompile.spec.indexes import DEFAULT, urls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import PipPackage
    from envcompile.resolve.protocol import Effects
    from envcompile.spec.model import Pip


def places(pip: Pip, packages: Iterable[PipPackage], effects: Effects) -> dict[str, str]:
    """By sha256, the address of each package's file, without credentials.

    Raises `MissingOutside` where an index does not answer or has not got the file any more.
    """
    from envcompile.resolve.simple_index import SimpleIndex  # noqa: PLC0415 - brings `ssl` and `http`

    by_index: dict[str, list[PipPackage]] = {}
    for package in packages:
        by_index.setdefault(package.index, []).append(package)
    if by_index and effects.offline:
        said = "where the index serves its files is not known, and `--offline` lets nobody be asked"
        raise MissingOutside(said, "run without it once")
    found = {}
    for index, wanted in sorted(by_index.items()):
        pages = SimpleIndex(_url(pip, index, effects), effects.environment).files(
            sorted({each.name for each in wanted})
        )
        for package in wanted:
            rows = (row for row in pages[package.name] if row.name == package.file)
            url = next((row.url for row in rows if row.sha256 in ("", package.sha256)), "")
            if not url:
                said = f"the index has no `{package.file}` with the hash that is locked"
                raise MissingOutside(said, "run `envcompile lock -U`")
            parts = urlsplit(url)
            found[package.sha256] = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    return found


def _url(pip: Pip, index: str, effects: Effects) -> str:
    if known := urls(pip).get(index):
        return known
    from envcompile.resolve.uv import find_uv  # noqa: PLC0415 - uv alone says which index is the default
    from envcompile.resolve.uv_indexes import default_url  # noqa: PLC0415

    users = effects.environment.get("UV_DEFAULT_INDEX", "").rpartition("=")[2]
    if index == DEFAULT and users:
        return users
    with TemporaryDirectory(prefix="envcompile-") as folder:
        return default_url(find_uv(effects.environment), effects, folder)
