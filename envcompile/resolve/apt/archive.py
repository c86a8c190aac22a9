"""InRelease: the signed list of an archive's index files, and whether it is what it should be.

Whom to believe: the build's apt checks this signature with the keyring that is in the base image, so an index that is
not the distribution's can only make a lock that does not build, or one that adds packages of the distribution that
nobody needs. Where gpgv is on this machine the same check is made when the lock is, with the same keyring, taken out of
the base image by its digest: no key of this machine and none of ours has a say. Where it is not (macOS, Windows), TLS
to the snapshot service is what stands between, and the user is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import re
import tempfile
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import CheckFailedError, UnavailableError
from envcompile.net.http import Request, create_body_reader
from envcompile.net.process import ProgramNotFoundError
from envcompile.plan.apt import format_snapshot_timestamp
from envcompile.project.files import write_bytes
from envcompile.registry.reference import find_registry_url
from envcompile.resolve.apt.closure import PackageIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envcompile.net.http import HttpClient
    from envcompile.plan.apt import DistributionRelease, SnapshotArchive
    from envcompile.resolve.model import Effects

_SIGNED_MESSAGE_START = "-----BEGIN PGP SIGNED MESSAGE-----\n"
_SIGNATURE_START = "\n-----BEGIN PGP SIGNATURE-----\n"
_FILE_ROW = re.compile(r"^ ([0-9a-f]{64}) +([0-9]+) +(\S+)$", re.MULTILINE)


class ArchiveIndexFile(NamedTuple):
    """One index file: its sha256 and its size in bytes."""

    sha256: str
    size: int


class ArchiveRelease(NamedTuple):
    """What an InRelease says: how the suite calls itself, since when (RFC 3339, UTC), and its files by path."""

    names: frozenset[str]
    date: str
    files: dict[str, ArchiveIndexFile]


class SignatureError(Exception):
    """The text is not signed by a key of the keyring."""


def parse_in_release(text: str) -> ArchiveRelease:
    """The signed part of an InRelease, and nothing of what stands around it. Raises ValueError."""
    start = text.find("\n\n", len(_SIGNED_MESSAGE_START))
    end = text.find(_SIGNATURE_START, start)
    if not text.startswith(_SIGNED_MESSAGE_START) or start < 0 or end < 0:
        raise ValueError("not a signed index")
    body = text[start + 2 : end + 1]
    head = dict(re.findall(r"^(Codename|Suite|Date): (.*)$", body, re.MULTILINE))
    listed = body.partition("\nSHA256:\n")[2]
    # The next field ends the list.
    listed = re.split(r"^\S", listed, maxsplit=1, flags=re.MULTILINE)[0]
    files = {path: ArchiveIndexFile(sha256, int(size)) for sha256, size, path in _FILE_ROW.findall(listed)}
    date = parsedate_to_datetime(head.get("Date", "")).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ArchiveRelease(frozenset({head.get("Codename", ""), head.get("Suite", "")}), date, files)


def verify_signature(text: str, keyring: bytes, effects: Effects) -> bool:
    """Whether the signature was checked: False where this machine has no gpgv. Raises `SignatureError`.

    As apt does, one good signature is enough, and one that is bad is too many: releases are signed by the keys of
    several years, not all of which an older image knows.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "keyring.gpg").write_bytes(keyring)
        # What was sent, byte for byte: Python would change line ends on Windows.
        Path(folder, "InRelease").write_bytes(text.encode())
        argv = ("gpgv", "--status-fd", "2", "--keyring", f"{folder}/keyring.gpg", f"{folder}/InRelease")
        try:
            said = effects.run(argv, folder, {**effects.environment, "LC_ALL": "C", "GNUPGHOME": folder}).stderr
        except ProgramNotFoundError:
            return False
    words = {line.split()[1] for line in said.splitlines() if line.startswith("[GNUPG:] ")}
    if "VALIDSIG" not in words or "BADSIG" in words:
        raise SignatureError
    return True


# Reading an archive's index at a moment: over https or from a mirror, every file checked against its signed list.


_MAX_IN_RELEASE_BYTES = 8 << 20
_MAX_INDEX_BYTES = 128 << 20  # compressed; Debian's largest has 9 MB, Ubuntu's 20
_MAX_UNPACKED_BYTES = 1 << 30
_INDEX_TIMEOUT_SECONDS = 900.0  # seconds for one index: snapshot services are slow


class ArchiveClient:
    """The archives as one user sees them: `mirrors` from a host to what is asked in its place, `cache` a folder.

    `tell` is called once when no signature can be checked on this machine.
    """

    def __init__(
        self, web: HttpClient, mirrors: Mapping[str, str], cache: Path, effects: Effects, tell: Callable[[str], None]
    ) -> None:
        self._http, self._mirrors, self._cache, self._effects, self._warn = web, mirrors, cache, effects, tell
        self._releases: dict[str, ArchiveRelease] = {}
        self._has_warned = False

    def read_indexes(
        self, release: DistributionRelease, snapshot: str, architecture: str, keyring: bytes
    ) -> tuple[PackageIndex, ...]:
        """The packages of every suite and component for one architecture (Debian's word). Raises `UnavailableError`."""
        found = []
        for archive in release.archives:
            for suite in archive.suites:
                root = f"{find_registry_url(archive.host, self._mirrors)}/{archive.path}"
                base = f"{root}/{format_snapshot_timestamp(snapshot)}/dists/{suite}"
                signed = self._read_release(base, archive, suite, snapshot, keyring)
                for component in release.components:
                    path = f"{component}/binary-{architecture}/Packages.xz"
                    found.append(PackageIndex(self._read_package_index(base, path, archive, signed)))
        return tuple(found)

    def _read_release(
        self, base: str, archive: SnapshotArchive, suite: str, snapshot: str, keyring: bytes
    ) -> ArchiveRelease:
        if base in self._releases:
            return self._releases[base]
        text = self._download_file(f"{base}/InRelease", _MAX_IN_RELEASE_BYTES, archive).decode("utf-8", "replace")
        try:
            signed, checked = parse_in_release(text), verify_signature(text, keyring, self._effects)
        except ValueError:
            raise _create_archive_error(archive, f"what it has for `{suite}` is not a signed index") from None
        except SignatureError:
            said = f"the index of `{suite}` is not signed by a key that the base image knows"
            raise _create_archive_error(archive, said) from None
        if suite not in signed.names:
            raise _create_archive_error(archive, f"in the place of `{suite}` it has another suite")
        if signed.date > snapshot:
            raise _create_archive_error(
                archive, f"its index of `{suite}` is of {signed.date}, and {snapshot} is asked for"
            )
        if not checked and not self._has_warned:
            self._has_warned = True
            self._warn("no `gpgv` is here to check the archive's signature: the build will, with the base's own key")
        self._releases[base] = signed
        return signed

    def _read_package_index(self, base: str, path: str, archive: SnapshotArchive, signed: ArchiveRelease) -> str:
        """The text of one index file, of the cache or of the archive, and of the right hash in any case."""
        if path not in signed.files:
            raise _create_archive_error(archive, f"it has no `{path}`")
        sha256, size = signed.files[path]
        kept = self._cache / "apt" / sha256
        with contextlib.suppress(OSError):
            packed = kept.read_bytes()
            if hashlib.sha256(packed).hexdigest() == sha256:
                return _decompress_index(packed, archive)
        packed = self._download_file(f"{base}/{path}", min(size, _MAX_INDEX_BYTES), archive)
        if hashlib.sha256(packed).hexdigest() != sha256:
            raise _create_archive_error(archive, f"`{path}` does not have the hash that the signed index gives it")
        text = _decompress_index(packed, archive)
        _write_cache_file(kept, packed)
        return text

    def _download_file(self, url: str, cap: int, archive: SnapshotArchive) -> bytes:
        if self._effects.offline:
            said = f"`{archive.host}` would have to be asked for its index, and `--offline` lets nobody be asked"
            raise UnavailableError(said, "run without it once: what is locked then stays")
        hint = "check `snapshot` in the spec, and `[mirrors]` in your settings"
        answer = self._http.send(
            Request(url, {}, total_timeout=_INDEX_TIMEOUT_SECONDS, hint=hint), create_body_reader(cap)
        )
        if answer.value is None:
            raise UnavailableError(f"`{archive.host}` does not give `{url}` (HTTP {answer.status})", hint)
        return answer.value


def _decompress_index(packed: bytes, archive: SnapshotArchive) -> str:
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        data = unpacker.decompress(packed, _MAX_UNPACKED_BYTES)
    except lzma.LZMAError:
        data = b""
    if not unpacker.eof:
        raise _create_archive_error(archive, "an index file is no whole xz file")
    return data.decode("utf-8", "replace")


def _write_cache_file(path: Path, data: bytes) -> None:
    """Put a file into the cache. Nothing happens if the cache cannot be written."""
    with contextlib.suppress(OSError, CheckFailedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)


def _create_archive_error(archive: SnapshotArchive, what: str) -> UnavailableError:
    return UnavailableError(
        f"`{archive.host}` does not answer as the archive does: {what}", "check `[mirrors]` in your settings"
    )
