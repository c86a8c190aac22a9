"""Checks that CUDA versions, GPU architectures and drivers are compatible, and constrains pip (steps 3 to 5).

It compares the locked packages with each other, with `[cuda]` of the spec and with the catalogue, and returns
errors and warnings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.locked_cuda import group_by_major
from envcompile.base_image.model import is_older_driver
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import Step
from envcompile.versions import is_in_range, is_release_of, major_version, minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.base_image.catalogue import Catalogue, GpuArchitecture
    from envcompile.base_image.needs import DecisionInputs

# Wheels that have the version of the toolkit. Others (cuDNN, cuFFT, NCCL) have versions of their own.
_TOOLKIT_WHEELS = (
    "nvidia-cuda-runtime",
    "nvidia-cuda-nvrtc",
    "nvidia-cuda-cupti",
    "nvidia-cuda-nvcc",
    "nvidia-nvjitlink",
)
_METAPACKAGE = "cuda-toolkit"
_FIRST_UNSUFFIXED_MAJOR = 13


def make_cuda_constraints(version: str | None, catalogue: Catalogue) -> tuple[str, ...]:
    """Return the lines of a constraints file that limit NVIDIA's wheels to the requested CUDA version.

    If the spec excludes CUDA, nothing is constrained: the resolver would select an old release that hides its
    CUDA dependency. Instead, the solution is checked.
    """
    if version is None:
        return ()
    major = major_version(version)
    found = [f"{_METAPACKAGE}=={version}.*"]
    majors = sorted({major_version(each) for each in catalogue.runtimes} | {major})
    for name in _TOOLKIT_WHEELS:
        names = {each: f"{name}-cu{each}" if each < _FIRST_UNSUFFIXED_MAJOR else name for each in majors}
        own_names = names.pop(major)
        found.append(f"{own_names}=={version}.*")
        found += [f"{other}<0" for other in sorted({*names.values()} - {own_names})]
    return tuple(found)


# GPU architectures of toolkits and of torch's wheels (step 4).


_COMPUTE_PATTERN = re.compile(r"(?:sm_|compute_)?([0-9]{1,2})\.?([0-9])[a-z]?", re.IGNORECASE)


def normalize_compute(text: str) -> str:
    """Return a GPU architecture as X.Y: `sm_90`, `90`, `9.0` and `9.0a` are `9.0`."""
    found = _COMPUTE_PATTERN.fullmatch(text.removesuffix("+PTX").strip())
    return f"{found[1]}.{found[2]}" if found else text


def is_compute_in_toolkit(compute: str, release: str, catalogue: Catalogue) -> bool:
    """Whether the toolkit X.Y can compile for the GPU architecture."""
    row = catalogue.gpu_architectures.get(compute)
    return bool(
        row
        and version_numbers(row.first_toolkit) <= version_numbers(release)
        and (not row.last_major or major_version(release) <= major_version(row.last_major))
    )


def _is_compute_in_torch_wheel(compute: str, case: DecisionInputs, release: str) -> bool:
    """Whether the wheel of torch has code for the GPU architecture.

    It has if it contains binary code for an architecture with the same major version and an older or equal minor
    version, or PTX for an older or equal architecture. A wheel whose content is unknown counts as if it had.
    """
    torch = case.locked_cuda.torch
    if torch is None or torch.kind != "wheel":
        return True
    word = "cu" + release.replace(".", "")
    rows = [
        row
        for row in case.catalogue.torch_builds
        if row.cuda == word and is_in_range(torch.version, row.low, row.below)
    ]
    wanted = version_numbers(compute)
    return not rows or any(
        (version_numbers(each)[0] == wanted[0] and version_numbers(each) <= wanted)
        or (row.has_ptx and version_numbers(each) <= wanted)
        for row in rows
        for each in row.capabilities
    )


def explain_unsupported_compute(case: DecisionInputs, compute: str, release: str) -> str | None:
    """Return why CUDA X.Y with the locked packages does not support a GPU architecture; None if it does."""
    if not is_compute_in_toolkit(compute, release, case.catalogue):
        return f"CUDA {release} does not compile for it"
    if (
        case.locked_cuda.toolkit
        and minor_release(case.locked_cuda.toolkit) == release
        and not _is_compute_in_torch_wheel(compute, case, release)
    ):
        torch = case.locked_cuda.torch
        return f"the wheel of {torch} for CUDA {release} has no code for it"
    floor = next(
        (
            (name, bound)
            for name, bound in case.needs.compute_minimums
            if version_numbers(compute) < version_numbers(bound)
        ),
        None,
    )
    return f"{floor[0]} needs {floor[1]} or newer" if floor else None


def find_common_compute(case: DecisionInputs, release: str) -> tuple[str, ...]:
    """Return the GPU architectures that both CUDA X.Y and the locked packages support."""
    found = (
        each for each in case.catalogue.gpu_architectures if explain_unsupported_compute(case, each, release) is None
    )
    return tuple(sorted(found, key=version_numbers))


def _suggest_cuda_for_compute(row: GpuArchitecture, case: DecisionInputs) -> str:
    """Return a hint with the CUDA versions that support the architecture, and the builds of torch for them."""
    known = [
        each for each in case.catalogue.minor_releases if is_compute_in_toolkit(row.capability, each, case.catalogue)
    ]
    hint = f"CUDA {known[0]} to {known[-1]} supports it" if known else "no known CUDA release supports it"
    advice = []
    if known and not case.request.cuda:
        advice.append(f'write `version = "{major_version(known[-1])}"` in `[cuda]`')
    torch, wanted = case.locked_cuda.torch, version_numbers(row.capability)
    builds = [
        each
        for each in case.catalogue.torch_builds
        if torch and is_in_range(torch.version, each.low, each.below)
        for one in each.capabilities
        if version_numbers(one)[0] == wanted[0] and version_numbers(one) <= wanted
    ]
    if torch and builds:
        newest = max((each.cuda for each in builds), key=lambda word: version_numbers(word.removeprefix("cu")))
        advice.append(f"take torch from its index for `{newest}`, in `extra-indexes`")
    if advice:
        hint += f": {', or '.join(advice)}"
    return hint


def iter_compute_errors(case: DecisionInputs) -> Iterator[Diagnostic]:
    """Yield an error for each requested GPU architecture that the packages or the drivers do not support (step 4)."""
    toolkit = case.locked_cuda.toolkit
    for each in case.request.compute:
        name = normalize_compute(each)
        row = case.catalogue.gpu_architectures.get(name)
        if row is None:
            message = f"`{each}` is no GPU architecture that is known ({case.catalogue.date})"
            yield Diagnostic("compute-unsupported", message, hint="write it like `8.0`")
        elif toolkit and (why := explain_unsupported_compute(case, name, minor_release(toolkit))):
            yield Diagnostic(
                "compute-unsupported",
                f"GPU architecture {name} is not supported: {why}",
                hint=_suggest_cuda_for_compute(row, case),
            )
        elif row.last_driver and major_version(case.request.driver or "") > int(row.last_driver):
            message = (
                f"driver {case.request.driver} does not support GPU architecture {name}: "
                f"R{row.last_driver} is the last one that does"
            )
            yield Diagnostic(
                "compute-unsupported",
                message,
                hint=f'write `driver = "{row.last_driver}"` in `[cuda]`, or remove the architecture from `compute`',
            )


# Contradictions: versions of CUDA, and drivers (steps 3 and 5).


_STEP_SOURCES = {
    3: "docs/base.md, step 3",
    4: "NVIDIA's toolkit, driver and architecture matrix; torch's wheels as measured by cog",
    5: "NVIDIA's minor version compatibility page; uv-torch backend.rs @26a9dd4b",
}
_VERSION_PATTERN = re.compile(r"[0-9]+(?:\.[0-9]+){0,2}")


class Conflicts(NamedTuple):
    """The diagnostics of steps 3 to 5, about CUDA versions, GPU architectures and drivers."""

    versions: tuple[Diagnostic, ...] = ()
    compute: tuple[Diagnostic, ...] = ()
    drivers: tuple[Diagnostic, ...] = ()


def find_conflicts(case: DecisionInputs) -> Conflicts:
    """Return the conflicts of the locked packages with each other and with the request."""
    versions = tuple(iter_version_conflicts(case))
    if any(each.rule == "cuda-mixed" for each in versions):
        return Conflicts(versions)  # without one major version there is nothing to compare GPUs and drivers with
    minor, driver = check_minor_release(case), check_driver_support(case)
    return Conflicts(
        (*versions, *([minor] if minor else [])), tuple(iter_compute_errors(case)), (driver,) if driver else ()
    )


def check_requested_cuda(case: DecisionInputs) -> Diagnostic | None:
    """Return an error if the requested CUDA version does not exist, or if its images were deleted."""
    requested, catalogue = case.requested_cuda, case.catalogue
    if not requested:
        return None
    if case.needs_cuda_image and is_image_deleted(requested, catalogue):
        message = f"the images of CUDA {requested} were deleted by NVIDIA"
        return Diagnostic("cuda-deleted", message, hint=f"request {_suggest_releases(requested, catalogue)}")
    return check_cuda_release(requested, catalogue)


def check_cuda_release(version: str, catalogue: Catalogue) -> Diagnostic | None:
    """Return an error if there is no toolkit of this version."""
    if _VERSION_PATTERN.fullmatch(version) and version in catalogue.toolkit_releases:
        return None
    message = f"`{version}` is no version of CUDA that is known ({catalogue.date})"
    return Diagnostic("cuda-unknown", message, hint=f"request {_suggest_releases(version, catalogue)}")


def is_image_deleted(version: str, catalogue: Catalogue) -> bool:
    """Whether NVIDIA has deleted the images of this version."""
    return any(is_release_of(version, each) for each in catalogue.deleted_releases)


def _suggest_releases(version: str, catalogue: Catalogue) -> str:
    same = [
        each for each in catalogue.minor_releases if major_version(each) == major_version(version)
    ] or catalogue.minor_releases
    wanted = version_numbers(version)
    close = sorted(same, key=lambda each: abs(version_numbers(each)[-1] - (wanted[1] if len(wanted) > 1 else 0)))[:2]
    return " or ".join(f"`{each}`" for each in sorted(close, key=version_numbers))


def iter_version_conflicts(case: DecisionInputs) -> Iterator[Diagnostic]:
    """Yield errors about contradictory CUDA versions.

    Packages may have different major versions of CUDA, or another one than the spec requests, or need a newer
    version than the spec requests.
    """
    found: dict[int, list[str]] = group_by_major(case.locked_cuda)
    for release, names in case.needs.cuda_majors.items():
        found.setdefault(release, []).extend(names)
    versions = "; ".join(
        f"CUDA {release}: {', '.join(f'`{name}`' for name in found[release])}" for release in sorted(found)
    )
    if len(found) > 1:
        hint = "select releases that are built for the same major version"
        if not case.request.cuda:
            hint = f'write `version = "{min(found)}"` in `[cuda]`, which selects releases for CUDA {min(found)}'
        yield Diagnostic("cuda-mixed", f"the locked packages are for more than one CUDA version: {versions}", hint=hint)
    elif case.request.cuda.is_excluded and (found or case.needs_cuda_image):
        needing = ", ".join(
            f"`{name}`" for name in (*case.needs.compiled_packages, *(each.package for each in case.needs.unmet_needs))
        )
        message = f"the spec excludes CUDA, but locked packages use it: {versions or needing}"
        hint = "request CPU builds: `pytorch * cpu*` from conda, or a CPU index in `extra-indexes` for pip"
        yield Diagnostic("cuda-conflict", message, hint=hint)
    elif case.requested_cuda and found and major_version(case.requested_cuda) not in found:
        message = (
            f"the spec requests CUDA {case.requested_cuda}, but the locked packages are for another version: {versions}"
        )
        yield Diagnostic("cuda-conflict", message, hint="request that version, or packages that are built for yours")
    elif "." in case.requested_cuda:
        for package, need in case.needs.unmet_needs:
            if need.minimum and version_numbers(minor_release(case.requested_cuda)) < version_numbers(need.minimum):
                message = f"the spec requests CUDA {case.requested_cuda}, but `{package}` needs {need.minimum} or newer"
                yield Diagnostic("cuda-too-old", message, hint=f"request `{need.minimum}` or newer")


def check_minor_release(case: DecisionInputs) -> Diagnostic | None:
    """Return a warning if the lock has another minor version of CUDA than the spec requests.

    The version in the lock is used.
    """
    toolkit, requested = case.locked_cuda.toolkit, case.requested_cuda
    if (
        toolkit
        and "." in requested
        and major_version(toolkit) == major_version(requested)
        and minor_release(toolkit) != minor_release(requested)
    ):
        message = f"the spec requests CUDA {requested}, but the locked packages contain {toolkit}, which is used"
        hint = f"request `{minor_release(toolkit)}`, or packages that are built for {minor_release(requested)}"
        # Only a warning: `resolve.base_images` rejects a lock in which the two differ.
        return Diagnostic("cuda-minor-differs", message, hint=hint, severity="warning")
    return None


def check_driver_support(case: DecisionInputs) -> Diagnostic | None:
    """Return an error or a warning if the oldest driver to support is too old for the CUDA version (step 5), or None.

    Below the minimum driver of the major version, nothing runs: an error. Below the driver that came with the minor
    version, CUDA runs with limits: a warning.
    """
    driver, toolkit = case.request.driver, case.locked_cuda.toolkit
    if not driver or not (toolkit or case.needs_cuda_image):
        return None
    floor = case.catalogue.minimum_drivers.get(case.cuda_major)
    if floor and is_older_driver(driver, floor) and not case.request.data_centre:
        message = f"driver {driver} cannot run CUDA {case.cuda_major}, which needs {floor} or newer"
        supported = [
            each for each, oldest in case.catalogue.minimum_drivers.items() if not is_older_driver(driver, oldest)
        ]
        best = max(supported, key=version_numbers, default=None)
        hint = (
            f'it runs CUDA {best}: write `version = "{best}"` in `[cuda]` to select builds for it'
            if best
            else "no CUDA that is known runs on it: take a newer driver"
        )
        return Diagnostic("driver-too-old", message, hint=hint)
    native = (
        case.catalogue.find_native_driver(minor_release(toolkit)) if toolkit and not needs_cuda_compat(case) else None
    )
    if native and is_older_driver(driver, native):
        message = f"driver {driver} is older than CUDA {toolkit}, which came with {native}"
        return Diagnostic(
            "driver-minor-only",
            message,
            hint="it runs through minor version compatibility, but code that exists only as PTX does not",
        )
    return None


def needs_cuda_compat(case: DecisionInputs) -> bool:
    """Whether the run image must contain cuda-compat.

    It must if the oldest driver to support is below the minimum of the major version of CUDA, and all GPUs are
    data-centre GPUs.
    """
    driver, floor = case.request.driver, case.catalogue.minimum_drivers.get(case.cuda_major)
    used = case.locked_cuda.toolkit or case.needs_cuda_image
    return bool(driver and used and floor and case.request.data_centre and is_older_driver(driver, floor))


def explain_conflicts(case: DecisionInputs, conflicts: Conflicts) -> Iterator[Step]:
    """Yield the steps 3 to 5 of the explanation.

    Steps 4 and 5 are left out if the request states no GPU architecture or no driver.
    """
    request = case.request
    version = (f"cuda {case.requested_cuda}",) if case.requested_cuda else ()
    driver = (f"driver {request.driver}",) if request.driver else ()
    yield _make_step(3, "versions", version, conflicts.versions)
    if request.compute:
        yield _make_step(4, "compute", request.compute, conflicts.compute)
    if driver:
        yield _make_step(5, "driver", driver, conflicts.drivers)


def _make_step(step: int, rule: str, inputs: tuple[str, ...], found: tuple[Diagnostic, ...]) -> Step:
    decision = "; ".join(each.message for each in found) or "nothing against it"
    return Step(step, rule, inputs, decision, source=_STEP_SOURCES[step])
