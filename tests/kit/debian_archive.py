"""Debian's archive on loopback, in the place of its snapshot service: real signed indexes and real packages.

Everything is fetched by apt's own programs from the mirror that this machine's apt is set up for, and kept below
ENVCOMPILE_ENGINE_ROOT. What stands in: any moment is answered with what the mirror has now.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kit.archive_server import served
from tests.kit.real_apt import RealApt

if TYPE_CHECKING:
    from collections.abc import Iterator

_HELPER = "/usr/lib/apt/apt-helper"
# A proxy is asked with the whole address.
_ASKED = re.compile(r"(?:http://snapshot\.debian\.org)?/archive/(debian(?:-security)?)/[0-9]{8}T[0-9]{6}Z/(.*)")


@dataclass
class DebianArchive:
    """The archive; `lists` is apt's folder of signed lists, `kept` that of what was fetched.

    `hidden` and `changed` hold paths of packages (below `pool/`) that are answered with 404, or with other bytes of the
    same length; `suites` other texts in the place of a suite's InRelease.
    """

    mirrors: dict[str, str]
    lists: Path
    kept: Path
    url: str = ""
    hidden: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    suites: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    _one: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str) -> bytes | None:
        """The bytes of what stands at a path of the snapshot service, None when nothing does."""
        self.asked.append(path)
        found = _ASKED.fullmatch(path)
        if found is None or found[2] in self.hidden:
            return None
        archive, rest = found.groups()
        if release := re.fullmatch(r"dists/([^/]+)/InRelease", rest):
            other = self.suites.get(release[1])
            return other.encode() if other is not None else self._in_release(release[1])
        if index := re.fullmatch(r"(dists/([^/]+))/(.*)/(by-hash/SHA256/([0-9a-f]{64})|Packages\.xz)", rest):
            sha256 = index[5] or self._listed(index[2], f"{index[3]}/Packages.xz")
            return (
                None
                if sha256 is None
                else self._fetched(f"{self.mirrors[archive]}/{index[1]}/{index[3]}/by-hash/SHA256/{sha256}", sha256)
            )
        if rest.startswith("pool/") and ".." not in rest:
            data = self._fetched(f"{self.mirrors[archive]}/{rest}", rest.replace("/", "_"))
            return data[:-1] + bytes([data[-1] ^ 1]) if data and rest in self.changed else data
        return None

    def _in_release(self, suite: str) -> bytes:
        return next(self.lists.glob(f"*_dists_{suite}_InRelease")).read_bytes()

    def _listed(self, suite: str, path: str) -> str | None:
        row = re.search(
            rf"^ ([0-9a-f]{{64}}) +[0-9]+ {re.escape(path)}$", self._in_release(suite).decode(), re.MULTILINE
        )
        return row[1] if row else None

    def _fetched(self, url: str, name: str) -> bytes | None:
        path = self.kept / name
        with self._one:
            if not path.exists():
                new = path.with_name("new")
                done = subprocess.run([_HELPER, "download-file", url, str(new)], capture_output=True, check=False)
                if done.returncode:
                    return None
                new.rename(path)
        return path.read_bytes()


@contextmanager
def debian_archive() -> Iterator[DebianArchive]:
    """The archive, served on a free port of loopback."""
    root = Path(os.environ.get("ENVCOMPILE_ENGINE_ROOT", "/var/tmp/envcompile-engine")) / "debian"
    apt = RealApt(root, "amd64")
    apt.update()
    sites = apt.run("indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages").split("\n")
    uris = dict(line.split() for line in sites if line)
    security = next(uri for suite, uri in uris.items() if suite.endswith("-security"))
    kept = root / "kept"
    kept.mkdir(exist_ok=True)
    usual = next(uri for suite, uri in uris.items() if "-" not in suite)
    mirrors = {"debian": usual.rstrip("/"), "debian-security": security.rstrip("/")}
    archive = DebianArchive(mirrors, root / "lists", kept)

    with served(archive.answer) as archive.url:
        yield archive
