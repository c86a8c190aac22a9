"""What is outdated in a lock: what `lock -U` would change, and what exists but is excluded by the spec.

Everything is resolved in memory. To find what the spec holds back, the packages are resolved again without
`exclude-newer`, and then without the versions in the requirements as well. A package that is newer then is held back.

Registries state the time at which an image was created. Images that are built reproducibly often state the start of the
Unix epoch, which is not an age.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple, Protocol

from envcompile.base_image.default import PYTHON_PATCHES
from envcompile.base_image.python_builds import find_standalone_python
from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import UnavailableError
from envcompile.lock.diff import LockRequest, compare_locks
from envcompile.lock.model import PythonInterpreter
from envcompile.lock.package_managers import PACKAGE_MANAGERS
from envcompile.platforms import PLATFORMS
from envcompile.resolve.base_images import BuildContext
from envcompile.resolve.environment import EarlierLock, solve_environment
from envcompile.resolve.model import UnsolvableError
from envcompile.resolve.upgrade import UPGRADABLE_PARTS, UpgradeRequest
from envcompile.spec.conda import CondaRequirement, compare_conda_versions, parse_conda_version
from envcompile.spec.pip import PipRequirement
from envcompile.spec.values import remove_digest, split_image_reference
from envcompile.versions import minor_release, version_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.diff import LockChange
    from envcompile.lock.model import Lock, Pins, PlatformLock
    from envcompile.lock.package_managers import PackageManager
    from envcompile.resolve.environment import Solvers
    from envcompile.spec.model import Spec

    # The versions of the packages of one platform, by package manager and name.
    Versions = Mapping[tuple[str, str], str]

# Changes that follow from the packages, so that they are not outdated themselves.
_DERIVED_KINDS = frozenset({"layers", "layout"})
_UNKNOWN_REASON = "the other requirements of the spec exclude it"
# Docker was published in March 2013. An earlier time is a placeholder.
_FIRST_YEAR = 2013
_SECONDS_PER_DAY = 86400


class ImageAgeReader(Protocol):
    """A registry client. Its methods raise `UnavailableError` if the registry cannot be read."""

    def resolve_digest(self, reference: str) -> str:
        """Return the digest that `name[:tag]` refers to now."""

    def read_creation_time(self, reference: str, platform: str) -> str | None:
        """Return the time at which `name[:tag]@digest` was created (RFC 3339), None if the image states none."""


class ImageState(NamedTuple):
    """An image of the lock as its registry has it now.

    - `image`: the locked reference. `tool`: the name of the build tool, "" for a base image.
    - `is_fixed`: whether the spec names the image by digest.
    - `created`: the time of a base image (RFC 3339), None if it is unknown; always None for a tool.
    - `newest`: the reference by the digest that the tag has now, None if the image has no tag.
    - `problem`: why the registry could not be read, "" if it could.
    """

    image: str
    tool: str = ""
    is_fixed: bool = False
    created: str | None = None
    newest: str | None = None
    problem: str = ""

    @property
    def has_moved(self) -> bool:
        """Whether the tag refers to another digest than the locked one."""
        return self.newest is not None and self.newest != self.image


class HeldBack(NamedTuple):
    """A pin that the spec keeps from moving to a newer version.

    - `kind`, `name`: as in `LockChange`; `label`: the two as messages show them.
    - `allowed`: the newest version that the spec allows; `newest`: the newest version that exists.
    - `reason`: a sentence without a full stop. `platforms`: the platforms with this pin; empty for an image.
    """

    kind: str
    name: str
    label: str
    allowed: str
    newest: str
    reason: str
    platforms: tuple[str, ...] = ()


class OutdatedReport(NamedTuple):
    """The report of `lock --outdated`.

    - `changes`: the changes that `lock -U` would make. `held_back`: newer versions that the spec excludes.
    - `images`: the base images, and the tool images that the spec names, as their registries have them now.
    - `snapshot`: the moment of the Debian archive, None without Debian packages.
    - `problems`: checks that could not be made, as sentences.
    """

    changes: tuple[LockChange, ...]
    held_back: tuple[HeldBack, ...]
    images: tuple[ImageState, ...]
    snapshot: str | None
    problems: tuple[str, ...] = ()


def find_outdated(  # noqa: PLR0913, PLR0917 - every effect is an argument
    source: TomlSource,
    spec: Spec,
    lock: Lock,
    solvers: Solvers,
    images: ImageAgeReader,
    now: str,
    start_step: Callable[[str], None],
) -> OutdatedReport:
    """Compare a lock with what `lock -U` would write. `now` is the current time (RFC 3339 in UTC).

    `start_step` is called with the name of each step. Raises the errors of `resolve_lock`.
    """
    from envcompile.resolve.locking import resolve_lock  # noqa: PLC0415 - imports this package

    start_step("resolving the newest versions")
    newest = resolve_lock(source, spec, EarlierLock(lock, {}), solvers, UpgradeRequest(True), lambda _: None)
    request = LockRequest(spec, upgraded=True, parts=frozenset(UPGRADABLE_PARTS))
    changes = tuple(each for each in compare_locks(lock, newest, request) if each.kind not in _DERIVED_KINDS)
    start_step("looking for newer versions that the spec excludes")
    held_back: list[HeldBack] = []
    problems: list[str] = []
    try:
        held_back += _find_held_packages(source, spec, newest, solvers)
    except (UnsolvableError, DiagnosticsError) as error:
        problems.append(f"cannot find out which packages the spec holds back: {error.message}")
    held_back += _find_held_pythons(spec, newest)
    held_back += _find_held_snapshot(spec, newest, now)
    start_step("reading the base images")
    states = tuple(read_image_states(spec, lock, images))
    held_back += _find_held_images(states)
    problems += [f"cannot check `{each.image}`: {each.problem}" for each in states if each.problem]
    return OutdatedReport(changes, tuple(held_back), states, lock.snapshot, tuple(problems))


# Packages.


def _find_held_packages(source: TomlSource, spec: Spec, newest: Lock, solvers: Solvers) -> Iterator[HeldBack]:
    """Yield the packages that are newer if the spec does not restrict them."""
    timeless = replace(spec, exclude_newer=None)
    relaxed = _relax_versions(timeless)
    if relaxed == spec:
        return
    without_versions = _solve_versions(source, relaxed, newest, solvers)
    without_time = without_versions
    if spec.exclude_newer and relaxed != timeless:
        without_time = _solve_versions(source, timeless, newest, solvers)
    elif not spec.exclude_newer:
        without_time = {}
    found: dict[HeldBack, list[str]] = {}
    for platform in newest.platforms:
        name = platform.platform
        for each in _compare_versions(spec, platform, without_versions[name], without_time.get(name, {})):
            found.setdefault(each, []).append(name)
    yield from (each._replace(platforms=tuple(names)) for each, names in found.items())


def _relax_versions(spec: Spec) -> Spec:
    """Return the spec without the versions of its requirements. The release of the Python stays."""
    conda = tuple(map(_relax_conda_requirement, spec.conda.packages))
    pip = tuple(map(_relax_pip_requirement, spec.pip.packages))
    python = minor_release(spec.python) if spec.python and spec.conda.packages else spec.python
    return replace(spec, python=python, conda=replace(spec.conda, packages=conda), pip=replace(spec.pip, packages=pip))


def _relax_conda_requirement(requirement: CondaRequirement) -> CondaRequirement:
    parts = requirement.match_spec
    if parts.version is None or parts.name == "python" or parts.md5 or parts.sha256:
        return requirement
    subdir = f"/{parts.subdir}" if parts.subdir else ""
    channel = f"{parts.channel}{subdir}::" if parts.channel else ""
    return CondaRequirement(f"{channel}{parts.name}" + (f" * {parts.build}" if parts.build else ""))


def _relax_pip_requirement(requirement: PipRequirement) -> PipRequirement:
    if not requirement.format_specifier():
        return requirement
    extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    return PipRequirement(f"{requirement.name}{extras}{marker}")


def _solve_versions(source: TomlSource, spec: Spec, newest: Lock, solvers: Solvers) -> dict[str, Versions]:
    """Resolve a spec for the base images of a lock. Returns the versions of each platform."""
    contexts = {
        each.platform: BuildContext(
            each.run, each.python, each.tools, each.base_decision.wheels if each.base_decision else ()
        )
        for each in newest.platforms
    }
    solved = solve_environment(source, spec, contexts, EarlierLock(None, {}), solvers, UpgradeRequest(True))
    return {each.platform: _collect_versions(each) for each in solved.platforms}


def _collect_versions(pins: PlatformLock | Pins) -> Versions:
    return {
        (manager.name, name): package.version
        for manager in PACKAGE_MANAGERS.values()
        if not manager.follows_snapshot
        for name, package in manager.lists[0].iter_packages(pins)
    }


def _compare_versions(
    spec: Spec, platform: PlatformLock, without_versions: Versions, without_time: Versions
) -> Iterator[HeldBack]:
    """Yield the packages of a platform that are newer without the versions in the spec or without `exclude-newer`."""
    for (kind, name), version in _collect_versions(platform).items():
        manager = PACKAGE_MANAGERS[kind]
        candidates = [found[kind, name] for found in (without_versions, without_time) if (kind, name) in found]
        newer = [each for each in candidates if _is_newer(kind, each, version)]
        if not newer:
            continue
        is_held_by_time = without_time.get((kind, name)) in newer
        reason = _explain_exclusion(spec, manager, platform, name, newer[0], held_by_time=is_held_by_time)
        yield HeldBack(kind, name, manager.lists[0].label.format(name), version, newer[0], reason)


def _is_newer(kind: str, version: str, other: str) -> bool:
    if kind == "conda":
        return compare_conda_versions(parse_conda_version(version), parse_conda_version(other)) > 0
    from packaging.version import Version  # noqa: PLC0415 - for pip packages only

    return Version(version) > Version(other)


def _explain_exclusion(  # noqa: PLR0913 - the facts about one package
    spec: Spec, manager: PackageManager, platform: PlatformLock, name: str, newest: str, *, held_by_time: bool
) -> str:
    """Return why the newest version of a package is not locked, as far as the spec and the packages show it."""
    packages = dict(manager.lists[0].iter_packages(platform))
    candidate = replace(packages[name], version=newest)
    for each in manager.list_requirements(spec, "packages"):
        if each.name == name and not each.allows(candidate):
            return f"the spec requests `{each}`"
    if held_by_time:
        return f"`exclude-newer` is {spec.exclude_newer}"
    for other in packages.values():
        for dependency in map(manager.parse_dependency, other.depends):
            if dependency.name == name and not dependency.allows(candidate):
                return f"{other.name} {other.version} needs `{dependency}`"
    return _UNKNOWN_REASON


# The Python, the snapshot and the images.


def _find_held_pythons(spec: Spec, newest: Lock) -> Iterator[HeldBack]:
    """Yield the Python if the spec requests an exact version. A Python from conda is one of the packages."""
    if not spec.python or spec.python == minor_release(spec.python):
        return
    minor = minor_release(spec.python)
    found: dict[tuple[str, str], list[str]] = {}
    for each in newest.platforms:
        python = each.python
        if python is None or python.source == "conda":
            continue
        known = PYTHON_PATCHES.get(minor)
        if python.build:
            build = find_standalone_python(minor, each.platform, free_threaded=spec.free_threaded)
            known = build.version if isinstance(build, PythonInterpreter) else None
        if known and version_numbers(known) > version_numbers(python.version):
            found.setdefault((python.version, known), []).append(each.platform)
    for (version, known), platforms in found.items():
        yield HeldBack("python", "", "Python", version, known, f"the spec requests {spec.python}", tuple(platforms))


def _find_held_snapshot(spec: Spec, newest: Lock, now: str) -> Iterator[HeldBack]:
    time = spec.apt.snapshot or spec.exclude_newer
    last_midnight = f"{now[:10]}T00:00:00Z"
    if newest.snapshot and time and time < last_midnight:
        key = "`snapshot` in `[apt]`" if spec.apt.snapshot else "`exclude-newer`"
        platforms = tuple(each.platform for each in newest.platforms)
        reason = f"the spec sets {key}"
        yield HeldBack("snapshot", "", "snapshot of the archive", newest.snapshot, last_midnight, reason, platforms)


def _find_held_images(states: tuple[ImageState, ...]) -> Iterator[HeldBack]:
    for each in states:
        if each.is_fixed and each.has_moved and each.newest:
            kind, label = ("tool", f"image of the tool {each.tool}") if each.tool else ("image", "base image")
            key = "`[tools]`" if each.tool else "`base` in `[image]`"
            yield HeldBack(kind, each.tool, label, each.image, each.newest, f"{key} has a digest")


# The images as their registries have them now.


def read_image_states(spec: Spec, lock: Lock, images: ImageAgeReader) -> Iterator[ImageState]:
    """Yield the state of each base image, and of each tool image that the spec names.

    Other tool images come with the release of envcompile, so that nothing depends on their tags.
    """
    bases = {image: each.platform for each in lock.platforms for image in (each.run.image, each.build.image)}
    requested_base = spec.image.base.image if spec.image.base else ""
    for image, platform in bases.items():
        yield _read_state(ImageState(image, "", "@" in requested_base), PLATFORMS[platform].docker_platform, images)
    requested_tools = dict(spec.tools)
    tools = dict.fromkeys(tool for each in lock.platforms for tool in each.tools if tool.name in requested_tools)
    for tool in tools:
        yield _read_state(ImageState(tool.image, tool.name, "@" in requested_tools[tool.name]), "", images)


def _read_state(state: ImageState, platform: str, images: ImageAgeReader) -> ImageState:
    """Return the state with what the registry says. A tool has no `platform`, and its age is not read."""
    tag = remove_digest(state.image)
    parts = split_image_reference(state.image)
    try:
        created = images.read_creation_time(state.image, platform) if platform else None
        newest = f"{tag}@{images.resolve_digest(tag)}" if parts and parts.tag else None
    except UnavailableError as error:
        return state._replace(problem=error.message)
    is_known = created is not None and _parse_time(created).year >= _FIRST_YEAR
    return state._replace(created=created if is_known else None, newest=newest)


def count_days(time: str, now: str) -> int:
    """Return the number of whole days from a time to `now`, both RFC 3339; 0 if the time is later."""
    return max(int((_parse_time(now) - _parse_time(time)).total_seconds()) // _SECONDS_PER_DAY, 0)


def _parse_time(time: str) -> datetime:
    """Return the time, without fractions of a second. An invalid time is the start of the Unix epoch."""
    try:
        # Python 3.10 reads neither nine digits of a fraction nor `Z`.
        zone = "+00:00" if time.endswith("Z") else time[-6:]
        parsed = datetime.fromisoformat(time[:19] + zone)
    except ValueError:
        parsed = datetime.fromtimestamp(0, timezone.utc)
    return parsed
