"""What apt would find in an image: the packages that are installed, and the key that signs the archive."""

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

_DPKG_STATUS = "var/lib/dpkg/status"


class DebianSystem(NamedTuple):
    """The installed packages of an image (dpkg's status, as text) and the keyring of its archive; None is not there.

    `created` is RFC 3339, as the image says of itself.
    """

    created: str | None
    status: str | None
    keyring: bytes | None


@dataclass(slots=True)
class DebianFiles:
    """Files of an image as its layers show them, the uppermost first. `keyring` is a path without a slash in front."""

    keyring: str
    contents: dict[str, bytes | str] = field(default_factory=dict)  # a string is where a link leads
    has_skipped_layer: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything is there."""
        return _DPKG_STATUS in self.contents and isinstance(self.contents.get(self._resolve_keyring_link()), bytes)

    def wants_path(self, path: str) -> bool:
        """The status, and the keyring's whole folder: in newer releases the keyring is a link to one beside it."""
        return path == _DPKG_STATUS or path.startswith(self.keyring.rpartition("/")[0] + "/")

    def add_file(self, path: str, content: bytes) -> None:
        """Take in a file: what a layer above had stays."""
        self.contents = {path: content, **self.contents}

    def add_link(self, path: str, target: str) -> None:
        """Take in a symbolic link."""
        self.contents = {path: target, **self.contents}

    def end_layer(self) -> None:
        """Nothing waits for the end of a layer."""

    def skip_layer(self) -> None:
        """What is in a layer that is not read is not known: nor is what lies below it."""
        self.has_skipped_layer = True

    def create_debian_system(self, created: str | None) -> DebianSystem:
        """What was found."""
        status, keyring = self.contents.get(_DPKG_STATUS), self.contents.get(self._resolve_keyring_link())
        return DebianSystem(
            created,
            status.decode("utf-8", "replace") if isinstance(status, bytes) else None,
            keyring if isinstance(keyring, bytes) else None,
        )

    def _resolve_keyring_link(self) -> str:
        target = self.contents.get(self.keyring)
        return f"{self.keyring.rpartition('/')[0]}/{target}" if isinstance(target, str) else self.keyring


# Reading an image's operating system, C library and Python out of its layers, without unpacking them to disk.


_CHUNK_BYTES = 1 << 16
_MAX_UNPACKED_BYTES = 8 << 30  # of one layer
_MAX_FILE_BYTES = 32 << 20  # of one file that is looked into; a large image's dpkg status has 2 MB
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_OS_RELEASE_PATHS = ("etc/os-release", "usr/lib/os-release")  # the first, where it is no link, wins
_DPKG_STATUS_PATH = "var/lib/dpkg/status"
_DPKG_STATUS_FOLDER = "var/lib/dpkg/status.d/"  # images without dpkg itself: one file per package (distroless)
_LIBC_PATH = re.compile(r"(?:usr/)?lib(?:64)?/(?:[^/]+-linux-gnu[^/]*/)?libc(?:\.so\.6|-2\.[0-9]+\.so)")
_LIBC_BANNER = re.compile(rb"GNU C Library [^\n]{0,200}release version (2\.[0-9]{1,2})\b")
_PYTHON_PATH = "usr/bin/python3"
_PACKAGE_NAMES = re.compile(r"libc6|python3|python3-minimal|python3\.[0-9]{1,2}-minimal")

# What is taken over from an image ends up in the lock: nothing but these shapes.
_OS_NAME = re.compile(r"[a-z][a-z0-9]*-[0-9]+(?:\.[0-9]+)*")


class LayerVisitor(Protocol):
    """Whoever wants something of an image's layers. Paths have no slash in front."""

    def wants_path(self, path: str) -> bool:
        """Whether the file or the symbolic link is to be handed over."""

    def add_file(self, path: str, content: bytes) -> None:
        """Take in a file of a layer."""

    def add_link(self, path: str, target: str) -> None:
        """Take in a symbolic link of a layer."""

    def end_layer(self) -> None:
        """One layer was read to its end, or as far as it could be."""

    def skip_layer(self) -> None:
        """A layer is not read, or not to its end."""


@dataclass(slots=True)
class ImageFacts:
    """What the layers seen so far tell. What is known already stays: see the uppermost layer first, or the lowest."""

    os_releases: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    libc_version: str | None = None
    python_link: str | None = None  # where /usr/bin/python3 leads
    has_status: bool = False  # all of dpkg's packages are known: lower layers' lists are out of date
    is_reading_status: bool = False  # they are in the layer that is being read
    has_skipped_layer: bool = False  # a layer above was not read: that some package is not there is not certain

    @property
    def os(self) -> str | None:
        """`debian-12`: ID and VERSION_ID of os-release."""
        text = next((self.os_releases[path] for path in _OS_RELEASE_PATHS if path in self.os_releases), "")
        values = [
            re.search(rf"^{key}=([\"']?)([^\"'\s]+)\1[ \t]*$", text, re.MULTILINE) for key in ("ID", "VERSION_ID")
        ]
        name = "-".join(found[2] for found in values if found)
        return name if _OS_NAME.fullmatch(name) else None

    @property
    def glibc(self) -> str | None:
        """`2.36`: of Debian's package, else as the library itself says."""
        found = re.match(r"(?:[0-9]+:)?(2\.[0-9]{1,2})\b", self.packages.get("libc6", ""))
        return found[1] if found else self.libc_version

    @property
    def python(self) -> tuple[str, str] | None:
        """Exact version and path of Debian's python3, else of the one python3.X there is."""
        minors = [name[: -len("-minimal")] for name in self.packages if re.fullmatch(r"python3\.[0-9]+-minimal", name)]
        default = self.packages.get("python3-minimal") or self.packages.get("python3") or ""
        usual = re.match(r"3\.[0-9]{1,2}\b", default)
        wanted = self.python_link or (f"python{usual[0]}" if usual else None)
        path = f"/{_PYTHON_PATH}"
        if wanted is None and len(minors) == 1:  # no python3 that is known of, but python3.11-minimal has a python3.11
            wanted, path = minors[0], f"/usr/bin/{minors[0]}"
        version = self.packages.get(f"{wanted}-minimal", "")
        exact = re.match(r"(?:[0-9]+:)?(3\.[0-9]{1,2}\.[0-9]{1,2})(?=[-+]|$)", version)
        return None if self.has_skipped_layer or exact is None else (exact[1], path)

    def skip_layer(self) -> None:
        """A layer is not read."""
        self.has_skipped_layer |= not self.has_status

    def end_layer(self) -> None:
        """One layer is read."""
        self.has_status |= self.is_reading_status

    def wants_path(self, path: str) -> bool:
        """Whether a file tells something."""
        return (
            path in (*_OS_RELEASE_PATHS, _DPKG_STATUS_PATH, _PYTHON_PATH)
            or path.startswith(_DPKG_STATUS_FOLDER)
            or _LIBC_PATH.fullmatch(path) is not None
        )

    def add_link(self, path: str, target: str) -> None:
        """Take in a symbolic link of a layer."""
        if path == _PYTHON_PATH:
            self.python_link = self.python_link or target.rsplit("/", maxsplit=1)[-1]

    def add_file(self, path: str, content: bytes) -> None:
        """Take in one file of a layer."""
        text = content.decode("utf-8", "replace")
        if path in _OS_RELEASE_PATHS:
            self.os_releases = {path: text, **self.os_releases}
        elif path.startswith(_DPKG_STATUS_PATH):
            self.is_reading_status |= path == _DPKG_STATUS_PATH
            self.packages = self.packages if self.has_status else {**_parse_installed_packages(text), **self.packages}
        elif path != _PYTHON_PATH and (found := _LIBC_BANNER.search(content)):
            self.libc_version = self.libc_version or found[1].decode("ascii")


class HashingReader:
    """A body that is hashed while it is read, and ends one byte after `size` at the latest."""

    def __init__(self, body: ReadableBody, size: int) -> None:
        self._body = body
        self._remaining = size + 1
        self._hash = hashlib.sha256()
        self._ahead = b""

    def read(self, amount: int) -> bytes:
        """Up to so many bytes."""
        if self._ahead:
            piece, self._ahead = self._ahead[:amount], self._ahead[amount:]
            return piece
        piece = self._body.read(min(amount, self._remaining))
        self._remaining -= len(piece)
        self._hash.update(piece)
        return piece

    def peek(self) -> bytes:
        """The first four bytes, which stay to be read."""
        head = b""
        while len(head) < len(_ZSTD_MAGIC) and (piece := self.read(len(_ZSTD_MAGIC) - len(head))):
            head += piece
        self._ahead = head
        return head

    def read_digest(self) -> str:
        """The digest of the whole, what is left of it included."""
        while self.read(_CHUNK_BYTES):
            pass
        return f"sha256:{self._hash.hexdigest()}"


def read_layer(blob: HashingReader, clues: LayerVisitor) -> None:
    """Read one layer, a tar or a gzipped tar. One that is something else, or broken, counts as skipped."""
    head = blob.peek()
    try:
        if head.startswith(_ZSTD_MAGIC):
            clues.skip_layer()
        elif head.startswith(_GZIP_MAGIC):
            with gzip.GzipFile(
                fileobj=cast("IO[bytes]", blob)
            ) as unpacked:  # of several members too, which tarfile's own cannot
                _visit_members(unpacked, clues)
        else:
            _visit_members(blob, clues)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError):
        clues.skip_layer()
    clues.end_layer()


def _visit_members(unpacked: ReadableBody, clues: LayerVisitor) -> None:
    """Hand over every file and link of a layer that is wanted."""
    with tarfile.open(fileobj=cast("IO[bytes]", _LimitedReader(unpacked)), mode="r|", bufsize=_CHUNK_BYTES) as archive:
        for member in archive:
            path = re.sub(r"^(?:\./|/)+", "", member.name)
            if member.issym() and clues.wants_path(path):
                clues.add_link(path, member.linkname)
            elif member.isreg() and clues.wants_path(path) and (file := archive.extractfile(member)):
                clues.add_file(path, file.read(_MAX_FILE_BYTES))


class _LimitedReader:
    """Unpacked bytes, up to the cap: a few megabytes of zeros may grow a thousandfold."""

    def __init__(self, unpacked: ReadableBody) -> None:
        self._unpacked = unpacked
        self._remaining = _MAX_UNPACKED_BYTES

    def read(self, amount: int) -> bytes:
        piece = self._unpacked.read(amount)
        self._remaining -= len(piece)
        if self._remaining < 0:
            raise tarfile.ReadError
        return piece


def _parse_installed_packages(text: str) -> dict[str, str]:
    """The packages that matter of a dpkg status file (Debian policy, control files), by name, with their versions."""
    found: dict[str, str] = {}
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): *(.*?) *$", paragraph, re.MULTILINE))
        installed = fields.get("Status", "ok installed").endswith("ok installed")
        if installed and _PACKAGE_NAMES.fullmatch(fields.get("Package", "")):
            found.setdefault(fields["Package"], fields.get("Version", ""))
    return found
