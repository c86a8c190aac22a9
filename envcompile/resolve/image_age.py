"""The age of the images and of the snapshot in a lock, and whether a tag refers to another digest now.

Registries state the time at which an image was created. Images that are built reproducibly often state the start of the
Unix epoch, which is not an age.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple, Protocol

from envcompile.diagnostics.errors import UnavailableError
from envcompile.platforms import PLATFORMS
from envcompile.spec.values import remove_digest, split_image_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

# Docker was published in March 2013. An earlier time is a placeholder.
_FIRST_YEAR = 2013
_SECONDS_PER_DAY = 86400


class ImageAgeReader(Protocol):
    """A registry client. Its methods raise `UnavailableError` if the registry cannot be read."""

    def resolve_digest(self, reference: str) -> str:
        """Return the digest that `name[:tag]` refers to now."""

    def read_creation_time(self, reference: str, platform: str) -> str | None:
        """Return the time at which `name[:tag]@digest` was created (RFC 3339), None if the image states none."""


class ImageState(NamedTuple):
    """An image of the lock as its registry has it now.

    - `image`: the locked reference. `tool`: the name of the build tool, "" for a base image.
    - `is_fixed`: whether the spec names the image by digest.
    - `created`: the time of a base image (RFC 3339), None if it is unknown; always None for a tool.
    - `newest`: the reference by the digest that the tag has now, None if the image has no tag.
    - `problem`: why the registry could not be read, "" if it could.
    """

    image: str
    tool: str = ""
    is_fixed: bool = False
    created: str | None = None
    newest: str | None = None
    problem: str = ""

    @property
    def has_moved(self) -> bool:
        """Whether the tag refers to another digest than the locked one."""
        return self.newest is not None and self.newest != self.image


def read_image_states(spec: Spec, lock: Lock, images: ImageAgeReader) -> Iterator[ImageState]:
    """Yield the state of each base image, and of each tool image that the spec names.

    Other tool images come with the release of envcompile, so that nothing depends on their tags.
    """
    bases = {image: each.platform for each in lock.platforms for image in (each.run.image, each.build.image)}
    requested_base = spec.image.base.image if spec.image.base else ""
    for image, platform in bases.items():
        yield _read_state(ImageState(image, "", "@" in requested_base), PLATFORMS[platform].docker_platform, images)
    requested_tools = dict(spec.tools)
    tools = dict.fromkeys(tool for each in lock.platforms for tool in each.tools if tool.name in requested_tools)
    for tool in tools:
        yield _read_state(ImageState(tool.image, tool.name, "@" in requested_tools[tool.name]), "", images)


def _read_state(state: ImageState, platform: str, images: ImageAgeReader) -> ImageState:
    """Return the state with what the registry says. A tool has no `platform`, and its age is not read."""
    tag = remove_digest(state.image)
    parts = split_image_reference(state.image)
    try:
        created = images.read_creation_time(state.image, platform) if platform else None
        newest = f"{tag}@{images.resolve_digest(tag)}" if parts and parts.tag else None
    except UnavailableError as error:
        return state._replace(problem=error.message)
    is_known = created is not None and _parse_time(created).year >= _FIRST_YEAR
    return state._replace(created=created if is_known else None, newest=newest)


def count_days(time: str, now: str) -> int:
    """Return the number of whole days from a time to `now`, both RFC 3339; 0 if the time is later."""
    return max(int((_parse_time(now) - _parse_time(time)).total_seconds()) // _SECONDS_PER_DAY, 0)


def _parse_time(time: str) -> datetime:
    """Return the time, without fractions of a second. An invalid time is the start of the Unix epoch."""
    try:
        # Python 3.10 reads neither nine digits of a fraction nor `Z`.
        zone = "+00:00" if time.endswith("Z") else time[-6:]
        parsed = datetime.fromisoformat(time[:19] + zone)
    except ValueError:
        parsed = datetime.fromtimestamp(0, timezone.utc)
    return parsed
