"""Checks of this machine: its NVIDIA driver, the disk space of the engine, and the resolvers that are installed."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.diagnostics.errors import UnavailableError
from envcompile.doctor import CheckResult, result_from_error
from envcompile.doctor.docker import uses_containerd_store
from envcompile.lock.package_managers import INSTALLED_KINDS, PACKAGE_LISTS
from envcompile.net.process import ProgramNotFoundError, run_process
from envcompile.plan.sizes import format_bytes
from envcompile.resolve.pip.uv import find_uv
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from packaging.specifiers import SpecifierSet

    from envcompile.engine.command import DockerRunner
    from envcompile.lock.model import PlatformLock

_NVIDIA_SMI_COMMAND = ("nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader")
# nvidia-smi hangs on some broken drivers.
_PROBE_TIMEOUT = 30.0
_DRIVER_REMEDY = (
    "restart the machine if the driver was updated, because its kernel module and its library differ until then"
)
# Measured on examples/ml (752 MB of packages, Docker 26 with containerd's store): the build took 7.7 GB, three times
# the unpacked packages (uv's cache, the build stage, the layers) and once the packed ones. 2.5 GB remained when the
# builder's cache was emptied.
_BUILD_SIZE_FACTOR, _IMAGE_SIZE_FACTOR = 10, 3.4
_BASE_IMAGE_BYTES = 500_000_000  # a plain base image and the tools, packed and unpacked
# The data folder of a containerd that the system has started, and not Docker's daemon.
_CONTAINERD_ROOT = Path("/var/lib/containerd")


class _ResolverDistribution(NamedTuple):
    """A resolver by its name in the spec, its distribution, our extra that installs it, and its purpose."""

    resolver: str
    distribution: str
    extra: str
    purpose: str


_RESOLVER_DISTRIBUTIONS = (
    _ResolverDistribution("uv", "uv", "lock", "pip packages"),
    _ResolverDistribution("rattler", "py-rattler", "lock", "conda packages"),
    _ResolverDistribution("conda-lock", "conda-lock", "engines", 'conda packages with `resolver = "conda-lock"`'),
    _ResolverDistribution("pip-tools", "pip-tools", "engines", 'pip packages with `resolver = "pip-tools"`'),
    _ResolverDistribution("pip-tools", "pip", "engines", "pip-tools"),
)


class MinimumDriver(NamedTuple):
    """The oldest driver that suffices, and the reason."""

    version: str
    reason: str


def check_driver(floors: tuple[MinimumDriver, ...], environment: Mapping[str, str]) -> CheckResult:
    """Compare the driver of this machine with the minimum drivers.

    A missing driver is only a note, because builds need none.
    """
    try:
        done = run_process(_NVIDIA_SMI_COMMAND, None, environment, timeout=_PROBE_TIMEOUT)
    except ProgramNotFoundError:
        return _create_no_driver_result(floors)
    except UnavailableError as problem:
        return CheckResult("driver", "wrong", problem.message, _DRIVER_REMEDY)
    rows = [line.partition(", ") for line in done.stdout.splitlines() if version_numbers(line)]
    if done.exit_code or not rows:
        output = " ".join((done.stdout + done.stderr).split())[:200]
        return CheckResult("driver", "wrong", f"`nvidia-smi` finds no working driver: {output}", _DRIVER_REMEDY)
    version, names = rows[0][0], dict.fromkeys(name for _, _, name in rows)
    has = f"NVIDIA driver {version} ({', '.join(names)})"
    low = [each for each in floors if version_numbers(version) < version_numbers(each.version)]
    if not low:
        enough = "".join(f"; {each.version} is enough for {each.reason}" for each in floors)
        return CheckResult("driver", "fine", has + enough)
    worst = max(low, key=lambda each: version_numbers(each.version))
    message = f"{has} is too old: {worst.reason} needs {worst.version} or newer"
    remedy = "install that driver, or request an older CUDA with `version` under `[cuda]` and run `envcompile lock`"
    return CheckResult("driver", "wrong", message, remedy)


def _create_no_driver_result(floors: tuple[MinimumDriver, ...]) -> CheckResult:
    if not floors:
        return CheckResult("driver", "fine", "no NVIDIA driver here, and none is needed")
    needed = " and ".join(f"{each.version} or newer for {each.reason}" for each in floors)
    message = f"no NVIDIA driver here: images build without one, and run on a GPU with {needed}"
    return CheckResult("driver", "note", message)


class DiskEstimate(NamedTuple):
    """The approximate size of a build with everything that the builder caches, and of the image that remains.

    `is_complete` is true if the size of every package is known.
    """

    build_bytes: int
    image_bytes: int
    is_complete: bool


def estimate_disk_usage(platform: PlatformLock) -> DiskEstimate:
    """Estimate the disk space for a platform's image from the sizes of the locked packages."""
    sizes = [package.size for kind in INSTALLED_KINDS for _, package in PACKAGE_LISTS[kind].iter_packages(platform)]
    packed = sum(size or 0 for size in sizes)
    return DiskEstimate(
        _BASE_IMAGE_BYTES + packed * _BUILD_SIZE_FACTOR,
        _BASE_IMAGE_BYTES + int(packed * _IMAGE_SIZE_FACTOR),
        None not in sizes,
    )


def check_disk_space(ask: DockerRunner, info: Mapping[str, Any], wanted: DiskEstimate | None) -> CheckResult:
    """Compare the free space where the engine stores images with an estimate. `info` is the output of `docker info`."""
    root = _find_image_root(ask, info)
    if root is None:
        message = "the engine stores its images on another machine, whose free space is unknown here"
        return CheckResult("disk", "note", message, "`docker system df` lists what is used there")
    free = shutil.disk_usage(root).free
    has = f"{format_bytes(free)} are free in `{root}`"
    if wanted is None:
        return CheckResult("disk", "fine", has)
    least = "about" if wanted.is_complete else "at least"
    build, image = format_bytes(wanted.build_bytes), format_bytes(wanted.image_bytes)
    message = f"{has}; building the image needs {least} {build}, and the image keeps {image} of it"
    if free >= wanted.build_bytes:
        return CheckResult("disk", "fine", message)
    remedy = "`docker buildx prune` empties the builder's cache, `docker system df` lists what is large"
    return CheckResult("disk", "wrong", message, remedy)


def _find_image_root(ask: DockerRunner, info: Mapping[str, Any]) -> Path | None:
    """The folder of the images, or None if the daemon runs on another machine or in a virtual machine."""
    endpoint = ask("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").stdout.strip()
    root = Path(str(info.get("DockerRootDir", "")))
    if not endpoint.startswith("unix://") or not root.is_absolute() or not root.is_dir():
        return None
    if uses_containerd_store(info) and not (root / "containerd").is_dir() and _CONTAINERD_ROOT.is_dir():
        return _CONTAINERD_ROOT
    return root


def check_resolvers(wanted: Collection[str], environment: Mapping[str, str]) -> Iterator[CheckResult]:
    """Check the version of each resolver. A missing or old one fails the check only if the spec needs it (`wanted`)."""
    bounds = _read_version_bounds()
    for row in _RESOLVER_DISTRIBUTIONS:
        needed = row.resolver in wanted
        remedy = f"run `pip install 'envcompile[{row.extra}]'`"
        found = _find_uv_version(environment) if row.distribution == "uv" else _find_library_version(row.distribution)
        if isinstance(found, UnavailableError):
            about = result_from_error(row.distribution, found)
            message = f"`{row.distribution}` cannot be used; it is for {row.purpose}" if not needed else about.message
            yield about._replace(state=about.state if needed else "note", message=message, remedy=remedy)
        elif found not in bounds.get(row.distribution, _create_any_version()):
            message = f"{row.distribution} {found} is too old, {bounds[row.distribution]} is needed"
            yield CheckResult(row.distribution, "wrong" if needed else "note", message, remedy)
        else:
            yield CheckResult(row.distribution, "fine", f"{row.distribution} {found}")


def _create_any_version() -> SpecifierSet:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - 20 ms, here only

    return SpecifierSet()


def _read_version_bounds() -> dict[str, SpecifierSet]:
    """The required versions in our own metadata, including the extras.

    There are none if we run from a source folder.
    """
    from packaging.requirements import Requirement  # noqa: PLC0415 - 30 ms, here only

    try:
        rows = [Requirement(text) for text in requires("envcompile") or ()]
    except PackageNotFoundError:
        return {}
    return {row.name: row.specifier for row in rows if row.specifier}


def _find_library_version(distribution: str) -> str | UnavailableError:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return UnavailableError(f"`{distribution}`, which the spec requires, is not installed")


def _find_uv_version(environment: Mapping[str, str]) -> str | UnavailableError:
    """The version of the uv that would run: the one of its wheel, or one on the PATH."""
    try:
        path = find_uv(environment)
        done = run_process((path, "--version"), None, environment, timeout=_PROBE_TIMEOUT, label="`uv`")
    except UnavailableError as problem:
        return problem
    words = done.stdout.split()
    return words[1] if done.exit_code == 0 and len(words) > 1 else UnavailableError("`uv` does not report its version")
