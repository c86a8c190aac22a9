"""Registry clients that are imported when the first image is asked for, which in most runs is never."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from envcompile.cli.settings import home, mirrors
from envcompile.errors import MissingOutside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.resolve.images import ImageFacts
    from envcompile.resolve.registry.client import Registry
    from envcompile.resolve.registry.debian import DebianSystem


def registry(environment: Mapping[str, str], *, offline: bool = False) -> _Later | _Nobody:
    """The registry client as this user has it: docker's configuration, our mirrors. Read when it is first asked."""
    return _Nobody() if offline else _Later(environment)


def own_registry(environment: Mapping[str, str]) -> Registry:
    """The registry client for what is pushed: never a mirror's answer."""
    return _client(environment, {})


class _Nobody:
    """In the place of a registry client where nobody may be asked."""

    def digest(self, reference: str) -> str:
        return self._refuse(reference)

    def facts(self, reference: str, platform: str) -> ImageFacts:
        del platform
        return self._refuse(reference)

    def debian(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        del platform, keyring
        return self._refuse(reference)

    def holds(self, reference: str) -> bool:
        return self._refuse(reference)

    def _refuse(self, reference: str) -> NoReturn:
        said = f"`{reference}` would have to be asked of its registry, and `--offline` lets nobody be asked"
        raise MissingOutside(said, "run without it once, or give the image by its digest")


class _Later:
    """A registry client that is imported when the first image has to be asked for, which in most runs is never."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._client: Registry | None = None

    def digest(self, reference: str) -> str:
        return self._real().digest(reference)

    def facts(self, reference: str, platform: str) -> ImageFacts:
        return self._real().facts(reference, platform)

    def debian(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        return self._real().debian(reference, platform, keyring)

    def holds(self, reference: str) -> bool:
        return self._real().holds(reference)

    def _real(self) -> Registry:
        if self._client is None:
            self._client = _client(self._environment, mirrors(self._environment))
        return self._client


def _client(environment: Mapping[str, str], mirrored: Mapping[str, str]) -> Registry:
    from envcompile.resolve.registry.client import Registry  # noqa: PLC0415 - brings an HTTP client

    return Registry(Path(environment.get("DOCKER_CONFIG") or home(environment) / ".docker"), mirrored)
