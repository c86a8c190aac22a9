"""What the locked packages need of an image, at build and at run, and which of it the lock brings already (step 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from envcompile.lock.model import Step
from envcompile.plan.base.bundled import other_nvcc
from envcompile.plan.base.model import Said
from envcompile.plan.base.versions import architecture, cudnn_fits, major, minor, number, within
from envcompile.plan.cuda import local_release

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.plan.base.bundled import Bundled
    from envcompile.plan.base.catalogue import Catalogue, Need
    from envcompile.plan.base.model import Locked, Question

_ON = r"=(?:on|true|yes|y|1)\b"
# Where the wheels for CUDA 13 and later have their libraries; cuDNN kept a folder of its own.
_COMMON = 13


_MET = {
    "own": "finds the locked CUDA libraries itself; of the image it needs the driver alone",
    "preload": "can be told to load the locked CUDA libraries; of the image it needs the driver alone",
    "path": "finds the locked CUDA libraries through LD_LIBRARY_PATH; of the image it needs the driver alone",
    "home": "finds the locked nvcc through CUDA_HOME; of the image it needs the driver alone",
}


class About(NamedTuple):
    """What a need is held against."""

    question: Question
    found: Bundled
    catalogue: Catalogue


class Unmet(NamedTuple):
    """A package's need that the lock does not meet."""

    package: str
    need: Need


@dataclass(slots=True)
class Needs:
    """What was found, gathered package by package.

    `run` and `build` are features of an image (base, runtime, cudnn, devel); `unmet` the needs behind those of the run;
    `majors` the major versions of CUDA that packages need, met or not; `toolchain` is `conda` or `pip` where nvcc is
    locked.
    """

    run: set[str] = field(default_factory=set)
    build: set[str] = field(default_factory=set)
    unmet: list[Unmet] = field(default_factory=list)
    majors: dict[int, list[str]] = field(default_factory=dict)
    apt: list[tuple[str, str]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    own_search: list[str] = field(default_factory=list)
    compiled: list[str] = field(default_factory=list)
    compute: list[tuple[str, str]] = field(default_factory=list)
    toolchain: str = ""
    headers: bool = False
    driver: bool = False
    home: str = ""
    errors: list[Said] = field(default_factory=list)
    warnings: list[Said] = field(default_factory=list)
    trail: list[Step] = field(default_factory=list)


def needs(question: Question, packages: Iterable[Locked], found: Bundled, catalogue: Catalogue) -> Needs:
    """Every row of the catalogue's table that is about a locked package, applied. No GPU wanted: nothing is needed."""
    gathered, about = Needs(), About(question, found, catalogue)
    packages = sorted(packages)
    names = {package.name for package in packages}
    for package in packages:
        for need in catalogue.needs.get(package.name, ()):
            if not _is_about(need, package, about):
                continue
            if spared := next((each for each in need.unless if names.issuperset(each.split())), None):
                decision = f"what it would need otherwise comes with {' and '.join(spared.split())}"
                gathered.trail.append(Step(2, "spared", (str(package),), decision, source=need.source))
            else:
                _apply(gathered, need, package, about)
    if gathered.compiled and (toolchain := _toolchain(gathered, names, about)):
        gathered.toolchain, gathered.build = toolchain, set()
    if gathered.toolchain == "conda" and (said := other_nvcc(found)):
        gathered.warnings.append(said)
    return gathered


def _is_about(need: Need, package: Locked, about: About) -> bool:
    question = about.question
    if (need.kinds and package.kind not in need.kinds) or not within(package.version, need.low, need.below):
        return False
    if need.architecture and need.architecture not in {architecture(each) for each in question.platforms}:
        return False
    if question.gpu is False and need.when != "jit":
        return False
    if need.when == "jit":
        return question.jit
    if need.when == "alone":
        # numba is in many locks for the CPU: it counts only where CUDA is asked for and nothing else uses it.
        return asked(question) and not about.found.pins
    return not need.when or bool(re.search(f"-D(?:{'|'.join(need.when.split())}){_ON}", question.cmake, re.IGNORECASE))


def asked(question: Question) -> bool:
    """Whether the spec itself speaks of a GPU."""
    return bool(question.gpu or question.cuda or question.driver or question.compute)


def _apply(gathered: Needs, need: Need, package: Locked, about: About) -> None:
    inputs = (str(package),)
    kind = "cpu" if need.kind == "bundled" and package.version.endswith("+cpu") else need.kind
    if kind == "cpu":
        if local_release(package.version) is None:
            _cpu_only(gathered, need, package, about.question)
    elif kind == "conda":
        _conda(gathered, need, package)
    elif kind == "bundled":
        decision = "brings its CUDA libraries, or shares those of the lock; of the image it needs the driver alone"
        gathered.trail.append(Step(2, "bundled", inputs, decision, source=need.source))
        gathered.driver |= need.driver
    else:
        if need.minimum:
            gathered.majors.setdefault(major(need.minimum), []).append(str(package))
        if need.compute:
            gathered.compute.append((str(package), need.compute))
        if kind == "compile":
            gathered.compiled.append(str(package))
            gathered.build |= {"devel", *need.build}
            decision = "compiles CUDA code: nvcc in the build stage"
            gathered.trail.append(Step(2, "compiled", inputs, decision, source=need.source))
        _run(gathered, need, package, about)


def _cpu_only(gathered: Needs, need: Need, package: Locked, question: Question) -> None:
    said = need.surprise or asked(question)
    decision = "has no CUDA and runs on the CPU"
    gathered.trail.append(Step(2, "cpu-only", (str(package),), decision, source=need.source))
    if said:
        message = f"the locked wheel of `{package.name}` {package.version} has no CUDA"
        hint = (
            "take a release or an index that has builds with CUDA; or keep CUDA out with `version = false` in `[cuda]`"
        )
        gathered.warnings.append(Said("W_CPU_ONLY_WHEEL", message, hint))


def _conda(gathered: Needs, need: Need, package: Locked) -> None:
    if "cpu" in package.build.split("_"):
        message = f"conda locked `{package.name}` {package.version} as `{package.build}`, a build without CUDA"
        hint = "ask for a CUDA in `[cuda]`, so that the solver is told of one; or keep it out with `version = false`"
        gathered.errors.append(Said("E_CONDA_CPU_BUILD", message, hint))
    else:
        decision = "conda brings the CUDA libraries; of the image it needs the driver alone"
        gathered.trail.append(Step(2, "bundled", (str(package),), decision, source=need.source))


def _run(gathered: Needs, need: Need, package: Locked, about: About) -> None:
    if not need.run:
        _compiler(gathered, need, package)
        return
    inputs, finds = (str(package),), need.finds
    if need.libraries and finds and _held(need, about.found):
        gathered.trail.append(Step(2, f"found-{finds}", inputs, _MET[finds], source=need.source))
        if finds == "own":
            gathered.own_search.append(str(package))
        if finds == "path":
            gathered.folders += [each for name in need.path if (each := _folder(name, about))]
        if finds == "home":
            _home(gathered, need, package, about.found)
        if finds == "preload":
            message = f"`{package.name}` {package.version} does not find the locked CUDA libraries by itself"
            hint = "call `onnxruntime.preload_dlls()`, from 1.21 on, or import torch first"
            gathered.warnings.append(Said("W_ORT_PRELOAD", message, hint))
        return
    gathered.run |= set(need.run)
    gathered.unmet.append(Unmet(str(package), need))
    _compiler(gathered, need, package)
    wanted = " and ".join([*need.run, *(name for name in need.apt if name.startswith("cuda-"))])
    bound = (f", CUDA {need.minimum} or newer" if need.minimum else "") + (
        f", cuDNN {need.cudnn}" if need.cudnn else ""
    )
    gathered.trail.append(Step(2, "system", inputs, f"needs of the run image: {wanted}{bound}", source=need.source))


def _home(gathered: Needs, need: Need, package: Locked, found: Bundled) -> None:
    """Where the locked nvcc is. conda's brings its host compiler along; the wheels' takes the system's."""
    nvcc = found.libraries["nvcc"]
    if nvcc.conda:
        gathered.home = "<environment>"
        return
    gathered.home = f"<site-packages>/nvidia/cu{nvcc.major}"
    own = tuple(each for each in need.apt if not each.startswith("cuda-"))
    _compiler(gathered, need._replace(apt=own, run=()), package)


def _compiler(gathered: Needs, need: Need, package: Locked) -> None:
    gathered.apt += [(name, need.apt_from) for name in need.apt]
    gathered.headers |= need.headers
    if need.apt and not need.run:
        decision = f"compiles at run time: {', '.join(need.apt)}"
        gathered.trail.append(Step(2, "run-time-compiler", (str(package),), decision, source=need.source))


def _held(need: Need, found: Bundled) -> bool:
    """Whether the lock holds what is needed, of the right major versions and new enough."""
    held = [found.libraries.get(name) for name in need.libraries]
    if not all(held) or (need.minimum and any(each and each.major != major(need.minimum) for each in held)):
        return False
    toolkit = found.toolkit
    if need.minimum and toolkit and number(minor(toolkit)) < number(need.minimum):
        return False
    cudnn = found.libraries["cudnn"].version if "cudnn" in need.libraries else ""
    return need.resolved or not cudnn or cudnn_fits(cudnn, need.cudnn)


def _folder(name: str, about: About) -> str | None:
    held = about.found.libraries.get(name)
    if held is None:
        return None
    if held.conda:
        return "<environment>/lib"
    folder = f"cu{held.major}" if held.major >= _COMMON and name != "cudnn" else about.catalogue.libraries[name].folder
    return f"<site-packages>/nvidia/{folder}/lib"


def _toolchain(gathered: Needs, names: set[str], about: About) -> str:
    """`conda` or `pip` where the lock has an nvcc that can compile what must be: then no devel image is needed."""
    libraries, toolkit = about.found.libraries, about.found.toolkit
    nvcc, wheel = libraries.get("nvcc"), libraries.get("ptxas")
    if "cudnn" in gathered.build:  # the headers of cuDNN are in its devel images
        return ""
    if nvcc and nvcc.conda and (not toolkit or major(nvcc.version) in {major(toolkit), 0}):
        return "conda"
    # Only the wheels of CUDA 13 and later hold a real nvcc, and only with the headers of the same minor version.
    wanted = set(about.catalogue.nvcc_wheel if about.question.whole else about.catalogue.nvcc_wheel[:1])
    if wheel and not wheel.conda and toolkit and wanted <= names and minor(wheel.version) == minor(toolkit):
        return "pip"
    return ""
