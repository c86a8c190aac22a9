"""The real apt of this machine, with a world of its own: lists and status below one folder, any architecture."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_INST = re.compile(r"^Inst (\S+) (?:\[[^\]]*\] )?\((\S+) ", re.MULTILINE)


@dataclass(frozen=True)
class RealApt:
    """apt for one architecture as Debian spells it; `folder` holds its lists, its status and its cache."""

    folder: Path
    architecture: str

    def update(self) -> None:
        """Fetch the signed indexes of this machine's own Debian mirror."""
        for path in ("lists/partial", "cache/archives/partial", "log"):
            (self.folder / path).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        self.run("update", "-o", "Acquire::GzipIndexes=false")

    def indexes(self) -> list[str]:
        """The texts of the Packages files."""
        return [path.read_text("utf-8") for path in sorted((self.folder / "lists").glob("*_Packages"))]

    def install(self, *names: str, status: Path | None = None) -> dict[str, str]:
        """What apt would install: names to versions."""
        said = self.run(
            *("install", "--simulate", "--no-install-recommends", "--no-remove"),
            *("-o", "APT::Get::Upgrade-By-Source-Package=false"),
            *("-o", f"Dir::State::status={status or self.folder / 'status'}", *names),
        )
        return {name.partition(":")[0]: version for name, version in _INST.findall(said)}

    def minimal(self) -> Path:
        """A status file in which just the required packages of the archive are installed."""
        paragraphs = {}
        for text in self.indexes():
            for paragraph in text.split("\n\n"):
                found = re.search(r"^Package: (\S+)$", paragraph, re.MULTILINE)
                version = re.search(r"^Version: (\S+)$", paragraph, re.MULTILINE)
                if found and version:
                    paragraphs[found[1], version[1]] = paragraph
        required = sorted({name for (name, _), text in paragraphs.items() if "\nPriority: required" in text})
        path = self.folder / "minimal"
        path.write_text(
            "".join(
                f"{paragraphs[each].strip()}\nStatus: install ok installed\n\n"
                for each in self.install(*required).items()
            ),
            "utf-8",
        )
        return path

    def run(self, *arguments: str) -> str:
        """apt-get in this world; its standard output."""
        options = {
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Dir::State::Lists": f"{self.folder}/lists",
            "Dir::Cache": f"{self.folder}/cache",
            "Debug::NoLocking": "true",
        }
        argv = ["apt-get", "-q", "-y", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            [*argv, *arguments], capture_output=True, text=True, check=False, env=environment, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout
