"""From the lock's TOML value to a Lock, every field checked: a lock may come from anybody.

What reaches the Dockerfile is matched against a strict pattern here, whoever wrote the file and its digest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from envcompile.errors import Unusable
from envcompile.lock.model import BaseImage, Lock, PipPackage, PlatformLock, Python, ToolImage
from envcompile.platforms import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:/_\[\]-]{0,400}@sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_VERSION = re.compile(r"[0-9]+(?:![0-9]+)?[a-z0-9.+]*")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")
_PATH = re.compile(r"(?:/[A-Za-z0-9._+@-]+)+")
_PATTERNS = {
    "name": _NAME,
    "version": _VERSION,
    "file": _FILE,
    "sha256": _SHA256,
    "index": _NAME,
    "kind": re.compile("wheel"),
    "image": _IMAGE,
    "path": _PATH,
    "os": re.compile(r"[a-z][a-z0-9]*-[0-9]+(?:\.[0-9]+)*"),
    "glibc": re.compile(r"2\.[0-9]{1,2}"),
    "source": re.compile("spec|image|assumed"),
    "digest": _DIGEST,
    "text": _DIGEST,
}


class _Reader:
    """Takes fields out of tables by name and type; the first that is wrong ends the reading."""

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def fail(self, where: str, said: str) -> Unusable:
        return Unusable(f"`{self._name}` is not a valid lock: `{where}` {said}", self._hint)

    def table(self, value: object, where: str, keys: set[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(where, "is missing or not a table")
        if strange := sorted(set(value) - keys):
            raise self.fail(f"{where}.{strange[0]}", "is not known")
        return value

    def rows(self, value: object, where: str) -> list[object]:
        if not isinstance(value, list):
            raise self.fail(where, "is missing or not an array")
        return value

    def string(self, table: Mapping[str, Any], where: str, key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not _PATTERNS[key].fullmatch(value):
            raise self.fail(f"{where}.{key}", "is missing or malformed")
        return value

    def number(self, value: object, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.fail(where, "is missing or not a whole number")
        return value

    def strings(self, table: Mapping[str, Any], where: str, keys: tuple[str, ...]) -> list[str]:
        return [self.string(table, where, key) for key in keys]


def decode(value: dict[str, Any], name: str, hint: str, *, whole: bool) -> Lock:
    """The lock of a TOML value. Raises `Unusable` when a field is wrong, or when it is not `whole`: cut or edited."""
    read = _Reader(name, hint)
    platforms = value.get("platforms", {})
    counts = read.table(value.get("counts"), "counts", {"platforms", "pip"})
    rows = [len(each.get("pip", ())) for each in platforms.values() if isinstance(each, dict)]
    if not whole:
        cut = len(rows) < counts.get("platforms", 0) or sum(rows) < counts.get("pip", 0)
        message = "is cut off: packages are missing at its end" if cut else "was edited by hand or by another program"
        raise Unusable(f"`{name}` {message}", hint)
    read.table(value, name, {"format", "digest", "layout", "spec", "counts", "platforms"})
    spec = read.table(value.get("spec"), "spec", {"digest", "text"})
    names = sorted(read.table(platforms, "platforms", set(PLATFORMS)))
    lock = Lock(
        spec=read.string(spec, "spec", "digest"),
        spec_text=read.string(spec, "spec", "text"),
        platforms=tuple(_platform(read, each, platforms[each]) for each in names),
        layout=read.number(value.get("layout"), "layout"),
    )
    if counts != {"platforms": len(lock.platforms), "pip": sum(len(each.pip) for each in lock.platforms)}:
        raise read.fail("counts", "disagrees with the packages")
    if not lock.platforms:
        raise read.fail("platforms", "is empty")
    return lock


def pip_package(row: object) -> PipPackage:
    """One row of a lock by itself. Raises `Unusable` when a field is wrong."""
    return _pip(_Reader("a row", ""), row, "pip")


def _platform(read: _Reader, platform: str, value: object) -> PlatformLock:
    where = f"platforms.{platform}"
    table = read.table(value, where, {"python", "build", "run", "tools", "pip"})
    keys = ("version", "path", "source")
    python = read.strings(read.table(table.get("python"), f"{where}.python", set(keys)), f"{where}.python", keys)
    build, run = (_base(read, table.get(stage), f"{where}.{stage}") for stage in ("build", "run"))
    tools = tuple(
        ToolImage(
            *read.strings(read.table(row, f"{where}.tools", {"name", "image"}), f"{where}.tools", ("name", "image"))
        )
        for row in read.rows(table.get("tools"), f"{where}.tools")
    )
    pip = _sorted(read, table.get("pip"), f"{where}.pip", _pip)
    return PlatformLock(platform, Python(*python), build, run, tools, pip)


def _sorted(
    read: _Reader, value: object, where: str, item: Callable[[_Reader, object, str], PipPackage]
) -> tuple[PipPackage, ...]:
    packages = tuple(item(read, row, f"{where}[{index}]") for index, row in enumerate(read.rows(value, where)))
    names = [package.name for package in packages]
    if names != sorted(set(names)):
        raise read.fail(where, "is not sorted, or holds a package twice")
    return packages


def _base(read: _Reader, value: object, where: str) -> BaseImage:
    keys = ("image", "os", "glibc")
    return BaseImage(*read.strings(read.table(value, where, set(keys)), where, keys))


def _pip(read: _Reader, value: object, where: str) -> PipPackage:
    keys = ("name", "version", "file", "sha256", "index", "kind")
    table = read.table(value, where, {*keys, "size", "depends"})
    name, version, file, sha256, index, kind = read.strings(table, where, keys)
    depends = read.rows(table.get("depends", []), f"{where}.depends")
    if not all(isinstance(each, str) and _NAME.fullmatch(each) for each in depends):
        raise read.fail(f"{where}.depends", "holds something that is not a package's name")
    size = table.get("size")
    if size is not None:
        size = read.number(size, f"{where}.size")
    return PipPackage(name, version, file, sha256, size, index, tuple(str(each) for each in depends), kind)
