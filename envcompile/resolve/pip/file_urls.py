"""The addresses of locked files, read from the pages of their indexes."""

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
    """The address of each package's file by its sha256, without credentials.

    Raises `UnavailableError` if an index does not answer or no longer has the file.
    """
    from envcompile.resolve.pip.simple_index import SimpleIndex  # noqa: PLC0415 - imports `ssl` and `http`
    from envcompile.resolve.pip.uv import find_default_index  # noqa: PLC0415 - only uv knows the default index

    by_index: dict[str, list[PipPackage]] = {}
    for package in packages:
        by_index.setdefault(package.index, []).append(package)
    if by_index and effects.offline:
        message = "the addresses of the files are not known, and `--offline` forbids reading them from the index"
        raise UnavailableError(message, "run it without `--offline` once")
    known, urls = collect_index_urls(pip), {}
    for index, wanted in sorted(by_index.items()):
        client = SimpleIndex(known.get(index) or find_default_index(effects), effects.environment)
        files = client.fetch_files(sorted({each.name for each in wanted}))
        for package in wanted:
            rows = (row for row in files[package.name] if row.name == package.file)
            url = next((row.url for row in rows if row.sha256 in ("", package.sha256)), "")
            if not url:
                message = f"the index has no `{package.file}` with the locked hash"
                raise UnavailableError(message, "run `envcompile lock -U`")
            parts = urlsplit(url)
            if parts.query:
                # Such an address may be signed: for an hour, or for this user.
                message = f"the index serves `{package.file}` at an address with a query, which may be a secret"
                raise UnavailableError(message, "name the folder of the files: `envcompile export --files URL`")
            urls[package.sha256] = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    return urls
