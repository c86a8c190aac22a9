"""Small sdists, made here: the same bytes each time."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Sdist:
    """One sdist of an index: `files` are texts by their paths in its one folder."""

    name: str
    version: str
    files: tuple[tuple[str, str], ...]
    uploaded: str = "2024-01-01T00:00:00.000000Z"
    yanked: bool = False
    python: str = ""

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.name.replace('-', '_')}-{self.version}.tar.gz"

    def content(self) -> bytes:
        """The archive."""
        written = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=written, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for path, text in self.files:
                info = tarfile.TarInfo(f"{self.file.removesuffix('.tar.gz')}/{path}")
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        return written.getvalue()

    def metadata(self) -> str:
        """No index has metadata beside an sdist."""
        return ""

    def sha256(self) -> str:
        """Of the archive, in hexadecimal digits."""
        return hashlib.sha256(self.content()).hexdigest()


def metadata(name: str, version: str, *lines: str, form: str = "2.2") -> tuple[str, str]:
    """Its PKG-INFO."""
    return "PKG-INFO", "\n".join([f"Metadata-Version: {form}", f"Name: {name}", f"Version: {version}", *lines, ""])


def system(*requires: str, backend: str = "setuptools.build_meta") -> tuple[str, str]:
    """Its pyproject.toml."""
    return "pyproject.toml", f'[build-system]\nrequires = {list(requires)}\nbuild-backend = "{backend}"\n'
