"""Registry clients that are imported when the first image is asked for, which in most runs is never."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from envcompile.diagnostics.errors import UnavailableError
from envcompile.project.settings import find_home_folder, read_mirrors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.registry.client import ImageProperties, RegistryClient
    from envcompile.registry.image_contents import DebianSystem


def create_registry(environment: Mapping[str, str], *, offline: bool = False) -> LazyRegistry | OfflineRegistry:
    """The registry client as this user has it: docker's configuration, our mirrors. Read when it is first asked."""
    return OfflineRegistry() if offline else LazyRegistry(environment)


def create_unmirrored_registry(environment: Mapping[str, str]) -> RegistryClient:
    """The registry client for what is pushed: never a mirror's answer."""
    return _create_client(environment, {})


class OfflineRegistry:
    """In the place of a registry client where nobody may be asked."""

    def resolve_digest(self, reference: str) -> str:
        """Resolve a tag to a digest."""
        return self._refuse(reference)

    def read_image(self, reference: str, platform: str) -> ImageProperties:
        """Read what an image holds."""
        del platform
        return self._refuse(reference)

    def read_debian_system(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        """Read the image's Debian system."""
        del platform, keyring
        return self._refuse(reference)

    def has_tag(self, reference: str) -> bool:
        """Whether the registry has the tag."""
        return self._refuse(reference)

    def _refuse(self, reference: str) -> NoReturn:
        said = f"`{reference}` would have to be asked of its registry, and `--offline` lets nobody be asked"
        raise UnavailableError(said, "run without it once, or give the image by its digest")


class LazyRegistry:
    """A registry client that is imported when the first image has to be asked for, which in most runs is never."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._client: RegistryClient | None = None

    def resolve_digest(self, reference: str) -> str:
        """Resolve a tag to a digest."""
        return self._load_client().resolve_digest(reference)

    def read_image(self, reference: str, platform: str) -> ImageProperties:
        """Read what an image holds."""
        return self._load_client().read_image(reference, platform)

    def read_debian_system(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        """Read the image's Debian system."""
        return self._load_client().read_debian_system(reference, platform, keyring)

    def has_tag(self, reference: str) -> bool:
        """Whether the registry has the tag."""
        return self._load_client().has_tag(reference)

    def _load_client(self) -> RegistryClient:
        if self._client is None:
            self._client = _create_client(self._environment, read_mirrors(self._environment))
        return self._client


def _create_client(environment: Mapping[str, str], mirrored: Mapping[str, str]) -> RegistryClient:
    from envcompile.registry.client import RegistryClient  # noqa: PLC0415 - brings an HTTP client

    folder = Path(environment.get("DOCKER_CONFIG") or find_home_folder(environment) / ".docker")
    return RegistryClient(folder, mirrored, environment=environment)
