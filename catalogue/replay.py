"""`python -m catalogue.replay CASES.json`: decide the cases in a file, and compare the decisions with the expectations.

A case is `{id, title, input, expect}`. `input` is a request and some packages of a lock. `expect` is the code of
an error, or the expected images, warnings and other results. Only the keys in `expect` are compared.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.base_image.decide import decide_base_images
from envcompile.base_image.model import BaseImageRequest, PackageSummary
from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_INVALID_INPUT, EXIT_OK, EnvcompileError, InvalidInputError
from envcompile.platforms import PLATFORM_ALIASES, PLATFORMS
from envcompile.spec.model import NO_CUDA, CudaRequest
from envcompile.spec.pip import normalize_name
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from envcompile.base_image.catalogue import Catalogue
    from envcompile.base_image.model import BaseImageResult, StageImage

_REQUEST_FIELDS = {
    "python": "python",
    "cuda": "cuda",
    "os": "system",
    "base": "image",
    "driver": "driver",
    "datacenter": "data_centre",
    "jit": "jit",
    "gpu": "gpu",
    "min_glibc": "glibc",
    "cmake_args": "cmake",
    "allow_eol": "accept_old",
}
# Case files name the rules by these codes, or by their slugs.
RULE_CODES = {
    "cuda-mixed": "E_MIXED_CUDA_MAJOR",
    "cuda-conflict": "E_CUDA_CONFLICT",
    "cuda-too-old": "E_CUDA_TOO_OLD",
    "cuda-unknown": "E_UNKNOWN_CUDA",
    "cuda-deleted": "E_TAG_DELETED",
    "cuda-no-image": "E_NO_IMAGE",
    "cudnn-no-match": "E_NO_CUDNN_MATCH",
    "cuda-no-platform": "E_ARCH_NO_IMAGE",
    "base-glibc": "E_GLIBC",
    "base-musl": "E_MUSL",
    "driver-too-old": "E_DRIVER_TOO_OLD",
    "compute-unsupported": "E_SM_UNSUPPORTED",
    "conda-cpu-build": "E_CONDA_CPU_BUILD",
    "cpu-only-wheel": "W_CPU_ONLY_WHEEL",
    "onnxruntime-preload": "W_ORT_PRELOAD",
    "cuda-minor-differs": "W_CUDA_MINOR_DIFFERS",
    "driver-minor-only": "W_MINOR_COMPAT_ONLY",
    "nvcc-minor-differs": "W_NVCC_MINOR_DIFFERS",
    "cuda-old-image": "W_EOL_TAG",
    "run-time-compiler": "W_JIT_COMPILER",
}
_PACKAGE_KEYS = {"pip", "conda", "platform", "platforms", "sm"}


class ReplayResult(NamedTuple):
    """The result of one case: the differences (none if it matches), and the keys of its input that are not read."""

    name: str
    title: str
    differences: tuple[str, ...]
    unread_keys: tuple[str, ...]


def replay_cases(text: str, catalogue: Catalogue) -> list[ReplayResult]:
    """Return the results of all cases in a text. Raises `InvalidInputError` if the text is not a list of cases."""
    try:
        cases = json.loads(text)["vectors"]
        return [_replay_case(case, catalogue) for case in cases]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"the file does not contain cases: {type(error).__name__} at {error}", "see docs/base.md for the form"
        ) from error


def _replay_case(case: dict[str, Any], catalogue: Catalogue) -> ReplayResult:
    given = case["input"]
    decision = decide_base_images(read_request(given), read_packages(given), catalogue)
    unread = tuple(sorted(given.keys() - _REQUEST_FIELDS.keys() - _PACKAGE_KEYS))
    return ReplayResult(case["id"], case["title"], tuple(_find_differences(case["expect"], decision)), unread)


def read_request(given: dict[str, Any]) -> BaseImageRequest:
    """Return the request of a case. It states that only some packages of a lock are known."""
    values = {
        _REQUEST_FIELDS[key]: value for key, value in given.items() if key in _REQUEST_FIELDS and value is not None
    }
    if "cuda" in values:
        is_excluded = values["cuda"] in ("none", False)
        values["cuda"] = NO_CUDA if is_excluded else CudaRequest(values["cuda"])
    platforms = given.get("platforms") or [given.get("platform", "linux/amd64")]
    known = [PLATFORMS.get(PLATFORM_ALIASES.get(each, each)) for each in platforms]
    named = [one.docker_platform if one else each for one, each in zip(known, platforms, strict=True)]
    return BaseImageRequest(
        **values, platforms=tuple(named), compute=tuple(given.get("sm", ())), has_all_packages=False
    )


def read_packages(given: dict[str, Any]) -> tuple[PackageSummary, ...]:
    """Return the pip and conda packages of a case."""
    pip = [
        PackageSummary(
            normalize_name(each["name"]), each["version"], each.get("kind", "wheel"), file=each.get("file", "")
        )
        for each in given.get("pip", [])
    ]
    conda = [
        PackageSummary(each["name"], each["version"], "conda", each.get("build", "")) for each in given.get("conda", [])
    ]
    return (*pip, *conda)


def _find_differences(expect: dict[str, Any], decision: BaseImageResult) -> list[str]:
    """Return a text for each difference. An expected error must be the only one; otherwise, there must be no errors."""
    errors = sorted({_find_code(each.rule) for each in decision.errors})
    wanted = [_find_code(expect["error"])] if "error" in expect else []
    wrong = [] if errors == wanted else [f"errors: {errors}, not {wanted}"]
    if wrong or wanted:
        return wrong
    return [
        f"{key}: {json.dumps(found)}, not {json.dumps(told)}"
        for key, told in expect.items()
        if not _is_equal_value(key, told, found := _find_actual_value(key, decision))
    ]


def _find_actual_value(key: str, decision: BaseImageResult) -> object:
    lists = {"warnings": sorted(_find_code(each.rule) for each in decision.warnings), "sm": list(decision.compute)}
    plain = {"build": _find_image(decision.build), "run": _find_image(decision.run), "cuda": decision.cuda}
    rest = {
        "env": dict(decision.env),
        "build_env": dict(decision.build_env),
        "labels": dict(decision.labels),
        "min_driver": decision.driver,
        "apt_run": sorted(decision.apt_run),
        "apt_build": sorted(decision.apt_build),
    }
    return {**lists, **plain, **rest}.get(key, "(not in the decision)")


def _is_equal_value(key: str, told: object, found: object) -> bool:
    """Whether two values are equal: lists in any order, drivers by their numbers (450.80.2 equals 450.80.02)."""
    if key == "min_driver" and isinstance(told, str) and isinstance(found, str):
        return version_numbers(told) == version_numbers(found)
    if isinstance(told, list) and isinstance(found, list):
        return sorted(map(str, told)) == sorted(map(str, found))
    return told == found


def _find_code(rule: str) -> str:
    """Return the code of a rule in case files; the slug itself if it has no code."""
    return RULE_CODES.get(rule, rule)


def _find_image(stage: StageImage | None) -> str | None:
    return stage.image if stage else None


def main(argv: list[str]) -> int:
    """Print the result of each case. Return 0 if all match, 1 if one differs, and 2 if the cases cannot be read."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m catalogue.replay CASES.json\n")
        return EXIT_INVALID_INPUT
    try:
        replayed = replay_cases(Path(argv[0]).read_text("utf-8"), load_default_catalogue())
    except (OSError, UnicodeDecodeError, EnvcompileError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_INVALID_INPUT
    for each in replayed:
        unread = f" (not read: {', '.join(each.unread_keys)})" if each.unread_keys else ""
        differs = f": {'; '.join(each.differences)}" if each.differences else ""
        sys.stdout.write(f"{each.name} {'differs' if each.differences else 'matches'} {each.title}{differs}{unread}\n")
    matching = sum(not each.differences for each in replayed)
    sys.stdout.write(f"{matching} of {len(replayed)} match\n")
    return EXIT_OK if matching == len(replayed) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
