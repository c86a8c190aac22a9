"""Image registries: the parts of the OCI distribution API that locking and pushing need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from envcompile.diagnostics.errors import UnavailableError
from envcompile.project.settings import find_home_folder, read_mirrors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.net.http import RetryPolicy
    from envcompile.registry.client import ImageProperties, RegistryClient
    from envcompile.registry.image_contents import DebianSystem


# How long a check waits that is left out without an answer, in seconds.
_CHECK_TIMEOUT = 5.0

# These registry clients import the HTTP client only when the first image is needed. Most runs need none.


def create_registry(environment: Mapping[str, str], *, offline: bool = False) -> LazyRegistry | OfflineRegistry:
    """The registry client with the user's docker configuration and mirrors, both read at the first request.

    If `offline` is set, it is a client that refuses every request.
    """
    return OfflineRegistry() if offline else LazyRegistry(environment)


def create_unmirrored_registry(environment: Mapping[str, str]) -> RegistryClient:
    """The registry client for pushed images. It uses no mirrors, because mirrors do not have these images."""
    return _create_client(environment, {})


class OfflineRegistry:
    """A registry client that refuses every request, for `--offline`."""

    def resolve_digest(self, reference: str) -> str:
        """See `RegistryClient`."""
        return self._refuse(reference)

    def read_image(self, reference: str, platform: str) -> ImageProperties:
        """See `RegistryClient`."""
        del platform
        return self._refuse(reference)

    def read_creation_time(self, reference: str, platform: str) -> str | None:
        """See `RegistryClient`."""
        del platform
        return self._refuse(reference)

    def find_platforms(self, reference: str) -> frozenset[str]:
        """The registry is not read, so no platform is known."""
        del reference
        return frozenset()

    def read_debian_system(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        """See `RegistryClient`."""
        del platform, keyring
        return self._refuse(reference)

    def has_tag(self, reference: str) -> bool:
        """See `RegistryClient`."""
        return self._refuse(reference)

    def _refuse(self, reference: str) -> NoReturn:
        message = f"the image `{reference}` needs its registry, and `--offline` is set"
        raise UnavailableError(message, "run it without `--offline` once, or give the image by its digest")


class LazyRegistry:
    """A registry client that is created at its first request."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._client: RegistryClient | None = None

    def resolve_digest(self, reference: str) -> str:
        """See `RegistryClient`."""
        return self._load_client().resolve_digest(reference)

    def read_image(self, reference: str, platform: str) -> ImageProperties:
        """See `RegistryClient`."""
        return self._load_client().read_image(reference, platform)

    def read_creation_time(self, reference: str, platform: str) -> str | None:
        """See `RegistryClient`."""
        return self._load_client().read_creation_time(reference, platform)

    def find_platforms(self, reference: str) -> frozenset[str]:
        """The platforms of an image in docker's notation. Empty if the registry does not answer in a few seconds."""
        from envcompile.net.http import RetryPolicy  # noqa: PLC0415 - imports an HTTP client

        policy = RetryPolicy(timeout=_CHECK_TIMEOUT, attempts=1)
        client = _create_client(self._environment, read_mirrors(self._environment), policy)
        try:
            return client.list_platforms(reference)
        except UnavailableError:
            return frozenset()

    def read_debian_system(self, reference: str, platform: str, keyring: str) -> DebianSystem:
        """See `RegistryClient`."""
        return self._load_client().read_debian_system(reference, platform, keyring)

    def has_tag(self, reference: str) -> bool:
        """See `RegistryClient`."""
        return self._load_client().has_tag(reference)

    def _load_client(self) -> RegistryClient:
        if self._client is None:
            self._client = _create_client(self._environment, read_mirrors(self._environment))
        return self._client


def _create_client(
    environment: Mapping[str, str], mirrors: Mapping[str, str], policy: RetryPolicy | None = None
) -> RegistryClient:
    from envcompile.registry.client import RegistryClient  # noqa: PLC0415 - imports an HTTP client

    folder = Path(environment.get("DOCKER_CONFIG") or find_home_folder(environment) / ".docker")
    return RegistryClient(folder, mirrors, policy, environment=environment)
