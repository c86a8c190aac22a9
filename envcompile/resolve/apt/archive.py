"""Reading an archive's index at a moment: over https or from a mirror, every file checked against its signed list."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import UnavailableError
from envcompile.net.http import Request, create_body_reader
from envcompile.plan.apt import format_snapshot_timestamp
from envcompile.registry.reference import find_registry_url
from envcompile.resolve.apt.control import Index
from envcompile.resolve.apt.release import NotSigned, read, verified

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envcompile.net.http import HttpClient
    from envcompile.plan.apt import DistributionRelease, SnapshotArchive
    from envcompile.resolve.apt.release import Release as Signed
    from envcompile.resolve.protocol import Effects

_IN_RELEASE_CAP = 8 << 20
_INDEX_CAP = 128 << 20  # compressed; Debian's largest has 9 MB, Ubuntu's 20
_UNPACKED_CAP = 1 << 30
_PATIENCE = 900.0  # seconds for one index: snapshot services are slow


class Archives:
    """The archives as one user sees them: `mirrors` from a host to what is asked in its place, `cache` a folder.

    `tell` is called once when no signature can be checked on this machine.
    """

    def __init__(
        self, web: HttpClient, mirrors: Mapping[str, str], cache: Path, effects: Effects, tell: Callable[[str], None]
    ) -> None:
        self._web, self._mirrors, self._cache, self._effects, self._tell = web, mirrors, cache, effects, tell
        self._signed: dict[str, Signed] = {}
        self._told = False

    def indexes(
        self, release: DistributionRelease, snapshot: str, architecture: str, keyring: bytes
    ) -> tuple[Index, ...]:
        """The packages of every suite and component for one architecture (Debian's word). Raises `MissingOutside`."""
        found = []
        for archive in release.archives:
            for suite in archive.suites:
                root = f"{find_registry_url(archive.host, self._mirrors)}/{archive.path}"
                base = f"{root}/{format_snapshot_timestamp(snapshot)}/dists/{suite}"
                signed = self._release(base, archive, suite, snapshot, keyring)
                for component in release.components:
                    path = f"{component}/binary-{architecture}/Packages.xz"
                    found.append(Index(self._packages(base, path, archive, signed)))
        return tuple(found)

    def _release(self, base: str, archive: SnapshotArchive, suite: str, snapshot: str, keyring: bytes) -> Signed:
        if base in self._signed:
            return self._signed[base]
        text = self._get(f"{base}/InRelease", _IN_RELEASE_CAP, archive).decode("utf-8", "replace")
        try:
            signed, checked = read(text), verified(text, keyring, self._effects)
        except ValueError:
            raise _strange(archive, f"what it has for `{suite}` is not a signed index") from None
        except NotSigned:
            said = f"the index of `{suite}` is not signed by a key that the base image knows"
            raise _strange(archive, said) from None
        if suite not in signed.names:
            raise _strange(archive, f"in the place of `{suite}` it has another suite")
        if signed.date > snapshot:
            raise _strange(archive, f"its index of `{suite}` is of {signed.date}, and {snapshot} is asked for")
        if not checked and not self._told:
            self._told = True
            self._tell("no `gpgv` is here to check the archive's signature: the build will, with the base's own key")
        self._signed[base] = signed
        return signed

    def _packages(self, base: str, path: str, archive: SnapshotArchive, signed: Signed) -> str:
        """The text of one index file, of the cache or of the archive, and of the right hash in any case."""
        if path not in signed.files:
            raise _strange(archive, f"it has no `{path}`")
        sha256, size = signed.files[path]
        kept = self._cache / "apt" / sha256
        with contextlib.suppress(OSError):
            packed = kept.read_bytes()
            if hashlib.sha256(packed).hexdigest() == sha256:
                return _unpacked(packed, archive)
        packed = self._get(f"{base}/{path}", min(size, _INDEX_CAP), archive)
        if hashlib.sha256(packed).hexdigest() != sha256:
            raise _strange(archive, f"`{path}` does not have the hash that the signed index gives it")
        text = _unpacked(packed, archive)
        _keep(kept, packed)
        return text

    def _get(self, url: str, cap: int, archive: SnapshotArchive) -> bytes:
        if self._effects.offline:
            said = f"`{archive.host}` would have to be asked for its index, and `--offline` lets nobody be asked"
            raise UnavailableError(said, "run without it once: what is locked then stays")
        hint = "check `snapshot` in the spec, and `[mirrors]` in your settings"
        answer = self._web.send(Request(url, {}, total_timeout=_PATIENCE, hint=hint), create_body_reader(cap))
        if answer.value is None:
            raise UnavailableError(f"`{archive.host}` does not give `{url}` (HTTP {answer.status})", hint)
        return answer.value


def _unpacked(packed: bytes, archive: SnapshotArchive) -> str:
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        data = unpacker.decompress(packed, _UNPACKED_CAP)
    except lzma.LZMAError:
        data = b""
    if not unpacker.eof:
        raise _strange(archive, "an index file is no whole xz file")
    return data.decode("utf-8", "replace")


def _keep(path: Path, data: bytes) -> None:
    """Put a file into the cache, whole or not at all; a cache that takes nothing is no mistake."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def _strange(archive: SnapshotArchive, what: str) -> UnavailableError:
    return UnavailableError(
        f"`{archive.host}` does not answer as the archive does: {what}", "check `[mirrors]` in your settings"
    )
