"""Where an image is: its reference, its registry's address, and the name of that registry in docker's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.urls import is_loopback, is_web_url
from envcompile.spec.image_reference import DOCKER_HUB, split_image_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

# Docker Hub serves its API on another host than `docker.io`. `docker login` stores its credentials under the address
# of the first version of that API.
HUB_API_HOST = "registry-1.docker.io"
HUB_LOGIN_KEY = "https://index.docker.io/v1/"


class RegistryAccessError(UnavailableError):
    """A registry does not let an image be read, or has none of the name."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One image and where it is asked for.

    `reference` as the user wrote it; `host` is the registry that is asked, as people name it (`docker.io`, or the
    mirror's host), `login` its key in docker's config.json, `base` its address without a path; `repository` as that
    registry knows it; `version` is the digest if the reference has one, else the tag.
    """

    reference: str
    host: str
    login_key: str
    base_url: str
    repository: str
    tag_or_digest: str

    @property
    def digest(self) -> str | None:
        """The digest that the reference gives, if it gives one."""
        return self.tag_or_digest if ":" in self.tag_or_digest else None

    @property
    def hint(self) -> str:
        """What helps when this registry does not answer."""
        if self.digest is None:
            return f'give its digest in the spec: `"{self.reference}@sha256:..."`'
        image = f'image = "{self.reference}"'
        facts = 'os = "debian-12", glibc = "2.36", python = "3.12.12"'
        return f"say what it is in the spec: `base = {{ {image}, {facts} }}`"

    def format_api_url(self, kind: str, version: str) -> str:
        """The address of a `manifests` or `blobs` entry, by tag or digest."""
        return f"{self.base_url}/v2/{self.repository}/{kind}/{version}"

    def create_protocol_error(self, what: str) -> UnavailableError:
        """The error for an answer that no registry gives; `what` follows a colon."""
        message = f"`{self.host}` does not answer as a registry does for `{self.reference}`: {what}"
        return UnavailableError(message, self.hint)

    def create_denied_error(self, status: int) -> RegistryAccessError:
        """The error for 401 and 403. The hub and others say so too of an image that is not there."""
        login = "docker login" if self.login_key == HUB_LOGIN_KEY else f"docker login {self.host}"
        message = f"`{self.host}` does not let `{self.reference}` be read, or has no such image (HTTP {status})"
        return RegistryAccessError(message, f"check the name, or run `{login}`")


def locate_image(reference: str, mirrors: Mapping[str, str]) -> ImageReference:
    """The place of a `name[:tag][@digest]`; without either, docker's `latest`.

    `mirrors` says for a registry's host (`docker.io` for the hub) where to ask instead: a host with its port, or an
    http(s) URL. As for BuildKit, a path of it stands before the repository. Raises `InvalidInputError`.
    """
    parts = split_image_reference(reference)
    if parts is None:
        raise InvalidInputError("an image reference cannot be read", 'write it as `"python:3.12-slim-bookworm"`')
    host, repository = parts.split_registry()
    version = parts.digest or parts.tag or "latest"
    if host in mirrors:
        base, path = _parse_mirror(host, mirrors[host])
        asked = urlsplit(base).netloc
        return ImageReference(reference, asked, asked, base, f"{path}/{repository}".lstrip("/"), version)
    if host == DOCKER_HUB:
        return ImageReference(reference, DOCKER_HUB, HUB_LOGIN_KEY, f"https://{HUB_API_HOST}", repository, version)
    return ImageReference(reference, host, host, f"{_find_default_scheme(host)}://{host}", repository, version)


def find_registry_url(host: str, mirrors: Mapping[str, str]) -> str:
    """Where a host, or what is asked in its place, answers: an http(s) URL without a slash at its end."""
    if host not in mirrors:
        return f"{_find_default_scheme(host)}://{host}"
    base, path = _parse_mirror(host, mirrors[host])
    return f"{base}/{path}".rstrip("/")


def _parse_mirror(host: str, setting: str) -> tuple[str, str]:
    """A mirror's address and the path that goes before repositories."""
    url = setting if "://" in setting else f"{_find_default_scheme(setting.partition('/')[0])}://{setting}"
    if not is_web_url(url):
        # The setting itself is not shown: it might hold a password.
        hint = 'write it as `"mirror.example.com:5000"`; a login is kept by `docker login`'
        raise InvalidInputError(f"the mirror of `{host}` is not a host or URL without a user name", hint)
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")


def _find_default_scheme(host: str) -> str:
    """Docker talks http to this machine itself, https to everybody else."""
    return "http" if is_loopback(host) else "https"
