"""The needs of a spec and its lock: resolvers, disk space, drivers and registries; and the age of its images."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import format_count
from envcompile.diagnostics.errors import EnvcompileError, InvalidInputError
from envcompile.doctor import CheckResult, result_from_error
from envcompile.doctor.machine import DiskEstimate, MinimumDriver, estimate_disk_usage
from envcompile.loading import find_lock_path, find_spec, read_lock_text, read_source
from envcompile.project.files import display_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.lock.model import Lock
    from envcompile.resolve.outdated import ImageAgeReader, ImageState
    from envcompile.spec.model import Spec


class ProjectNeeds(NamedTuple):
    """What a project needs from this machine: resolvers, disk space, drivers, and access to registries.

    Resolvers have their names in the spec, and access to a registry is tested with one of its images.

    `locked` are the spec and the lock, None if one of them cannot be read. `results`
    are the results of the checks of the catalogue, the spec and the lock.
    """

    results: tuple[CheckResult, ...] = ()
    resolvers: frozenset[str] = frozenset()
    disk_estimate: DiskEstimate | None = None
    minimum_drivers: tuple[MinimumDriver, ...] = ()
    images: tuple[str, ...] = ()
    locked: tuple[Spec, Lock] | None = None


def read_project_needs(file: str | None, catalogue: Catalogue) -> ProjectNeeds:
    """Return the needs of the spec `file`, or else of the spec nearest to the current folder; none without a spec.

    Raises `InvalidInputError` if `file` does not exist.
    """
    try:
        path = find_spec(file)
    except InvalidInputError:
        path = None
    known = CheckResult("catalogue", "fine", f"facts of {catalogue.date} ({catalogue.digest[:19]})")
    if path is None:
        message = "no spec here: only the machine is checked"
        return ProjectNeeds((known, CheckResult("spec", "note", message)), images=_list_default_images())
    try:
        spec = _read_spec(path)
    except EnvcompileError as problem:
        if file is not None and not path.exists():
            raise
        return _create_needs_from_error("spec", problem, known)
    try:
        lock = _read_lock(find_lock_path(path))
    except EnvcompileError as problem:
        return _create_needs_from_error("lock", problem, known)
    floors = tuple(_find_minimum_drivers(spec, lock, catalogue))
    if lock is None:
        finding = CheckResult("lock", "note", f"`{display_path(path)}` is not locked yet", "run `envcompile lock`")
        return ProjectNeeds(
            (known, finding), _find_resolvers(spec), minimum_drivers=floors, images=_list_default_images()
        )
    largest = max((estimate_disk_usage(each) for each in lock.platforms), key=lambda each: each.build_bytes)
    finding = CheckResult(
        "lock",
        "fine",
        f"`{display_path(find_lock_path(path))}` for {', '.join(each.platform for each in lock.platforms)}",
    )
    return ProjectNeeds(
        (known, finding), _find_resolvers(spec), largest, floors, _find_registry_images(lock), (spec, lock)
    )


def _create_needs_from_error(about: str, problem: EnvcompileError, known: CheckResult) -> ProjectNeeds:
    remedy = problem.hint or "run `envcompile lock` to see each mistake"
    return ProjectNeeds(
        (known, result_from_error(about, problem)._replace(remedy=remedy)), images=_list_default_images()
    )


def _read_spec(path: Path) -> Spec:
    from envcompile.spec.decode import parse_spec  # noqa: PLC0415 - where there is a spec

    return parse_spec(read_source(path))


def _read_lock(path: Path) -> Lock | None:
    from envcompile.lock.reader import parse_lock  # noqa: PLC0415 - where there is a lock

    text = read_lock_text(path)
    return parse_lock(text, display_path(path)) if text is not None else None


def _find_resolvers(spec: Spec) -> frozenset[str]:
    from envcompile.spec.solver_inputs import list_pip_requirements  # noqa: PLC0415 - where there is a spec

    pip = {spec.pip.resolver} if list_pip_requirements(spec) else set()
    conda = {spec.conda.resolver} if spec.conda.packages else set()
    return frozenset(pip | conda)


def _find_minimum_drivers(spec: Spec, lock: Lock | None, catalogue: Catalogue) -> Iterator[MinimumDriver]:
    """Yield the oldest driver that the spec requests to support, and the minimum driver of each locked CUDA version."""
    if spec.cuda.driver:
        yield MinimumDriver(spec.cuda.driver, "`driver` under `[cuda]`")
    found = {
        MinimumDriver(oldest, f"CUDA {cuda} of the lock")
        for cuda, oldest in _find_locked_cuda(lock, catalogue)
        if oldest
    }
    yield from sorted(found)


def _find_locked_cuda(lock: Lock | None, catalogue: Catalogue) -> Iterator[tuple[str, str | None]]:
    """Yield the CUDA version and its minimum driver for each platform that uses CUDA.

    They come from the decision about the base image, or are computed for a lock of an earlier release without one.
    """
    from envcompile.base_image.locked_cuda import cuda_in_lock  # noqa: PLC0415 - not needed without a spec
    from envcompile.base_image.model import BaseImageRequest, summarize_packages  # noqa: PLC0415
    from envcompile.versions import major_version  # noqa: PLC0415

    for each in lock.platforms if lock else ():
        if each.base_decision:
            if each.base_decision.cuda:
                yield each.base_decision.cuda, each.base_decision.driver
        elif toolkit := cuda_in_lock(BaseImageRequest(), summarize_packages(each.pip, each.conda), catalogue).toolkit:
            yield toolkit, catalogue.minimum_drivers.get(str(major_version(toolkit)))


def _find_registry_images(lock: Lock) -> tuple[str, ...]:
    """One image of each registry that a build of the lock needs."""
    from envcompile.registry.reference import locate_image  # noqa: PLC0415 - where there is a lock

    found: dict[str, str] = {}
    for each in lock.platforms:
        for image in (each.build.image, each.run.image, *(tool.image for tool in each.tools)):
            found.setdefault(locate_image(image, {}).host, image)
    return tuple(found.values())


def _list_default_images() -> tuple[str, ...]:
    """The images that a first lock would need."""
    from envcompile.base_image.default import PLAIN_IMAGE, TOOL_IMAGES  # noqa: PLC0415 - where there is no lock

    return (PLAIN_IMAGE, TOOL_IMAGES["uv"])


# With `--network`: the age of the images and of the snapshot, and moved tags.


def check_updates(spec: Spec, lock: Lock, images: ImageAgeReader, now: str) -> Iterator[CheckResult]:
    """Yield a result for each base image, for each tool image that the spec names, and for the snapshot.

    `now` is the current time (RFC 3339 in UTC). A tag that has moved is only a note: the locked image still works.
    """
    from envcompile.resolve.outdated import count_days, read_image_states  # noqa: PLC0415 - only with `--network`

    for state in read_image_states(spec, lock, images):
        about = "tool" if state.tool else "base"
        if state.problem:
            remedy = "check the network and `[mirrors]` in the settings"
            yield CheckResult(about, "missing", state.problem, remedy)
            continue
        age = f" is {format_count(count_days(state.created, now), 'day')} old" if state.created else ""
        if state.has_moved:
            message = f"`{state.image}`{age}{' and' if age else ''} is no longer the image of its tag"
            yield CheckResult(about, "note", message, _format_remedy(state))
        elif state.newest or age:
            unchanged = "is still the image of its tag" if state.newest else ""
            words = f"{age}{' and' if age and unchanged else ''} {unchanged}".rstrip()
            yield CheckResult(about, "fine", f"`{state.image}`{words}")
    if lock.snapshot:
        age = format_count(count_days(lock.snapshot, now), "day")
        yield CheckResult("snapshot", "fine", f"the snapshot of the archive, {lock.snapshot}, is {age} old")


def _format_remedy(state: ImageState) -> str:
    if state.is_fixed:
        return f"write the new digest in the spec: `{state.newest}`"
    return f"run `envcompile lock -P {'tools' if state.tool else 'base'}`"
