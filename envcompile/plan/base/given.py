"""A base that the spec gives: it is taken as it is, unless it is known not to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.model import Step
from envcompile.plan.base import trail
from envcompile.plan.base.conflicts import gone
from envcompile.plan.base.images import OBSTACLES, Pair, against, glibc_fits
from envcompile.plan.base.model import Said, Stage
from envcompile.plan.base.stages import Choice, about, named_system, too_old
from envcompile.spec.image_reference import split_image_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.plan.base.case import Case
    from envcompile.plan.base.catalogue import Image

# What an image has, by its flavour; images of the hub's own library have nothing of CUDA.
_HAS = {
    "base": {"base"},
    "runtime": {"base", "runtime"},
    "devel": {"base", "runtime", "devel"},
    "cudnn-runtime": {"base", "runtime", "cudnn"},
    "cudnn-devel": {"base", "runtime", "cudnn", "devel"},
    "": set[str](),
}
_WITHOUT = {"python", "debian", "ubuntu"}


def given(case: Case, conda: bool) -> Choice:
    """The spec's own base for both stages, or why it cannot be; of one that nobody knows the spec's word counts."""
    image, catalogue = case.question.image or "", case.catalogue
    parts = split_image_reference(image)
    name, tag = (parts.name, parts.tag or "") if parts else (image, "")
    found = _known(case, tag) if name.endswith(catalogue.repository) else None
    words = [named_system(word, catalogue) or "" for word in reversed(tag.split("-"))]
    system = found[0].system if found else next((word for word in words if word in catalogue.systems), "")
    glibc = catalogue.systems[system].glibc if system else ""
    kind, cuda = (found[1], found[0].cuda) if found else ("", "")
    stage = Stage(image, system, glibc, "conda" if conda else "image", kind, cuda)
    sure = found is not None or name.rpartition("/")[2] in _WITHOUT
    said = list(_against(case, stage, found[0] if found else None, sure=sure))
    if name.endswith(catalogue.repository) and not found and gone(tag.partition("-")[0], catalogue):
        message = f"the image `{image}` was deleted by NVIDIA"
        said = [Said("E_TAG_DELETED", message, "take one of a newer release")]
    needed = sorted(case.needs.run | case.needs.build)
    word = f"; that it has {' and '.join(needed)} is the spec's word" if needed and not sure else ""
    row = Step(7, "image.given", (image,), f"both stages: {image}, as the spec says{word}", source="the spec")
    if any(each.code.startswith("E_") for each in said):
        return Choice(None, None, tuple(said), (row,))
    return Choice(stage, stage, tuple(said), (row, trail.python(("both stages", stage))))


def _known(case: Case, tag: str) -> tuple[Image, str] | None:
    """The catalogue's row and flavour of a tag."""
    known = ((each, kind) for each in case.catalogue.images for kind in case.catalogue.flavours)
    return next((each for each in known if case.catalogue.tag(*each) == tag), None)


def _against(case: Case, stage: Stage, image: Image | None, *, sure: bool) -> Iterator[Said]:
    if stage.system and not glibc_fits(case, stage.system):
        yield too_old(case, stage.system)
    missing = sorted((case.needs.run | case.needs.build) - _HAS[stage.flavour])
    if missing and sure:
        names = [*case.needs.compiled, *(each.package for each in case.needs.unmet)]
        message = f"`{stage.image}` has no {' and no '.join(missing)}, which {' and '.join(names)} needs"
        yield Said("E_NO_IMAGE", message, "leave `base` out of `[image]`, and one that fits is chosen")
    elif image:
        for obstacle, why in against(case, image, "run").items():
            yield Said(OBSTACLES[obstacle], f"`{stage.image}` does not do: {why}", "leave `base` out of `[image]`")
        yield from about(case, Pair(stage.system, None, image))
