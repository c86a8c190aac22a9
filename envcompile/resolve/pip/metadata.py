"""Read the metadata and the file list of each wheel from its index, and keep both by hash in the user's cache.

Both are read out of the wheel with range requests, which do not download all of it: the table of contents of a zip
archive and, in nearly all wheels, the metadata are in the last 64 KiB. If a server does not send parts of files, the
metadata is read from a separate file beside the wheel (PEP 658), and the file list remains unknown. If the index does
not have this file, the whole wheel is downloaded.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from envcompile.diagnostics.errors import CheckFailedError, UnavailableError
from envcompile.net.urls import is_web_url
from envcompile.project.files import write_text
from envcompile.resolve.pip.wheel_files import FileContent, list_installed_files, list_top_levels
from envcompile.spec.pip import DEFAULT_INDEX, normalize_name

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping
    from pathlib import Path

    from envcompile.lock.model import PipPackage
    from envcompile.resolve.pip.simple_index import SimpleIndex
    from envcompile.resolve.pip.wheel_files import WheelFiles

_TAIL_BYTES = 64 << 10
MAX_METADATA_BYTES = 8 << 20
# 127 requests took 2.0 s with 4 threads, 0.55 s with 16 and 0.34 s with 32.
_THREADS = 24


class FileTail(NamedTuple):
    """The last bytes of a file, which has `size` bytes."""

    content: bytes
    size: int


class WheelMetadata(NamedTuple):
    """The Requires-Python of a wheel ("" without one), and its Requires-Dist as written.

    `files` are the files that the wheel installs, or None if they are unknown or not read. `top_levels` are the names
    of the modules and folders at the top level of these files, and `unpacked` is the size of all files of the wheel in
    bytes, None if it is unknown.
    """

    requires_python: str
    requires: tuple[str, ...]
    files: WheelFiles | None = None
    top_levels: tuple[str, ...] = ()
    unpacked: int | None = None


def parse_metadata(text: str) -> WheelMetadata:
    """Parse the text of a METADATA file. The description after the first empty line is skipped."""
    from email.parser import HeaderParser  # noqa: PLC0415 - 14 ms, only for a wheel that is not in the cache

    headers = HeaderParser().parsestr(re.split(r"\r?\n\r?\n", text, maxsplit=1)[0])
    return WheelMetadata(
        (headers.get("Requires-Python") or "").strip(), tuple(map(str, headers.get_all("Requires-Dist", [])))
    )


def fetch_metadata(index: SimpleIndex, project: str, url: str, *, with_files: bool = True) -> WheelMetadata:
    """Return the metadata of the wheel at `url`, and its files if the server sends parts of files.

    Without `with_files`, the separate metadata file beside the wheel is preferred, because it is smaller. Raises
    `UnavailableError` if the metadata cannot be read.
    """
    tail = index.fetch_tail(project, url, _TAIL_BYTES) if with_files else None
    if tail is None:
        content = index.fetch_optional_content(project, f"{url}.metadata")
        if content is not None:
            return parse_metadata(content.decode(errors="replace"))
        tail = None if with_files else index.fetch_tail(project, url, _TAIL_BYTES)
    if tail is None:
        whole = index.fetch_content(project, url)[0]
        tail = FileTail(whole, len(whole))
    return _read_wheel(_RemoteFile(index, project, url, tail), project)


def _read_wheel(file: _RemoteFile, project: str) -> WheelMetadata:
    import zipfile  # noqa: PLC0415 - only for a wheel that is not in the cache

    try:
        with zipfile.ZipFile(io.BufferedReader(file, _TAIL_BYTES)) as wheel:
            folder = re.compile(r"([^/]+)-[^/-]+\.dist-info/METADATA")
            names = (name for name in wheel.namelist() if (found := folder.fullmatch(name)) and found[1])
            name = next(name for name in names if normalize_name(name.partition("-")[0]) == project)
            if wheel.getinfo(name).file_size > MAX_METADATA_BYTES:
                raise UnavailableError(f"the metadata of `{project}` has more than {MAX_METADATA_BYTES >> 20} MiB")
            files = list_installed_files(wheel.infolist())
            unpacked = sum(each.file_size for each in wheel.infolist())
            metadata = parse_metadata(wheel.read(name).decode(errors="replace"))
            return metadata._replace(files=files, top_levels=list_top_levels(files), unpacked=unpacked)
    except (zipfile.BadZipFile, StopIteration, NotImplementedError, OSError):
        raise UnavailableError(f"a file of `{project}` is not a wheel with metadata") from None


class _RemoteFile(io.RawIOBase):
    """A file in an index, opened for reading. It requests only the parts that are read."""

    def __init__(self, index: SimpleIndex, project: str, url: str, tail: FileTail) -> None:
        super().__init__()
        self._index, self._project, self._url = index, project, url
        self._position = 0
        self._tail, self._size = tail
        self._start = self._size - len(self._tail)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # typeshed's Buffer is of Python 3.12
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        if self._position >= self._start:
            piece = self._tail[self._position - self._start : end - self._start]
        else:
            span = f"bytes={self._position}-{end - 1}"
            piece, content_range = self._index.fetch_content(self._project, self._url, span)
            if not content_range.startswith(f"bytes {self._position}-"):
                raise UnavailableError("the package index returned another part of a file than was requested")
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


class MetadataReader:
    """Reads the metadata of the wheels of a solution, from the cache or from the indexes.

    `index_urls` are the URLs of the indexes by name, which may contain credentials. For an index that is not in
    `index_urls`, the credentials in netrc for the host of the file are used. `cache` is the folder of the cache, and
    `warn` is called with a message about wheels whose metadata cannot be read.
    """

    def __init__(
        self,
        index_urls: Mapping[str, str],
        environment: Mapping[str, str],
        cache: Path,
        warn: Callable[[str], None],
        *,
        offline: bool = False,
    ) -> None:
        self._index_urls, self._environment = index_urls, environment
        self._cache, self._warn, self._offline = cache, warn, offline
        self._clients: dict[str, SimpleIndex] = {}
        self._files: dict[str, WheelFiles | None] = {}

    def read(
        self, packages: Iterable[PipPackage], urls: Mapping[str, str], known: Container[str] = ()
    ) -> dict[str, WheelMetadata]:
        """Return the metadata of each wheel by its sha256. Wheels whose metadata cannot be read are missing.

        `urls` has the URL of each file by its sha256. There is no warning about a wheel whose sha256 is in `known`.
        """
        wheels = [each for each in packages if each.kind == "wheel"]
        found = {each.sha256: cached for each in wheels if (cached := self._read_cache(each.sha256))}
        missing = [each for each in wheels if each.sha256 not in found]
        if local := [each for each in missing if not is_web_url(urls.get(each.sha256, ""))]:
            self._warn_unread(local, known, "the index does not serve the file over HTTP")
        missing = [each for each in missing if each not in local]
        if not missing:
            return found
        if self._offline:
            self._warn_unread(missing, known, "it is not in the cache, and `--offline` is set")
            return found
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only if the cache does not have it all

        clients = [self._find_client(each.index, urls[each.sha256]) for each in missing]
        failures: dict[str, list[PipPackage]] = {}
        pool = ThreadPoolExecutor(min(_THREADS, len(missing)))
        try:
            results = pool.map(lambda pair: self._fetch(pair[0], pair[1], urls), zip(clients, missing, strict=True))
            for package, result in zip(missing, results, strict=True):
                if isinstance(result, WheelMetadata):
                    found[package.sha256] = result
                else:
                    failures.setdefault(result, []).append(package)
        finally:
            # After an interrupt, do not wait for the other responses.
            pool.shutdown(wait=False, cancel_futures=True)
        for reason, unread in failures.items():
            self._warn_unread(unread, known, reason)
        return found

    def _fetch(self, client: SimpleIndex, package: PipPackage, urls: Mapping[str, str]) -> WheelMetadata | str:
        try:
            metadata = fetch_metadata(client, package.name, urls[package.sha256].partition("#")[0])
        except UnavailableError as error:
            return error.message
        self._files[package.sha256] = metadata.files
        self._write_cache(package.sha256, metadata)
        return metadata

    def _find_client(self, index: str, url: str) -> SimpleIndex:
        parts, root = urlsplit(url), self._index_urls.get(index, "")
        if not root.startswith(("http://", "https://")):
            root = f"{parts.scheme}://{parts.netloc}/"
        if root not in self._clients:
            from envcompile.resolve.pip.simple_index import SimpleIndex  # noqa: PLC0415 - imports `ssl` and `http`

            self._clients[root] = SimpleIndex(root, self._environment)
        return self._clients[root]

    def _warn_unread(self, packages: list[PipPackage], known: Container[str], reason: str) -> None:
        names = [f"`{each.name}`" for each in packages if each.sha256 not in known]
        if not names:
            return
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - three names fit in a line
        self._warn(
            f"the metadata of {', '.join(names[:3])}{more} was not read, so envcompile cannot tell whether "
            f"the locked Python fits: {reason}"
        )

    def read_files(self, sha256: str) -> WheelFiles | None:
        """Return the files of a wheel whose metadata was read, or None if they are unknown."""
        if sha256 in self._files:
            return self._files[sha256]
        try:
            value = json.loads(self._find_cache_file("files", sha256).read_text("utf-8"))
            return {str(path): FileContent(int(size), int(checksum)) for path, (size, checksum) in value.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def _find_cache_file(self, kind: str, sha256: str) -> Path:
        return self._cache / kind / sha256[:2] / f"{sha256}.json"

    def _read_cache(self, sha256: str) -> WheelMetadata | None:
        try:
            value = json.loads(self._find_cache_file("metadata", sha256).read_text("utf-8"))
            lists = (tuple(map(str, value[key])) for key in ("requires-dist", "top-levels"))
            requires, top_levels = lists
            unpacked = None if value["unpacked"] is None else int(value["unpacked"])
            return WheelMetadata(str(value["requires-python"]), requires, top_levels=top_levels, unpacked=unpacked)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # an absent or damaged entry is read again

    def _write_cache(self, sha256: str, metadata: WheelMetadata) -> None:
        """Keep the metadata. A cache that cannot be written is not an error: the next run reads the index again."""
        value = {
            "requires-python": metadata.requires_python,
            "requires-dist": metadata.requires,
            "top-levels": metadata.top_levels,
            "unpacked": metadata.unpacked,
        }
        # The file list is written first, so that each wheel with metadata in the cache also has a file list there. An
        # unknown file list is written as null.
        contents = {"files": metadata.files, "metadata": value}
        for kind, content in contents.items():
            file = self._find_cache_file(kind, sha256)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_text(file, json.dumps(content))
            except (OSError, CheckFailedError):
                return


def find_index_urls(
    index: str | None, extra_indexes: Iterable[tuple[str, str]], environment: Mapping[str, str], user_index: str
) -> dict[str, str]:
    """Return the URLs of the indexes by name, with the credentials in `UV_INDEX_NAME_USERNAME` and `_PASSWORD`, if set.

    `index` is the URL of the default index in the spec, `extra_indexes` are pairs of name and URL, and `user_index` is
    the URL of the default index in the user's environment, or "". If both default URLs are absent, the default index is
    missing in the result.
    """
    default = index or user_index
    urls = {name: url for name, url in ((DEFAULT_INDEX, default), *extra_indexes) if url}
    return {name: _add_credentials(name, url, environment) for name, url in urls.items()}


def _add_credentials(name: str, url: str, environment: Mapping[str, str]) -> str:
    from urllib.parse import quote  # noqa: PLC0415 - with credentials only

    prefix = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', name.upper())}"
    user, password = environment.get(f"{prefix}_USERNAME"), environment.get(f"{prefix}_PASSWORD", "")
    parts = urlsplit(url)
    if not user or "@" in parts.netloc:
        return url
    return parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}").geturl()
