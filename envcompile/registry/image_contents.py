"""The files in the layers of an image, read from the compressed stream without unpacking it to disk.

`read_layer` passes the files of one layer to a visitor. `ImageFacts` finds the operating system, the C library and
Python; `DebianFiles` finds the installed packages, and the keyring of the distribution's archive.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from envcompile.net.http import ReadableBody

_CHUNK_BYTES = 1 << 16
_MAX_UNPACKED_BYTES = 8 << 30  # of one layer
_MAX_FILE_BYTES = 32 << 20  # of one file that a visitor receives; the dpkg status of a large image has 2 MB
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_DPKG_STATUS_PATH = "var/lib/dpkg/status"
_DPKG_STATUS_FOLDER = "var/lib/dpkg/status.d/"  # images without dpkg itself (distroless): one file per package
_OS_RELEASE_PATHS = ("etc/os-release", "usr/lib/os-release")  # the first is used unless it is a link
_LIBC_PATH = re.compile(r"(?:usr/)?lib(?:64)?/(?:[^/-]+-linux-gnu[^/]*/)?libc(?:\.so\.6|-2\.[0-9]+\.so)")
_LIBC_BANNER = re.compile(rb"GNU C Library [^\n]{0,200}release version (2\.[0-9]{1,2})\b")
_PYTHON_PATH = "usr/bin/python3"
_PACKAGE_NAMES = re.compile(r"libc6|python3|python3-minimal|python3\.[0-9]{1,2}-minimal")
# These values end up in the lock, so their form is checked.
_OS_NAME = re.compile(r"[a-z][a-z0-9]*-[0-9]+(?:\.[0-9]+)*")


class LayerVisitor(Protocol):
    """Collects something from the layers of an image. Paths have no leading slash."""

    def wants_path(self, path: str) -> bool:
        """Whether to call `add_file` or `add_link` for a path."""

    def add_file(self, path: str, content: bytes) -> None:
        """Process the content of a file in the layer."""

    def add_link(self, path: str, target: str) -> None:
        """Process a symbolic link in the layer."""

    def end_layer(self) -> None:
        """Called after each layer that `read_layer` has received, even if it called `skip_layer`."""

    def skip_layer(self) -> None:
        """Called if a layer was not read, or not to its end."""


def read_layer(blob: HashingReader, visitor: LayerVisitor) -> None:
    """Read one layer, a tar or a gzipped tar. A layer in another format, or a broken one, counts as skipped."""
    head = blob.peek()
    try:
        if head.startswith(_ZSTD_MAGIC):
            visitor.skip_layer()
        elif head.startswith(_GZIP_MAGIC):
            # Unlike the gzip reader of tarfile, this one reads all members of a gzip file.
            with gzip.GzipFile(fileobj=cast("IO[bytes]", blob)) as unpacked:
                _visit_members(unpacked, visitor)
        else:
            _visit_members(blob, visitor)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError):
        visitor.skip_layer()
    visitor.end_layer()


def _visit_members(unpacked: ReadableBody, visitor: LayerVisitor) -> None:
    with tarfile.open(fileobj=cast("IO[bytes]", _LimitedReader(unpacked)), mode="r|", bufsize=_CHUNK_BYTES) as archive:
        for member in archive:
            path = re.sub(r"^(?:\./|/)+", "", member.name)
            if member.issym() and visitor.wants_path(path):
                visitor.add_link(path, member.linkname)
            elif member.isreg() and visitor.wants_path(path) and (file := archive.extractfile(member)):
                visitor.add_file(path, file.read(_MAX_FILE_BYTES))


class HashingReader:
    """A body that is hashed while it is read. At most `size` + 1 bytes of it are read."""

    def __init__(self, body: ReadableBody, size: int) -> None:
        self._body = body
        self._remaining = size + 1
        self._hash = hashlib.sha256()
        self._ahead = b""

    def read(self, amount: int) -> bytes:
        """Return at most `amount` bytes."""
        if self._ahead:
            piece, self._ahead = self._ahead[:amount], self._ahead[amount:]
            return piece
        piece = self._body.read(min(amount, self._remaining))
        self._remaining -= len(piece)
        self._hash.update(piece)
        return piece

    def peek(self) -> bytes:
        """Return the first four bytes, which the next `read` returns again."""
        head = b""
        while len(head) < len(_ZSTD_MAGIC) and (piece := self.read(len(_ZSTD_MAGIC) - len(head))):
            head += piece
        self._ahead = head
        return head

    def read_digest(self) -> str:
        """Read the rest of the body, and return the digest of the whole."""
        while self.read(_CHUNK_BYTES):
            pass
        return f"sha256:{self._hash.hexdigest()}"


class _LimitedReader:
    """Reads unpacked bytes up to a limit, because a few compressed megabytes may unpack to a thousand times as many.

    Raises `tarfile.ReadError` beyond the limit.
    """

    def __init__(self, unpacked: ReadableBody) -> None:
        self._unpacked = unpacked
        self._remaining = _MAX_UNPACKED_BYTES

    def read(self, amount: int) -> bytes:
        piece = self._unpacked.read(amount)
        self._remaining -= len(piece)
        if self._remaining < 0:
            raise tarfile.ReadError
        return piece


@dataclass(slots=True)
class ImageFacts:
    """A visitor that finds the operating system, the C library and Python.

    A fact that is already known is not replaced. So if several layers may contain a fact, the uppermost must be first.
    """

    os_releases: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    libc_version: str | None = None
    python_link: str | None = None  # the target of /usr/bin/python3
    has_status: bool = False  # all packages of dpkg are known, and the lists in lower layers are out of date
    is_reading_status: bool = False  # the list of all packages is in the layer that is being read
    has_skipped_layer: bool = False  # an upper layer was not read, so a package may have been removed

    @property
    def os(self) -> str | None:
        """ID and VERSION_ID of os-release, such as `debian-12`."""
        text = next((self.os_releases[path] for path in _OS_RELEASE_PATHS if path in self.os_releases), "")
        values = [
            re.search(rf"^{key}=([\"']?)([^\"'\s]+)\1[ \t]*$", text, re.MULTILINE) for key in ("ID", "VERSION_ID")
        ]
        name = "-".join(found[2] for found in values if found)
        return name if _OS_NAME.fullmatch(name) else None

    @property
    def glibc(self) -> str | None:
        """The version of Debian's package `libc6` (`2.36`); without it, the version that the library itself states."""
        found = re.match(r"(?:[0-9]+:)?(2\.[0-9]{1,2})\b", self.packages.get("libc6", ""))
        return found[1] if found else self.libc_version

    @property
    def python(self) -> tuple[str, str] | None:
        """The exact version and the path of Debian's python3, or of the only python3.X if there is no python3."""
        minors = [name[: -len("-minimal")] for name in self.packages if re.fullmatch(r"python3\.[0-9]+-minimal", name)]
        default = self.packages.get("python3-minimal") or self.packages.get("python3") or ""
        default_minor = re.match(r"3\.[0-9]{1,2}\b", default)
        name = self.python_link or (f"python{default_minor[0]}" if default_minor else None)
        path = f"/{_PYTHON_PATH}"
        if name is None and len(minors) == 1:  # no python3, but for example python3.11 of python3.11-minimal
            name, path = minors[0], f"/usr/bin/{minors[0]}"
        version = self.packages.get(f"{name}-minimal", "")
        exact = re.match(r"(?:[0-9]+:)?(3\.[0-9]{1,2}\.[0-9]{1,2})(?=[-+]|$)", version)
        return None if self.has_skipped_layer or exact is None else (exact[1], path)

    def wants_path(self, path: str) -> bool:
        """See `LayerVisitor`."""
        return (
            path in (*_OS_RELEASE_PATHS, _DPKG_STATUS_PATH, _PYTHON_PATH)
            or path.startswith(_DPKG_STATUS_FOLDER)
            or _LIBC_PATH.fullmatch(path) is not None
        )

    def add_file(self, path: str, content: bytes) -> None:
        """See `LayerVisitor`."""
        text = content.decode("utf-8", "replace")
        if path in _OS_RELEASE_PATHS:
            self.os_releases = {path: text, **self.os_releases}
        elif path.startswith(_DPKG_STATUS_PATH):
            self.is_reading_status |= path == _DPKG_STATUS_PATH
            self.packages = self.packages if self.has_status else {**_parse_installed_packages(text), **self.packages}
        elif path != _PYTHON_PATH and (found := _LIBC_BANNER.search(content)):
            self.libc_version = self.libc_version or found[1].decode("ascii")

    def add_link(self, path: str, target: str) -> None:
        """See `LayerVisitor`."""
        if path == _PYTHON_PATH:
            self.python_link = self.python_link or target.rsplit("/", maxsplit=1)[-1]

    def end_layer(self) -> None:
        """See `LayerVisitor`."""
        self.has_status |= self.is_reading_status

    def skip_layer(self) -> None:
        """See `LayerVisitor`."""
        self.has_skipped_layer |= not self.has_status


def _parse_installed_packages(text: str) -> dict[str, str]:
    """Package -> version in a dpkg status file (Debian policy, control files), for installed `_PACKAGE_NAMES` only."""
    packages: dict[str, str] = {}
    for paragraph in text.split("\n\n"):
        rows = re.findall(r"^(Package|Version|Status):(.*)$", paragraph, re.MULTILINE)
        fields = {name: value.strip(" ") for name, value in rows}
        is_installed = fields.get("Status", "ok installed").endswith("ok installed")
        if is_installed and _PACKAGE_NAMES.fullmatch(fields.get("Package", "")):
            packages.setdefault(fields["Package"], fields.get("Version", ""))
    return packages


class DebianSystem(NamedTuple):
    """The installed packages of an image (dpkg's status as text) and the keyring of its archive; each None if missing.

    `created` is the image's time of creation (RFC 3339).
    """

    created: str | None
    status: str | None
    keyring: bytes | None


@dataclass(slots=True)
class DebianFiles:
    """A visitor that finds dpkg's status, and the keyring at the path `keyring`. The uppermost layer must be first."""

    keyring: str
    contents: dict[str, bytes | str] = field(default_factory=dict)  # a string is the target of a link
    has_skipped_layer: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether both files are found."""
        return _DPKG_STATUS_PATH in self.contents and isinstance(self.contents.get(self._resolve_keyring_link()), bytes)

    def create_debian_system(self, created: str | None) -> DebianSystem:
        """The contents of the files that were found."""
        status, keyring = self.contents.get(_DPKG_STATUS_PATH), self.contents.get(self._resolve_keyring_link())
        return DebianSystem(
            created,
            status.decode("utf-8", "replace") if isinstance(status, bytes) else None,
            keyring if isinstance(keyring, bytes) else None,
        )

    def wants_path(self, path: str) -> bool:
        """See `LayerVisitor`. Wants the keyring's whole folder, where the keyring is a link in newer releases."""
        return path == _DPKG_STATUS_PATH or path.startswith(self.keyring.rpartition("/")[0] + "/")

    def add_file(self, path: str, content: bytes) -> None:
        """See `LayerVisitor`. A file that is already known is from an upper layer, so it is not replaced."""
        self.contents = {path: content, **self.contents}

    def add_link(self, path: str, target: str) -> None:
        """See `LayerVisitor`."""
        self.contents = {path: target, **self.contents}

    def end_layer(self) -> None:
        """See `LayerVisitor`."""

    def skip_layer(self) -> None:
        """See `LayerVisitor`. A skipped layer may replace files of lower layers, so those must not be used."""
        self.has_skipped_layer = True

    def _resolve_keyring_link(self) -> str:
        target = self.contents.get(self.keyring)
        return f"{self.keyring.rpartition('/')[0]}/{target}" if isinstance(target, str) else self.keyring
