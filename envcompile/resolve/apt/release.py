"""InRelease: the signed list of an archive's index files, and whether it is what it should be.

Whom to believe: the build's apt checks this signature with the keyring that is in the base image, so an index that is
not the distribution's can only make a lock that does not build, or one that adds packages of the distribution that
nobody needs. Where gpgv is on this machine the same check is made when the lock is, with the same keyring, taken out of
the base image by its digest: no key of this machine and none of ours has a say. Where it is not (macOS, Windows), TLS
to the snapshot service is what stands between, and the user is told.
"""

from __future__ import annotations

import re
import tempfile
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import UnavailableError

if TYPE_CHECKING:
    from envcompile.resolve.protocol import Effects

_BEGIN = "-----BEGIN PGP SIGNED MESSAGE-----\n"
_END = "\n-----BEGIN PGP SIGNATURE-----\n"
_ROW = re.compile(r"^ ([0-9a-f]{64}) +([0-9]+) +(\S+)$", re.MULTILINE)


class File(NamedTuple):
    """One index file: its sha256 and its size in bytes."""

    sha256: str
    size: int


class Release(NamedTuple):
    """What an InRelease says: how the suite calls itself, since when (RFC 3339, UTC), and its files by path."""

    names: frozenset[str]
    date: str
    files: dict[str, File]


class NotSigned(Exception):  # noqa: N818 - it names an answer
    """The text is not signed by a key of the keyring."""


def read(text: str) -> Release:
    """The signed part of an InRelease, and nothing of what stands around it. Raises ValueError."""
    start = text.find("\n\n", len(_BEGIN))
    end = text.find(_END, start)
    if not text.startswith(_BEGIN) or start < 0 or end < 0:
        raise ValueError("not a signed index")
    body = text[start + 2 : end + 1]
    head = dict(re.findall(r"^(Codename|Suite|Date): (.*)$", body, re.MULTILINE))
    listed = body.partition("\nSHA256:\n")[2]
    # The next field ends the list.
    listed = re.split(r"^\S", listed, maxsplit=1, flags=re.MULTILINE)[0]
    files = {path: File(sha256, int(size)) for sha256, size, path in _ROW.findall(listed)}
    date = parsedate_to_datetime(head.get("Date", "")).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Release(frozenset({head.get("Codename", ""), head.get("Suite", "")}), date, files)


def verified(text: str, keyring: bytes, effects: Effects) -> bool:
    """Whether the signature was checked: False where this machine has no gpgv. Raises `NotSigned`.

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
        except UnavailableError:
            return False
    words = {line.split()[1] for line in said.splitlines() if line.startswith("[GNUPG:] ")}
    if "VALIDSIG" not in words or "BADSIG" in words:
        raise NotSigned
    return True
