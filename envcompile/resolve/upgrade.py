"""The request to upgrade a lock: `-U` for everything, and `-P` for single packages and for parts such as `base`.

Most parts have a name that a package can have too. If both are in the lock, `-P NAME` is an error, and the prefixes
`part:` and `package:` select one of them. The only exception is conda's package `python`, which is the Python.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import did_you_mean
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.package_managers import PACKAGE_MANAGERS
from envcompile.spec.values import split_image_reference
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from envcompile.lock.model import CondaPackage, Lock, Pins, PipPackage, PlatformLock
    from envcompile.resolve.environment import EarlierLock
    from envcompile.spec.model import Spec

# The parts of a lock that `-P` can name, as messages call them.
UPGRADABLE_PARTS = {
    "base": "base images",
    "apt": "Debian packages",
    "tools": "images of the build tools",
    "python": "Python",
}
_PART_PREFIX, _PACKAGE_PREFIX = "part:", "package:"
# With these values of `source`, the base image determines the version of Python. With `spec`, the spec states it.
_IMAGE_PYTHON_SOURCES = frozenset({"image", "assumed"})


class UpgradeRequest(NamedTuple):
    """The packages that need not keep their pins: `names`, or True for all packages and all parts.

    `exact` maps a name to the version that it must have. `parts` are keys of `UPGRADABLE_PARTS`.
    """

    names: frozenset[str] | bool = frozenset()
    exact: Mapping[str, str] = MappingProxyType({})
    parts: frozenset[str] = frozenset()

    def includes(self, part: str) -> bool:
        """Whether a part is to be upgraded."""
        return self.names is True or part in self.parts

    def includes_base(self, locked: PlatformLock) -> bool:
        """Whether the base images of a locked platform are to be upgraded: with them, or with the Python in them."""
        is_in_image = locked.python is not None and locked.python.source in _IMAGE_PYTHON_SOURCES
        return self.includes("base") or (is_in_image and self.includes("python"))

    def includes_apt(self, earlier: Lock | None) -> bool:
        """Whether the Debian packages are to be upgraded. They change together, also if one of them is the Python."""
        pythons = (each.python for each in earlier.platforms) if earlier else ()
        has_debian_python = any(python and python.source == "apt" for python in pythons)
        return self.includes("apt") or (has_debian_python and self.includes("python"))

    def exact_versions(self, pins: Iterable[PipPackage | CondaPackage]) -> dict[str, str]:
        """Return the exact versions of the packages in `pins`, which are those of one package manager."""
        return {pin.name: self.exact[pin.name] for pin in pins if pin.name in self.exact}


def parse_upgrade_request(targets: Iterable[str], earlier: EarlierLock, *, everything: bool = False) -> UpgradeRequest:
    """Return the request to upgrade `targets`, or everything with `everything`.

    Each target is a part (a key of `UPGRADABLE_PARTS`), or a package: `NAME`, for its newest version, or
    `NAME==VERSION`. Raises `InvalidInputError` for a name that is not in the earlier lock or has two meanings, and for
    an invalid version.
    """
    exact: dict[str, str] = {}
    names: set[str] = set()
    parts: set[str] = set()
    for target in targets:
        text, equals, version = (piece.strip() for piece in target.partition("=="))
        if part := _find_part(text, earlier, has_version=bool(equals)):
            parts.add(part)
            if part == "python" and _has_conda_python(earlier):
                names.add("python")
            continue
        name = _normalize_locked_name(text.removeprefix(_PACKAGE_PREFIX), earlier)
        names.add(name)
        if equals:
            exact[name] = version
        if name == "python" and _has_conda_python(earlier):
            parts.add("python")
    for name, version in exact.items():
        _check_version(name, version, earlier.pins.values())
    return UpgradeRequest(everything or frozenset(names), exact, frozenset(parts))


def _find_part(text: str, earlier: EarlierLock, *, has_version: bool) -> str | None:
    """Return the part that a target names, or None if it names a package.

    Raises `InvalidInputError` if it can be either, if the lock does not have the part, and for a part with a version.
    """
    part = text.removeprefix(_PART_PREFIX).lower()
    is_explicit = text.startswith(_PART_PREFIX)
    if part not in UPGRADABLE_PARTS:
        if is_explicit:
            hint = did_you_mean(part, UPGRADABLE_PARTS) or f"the parts are {', '.join(UPGRADABLE_PARTS)}"
            raise InvalidInputError(f"`{part}` is not a part of a lock", hint)
        return None
    managers = list(dict.fromkeys(_iter_managers(part, earlier)))
    if has_version and not is_explicit and (managers or not earlier.pins):
        return None
    if has_version:
        hint = f"write `-P {text}`" if part != "python" else 'write the version in the spec: `python = "X.Y.Z"`'
        raise InvalidInputError(f"`{text}` is the {UPGRADABLE_PARTS[part]} and takes no version", hint)
    # conda's `python` is the Python, so both meanings are the same.
    others = [manager for manager in managers if (part, manager) != ("python", "conda")]
    if others and not is_explicit:
        message = f"`-P {part}` has two meanings: the {UPGRADABLE_PARTS[part]}, and the {others[0]} package `{part}`"
        hint = f"write `-P {_PART_PREFIX}{part}`, or `-P {_PACKAGE_PREFIX}{part}` for the package"
        raise InvalidInputError(message, hint)
    if earlier.lock and not _has_part(part, earlier.lock):
        message = f"the lock has no {UPGRADABLE_PARTS[part]}, so `-P {text}` cannot upgrade anything"
        raise InvalidInputError(message, "run `envcompile lock`, which locks what the spec requests")
    return part


def _iter_managers(name: str, earlier: EarlierLock) -> Iterator[str]:
    """Yield the package manager of each locked conda or pip package with a name."""
    for pins in earlier.pins.values():
        for manager in ("conda", "pip"):
            packages = PACKAGE_MANAGERS[manager].lists[0]
            if any(locked == name for locked, _ in packages.iter_packages(pins)):
                yield manager


def _has_conda_python(earlier: EarlierLock) -> bool:
    return "conda" in _iter_managers("python", earlier)


def _has_part(part: str, lock: Lock) -> bool:
    return any(
        {
            "base": True,
            "apt": bool(each.apt or each.apt_build),
            "tools": bool(each.tools),
            "python": each.python is not None,
        }[part]
        for each in lock.platforms
    )


def _normalize_locked_name(text: str, earlier: EarlierLock) -> str:
    """Return the normalized name of a package in the earlier lock. Without an earlier lock, any name is accepted.

    Raises `InvalidInputError` if the lock does not have a conda or pip package of this name.
    """
    pins = earlier.pins.values()
    locked_names = {name for platform in pins for name in platform.package_names()}
    platforms = earlier.lock.platforms if earlier.lock else ()
    debian_packages = (package for platform in platforms for package in (*platform.apt, *platform.apt_build))
    if text not in locked_names and any(package.name == text for package in debian_packages):
        message = f"`{text}` is a Debian package, and Debian packages can only be upgraded all together"
        raise InvalidInputError(message, "run `envcompile lock -P apt`, or write a later `snapshot` in `[apt]`")
    from envcompile.diagnostics.diagnostic import RequirementError  # noqa: PLC0415 - only to upgrade single packages
    from envcompile.spec.pip import parse_package_name  # noqa: PLC0415

    try:
        # Names of conda packages are not normalized: some start with a character that PEP 503 does not allow.
        name = text.lower() if text.lower() in locked_names else parse_package_name(text)
    except RequirementError as error:
        parts = ", ".join(f"`-P {part}`" for part in UPGRADABLE_PARTS)
        raise InvalidInputError(error.message, f"write `-P NAME`, `-P NAME==VERSION`, or one of {parts}") from None
    if pins and name not in locked_names:
        providers = [package.name for platform in pins for package in platform.conda if name in package.provides]
        hint = did_you_mean(name, {*locked_names, *UPGRADABLE_PARTS})
        if providers:
            hint = f"a conda package provides it: write `-P {providers[0]}`"
        raise InvalidInputError(f"`{name}` is not in the lock, so it cannot be upgraded", hint)
    return name


def _check_version(name: str, version: str, pins: Collection[Pins]) -> None:
    """Raise `InvalidInputError` if the version is invalid for a package manager that locked the package."""
    from envcompile.diagnostics.diagnostic import RequirementError  # noqa: PLC0415 - only for an exact version

    if not pins:
        message = f"there is no lock yet, so `{name}` cannot be upgraded"
        raise InvalidInputError(message, "write the version in the spec")
    try:
        for manager in PACKAGE_MANAGERS.values():
            locked_names = (locked for platform in pins for locked, _ in manager.lists[0].iter_packages(platform))
            if name in locked_names:
                manager.parse_requirement(f"{name} =={version}")
    except RequirementError as error:
        raise InvalidInputError(error.message, f"write `-P {name}==VERSION`") from None


def find_fixed_parts(spec: Spec, request: UpgradeRequest, earlier: Lock | None) -> Iterator[tuple[str, str]]:
    """Yield a message and a hint for each part of `-P` that the spec fixes, so that upgrading it has no effect."""
    image = spec.image.base.image if spec.image.base else ""
    pythons = (each.python for each in earlier.platforms) if earlier else ()
    is_in_image = any(python and python.source in _IMAGE_PYTHON_SOURCES for python in pythons)
    digest_hint = "remove the digest, or write that of a newer image"
    if "base" in request.parts and _has_digest(image):
        message = f"`-P base` has no effect, because `base` in `[image]` has a digest: `{image}`"
        yield message, digest_hint
    if "python" in request.parts and spec.python and spec.python != minor_release(spec.python):
        message = f"`-P python` has no effect, because `python` in the spec is the exact version {spec.python}"
        yield message, f'write `python = "{minor_release(spec.python)}"` for the newest patch version'
    elif "python" in request.parts and is_in_image and _has_digest(image):
        message = "`-P python` has no effect, because it is in the base image, and `base` in `[image]` has a digest"
        yield message, digest_hint
    time = spec.apt.snapshot or spec.exclude_newer
    if request.parts and request.includes_apt(earlier) and time:
        key = "`snapshot` in `[apt]`" if spec.apt.snapshot else "`exclude-newer`"
        message = f"the Debian packages stay at the snapshot {time}, because the spec sets {key}"
        yield message, f"write a later time as {key}"
    fixed = [f"`{tool}`" for tool, image in spec.tools if _has_digest(image)]
    if "tools" in request.parts and fixed:
        message = f"`-P tools` keeps the images that `[tools]` names by digest: {', '.join(fixed)}"
        yield message, digest_hint


def _has_digest(image: str) -> bool:
    reference = split_image_reference(image)
    return bool(reference and reference.digest)
