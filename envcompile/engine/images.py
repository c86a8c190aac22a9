"""Is the tag there, and whole? In the engine by docker's command line, in a registry by the registry client."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from envcompile.diagnostics.errors import UnavailableError
from envcompile.engine.failure import explain

if TYPE_CHECKING:
    from collections.abc import Collection

    from envcompile.engine.command import Ask


class Image(NamedTuple):
    """An image of the engine: its id, and its platform as docker spells it."""

    id: str
    platform: str


class Registry(Protocol):
    """What is asked of a registry; of the registry itself, never of a mirror."""

    def holds(self, reference: str) -> bool:
        """Whether the tag is there: one HEAD."""

    def platforms(self, reference: str) -> frozenset[str]:
        """The platforms of the tag; none when it is not there."""


def own_platform(ask: Ask) -> str:
    """The engine's own platform, `linux/amd64`. Raises `MissingOutside` when it does not answer."""
    answer = ask("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
    if answer.code:
        raise explain(answer.errors)
    return answer.output.strip()


def inspect(ask: Ask, tag: str) -> Image | None:
    """What the engine knows under a tag, whole or not; None: nothing, or there is no engine.

    Of an index it is the image for the engine's own platform.
    """
    answer = ask("image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}}", tag)
    found = answer.output.split()
    return Image(*found) if answer.code == 0 and len(found) == len(Image._fields) else None


def loaded(ask: Ask, tag: str, platform: str) -> bool:
    """Whether the engine has the tag for a platform, and all of it. A tag with missing parts is removed.

    `docker image ls` leaves such a tag out, which `docker image inspect` still shows and which does not run (measured
    with Docker 26 and its containerd store, by taking a layer away).
    """
    image = inspect(ask, tag)
    if image is None:
        return False
    if not ask("image", "ls", "--quiet", tag).output.strip():
        remove(ask, (tag,))
        return False
    return image.platform == platform


def remove(ask: Ask, tags: Collection[str]) -> None:
    """Take tags away; an image that has another one stays."""
    for tag in tags:
        ask("image", "rm", tag)


def pushed(registry: Registry, tag: str, platforms: Collection[str], *, only: bool) -> bool:
    """Whether a registry has the tag for these platforms; whole it is: no registry takes a manifest without its parts.

    `only`: the Dockerfile is for one platform, so the tag alone tells. Raises `MissingOutside`, before an hour of
    building, when the registry cannot be reached.
    """
    try:
        if only:
            return registry.holds(tag)
        there = registry.platforms(tag)
    except UnavailableError as problem:
        raise UnavailableError(problem.message, "start it or check the name, or build without `--push`") from None
    return all(any(f"{each}/".startswith(f"{platform}/") for each in there) for platform in platforms)
