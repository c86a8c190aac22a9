"""A small archive of made-up packages with a real signature, and an image with Debian's files in a registry."""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kit import registry as registry_server
from tests.kit.archive_server import served

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYRING = "usr/share/keyrings/debian-archive-keyring.gpg"
UBUNTU = "usr/share/keyrings/ubuntu-archive-keyring.gpg"
_ASKED = re.compile(r"/(?:archive/debian(?:-security)?|ubuntu)/([0-9]{8}T[0-9]{6}Z)/dists/([^/]+)/(.*)")
_COMPONENTS = ("main", "restricted", "universe", "multiverse")


def paragraph(name: str, version: str = "1.0", **more: str) -> str:
    """A package of an index; `more` are further fields, `_` for `-`."""
    sha256 = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    head = {"Package": name, "Version": version, "Architecture": "amd64"}
    rest = {key.replace("_", "-"): value for key, value in more.items()}
    tail = {"Filename": f"pool/main/{name}_{version}_amd64.deb", "Size": "1000", "SHA256": sha256}
    return "".join(f"{key}: {value}\n" for key, value in {**head, **tail, **rest}.items())


def status(*names: str, version: str = "1.0", **more: str) -> str:
    """dpkg's status with these packages installed."""
    return "\n".join(paragraph(name, version, Status="install ok installed", **more) for name in names)


@dataclass
class MadeArchive:
    """`suites` are paragraphs by suite; what is not there is empty. `date` is that of every suite.

    `newer` are other paragraphs for all moments from `newer_from` on (`20260131T000000Z`).
    `asked` are the moments and paths asked for; `rewrite` edits an InRelease after it was signed.
    """

    home: Path
    suites: dict[str, list[str]] = field(default_factory=dict)
    newer: dict[str, list[str]] = field(default_factory=dict)
    newer_from: str = "20260131T000000Z"
    date: str = "Thu, 01 Jan 2026 00:00:00 UTC"
    asked: list[tuple[str, str]] = field(default_factory=list)
    rewrite: tuple[str, str] = ("Origin", "Origin")
    other_bytes: bool = False
    gone: bool = False
    url: str = ""
    registry: registry_server.Server = field(default_factory=registry_server.Server)

    def __post_init__(self) -> None:
        self._gpg("--quick-gen-key", "--passphrase", "", "archive@example.invalid", "ed25519", "sign", "never")
        self.keyring = self._gpg("--export")

    def close(self) -> None:
        """End the agent that gpg has started."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)

    def answer(self, path: str) -> bytes | None:
        """What stands at a path of the snapshot service."""
        found = _ASKED.fullmatch(path)
        if found is None or self.gone:
            return None
        moment, suite, file = found.groups()
        self.asked.append((moment, f"{suite}/{file}"))
        lists = {
            f"{each}/binary-{architecture}/Packages.xz": lzma.compress(self._of(moment, suite, each, architecture))
            for each in _COMPONENTS
            for architecture in ("amd64", "arm64")
        }
        if packed := lists.get(file):
            return packed[:-1] + b"\0" if self.other_bytes else packed
        if file != "InRelease":
            return None
        rows = "".join(f" {hashlib.sha256(each).hexdigest()} {len(each)} {path}\n" for path, each in lists.items())
        text = f"Origin: Made\nCodename: {suite}\nDate: {self.date}\nMD5Sum:\n 0 0 x\nSHA256:\n{rows}"
        signed = self._gpg("--clear-sign", data=text.encode())
        return signed.replace(self.rewrite[0].encode(), self.rewrite[1].encode(), 1)

    def _of(self, moment: str, suite: str, component: str, architecture: str) -> bytes:
        suites = self.suites | self.newer if moment >= self.newer_from else self.suites
        packages = suites.get(suite, []) if component == "main" else []
        return "\n".join(packages).replace("amd64", architecture).encode()

    def image(self, installed: str, *, keyring: bytes | None = None, created: str = "2025-12-01T00:00:00Z") -> str:
        """`name:tag@digest` of a new image with these packages installed; its keyring is a link to a file."""
        key = self.keyring if keyring is None else keyring
        files: dict[str, str | bytes] = {"var/lib/dpkg/status": installed}
        if key:
            files[f"{KEYRING[:-4]}.pgp"] = key
        lower = registry_server.layer({"var/lib/dpkg/status": status("old")}, packed=False)
        upper = registry_server.layer(files, {KEYRING: "debian-archive-keyring.pgp"} if key else {}, packed=False)
        return f"registry.example.com/team/python:1@{self.registry.image([lower, upper], created=created)}"

    def settings(self) -> str:
        """The user's settings, by which archive and registry are asked here."""
        registry = f'"registry.example.com" = "{self.registry.url}"\n'
        return f'[mirrors]\n"snapshot.debian.org" = "{self.url}"\n{registry}'

    def _gpg(self, *arguments: str, data: bytes = b"") -> bytes:
        argv = ["gpg", "--batch", "--quiet", "--no-tty", "--homedir", str(self.home), *arguments]
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout


@contextmanager
def made_archive() -> Iterator[MadeArchive]:
    """The archive and a registry, served on loopback."""
    # A short path: gpg's agent listens on a socket below it.
    home = Path(tempfile.mkdtemp(prefix="gpg"))
    archive = MadeArchive(home)
    web = registry_server.start(archive.registry)
    try:
        with served(archive.answer) as archive.url:
            yield archive
    finally:
        web.shutdown()
        web.server_close()
        archive.close()
        shutil.rmtree(home, ignore_errors=True)
