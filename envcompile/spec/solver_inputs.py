"""Derives the inputs of the resolvers from a spec: its requirements, and the options that the lock records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.spec.conda import CondaRequirement
from envcompile.spec.pip import PipRequirement, normalize_name
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.source import KeyPath
    from envcompile.spec.model import BaseImageSpec, SdistMetadataOverride, Spec


def list_conda_requirements(spec: Spec) -> tuple[CondaRequirement, ...]:
    """Return the conda requirements of a spec, and, if its top-level key `python` is set, one for that Python.

    If the spec also has a conda requirement for `python`, both must hold.
    """
    if spec.python is None:
        return spec.conda.packages
    exact = spec.python.count(".") > 1
    # Matches the build strings of conda-forge's free-threaded Python, such as those that end with `_cp313t`.
    build = f" *_cp{minor_release(spec.python).replace('.', '')}t" if spec.free_threaded else ""
    python = CondaRequirement((f"python =={spec.python}" if exact else f"python {spec.python}.*") + build)
    return (*spec.conda.packages, python)


# The program that `init = true` starts first. The package index has it as a wheel of 9 kB for x86_64 and aarch64, which
# needs glibc, and Debian and Ubuntu have a package of the same name.
INIT_PACKAGE = "dumb-init"


def list_pip_requirements(spec: Spec) -> tuple[PipRequirement, ...]:
    """Return the pip requirements of a spec, and, if `image.init` is set, one for the init program.

    There is none for the init program if the spec itself requests it, from any package manager.
    """
    return (*spec.pip.packages, PipRequirement(INIT_PACKAGE)) if _needs_init_requirement(spec) else spec.pip.packages


def _needs_init_requirement(spec: Spec) -> bool:
    if not spec.image.init:
        return False
    # A requirement with a marker may not apply on every platform.
    requested = {each.name for each in spec.pip.packages if each.marker is None}
    requested.update(each.name for each in spec.conda.packages)
    return INIT_PACKAGE not in {*requested, *spec.apt.packages}


def locate_requirement(spec: Spec, table: str, index: int) -> KeyPath:
    """Return the key path of a requirement: an item of `list_conda_requirements` or `list_pip_requirements`."""
    if index < len(getattr(spec, table).packages):
        return (table, "packages", index)
    return ("python",) if table == "conda" else ("image", "init")


def recorded_inputs(spec: Spec) -> dict[str, tuple[str, ...]]:
    """The options of a spec that influence its lock but cannot be checked against the locked packages.

    The result maps the key of each option, such as `pip.index`, to its values. The lock records them, and is stale if
    they change. Empty options are left out, and lists whose order has no meaning are sorted.
    """
    pip, apt, cuda = spec.pip, spec.apt, spec.cuda
    indexes = (
        " ".join((each.name, each.url, *sorted(map(normalize_name, each.packages)))) for each in pip.extra_indexes
    )
    rows = {
        "exclude-newer": _as_tuple(spec.exclude_newer),
        "conda.channels": spec.conda.channels,
        "conda.provides": tuple(f"{name}: {', '.join(found)}".rstrip(": ") for name, found in spec.conda.provides),
        "pip.packages": tuple(sorted(find_requested_extras(spec))),
        "pip.exclude": tuple(sorted(pip.exclude)),
        "pip.allow-sdist": tuple(sorted(pip.allow_sdist)),
        "pip.allow-overlap": tuple(sorted(pip.allow_overlap)),
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
    """Map each extra of a pip requirement, such as `requests[socks]`, to the position of the requirement in `packages`.

    Extras are recorded because the locked packages do not show which extra required them.
    """
    # Most requirements have no extra and are not parsed here.
    found = [(index, each) for index, each in enumerate(spec.pip.packages) if "[" in each.text]
    return {f"{each.name}[{extra}]": index for index, each in found for extra in each.extras}


def _as_tuple(value: str | bool | None) -> tuple[str, ...]:
    return () if value is None else (value if isinstance(value, str) else str(value).lower(),)


def _format_metadata(metadata: SdistMetadataOverride) -> str:
    """Format `[pip.metadata.NAME]` so that equal tables give equal texts."""
    dist = None if metadata.requires_dist is None else sorted(each.text for each in metadata.requires_dist)
    env = f" {dict(metadata.build_env)}" if metadata.build_env else ""
    build = sorted(each.text for each in metadata.build_requires)
    return f"{metadata.name} {dist} {metadata.requires_python} {build}{env}"


def _iter_base_image_inputs(base: BaseImageSpec | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    if base is not None:
        yield "image.base", (base.image,)
        for key in ("os", "glibc", "python", "python_path"):
            yield f"image.base.{key.replace('_', '-')}", _as_tuple(getattr(base, key))
