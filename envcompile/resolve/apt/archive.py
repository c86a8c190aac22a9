"""Download the package indexes of a Debian or Ubuntu archive at a snapshot, and check hashes and signatures.

InRelease is the signed list of the index files with their hashes. During the build, apt checks its signature with the
keyring in the base image. So a forged index could only cause a lock that does not build, or one with unnecessary
packages of the distribution. If this machine has gpgv, locking makes the same check with the same keyring, which is
read from the base image by digest; keys of this machine are not used. Without gpgv (macOS, Windows), the index is
protected by TLS only, and the user is warned.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import re
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import CheckFailedError, UnavailableError
from envcompile.net.http import Request, create_body_reader
from envcompile.net.process import ProgramNotFoundError
from envcompile.plan.apt import format_snapshot_timestamp
from envcompile.project.files import temporary_folder, write_bytes
from envcompile.registry.reference import find_registry_url
from envcompile.resolve.apt.closure import PackageIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envcompile.net.http import HttpClient
    from envcompile.plan.apt import DistributionRelease, SnapshotArchive
    from envcompile.resolve.model import Effects

_SIGNED_MESSAGE_START = "-----BEGIN PGP SIGNED MESSAGE-----\n"
_SIGNATURE_START = "\n-----BEGIN PGP SIGNATURE-----\n"
_FILE_ROW = re.compile(r"^ ([0-9a-f]{64}) +([0-9]{1,18}) +(\S+)$", re.MULTILINE)
_MAX_IN_RELEASE_BYTES = 8 << 20
_MAX_INDEX_BYTES = 128 << 20  # of a compressed index; the largest one of Debian has 9 MB, of Ubuntu 20 MB
_MAX_UNPACKED_BYTES = 1 << 30
_INDEX_TIMEOUT_SECONDS = 900.0  # seconds for one index: snapshot services are slow


class ArchiveIndexFile(NamedTuple):
    """The sha256 and the size in bytes of an index file."""

    sha256: str
    size: int


class ArchiveRelease(NamedTuple):
    """The content of an InRelease: the names of the suite, its date (RFC 3339 in UTC), and its index files by path."""

    names: frozenset[str]
    date: str
    files: dict[str, ArchiveIndexFile]


class SignatureError(Exception):
    """The InRelease is not signed with a key of the keyring."""


def parse_in_release(text: str) -> ArchiveRelease:
    """Parse the signed part of an InRelease. Raises `ValueError` if the text is not a valid InRelease."""
    start = text.find("\n\n", len(_SIGNED_MESSAGE_START))
    end = text.find(_SIGNATURE_START, start)
    if not text.startswith(_SIGNED_MESSAGE_START) or start < 0 or end < 0:
        raise ValueError("not a signed index")
    body = text[start + 2 : end + 1]
    head = dict(re.findall(r"^(Codename|Suite|Date): (.*)$", body, re.MULTILINE))
    checksums = body.partition("\nSHA256:\n")[2]
    # The list ends at the next field.
    checksums = re.split(r"^\S", checksums, maxsplit=1, flags=re.MULTILINE)[0]
    files = {path: ArchiveIndexFile(sha256, int(size)) for sha256, size, path in _FILE_ROW.findall(checksums)}
    date = parsedate_to_datetime(head.get("Date", "")).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ArchiveRelease(frozenset({head.get("Codename", ""), head.get("Suite", "")}), date, files)


def verify_signature(text: str, keyring: bytes, effects: Effects) -> bool:
    """Check the signature of an InRelease. Returns False if this machine has no gpgv, so that nothing is checked.

    Raises `SignatureError` if the file is not signed with a key of the keyring. As in apt, one good signature suffices
    if none is bad: releases are signed with the keys of several years, and an older image does not have all of them.
    """
    with temporary_folder() as path:
        folder = str(path)
        Path(folder, "keyring.gpg").write_bytes(keyring)
        # As bytes, because text mode would change line endings on Windows.
        Path(folder, "InRelease").write_bytes(text.encode())
        argv = ("gpgv", "--status-fd", "2", "--keyring", f"{folder}/keyring.gpg", f"{folder}/InRelease")
        try:
            status = effects.run(argv, folder, {**effects.environment, "LC_ALL": "C", "GNUPGHOME": folder}).stderr
        except ProgramNotFoundError:
            return False
    keywords = {line.split()[1] for line in status.splitlines() if line.startswith("[GNUPG:] ")}
    if "VALIDSIG" not in keywords or "BADSIG" in keywords:
        raise SignatureError
    return True


# Downloads.


class ArchiveClient:
    """A client for archives. `mirrors` maps a host to its mirror, and `cache` is a folder for index files.

    `warn` is called once if signatures cannot be checked on this machine.
    """

    def __init__(
        self, http: HttpClient, mirrors: Mapping[str, str], cache: Path, effects: Effects, warn: Callable[[str], None]
    ) -> None:
        self._http, self._mirrors, self._cache, self._effects, self._warn = http, mirrors, cache, effects, warn
        self._releases: dict[str, ArchiveRelease] = {}
        self._has_warned = False

    def read_indexes(
        self, release: DistributionRelease, snapshot: str, architecture: str, keyring: bytes
    ) -> tuple[PackageIndex, ...]:
        """Return the index of each suite and component for an architecture, such as `amd64`.

        Raises `UnavailableError` if an index cannot be downloaded, or has the wrong hash, signature or date.
        """
        indexes = []
        for archive in release.archives:
            for suite in archive.suites:
                root = f"{find_registry_url(archive.host, self._mirrors)}/{archive.path}"
                base = f"{root}/{format_snapshot_timestamp(snapshot)}/dists/{suite}"
                signed = self._read_release(base, archive, suite, snapshot, keyring)
                for component in release.components:
                    path = f"{component}/binary-{architecture}/Packages.xz"
                    indexes.append(PackageIndex(self._read_package_index(base, path, archive, signed)))
        return tuple(indexes)

    def _read_release(
        self, base: str, archive: SnapshotArchive, suite: str, snapshot: str, keyring: bytes
    ) -> ArchiveRelease:
        if base in self._releases:
            return self._releases[base]
        text = self._download_file(f"{base}/InRelease", _MAX_IN_RELEASE_BYTES, archive).decode("utf-8", "replace")
        try:
            signed, checked = parse_in_release(text), verify_signature(text, keyring, self._effects)
        except ValueError:
            raise _create_archive_error(archive, f"InRelease of `{suite}` is not a signed file") from None
        except SignatureError:
            problem = f"InRelease of `{suite}` is not signed with a key in the base image"
            raise _create_archive_error(archive, problem) from None
        if suite not in signed.names:
            raise _create_archive_error(archive, f"InRelease of `{suite}` belongs to another suite")
        if signed.date > snapshot:
            raise _create_archive_error(
                archive, f"InRelease of `{suite}` has the date {signed.date}, which is after the snapshot {snapshot}"
            )
        if not checked and not self._has_warned:
            self._has_warned = True
            self._warn("cannot check the signature of the archive without `gpgv`; the build checks it")
        self._releases[base] = signed
        return signed

    def _read_package_index(self, base: str, path: str, archive: SnapshotArchive, signed: ArchiveRelease) -> str:
        """Return the text of an index file from the cache or the archive, with its hash checked."""
        if path not in signed.files:
            raise _create_archive_error(archive, f"InRelease does not list `{path}`")
        sha256, size = signed.files[path]
        cache_file = self._cache / "apt" / sha256
        with contextlib.suppress(OSError):
            packed = cache_file.read_bytes()
            if hashlib.sha256(packed).hexdigest() == sha256:
                return _decompress_index(packed, archive)
        packed = self._download_file(f"{base}/{path}", min(size, _MAX_INDEX_BYTES), archive)
        if hashlib.sha256(packed).hexdigest() != sha256:
            raise _create_archive_error(archive, f"`{path}` does not have the hash in InRelease")
        text = _decompress_index(packed, archive)
        _write_cache_file(cache_file, packed)
        return text

    def _download_file(self, url: str, max_bytes: int, archive: SnapshotArchive) -> bytes:
        if self._effects.offline:
            message = f"the package index of `{archive.host}` must be downloaded, and `--offline` is set"
            raise UnavailableError(message, "run once without `--offline`")
        hint = "check `snapshot` in the spec, and `[mirrors]` in your settings"
        response = self._http.send(
            Request(url, {}, total_timeout=_INDEX_TIMEOUT_SECONDS, hint=hint), create_body_reader(max_bytes)
        )
        if response.value is None:
            raise UnavailableError(f"cannot download `{url}` (HTTP {response.status})", hint)
        return response.value


def _decompress_index(packed: bytes, archive: SnapshotArchive) -> str:
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        data = unpacker.decompress(packed, _MAX_UNPACKED_BYTES)
    except lzma.LZMAError:
        data = b""
    if not unpacker.eof:
        raise _create_archive_error(archive, "an index file is not a complete xz file")
    return data.decode("utf-8", "replace")


def _write_cache_file(path: Path, data: bytes) -> None:
    """Write a file into the cache. An error is ignored, because the cache only saves downloads."""
    with contextlib.suppress(OSError, CheckFailedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)


def _create_archive_error(archive: SnapshotArchive, problem: str) -> UnavailableError:
    return UnavailableError(f"`{archive.host}` is not a valid archive: {problem}", "check `[mirrors]` in your settings")
