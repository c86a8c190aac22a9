"""Which CUDA the locked packages bring themselves, and which of its libraries (step 1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.lock.model import Step
from envcompile.plan.base.model import Said
from envcompile.plan.base.versions import major, minor, number
from envcompile.plan.cuda import CONDA_RUNTIME, PIP_RUNTIME, local_release

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.model import Locked, Question

# Build strings of conda-forge, `cuda126_py311h…`, and of pytorch's own channel, `py3.10_cuda11.8_cudnn8.7.0_0`.
_BUILD = re.compile(r"cuda_?([0-9]{2})\.?([0-9])")
_SUFFIX = re.compile(r"-cu([0-9]{2})$")
# Stubs such as nvidia-cuda-runtime-cu13 0.0.1 hold no CUDA.
_FIRST = 9
_UNSUFFIXED = 13
# What torch does not bring: its Triton has a ptxas of its own, and nothing of it needs libNVVM or nvcc.
_NOT_OF_TORCH = ("nvvm", "nvcc")


class Pin(NamedTuple):
    """A locked package that says which CUDA; `rank` is 0 for the surest kind, `toolkit` X.Y.Z or X.Y."""

    rank: int
    package: Locked
    toolkit: str


class Held(NamedTuple):
    """A library in the lock: its version (empty: not known), and the major version of CUDA that it is for."""

    version: str
    major: int
    conda: bool = False


class Bundled(NamedTuple):
    """What the lock brings: its pins, the surest first, and the libraries by name."""

    pins: tuple[Pin, ...]
    libraries: dict[str, Held]
    torch: Locked | None

    @property
    def toolkit(self) -> str | None:
        """The release of the surest pin."""
        return self.pins[0].toolkit if self.pins else None


def bundled(question: Question, packages: Iterable[Locked], catalogue: Catalogue) -> Bundled:
    """The pins and libraries among the packages. Never a maximum: the kind of pin decides."""
    packages = sorted(packages)
    pins = sorted(pin for package in packages if (pin := _pin(package, catalogue)))
    torch = next((each for each in packages if each.name in {"torch", "pytorch"}), None)
    return Bundled(tuple(pins), _libraries(question, packages, pins, catalogue), torch)


def _pin(package: Locked, catalogue: Catalogue) -> Pin | None:
    name, version = package.name, package.version
    if package.kind == "conda":
        if name in CONDA_RUNTIME:
            toolkit = minor(version) if name == "cuda-version" else _label(version, catalogue)
            return Pin(3 if name == "cuda-version" else 2, package, toolkit)
        build = _BUILD.search(package.build)
        return Pin(5, package, f"{build[1]}.{build[2]}") if build else None
    for rank, pattern in enumerate(PIP_RUNTIME):
        if pattern.fullmatch(name):
            toolkit = _label(version, catalogue) if rank == 0 else ".".join(str(part) for part in number(version)[:3])
            return Pin(rank, package, toolkit) if major(version) >= _FIRST else None
    release = local_release(version)
    return Pin(4, package, release) if release else None


def _label(runtime: str, catalogue: Catalogue) -> str:
    """The newest toolkit with this runtime; its X.Y where the runtime is not known."""
    known = catalogue.runtimes.get(runtime)
    return max(known, key=number) if known else minor(runtime)


def _libraries(question: Question, packages: list[Locked], pins: list[Pin], catalogue: Catalogue) -> dict[str, Held]:
    found = {} if question.whole else _companions(packages, pins, catalogue)
    first = major(pins[0].toolkit) if pins else 0
    # Names without a suffix came with CUDA 13; not all of their versions are CUDA's.
    plain = next((major(each.version) for each in packages if each.name == "nvidia-cuda-runtime"), _UNSUFFIXED)
    for package in packages:
        suffix = _SUFFIX.search(package.name)
        name = package.name[: suffix.start()] if suffix else package.name
        for library, row in catalogue.libraries.items():
            if package.kind == "conda":
                if name in row.conda:
                    found[library] = Held(package.version, first, conda=True)
            elif name in row.pip or package.name in row.pip:
                found[library] = Held(package.version, int(suffix[1]) if suffix else plain)
    if nvcc := _nvcc_of_wheels(packages, pins, catalogue):
        found.setdefault("nvcc", nvcc)
    return found


def _nvcc_of_wheels(packages: list[Locked], pins: list[Pin], catalogue: Catalogue) -> Held | None:
    """The compiler of the wheels of CUDA 13 and later: with all its parts, of the release that is used."""
    told = {each.name: each.version for each in packages if each.kind != "conda"}
    parts = [told.get(name, "") for name in catalogue.nvcc_wheel]
    if not pins or any(minor(each) != minor(pins[0].toolkit) for each in parts):
        return None
    return Held(parts[0], major(parts[0]))


def _companions(packages: list[Locked], pins: list[Pin], catalogue: Catalogue) -> dict[str, Held]:
    """The libraries that come with a runtime's pin, where only some of a lock is told."""
    pin = next((pin for pin in pins if pin.rank in {0, 2}), None)
    if pin is None:
        return {}
    told = {each.name: each.version for each in packages}
    rows = (row for row in catalogue.bundles if told.get(row.package) == row.version)
    cudnn = next((row.cudnn for row in rows if row.runtime == pin.package.version), "")
    left_out = _NOT_OF_TORCH if "torch" in told else ("nvcc",)
    release, conda = major(pin.toolkit), pin.rank != 0
    return {
        name: Held(cudnn if name == "cudnn" else "", release, conda)
        for name in catalogue.libraries
        if name not in left_out
    }


def other_nvcc(found: Bundled) -> Said | None:
    """A locked nvcc of another minor version than what is compiled against: torch only warns of it, and so do we."""
    nvcc, toolkit = found.libraries.get("nvcc"), found.toolkit
    if not nvcc or not toolkit or minor(nvcc.version) == minor(toolkit):
        return None
    message = f"what is locked is for CUDA {toolkit}, and the nvcc in the lock is {nvcc.version}"
    return Said("W_NVCC_MINOR_DIFFERS", message, "pin `cuda-nvcc` to the same release")


def majors(found: Bundled) -> dict[int, list[str]]:
    """Each major version of CUDA that is brought, and by what."""
    by_major: dict[int, list[str]] = {}
    for pin in found.pins:
        by_major.setdefault(major(pin.toolkit), []).append(str(pin.package))
    return by_major


def trail(found: Bundled) -> Step:
    """What was read off the lock."""
    inputs = tuple(str(pin.package) for pin in found.pins)
    decision = f"CUDA {found.toolkit} is in the lock" if found.pins else "no locked package brings CUDA"
    return Step(1, "bundled", inputs, decision, source="versions of the locked packages; runtime to toolkit: catalogue")
