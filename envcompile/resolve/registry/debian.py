"""What apt would find in an image: the packages that are installed, and the key that signs the archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

_STATUS = "var/lib/dpkg/status"


class DebianSystem(NamedTuple):
    """The installed packages of an image (dpkg's status, as text) and the keyring of its archive; None is not there.

    `created` is RFC 3339, as the image says of itself.
    """

    created: str | None
    status: str | None
    keyring: bytes | None


@dataclass(slots=True)
class Files:
    """Files of an image as its layers show them, the uppermost first. `keyring` is a path without a slash in front."""

    keyring: str
    found: dict[str, bytes | str] = field(default_factory=dict)  # a string is where a link leads
    skipped: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything is there."""
        return _STATUS in self.found and isinstance(self.found.get(self._followed()), bytes)

    def wants(self, path: str) -> bool:
        """The status, and the keyring's whole folder: in newer releases the keyring is a link to one beside it."""
        return path == _STATUS or path.startswith(self.keyring.rpartition("/")[0] + "/")

    def add(self, path: str, content: bytes) -> None:
        """Take in a file: what a layer above had stays."""
        self.found = {path: content, **self.found}

    def link(self, path: str, target: str) -> None:
        """Take in a symbolic link."""
        self.found = {path: target, **self.found}

    def end(self) -> None:
        """Nothing waits for the end of a layer."""

    def skip(self) -> None:
        """What is in a layer that is not read is not known: nor is what lies below it."""
        self.skipped = True

    def system(self, created: str | None) -> DebianSystem:
        """What was found."""
        status, keyring = self.found.get(_STATUS), self.found.get(self._followed())
        return DebianSystem(
            created,
            status.decode("utf-8", "replace") if isinstance(status, bytes) else None,
            keyring if isinstance(keyring, bytes) else None,
        )

    def _followed(self) -> str:
        target = self.found.get(self.keyring)
        return f"{self.keyring.rpartition('/')[0]}/{target}" if isinstance(target, str) else self.keyring
