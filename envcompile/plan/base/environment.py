"""What goes with the images: environment, labels, apt packages, drivers, and what was saved (step 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.model import SizeSaving, Step
from envcompile.plan.base.compute import architectures, compute_name
from envcompile.plan.base.needs import asked
from envcompile.plan.base.versions import major, minor, number

if TYPE_CHECKING:
    from envcompile.plan.base.case import Case
    from envcompile.plan.base.model import Stage

_HOME = "/usr/local/cuda"
# All that NVIDIA's own images set for it; said aloud, since what the container toolkit assumes otherwise changed.
_VISIBLE = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
_NO_SIZE_WITH_CUDNN = (12, 8)
# g++ depends on both; the devel images have all three through cuda-nvcc.
_WITH_CXX = {"gcc", "libc6-dev"}


def used(case: Case, run: Stage | None) -> str | None:
    """The CUDA that is used: the lock's, else the run image's; X.Y where the lock says no more."""
    return case.found.toolkit or (run.cuda if run and run.cuda else None)


def env(case: Case, run: Stage) -> dict[str, str]:
    """The environment of the run image."""
    found: dict[str, str] = {}
    if not run.flavour and case.question.gpu is not False and (_cuda(case) or asked(case.question)):
        found |= _VISIBLE
    if case.needs.folders:
        found["LD_LIBRARY_PATH"] = ":".join(dict.fromkeys(case.needs.folders))
    elif run.flavour and case.needs.own_search:
        # The images point it at their own libraries, which JAX and TensorFlow would then take instead of the locked.
        found["LD_LIBRARY_PATH"] = ""
    if run.flavour and (run.flavour.endswith("devel") or any(name == "cuda-nvcc" for name, _ in case.needs.apt)):
        found["CUDA_HOME"] = _HOME
    elif case.needs.home:
        found["CUDA_HOME"] = case.needs.home
    return found


def _cuda(case: Case) -> bool:
    return bool(case.found.pins or case.found.libraries or case.needs.driver)


def build_env(case: Case, build: Stage) -> dict[str, str]:
    """The environment of what compiles in the build stage: there is no GPU that could be asked for its architecture."""
    if not case.needs.compiled:
        return {}
    homes = {"conda": "<environment>", "pip": f"<site-packages>/nvidia/cu{case.major}", "": _HOME}
    found = {"CUDA_HOME": homes[case.needs.toolchain]}
    if case.found.torch:
        release = minor(case.found.toolkit or build.cuda)
        wanted = [compute_name(each) for each in case.question.compute] or list(architectures(case, release))
        found["TORCH_CUDA_ARCH_LIST"] = ";".join(wanted)
    return found


def apt_run(case: Case, run: Stage) -> tuple[str, ...]:
    """System packages of the run stage; those of CUDA are named for its release."""
    if run.flavour.endswith("devel"):
        return ()
    toolkit = run.cuda or case.found.toolkit or ""
    names = [
        f"{name}-{minor(toolkit).replace('.', '-')}" if name.startswith("cuda-") else name
        for name, since in case.needs.apt
        if (not since or number(minor(toolkit)) >= number(since)) and not _headers_held(case, name)
    ]
    spared = _WITH_CXX if "g++" in names else set()
    return tuple(name for name in dict.fromkeys(names) if name not in spared)


def _headers_held(case: Case, name: str) -> bool:
    """The wheel of the runtime has its headers, for what finds them there: anything but an nvcc of the system."""
    held = case.found.libraries.get("runtime")
    found = held is not None and str(held.major) == case.major
    return name == "cuda-cudart-dev" and found and not any(each == "cuda-nvcc" for each, _ in case.needs.apt)


def apt_build(case: Case) -> tuple[str, ...]:
    """The host compiler for an nvcc that is in the lock."""
    return ("g++", "gcc") if case.needs.toolchain else ()


def floor(case: Case, cuda: str | None) -> str | None:
    """The oldest driver of the CUDA's major version: every minor version runs on it, with limits."""
    return case.catalogue.floors.get(str(major(cuda))) if cuda else None


def saving(case: Case, cuda: str | None, run: Stage) -> SizeSaving | None:
    """Against the devel image of the same release; None where that is what runs, or no size is known."""
    if cuda is None or run.flavour.endswith("devel"):
        return None
    with_cudnn = "cudnn" in case.needs.run or "cudnn" in case.found.libraries
    # What is known of newer devel images is larger without cuDNN than what is known of older ones with it.
    against = "cudnn-devel" if with_cudnn and number(cuda) < _NO_SIZE_WITH_CUDNN else "devel"
    large, small = _size(case, against, cuda), _size(case, run.flavour.removeprefix("cudnn-"), cuda)
    if large is None or small is None or large <= small:
        return None
    return SizeSaving(f"{large - small:.1f}", f"{case.catalogue.repository}:{minor(cuda)}-{against}")


def _size(case: Case, flavour: str, cuda: str) -> float | None:
    """Unpacked gigabytes of the nearest release whose size is known; a plain image is below a tenth."""
    if not flavour:
        return 0.1
    known = [(number(release), size) for release, kind, size in case.catalogue.sizes if kind == flavour]
    wanted = number(cuda)
    near = sorted(known, key=lambda row: (abs(row[0][0] - wanted[0]), abs(row[0][1] - (*wanted, 0)[1])))
    return near[0][1] if near else None


def trail(env: dict[str, str], apt: tuple[str, ...], driver: str | None) -> Step:
    """The last step."""
    told = [*(f"{name}={value}" for name, value in env.items()), *(f"apt {name}" for name in apt)]
    decision = "; ".join([*told, *([f"driver {driver} or newer"] if driver else [])]) or "nothing to add"
    return Step(9, "emit", (), decision, source="docs/base.md, step 9")
