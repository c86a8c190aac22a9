"""Where the indexes serve the files that are locked: asked of their pages, by the hashes of the lock."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envcompile.diagnostics.errors import UnavailableError
from envcompile.spec.pip import collect_index_urls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import PipPackage
    from envcompile.resolve.model import Effects
    from envcompile.spec.model import PipSpec


def find_file_urls(pip: PipSpec, packages: Iterable[PipPackage], effects: Effects) -> dict[str, str]:
    """By sha256, the address of each package's file, without credentials.

    Raises `UnavailableError` where an index does not answer or has not got the file any more.
    """
    from envcompile.resolve.pip.simple_index import SimpleIndex  # noqa: PLC0415 - brings `ssl` and `http`
    from envcompile.resolve.pip.uv import find_default_index  # noqa: PLC0415 - uv alone says which index is the default

    by_index: dict[str, list[PipPackage]] = {}
    for package in packages:
        by_index.setdefault(package.index, []).append(package)
    if by_index and effects.offline:
        said = "where the index serves its files is not known, and `--offline` lets nobody be asked"
        raise UnavailableError(said, "run without it once")
    known, found = collect_index_urls(pip), {}
    for index, wanted in sorted(by_index.items()):
        pages = SimpleIndex(known.get(index) or find_default_index(effects), effects.environment).files(
            sorted({each.name for each in wanted})
        )
        for package in wanted:
            rows = (row for row in pages[package.name] if row.name == package.file)
            url = next((row.url for row in rows if row.sha256 in ("", package.sha256)), "")
            if not url:
                said = f"the index has no `{package.file}` with the hash that is locked"
                raise UnavailableError(said, "run `envcompile lock -U`")
            parts = urlsplit(url)
            if parts.query:
                # Signed for an hour or a person: it would not be good for long, or for anybody else.
                said = f"the index serves `{package.file}` at an address with a query, which may be a secret"
                raise UnavailableError(said, "give the place of its files: `envcompile export --files URL`")
            found[package.sha256] = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    return found
