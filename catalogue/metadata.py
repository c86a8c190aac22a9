"""What a wheel requires, without the wheel: its metadata beside it (PEP 658), else the bytes of it that hold them."""

from __future__ import annotations

import io
import re
import zipfile
from email.parser import HeaderParser
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from envcompile.diagnostics.errors import UnavailableError

if TYPE_CHECKING:
    from envcompile.resolve.pip.simple_index import IndexFile, SimpleIndex

_TAIL = 64 << 10  # the end of a zip, with the place of its table of contents
_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+)")


def requirements(index: SimpleIndex, project: str, file: IndexFile) -> tuple[Requirement, ...]:
    """The requirements of a wheel of a project, markers and all. Raises `UnavailableError`."""
    if file.has_metadata:
        text = index.fetch_content(project, f"{file.url}.metadata")[0].decode()
    else:
        try:
            with zipfile.ZipFile(io.BufferedReader(_Remote(index, project, file))) as wheel:
                name = next(name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
                text = wheel.read(name).decode()
        except (zipfile.BadZipFile, StopIteration):
            raise UnavailableError(f"`{file.name}` is no wheel with metadata") from None
    rows = HeaderParser().parsestr(text).get_all("Requires-Dist", [])
    try:
        return tuple(Requirement(row) for row in rows)
    except InvalidRequirement as problem:
        first = str(problem).partition("\n")[0]
        raise UnavailableError(f"a requirement of `{file.name}` cannot be read: {first}") from None


class _Remote(io.RawIOBase):
    """A file of an index as one that is open for reading: only what is read is asked for."""

    def __init__(self, index: SimpleIndex, project: str, file: IndexFile) -> None:
        super().__init__()
        self._index, self._project, self._url = index, project, file.url
        self._at = 0
        tail, told = self._ask(f"bytes=-{_TAIL}")
        found = _RANGE.fullmatch(told)
        # Without a range in the answer it is the whole file: few bytes, or a server that cannot give less.
        self._start, self._size = (int(found[1]), int(found[2])) if found else (0, len(tail))
        self._tail = tail

    def _ask(self, span: str) -> tuple[bytes, str]:
        return self._index.fetch_content(self._project, self._url, span)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # typeshed's Buffer is of Python 3.12
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        if self._at >= self._start:
            piece = self._tail[self._at - self._start : end - self._start]
        else:
            piece, told = self._ask(f"bytes={self._at}-{end - 1}")
            if not told.startswith(f"bytes {self._at}-"):
                raise UnavailableError("the package index gives another part of a file than was asked for")
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
