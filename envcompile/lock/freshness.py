"""Compares a lock with the spec: lists every requirement and every input of the spec that the lock does not satisfy.

The result does not depend on digests. A requirement that was loosened, or that is written in another way, is still
satisfied. The pip requirements are checked in `freshness_pip`, which imports `packaging`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.digests import compute_text_digest, compute_value_digest
from envcompile.lock.graph import find_init_program, unrequired_packages
from envcompile.lock.header import LAYOUT_VERSION
from envcompile.lock.model import DEFAULT_LAYER_THRESHOLD
from envcompile.lock.package_managers import INSTALLED_KINDS, PACKAGE_LISTS
from envcompile.spec.conda import CondaDependency
from envcompile.spec.model import ExtraIndex
from envcompile.spec.pip import find_index
from envcompile.spec.solver_inputs import (
    INIT_PACKAGE,
    find_requested_extras,
    list_conda_requirements,
    locate_requirement,
    recorded_inputs,
)
from envcompile.spec.values import display_text, is_same_repository, remove_digest, split_image_reference
from envcompile.versions import is_release_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from envcompile.diagnostics.source import KeyPath
    from envcompile.lock.model import CondaPackage, Lock, PlatformLock
    from envcompile.spec.model import Spec

InputValues = tuple[str, ...]


def changed_inputs(spec: Spec, lock: Lock) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each changed key whose new value the lock may not satisfy, sorted by key.

    These keys affect the solution, but the packages do not show their values, so the lock records them.
    """
    if lock.recorded_inputs is None:
        yield Diagnostic(
            "stale",
            "the spec has changed, and the lock of an early release does not record what it was",
            (),
            target="key",
        )
        return
    before, now = {each.key: each.values for each in lock.recorded_inputs}, recorded_inputs(spec)
    for key in sorted({*before, *now}):
        old, new = before.get(key, ()), now.get(key, ())
        if (
            old == new
            or _is_input_satisfied(key, old, new, lock)
            or (key in _INPUT_CHECKS and _INPUT_CHECKS[key](spec, old, lock))
        ):
            continue
        if key == "pip.packages":
            yield from _iter_changed_extras(spec, set(old), set(new))
        else:
            yield Diagnostic(
                "stale",
                f"the lock was made {_format_recorded_values(key, old)}, and the spec {_format_spec_values(key, new)}",
                _parse_key_path(key),
                target="key",
            )


def _is_input_satisfied(key: str, old: InputValues, new: InputValues, lock: Lock) -> bool:
    """Whether a lock that was made with the old value of a key also satisfies the new value."""
    if key == "exclude-newer":
        return not new or (bool(old) and new > old)
    if key == "pip.exclude":
        # Whether an excluded package is in the lock is checked with the packages.
        return set(new) > set(old)
    if key == "conda.channels":
        # A channel of lower priority than all others cannot replace their packages.
        return bool(old) and new[: len(old)] == old
    return key.startswith(("image.", "tools.")) and _has_same_image(key, new, lock)


def _has_same_snapshot(spec: Spec, _: InputValues, lock: Lock) -> bool:
    """Whether the lock has the archive snapshot that the spec requests, directly or with `exclude-newer`."""
    return lock.snapshot == (spec.apt.snapshot or spec.exclude_newer or lock.snapshot)


def _has_same_indexes(spec: Spec, old: InputValues, lock: Lock) -> bool:
    """Whether the spec assigns each locked package to the index that it was locked from."""
    before = [ExtraIndex(name, url, tuple(patterns)) for name, url, *patterns in map(str.split, old)]
    names = {package.name for platform in lock.platforms for package in platform.pip}
    served = ((find_index(name, before), find_index(name, spec.pip.extra_indexes)) for name in names)
    return all((then.name, then.url) == (now.name, now.url) for then, now in served)


_INPUT_CHECKS = {"apt.snapshot": _has_same_snapshot, "pip.extra-indexes": _has_same_indexes}


def _has_same_image(key: str, new: InputValues, lock: Lock) -> bool:
    """Whether the locked image, or the fact about it at this key, has the new value."""
    if key.startswith("image.base."):
        return not new or all(
            _collect_base_values(each).get(key.rpartition(".")[2]) == new[0] for each in lock.platforms
        )
    images = [each.build.image for each in lock.platforms] if key == "image.base" else []
    images += [tool.image for each in lock.platforms for tool in each.tools if f"tools.{tool.name}" == key]
    # The lock does not contain the image of a tool that no package needs.
    return not images or (bool(new) and all(_is_same_image(image, new[0]) for image in images))


def _is_same_image(image: str, requested: str) -> bool:
    """Whether a locked image has the requested name, and the requested digest if there is one."""
    return image == requested or remove_digest(image) == requested


def _collect_base_values(platform: PlatformLock) -> dict[str, str]:
    """Return the facts about a base image in the lock, by the keys of `[image] base`."""
    python = {"python": platform.python.version, "python-path": platform.python.path} if platform.python else {}
    return {"os": platform.build.os, "glibc": platform.build.glibc, **python}


def _iter_changed_extras(spec: Spec, old: set[str], new: set[str]) -> Iterator[Diagnostic]:
    places = find_requested_extras(spec)
    for extra in sorted(new - old):
        path: KeyPath = ("pip", "packages", places[extra])
        yield Diagnostic(
            "stale",
            f"the spec requires `{extra}` from pip, but the lock was made without that extra",
            path,
            target="key",
        )
    for extra in sorted(old - new):
        yield Diagnostic(
            "stale",
            f"the lock was made with `{extra}`, but the spec does not request that extra",
            ("pip", "packages"),
            target="key",
        )


def _parse_key_path(key: str) -> KeyPath:
    return tuple(key.split("."))


def _format_recorded_values(key: str, values: Sequence[str]) -> str:
    return f"with `{key}` as {_format_values(values)}" if values else f"without `{key}`"


def _format_spec_values(key: str, values: Sequence[str]) -> str:
    return f"has {_format_values(values)}" if values else f"has no `{key}`"


def _format_values(values: Sequence[str]) -> str:
    return ", ".join(f"`{display_text(each)}`" for each in values)


# One platform: every requirement is met by a pin, and every pin is required.


def find_mismatches(spec: Spec, locked: PlatformLock) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each requirement that the lock does not satisfy, then for each unneeded package."""
    yield from _check_python(spec, locked)
    requirements = yield from check_conda_requirements(spec, locked)
    for name in unrequired_packages(_list_dependency_names("conda", locked), requirements):
        yield Diagnostic(
            "stale", f"no requirement needs conda's `{name}` any more, but the lock contains it", ("conda", "packages")
        )
    roots: set[str] = set()
    if spec.pip.packages:
        from envcompile.lock.freshness_pip import check_pip_requirements  # noqa: PLC0415 - brings `packaging`

        roots = yield from check_pip_requirements(spec, locked, requirements)
    # The lock may have wheels that the spec does not request, because the chosen base image needs them.
    if locked.base_decision:
        roots |= set(locked.base_decision.wheel_names)
    yield from _check_init(spec, locked)
    if spec.image.init:
        roots.add(INIT_PACKAGE)
    for name in unrequired_packages(_list_dependency_names("pip", locked), roots):
        yield Diagnostic(
            "stale", f"no requirement needs `{name}` any more, but the lock contains it", ("pip", "packages")
        )


def _check_init(spec: Spec, locked: PlatformLock) -> Iterator[Diagnostic]:
    """Check that the init program is locked if and only if the spec requests it.

    A wheel or a conda package that nothing requests is reported with the other unneeded packages.
    """
    path: KeyPath = ("image", "init")
    if spec.image.init and find_init_program(spec, locked) is None:
        yield Diagnostic("stale", f"the spec requests an init, but the lock has no `{INIT_PACKAGE}`", path)
    elif not spec.image.init and locked.base_decision and INIT_PACKAGE in locked.base_decision.apt:
        message = f"the lock has the Debian package `{INIT_PACKAGE}` for `init`, but the spec requests no init"
        yield Diagnostic("stale", message, path)


def _list_dependency_names(kind: str, locked: PlatformLock) -> dict[str, tuple[str, ...]]:
    """Return the names of the dependencies of each package of one kind."""
    parse = INSTALLED_KINDS[kind].parse_dependency_name
    return {name: tuple(map(parse, each.depends)) for name, each in PACKAGE_LISTS[kind].iter_packages(locked)}


def _check_python(spec: Spec, locked: PlatformLock) -> Iterator[Diagnostic]:
    """Check the version of the base image's Python. A Python from conda is checked as a package."""
    if locked.python is None:
        if spec.pip.packages:
            yield Diagnostic("stale", "pip packages need a Python, but the lock has none", ("python",))
    elif locked.python.source != "conda" and spec.free_threaded != bool(locked.python.abi):
        kinds = ("free-threaded", "default") if spec.free_threaded else ("default", "free-threaded")
        message = f"the spec requests the {kinds[0]} build of Python, but the lock has the {kinds[1]} one"
        yield Diagnostic("stale", message, ("python",))
    elif spec.python and locked.python.source != "conda" and not is_release_of(locked.python.version, spec.python):
        yield Diagnostic(
            "stale", f"the spec requests Python {spec.python}, but the lock has {locked.python.version}", ("python",)
        )


# The conda requirements are compared with the locked conda packages, and these packages with each other.


# Virtual packages that every supported machine has. The version of `__glibc` depends on the base image.
_VIRTUAL_PACKAGES = frozenset({"__unix", "__linux", "__archspec", "__conda"})
_GLIBC_PACKAGE, _CUDA_PACKAGE = "__glibc", "__cuda"


def check_conda_requirements(spec: Spec, locked: PlatformLock) -> Generator[Diagnostic, None, set[str]]:
    """Yield each conda requirement and dependency that is not satisfied.

    The return value of the generator is the set of the names in the requirements.
    """
    pinned = {package.name.lower(): package for package in locked.conda}
    requirements = list_conda_requirements(spec) if spec.conda.packages else ()
    roots = set()
    for index, requirement in enumerate(requirements):
        roots.add(requirement.name)
        path = locate_requirement(spec, "conda", index)
        package = pinned.get(requirement.name)
        if package is None:
            yield Diagnostic(
                "stale", f"the spec requires `{requirement}` from conda, but the lock has no `{requirement.name}`", path
            )
        elif not requirement.allows(package):
            yield Diagnostic(
                "stale",
                f"the spec requires `{requirement}` from conda, but the lock has {_format_package(package)}",
                path,
            )
    yield from _check_dependencies(spec, locked, pinned)
    return roots


def _check_dependencies(spec: Spec, locked: PlatformLock, pinned: Mapping[str, CondaPackage]) -> Iterator[Diagnostic]:
    """Yield each dependency of a conda package that neither another package nor the machine satisfies."""
    for package in locked.conda:
        for dependency in map(CondaDependency, package.depends):
            name, other = dependency.name, pinned.get(dependency.name)
            if other is not None:
                if not dependency.allows(other):
                    yield _create_dependency_mismatch(package, dependency.text, _format_package(other))
            elif name == _CUDA_PACKAGE and spec.cuda.request.version is None:
                yield Diagnostic(
                    "stale",
                    f"conda's `{package.name}` needs CUDA, but the spec requests no CUDA version",
                    ("conda", "packages"),
                )
            elif name not in _VIRTUAL_PACKAGES and name not in (_GLIBC_PACKAGE, _CUDA_PACKAGE):
                yield _create_dependency_mismatch(package, dependency.text, f"no `{name}`")


def _create_dependency_mismatch(package: CondaPackage, text: str, has: str) -> Diagnostic:
    return Diagnostic(
        "stale", f"conda's `{package.name}` needs `{text}`, but the lock has {has}", ("conda", "packages")
    )


def _format_package(package: CondaPackage) -> str:
    return f"{package.name} {package.version} {package.build} of {package.channel}/{package.subdir}"


# The whole lock: the parts of the spec that it does not satisfy.


RELOCK_HINT = "run `envcompile lock`"


def made_from_text(text: str, lock: Lock) -> bool:
    """Whether the lock was made from a spec with exactly this text. Such a text was valid when the lock was made."""
    return lock.spec_text_digest == compute_text_digest(text) and lock.layout == LAYOUT_VERSION


def made_from_value(value: Mapping[str, object], lock: Lock) -> bool:
    """Whether the lock was made from a spec with this TOML value. The comments may differ."""
    return lock.spec_digest == compute_value_digest(value) and lock.layout == LAYOUT_VERSION


def check_freshness(spec: Spec, lock: Lock, hint: str = RELOCK_HINT) -> list[Diagnostic]:
    """Return a diagnostic for each part of the spec that the lock does not satisfy, with its place in the spec."""
    if lock.layout != LAYOUT_VERSION:
        made_for = f"the lock was made for layout {lock.layout} of the Dockerfile"
        message = f"{made_for}, and this release writes layout {LAYOUT_VERSION}"
        return [Diagnostic("stale", message, (), hint)]
    return [replace(each, hint=hint) for each in _iter_mismatches(spec, lock)]


def _iter_mismatches(spec: Spec, lock: Lock) -> Iterator[Diagnostic]:
    locked = {each.platform for each in lock.platforms}
    for index, name in enumerate(spec.platforms):
        if name not in locked:
            message = f"the spec requests the platform `{name}`, but the lock does not contain it"
            yield Diagnostic("stale", message, ("platforms", index))
    for name in sorted(locked - set(spec.platforms)):
        message = f"the lock contains the platform `{name}`, which the spec does not request"
        yield Diagnostic("stale", message, ("platforms",))
    yield from changed_inputs(spec, lock)
    # A mismatch of several platforms is reported once.
    platforms: dict[Diagnostic, list[str]] = {}
    for each in lock.platforms:
        if each.platform in spec.platforms:
            for mismatch in find_mismatches(spec, each):
                platforms.setdefault(mismatch, []).append(each.platform)
    for mismatch, names in platforms.items():
        quoted = " and ".join(f"`{name}`" for name in names)
        yield replace(mismatch, message=f"{mismatch.message} for {quoted}")


# The pins themselves, for `verify --full`: a lock that was edited by hand may have a correct digest.


class Expectations(NamedTuple):
    """What a lock that was made for a spec can contain.

    - `channels`: the URL of each channel of the spec, by its name in the lock.
    - `images`: the names, without tags, of the base images that are chosen if the spec names none.
    - `tools`: the image of each build tool, from the spec or the default one.
    - `variables`: the environment variables that the choice of a base image can set.
    - `python_paths`: the paths of the interpreter in these base images.
    - `installers`: the name, version and sha256 of each wheel with which this release installs conda packages.
    - `systems`: the operating system and glibc of each release of a distribution, by the code name in image tags.
    """

    channels: Mapping[str, str]
    images: frozenset[str]
    tools: Mapping[str, str]
    variables: frozenset[str]
    python_paths: frozenset[str]
    installers: frozenset[tuple[str, str, str]]
    systems: Mapping[str, tuple[str, str]]


def check_pins(spec: Spec, lock: Lock, expected: Expectations) -> list[Diagnostic]:
    """Return a diagnostic for each pin that the command `lock` cannot have written for the spec.

    The digests in the lock do not matter.
    """
    from envcompile.lock.consistency import check_consistency  # noqa: PLC0415 - imports `packaging`

    hint = "restore the lock from version control, or run `envcompile lock -U`"
    found = [*_check_channels(lock, expected)]
    for platform in lock.platforms:
        found += check_consistency(spec, platform)
        found += _check_images(spec, platform, expected)
        found += _check_systems(spec, platform, expected)
        found += _check_layer_threshold(platform)
        found += _check_file_names(platform)
        found += _check_interpreter(spec, platform, expected)
        found += _check_installer(spec, platform, expected)
    return [replace(each, hint=each.hint or hint) for each in dict.fromkeys(found)]


def _check_channels(lock: Lock, expected: Expectations) -> Iterator[Diagnostic]:
    for channel in lock.channels:
        if expected.channels.get(channel.name) != channel.url:
            message = (
                f"the lock has the channel `{channel.name}` at `{channel.url}`, which is not a channel of the spec"
            )
            yield Diagnostic("stale", message, ("conda", "channels"))


def _check_images(spec: Spec, platform: PlatformLock, expected: Expectations) -> Iterator[Diagnostic]:
    requested = spec.image.base.image if spec.image.base else None
    for stage, base in (("build", platform.build), ("run", platform.run)):
        if requested is None:
            parts = split_image_reference(base.image)
            is_expected = parts is not None and parts.name in expected.images
        else:
            is_expected = _is_same_image(base.image, requested)
        if not is_expected:
            chosen = f"the spec has `{requested}`" if requested else "the choice of base images never selects it"
            message = f"the {stage} image in the lock is `{display_text(base.image)}`, but {chosen}"
            yield Diagnostic("stale", message, ("image", "base"))
    for tool in platform.tools:
        wanted = expected.tools.get(tool.name, "")
        is_given = any(name == tool.name for name, _ in spec.tools)
        if not (_is_same_image(tool.image, wanted) if is_given else is_same_repository(tool.image, wanted)):
            message = (
                f"the image of `{tool.name}` in the lock is `{display_text(tool.image)}`, but it should be `{wanted}`"
            )
            yield Diagnostic("stale", message, ("tools", tool.name))
    if decision := platform.base_decision:
        for name, _ in (*decision.env, *decision.build_env):
            if name not in expected.variables:
                message = f"the lock sets the variable `{name}`, which no choice of a base image sets"
                yield Diagnostic("stale", message, ())


def _check_installer(spec: Spec, platform: PlatformLock, expected: Expectations) -> Iterator[Diagnostic]:
    """Check the wheels that install conda packages. The hashes of those of another release are unknown."""
    known = {(name, version) for name, version, _ in expected.installers}
    for package in platform.conda_installer:
        identity = (package.name, package.version)
        is_foreign = identity in known and (*identity, package.sha256) not in expected.installers
        index = find_index(package.name, spec.pip.extra_indexes).name
        if package.name not in {name for name, _ in known} or is_foreign or package.index != index:
            message = (
                f"the lock installs conda packages with another {package.name} {package.version} than this release"
            )
            yield Diagnostic("stale", message, ("conda", "packages"))


def _check_systems(spec: Spec, platform: PlatformLock, expected: Expectations) -> Iterator[Diagnostic]:
    """Compare the operating system and glibc of each base image with its tag, with the release, and with each other."""
    stated = spec.image.base
    glibc = dict(expected.systems.values())
    for stage, base in (("build", platform.build), ("run", platform.run)):
        parts = split_image_reference(base.image)
        words = set(re.split("[^a-z]+", parts.tag or "")) if parts else set()
        systems = {expected.systems[word][0] for word in words if word in expected.systems}
        is_known_system = not systems or base.os in systems or (stated and stated.os)
        is_known_glibc = glibc.get(base.os, base.glibc) == base.glibc or (stated and stated.glibc)
        if not is_known_system or not is_known_glibc:
            message = f"the lock has {base.os} with glibc {base.glibc} for the {stage} image, which it does not have"
            yield Diagnostic("stale", message, ("image", "base"))
    build, run = platform.build, platform.run
    if build.image == run.image and (build.os, build.glibc) != (run.os, run.glibc):
        message = "the lock has two operating systems for the same build and run image"
        yield Diagnostic("stale", message, ("image", "base"))


def _check_layer_threshold(platform: PlatformLock) -> Iterator[Diagnostic]:
    """Report a threshold that is not the default one, doubled some times."""
    factor, rest = divmod(platform.layer_threshold or DEFAULT_LAYER_THRESHOLD, DEFAULT_LAYER_THRESHOLD)
    if rest or factor & (factor - 1):
        message = f"the lock has layers of their own from {platform.layer_threshold} MiB, which `lock` never chooses"
        yield Diagnostic("stale", message, ())


def _check_file_names(platform: PlatformLock) -> Iterator[Diagnostic]:
    """Compare the name and the version of each package with those in the name of its file."""
    from envcompile.lock.freshness_pip import read_file_name  # noqa: PLC0415 - imports `packaging`

    builds = (each for build in platform.pip_build for each in build.packages)
    for package in (*platform.pip, *platform.conda_installer, *builds):
        if read_file_name(package.file) not in ((package.name, package.version), None):
            message = f"the lock has {package.name} {package.version} in the file `{package.file}` of another package"
            yield Diagnostic("stale", message, ("pip", "packages"))
    for conda in platform.conda:
        if not conda.file.startswith(f"{conda.name}-{conda.version}-{conda.build}."):
            message = f"the lock has conda's {conda.name} {conda.version} in the file `{conda.file}` of another package"
            yield Diagnostic("stale", message, ("conda", "packages"))


def _check_interpreter(spec: Spec, platform: PlatformLock, expected: Expectations) -> Iterator[Diagnostic]:
    python = platform.python
    if python is None:
        return
    paths = {spec.image.base.python_path} if spec.image.base and spec.image.base.python_path else expected.python_paths
    conda = next((package for package in platform.conda if package.name == "python"), None)
    if conda is not None and (python.source, python.version) != ("conda", conda.version):
        message = f"the lock has Python {python.version} ({python.source}), but conda's Python is {conda.version}"
        yield Diagnostic("stale", message, ("python",))
    elif python.source in ("spec", "assumed", "conda") and python.path not in paths:
        message = f"the lock has the interpreter at `{display_text(python.path)}`, where no base image has it"
        yield Diagnostic("stale", message, ("python",))
