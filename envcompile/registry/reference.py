"""The location of an image: its registry's address, and that registry's name in docker's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.urls import is_loopback, is_web_url
from envcompile.spec.values import DOCKER_HUB, split_image_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

# Docker Hub serves its API on another host than `docker.io`. `docker login` stores its credentials under the address
# of the first version of that API.
HUB_API_HOST = "registry-1.docker.io"
HUB_LOGIN_KEY = "https://index.docker.io/v1/"


class RegistryAccessError(UnavailableError):
    """A registry does not allow an image to be read, or has no image of that name."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One image and the registry that serves it.

    `reference` is as the user wrote it. `host` is the registry's usual name (`docker.io`, or a mirror's host),
    `login_key` its key in docker's config.json, `base_url` its address without a path. `repository` is the name within
    that registry. `tag_or_digest` is the digest if the reference has one, else the tag.
    """

    reference: str
    host: str
    login_key: str
    base_url: str
    repository: str
    tag_or_digest: str

    @property
    def digest(self) -> str | None:
        """The digest in the reference, if there is one."""
        return self.tag_or_digest if ":" in self.tag_or_digest else None

    @property
    def hint(self) -> str:
        """The hint of errors about this registry: how to lock without it."""
        if self.digest is None:
            return f'give its digest in the spec: `"{self.reference}@sha256:..."`'
        image = f'image = "{self.reference}"'
        facts = 'os = "debian-12", glibc = "2.36", python = "3.12.12"'
        return f"describe the image in the spec: `base = {{ {image}, {facts} }}`"

    def format_api_url(self, kind: str, version: str) -> str:
        """The URL of a manifest or a blob. `kind` is `manifests` or `blobs`, `version` a tag or a digest."""
        return f"{self.base_url}/v2/{self.repository}/{kind}/{version}"

    def create_protocol_error(self, reason: str) -> UnavailableError:
        """The error for a response that violates the protocol; `reason` follows a colon."""
        message = f"`{self.host}` does not answer like a registry for `{self.reference}`: {reason}"
        return UnavailableError(message, self.hint)

    def create_denied_error(self, status: int) -> RegistryAccessError:
        """The error for 401 and 403, which Docker Hub and others also send for an image that does not exist."""
        login = "docker login" if self.login_key == HUB_LOGIN_KEY else f"docker login {self.host}"
        message = f"`{self.host}` does not allow reading `{self.reference}`, or has no such image (HTTP {status})"
        return RegistryAccessError(message, f"check the name, or run `{login}`")


def locate_image(reference: str, mirrors: Mapping[str, str]) -> ImageReference:
    """Locate a `name[:tag][@digest]`; without a tag or digest it is docker's `latest`.

    `mirrors` maps a registry's host (`docker.io` for Docker Hub) to its mirror: a host with its port, or an http(s) URL
    whose path is prepended to the repository, as BuildKit does. Raises `InvalidInputError` if the reference or its
    mirror is invalid.
    """
    parts = split_image_reference(reference)
    if parts is None:
        raise InvalidInputError("the image reference is invalid", 'write it as `"python:3.12-slim-bookworm"`')
    host, repository = parts.split_registry()
    version = parts.digest or parts.tag or "latest"
    if host in mirrors:
        base_url, path = _parse_mirror(host, mirrors[host])
        mirror = urlsplit(base_url).netloc
        return ImageReference(reference, mirror, mirror, base_url, f"{path}/{repository}".lstrip("/"), version)
    if host == DOCKER_HUB:
        return ImageReference(reference, DOCKER_HUB, HUB_LOGIN_KEY, f"https://{HUB_API_HOST}", repository, version)
    return ImageReference(reference, host, host, f"{_find_default_scheme(host)}://{host}", repository, version)


def find_registry_url(host: str, mirrors: Mapping[str, str]) -> str:
    """The http(s) URL of a host's mirror, or of the host if it has none, without a slash at the end.

    Raises `InvalidInputError` if the mirror is invalid.
    """
    if host not in mirrors:
        return f"{_find_default_scheme(host)}://{host}"
    base_url, path = _parse_mirror(host, mirrors[host])
    return f"{base_url}/{path}".rstrip("/")


def _parse_mirror(host: str, setting: str) -> tuple[str, str]:
    """The URL of a mirror without its path, and the path to prepend to repositories."""
    url = setting if "://" in setting else f"{_find_default_scheme(setting.partition('/')[0])}://{setting}"
    if not is_web_url(url):
        # The setting itself is not shown: it may hold a password.
        hint = 'write it as `"mirror.example.com:5000"`; a login is kept by `docker login`'
        raise InvalidInputError(f"the mirror of `{host}` must be a host or a URL, without a user name", hint)
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")


def _find_default_scheme(host: str) -> str:
    """The scheme that docker uses for a host: http for this machine, https for every other."""
    return "http" if is_loopback(host) else "https"
