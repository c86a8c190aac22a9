"""The table of what can be said of a base: for each code the rule that people know it by, and the key it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import Diagnostic

if TYPE_CHECKING:
    from envcompile.diagnostics.toml_source import KeyPath
    from envcompile.lock.model import RecordedDiagnostic
    from envcompile.plan.base.model import Said
    from envcompile.spec.model import Spec


class Code(NamedTuple):
    """`slug` as in `envcompile.diagnostics.rules`, `key` the spec's key that it is about."""

    slug: str
    key: tuple[str, ...]


_VERSION = ("cuda", "version")
_BASE = ("image", "base")

CODES = {
    "E_MIXED_CUDA_MAJOR": Code("cuda-mixed", ("pip", "packages")),
    "E_CUDA_CONFLICT": Code("cuda-conflict", _VERSION),
    "E_CUDA_TOO_OLD": Code("cuda-too-old", _VERSION),
    "E_UNKNOWN_CUDA": Code("cuda-unknown", _VERSION),
    "E_TAG_DELETED": Code("cuda-deleted", _VERSION),
    "E_NO_IMAGE": Code("cuda-no-image", _BASE),
    "E_NO_CUDNN_MATCH": Code("cudnn-no-match", _BASE),
    "E_ARCH_NO_IMAGE": Code("cuda-no-platform", ("platforms",)),
    "E_GLIBC": Code("base-glibc", _BASE),
    "E_MUSL": Code("base-musl", _BASE),
    "E_DRIVER_TOO_OLD": Code("driver-too-old", ("cuda", "driver")),
    "E_SM_UNSUPPORTED": Code("compute-unsupported", ("cuda", "compute")),
    "E_NO_PYTHON": Code("base-python", ("python",)),
    "E_UNPINNED": Code("cuda-unpinned", _BASE),
    "E_CONDA_CPU_BUILD": Code("conda-cpu-build", ("conda", "packages")),
    "W_CPU_ONLY_WHEEL": Code("cpu-only-wheel", ("pip", "packages")),
    "W_ORT_PRELOAD": Code("onnxruntime-preload", ("pip", "packages")),
    "W_CUDA_MINOR_DIFFERS": Code("cuda-minor-differs", _VERSION),
    "W_MINOR_COMPAT_ONLY": Code("driver-minor-only", ("cuda", "driver")),
    "W_NVCC_MINOR_DIFFERS": Code("nvcc-minor-differs", _BASE),
    "W_EOL_TAG": Code("cuda-old-image", _VERSION),
    "W_GPU_UNUSED": Code("gpu-unused", ("pip", "packages")),
}
_KEYS = {code.slug: code.key for code in CODES.values()}


def diagnostic(said: Said | RecordedDiagnostic, spec: Spec) -> Diagnostic:
    """What was said, as a diagnostic at the key of the spec that it is about, or the nearest that the spec has."""
    slug = CODES[said[0]].slug if said[0] in CODES else said[0]
    place: KeyPath = _place(_KEYS[slug], spec)
    if place == ("pip", "packages"):
        place = (*place, *_named(said.message, spec.pip.packages))
    return Diagnostic(slug, said.message, place, said.hint)


def _named(message: str, requirements: tuple[str, ...]) -> tuple[int, ...]:
    """Which requirement a message is about: the first whose package it names."""
    from envcompile.spec.pip import parse_package_name, parse_requirement  # noqa: PLC0415 - brings `packaging`

    names = (f"`{parse_package_name(parse_requirement(text).name)}`" for text in requirements)
    return next(((index,) for index, each in enumerate(names) if each in message), ())


def _place(key: tuple[str, ...], spec: Spec) -> tuple[str, ...]:
    there: dict[tuple[str, ...], object] = {
        _BASE: spec.image.base,
        _VERSION: spec.cuda.version is not None,
        ("pip", "packages"): spec.pip.packages,
        ("conda", "packages"): spec.conda.packages,
    }
    return key if there.get(key, key) else next((each for each, is_there in there.items() if is_there), key)
