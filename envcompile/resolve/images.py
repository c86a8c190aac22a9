"""Images by digest: those that have one ask nobody, those that are locked keep their pin, the rest ask a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from envcompile.base_image.default import (
    BASE_TABLE_EXAMPLE,
    BaseImageProperties,
    choose_base_image,
    find_base_image,
    find_tool_images,
    needs_inspection,
    uses_base_python,
)
from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.errors import EXIT_UNAVAILABLE, UnavailableError
from envcompile.lock.model import BaseImage, PythonInterpreter, ToolImage
from envcompile.platforms import PLATFORMS
from envcompile.spec.image_reference import remove_digest, split_image_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import Lock, PlatformLock
    from envcompile.spec.model import Spec


class ImageReport(Protocol):
    """What a registry tells of an image; see `BaseImageProperties`."""

    @property
    def os(self) -> str | None: ...  # noqa: D102
    @property
    def glibc(self) -> str | None: ...  # noqa: D102
    @property
    def python(self) -> str | None: ...  # noqa: D102
    @property
    def python_path(self) -> str | None: ...  # noqa: D102


class ImageReader(Protocol):
    """Whoever knows images: a registry client. Raises `UnavailableError`."""

    def resolve_digest(self, reference: str) -> str:
        """The digest that `name[:tag]` means now."""

    def read_image(self, reference: str, platform: str) -> ImageReport:
        """What `name[:tag]@digest` holds for a platform as docker spells it."""


class BuildContext(NamedTuple):
    """What everything else on one platform stands on: the base image, its interpreter, the tools of the build.

    `wheels` are requirements of pip that the base would have otherwise.
    """

    base: BaseImage
    python: PythonInterpreter | None
    tools: tuple[ToolImage, ...]
    wheels: tuple[str, ...] = ()


def resolve_base_images(  # noqa: PLR0913
    source: TomlSource,
    spec: Spec,
    earlier: Lock | None,
    images: ImageReader,
    *,
    upgrade: bool,
    broken: tuple[str, ...] = (),
) -> dict[str, BuildContext]:
    """The ground of each platform. A digest that the earlier lock holds is kept unless it is to be upgraded.

    `broken` are the images of an earlier lock of which nothing else is known.

    Raises `DiagnosticsError` with the place in the spec when a base cannot be used, `UnavailableError` when a digest
    or what is
    in an image cannot be had.
    """
    kept = {} if upgrade else collect_pinned_images(earlier, broken)
    pinned = pin_tools(spec, None if upgrade else earlier, images, broken)
    base = find_base_image(spec)
    image = pin_image(base.image, kept, images)
    grounds: dict[str, BuildContext] = {}
    found: list[Diagnostic] = []
    for name in spec.platforms:
        before = earlier.find_platform(name) if earlier and not upgrade else None
        facts = _inspect_image(source, spec, image, before, images, name)
        answer = choose_base_image(spec, base, image, facts)
        if isinstance(answer, Diagnostic):
            found.append(answer)
        else:
            grounds[name] = BuildContext(*answer, pinned)
    if found:
        raise DiagnosticsError(source, dict.fromkeys(found))
    return grounds


def pin_tools(
    spec: Spec, earlier: Lock | None, images: ImageReader, broken: tuple[str, ...] = ()
) -> tuple[ToolImage, ...]:
    """The tools of the build by digest. Raises `UnavailableError`."""
    kept = collect_pinned_images(earlier, broken)
    return tuple(ToolImage(name, pin_image(image, kept, images)) for name, image in find_tool_images(spec))


def collect_pinned_images(earlier: Lock | None, broken: tuple[str, ...]) -> dict[str, str]:
    """From `name:tag` to the same with its digest, for every image of a lock."""
    platforms = earlier.platforms if earlier else ()
    bases = [base.image for each in platforms for base in (each.run, each.build)]
    images = [*bases, *(tool.image for each in platforms for tool in each.tools)]
    return {remove_digest(image): image for image in (*broken, *images)}


def pin_image(image: str, kept: Mapping[str, str], images: ImageReader) -> str:
    """The image by its digest: its own, a kept one, or what the registry says now. Raises `UnavailableError`."""
    if "@" in image:
        return image
    return kept.get(image) or f"{image}@{images.resolve_digest(image)}"


def _reuse_locked_image(spec: Spec, before: PlatformLock) -> BaseImageProperties | None:
    """What the lock holds of the very same image, if that is all that the spec needs of it."""
    if not uses_base_python(spec):
        return BaseImageProperties(before.build.os, before.build.glibc)
    python, base = before.python, find_base_image(spec)
    if python and python.source == "image":
        return BaseImageProperties(before.build.os, before.build.glibc, python.version, python.path)
    if python and python.source == "spec" and python.version in (spec.python, base.python):
        return BaseImageProperties(before.build.os, before.build.glibc, None, python.path)
    return None


def _inspect_image(  # noqa: PLR0913, PLR0917
    source: TomlSource, spec: Spec, image: str, before: PlatformLock | None, images: ImageReader, platform: str
) -> BaseImageProperties:
    """What is in the image: nothing needs to be asked when the spec and the image's name tell it all."""
    base = find_base_image(spec)
    parts = split_image_reference(base.image)
    if before and before.build.image == image and (known := _reuse_locked_image(spec, before)):
        return known
    if parts and parts.digest and not needs_inspection(spec):
        return BaseImageProperties()
    try:
        told = images.read_image(image, PLATFORMS[platform].docker_platform)
    except UnavailableError as problem:
        if not (parts and parts.digest):
            raise
        # With a digest nobody need be asked, if only the spec says what is in the image.
        message = f"nothing is known of `{base.image}`, and its registry could not be asked: {problem.message}"
        found = Diagnostic("base-unknown", message, ("image", "base"), f"say it: {BASE_TABLE_EXAMPLE}")
        raise DiagnosticsError(source, [found], EXIT_UNAVAILABLE) from None
    return BaseImageProperties(told.os, told.glibc, told.python, told.python_path)
