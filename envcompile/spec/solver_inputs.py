"""What a spec asks for, beyond the words of its requirements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.spec.conda import CondaRequirement
from envcompile.spec.pip import normalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.spec.model import BaseImageSpec, SdistMetadataOverride, Spec


def list_conda_requirements(spec: Spec) -> tuple[CondaRequirement, ...]:
    """The conda requirements, and with them the Python that the spec asks for at its top."""
    if spec.python is None or any(each.name == "python" for each in spec.conda.packages):
        return spec.conda.packages
    exact = spec.python.count(".") > 1
    python = CondaRequirement(f"python =={spec.python}" if exact else f"python {spec.python}.*")
    return (*spec.conda.packages, python)


def recorded_inputs(spec: Spec) -> dict[str, tuple[str, ...]]:
    """What shapes the answer and is seen in no pin, by its key in the spec: a lock repeats it, to be compared with.

    A key that asks for nothing is left out. What is unordered is sorted.
    """
    pip, apt, cuda = spec.pip, spec.apt, spec.cuda
    indexes = (
        " ".join((each.name, each.url, *sorted(map(normalize_name, each.packages)))) for each in pip.extra_indexes
    )
    rows = {
        "exclude-newer": _as_tuple(spec.exclude_newer),
        "conda.channels": spec.conda.channels,
        "pip.packages": tuple(sorted(find_requested_extras(spec))),
        "pip.exclude": tuple(sorted(pip.exclude)),
        "pip.allow-sdist": tuple(sorted(pip.allow_sdist)),
        "pip.metadata": tuple(map(_format_metadata, pip.metadata)),
        "pip.index": _as_tuple(pip.index),
        "pip.extra-indexes": tuple(indexes),
        "apt.packages": tuple(sorted(apt.packages)),
        "apt.build": tuple(sorted(apt.build)),
        "apt.snapshot": _as_tuple(apt.snapshot),
        "cuda.version": _as_tuple(str(cuda.request) or None),
        "cuda.driver": _as_tuple(cuda.driver),
        "cuda.compute": tuple(sorted(cuda.compute)),
        "cuda.jit": _as_tuple(cuda.jit or None),
        **dict(_iter_base_image_inputs(spec.image.base)),
        **{f"tools.{tool}": (image,) for tool, image in spec.tools},
    }
    return {key: rows[key] for key in sorted(rows) if rows[key]}


def find_requested_extras(spec: Spec) -> dict[str, int]:
    """Each extra that pip is asked for, as `requests[socks]`, and which requirement asks for it, counted from 0.

    What an extra brings is not told from what the package itself needs by any pin.
    """
    # Most requirements have no extra and are not parsed here.
    found = [(index, each) for index, each in enumerate(spec.pip.packages) if "[" in each.text]
    return {f"{each.name}[{extra}]": index for index, each in found for extra in each.extras}


def _as_tuple(value: str | bool | None) -> tuple[str, ...]:
    return () if value is None else (value if isinstance(value, str) else str(value).lower(),)


def _format_metadata(said: SdistMetadataOverride) -> str:
    """What is said of one sdist, as one text for one value."""
    dist = None if said.requires_dist is None else sorted(each.text for each in said.requires_dist)
    env = f" {dict(said.build_env)}" if said.build_env else ""
    return f"{said.name} {dist} {said.requires_python} {sorted(each.text for each in said.build_requires)}{env}"


def _iter_base_image_inputs(base: BaseImageSpec | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    if base is not None:
        yield "image.base", (base.image,)
        for key in ("os", "glibc", "python", "python_path"):
            yield f"image.base.{key.replace('_', '-')}", _as_tuple(getattr(base, key))
