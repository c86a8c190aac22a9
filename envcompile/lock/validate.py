"""From the lock's TOML value to a Lock, every field checked: a lock may come from anybody.

What reaches the Dockerfile is matched against a strict pattern here, whoever wrote the file and its digest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from envcompile.errors import Unusable
from envcompile.lock.model import (
    Asked,
    BaseImage,
    Channel,
    CondaPackage,
    Lock,
    PipPackage,
    PlatformLock,
    Python,
    ToolImage,
)
from envcompile.platforms import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Package = TypeVar("Package", PipPackage, CondaPackage)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:/_\[\]-]{0,400}@sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_VERSION = re.compile(r"[0-9]+(?:![0-9]+)?[a-z0-9.+]*")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")
_PATH = re.compile(r"(?:/[A-Za-z0-9._+@-]+)+")
_KINDS = ("pip", "conda")
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
    "source": re.compile("spec|image|assumed|conda"),
    "digest": _DIGEST,
    "text": _DIGEST,
}


_MD5 = re.compile(r"[0-9a-f]{32}")
_CONDA_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_MATCH_SPEC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.<>=!~,|*+\[\]'\"() :/-]*")
_CHANNEL = {
    "name": re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*"),
    # A folder of this machine is locked by its path, which no build can see.
    "url": re.compile(r"(?:https?|file)://[A-Za-z0-9._~%+:\[\]/ -]*"),
}
# Compared and shown, and no part of a Dockerfile: any text that a spec can hold.
_ASKED = {
    "key": re.compile(r"[a-z-]+(?:\.[a-z-]+)*"),
    "values": re.compile(r"[^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]+"),
}
_CONDA = {
    "name": _CONDA_NAME,
    "version": re.compile(r"[A-Za-z0-9_.!+-]+"),
    "build": re.compile(r"[A-Za-z0-9_.+-]+"),
    "channel": _CHANNEL["name"],
    "subdir": re.compile(r"linux-64|linux-aarch64|noarch"),
    "file": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]*(?:\.conda|\.tar\.bz2)"),
    "sha256": _SHA256,
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

    def matching(self, value: object, where: str, pattern: re.Pattern[str]) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.fail(where, "is missing or malformed")
        return value

    def number(self, value: object, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.fail(where, "is missing or not a whole number")
        return value

    def string(self, table: Mapping[str, Any], where: str, key: str) -> str:
        return self.matching(table.get(key), f"{where}.{key}", _PATTERNS[key])

    def strings(
        self,
        table: Mapping[str, Any],
        where: str,
        keys: tuple[str, ...],
        patterns: Mapping[str, re.Pattern[str]] | None = None,
    ) -> list[str]:
        known = patterns or _PATTERNS
        return [self.matching(table.get(key), f"{where}.{key}", known[key]) for key in keys]


def decode(value: dict[str, Any], name: str, hint: str, *, whole: bool) -> Lock:
    """The lock of a TOML value. Raises `Unusable` when a field is wrong, or when it is not `whole`: cut or edited."""
    read = _Reader(name, hint)
    platforms = value.get("platforms", {})
    if not whole:
        cut = _cut(value.get("counts"), platforms)
        message = "is cut off: packages are missing at its end" if cut else "was edited by hand or by another program"
        raise Unusable(f"`{name}` {message}", hint)
    read.table(value, name, {"format", "digest", "layout", "spec", "counts", "asked", "channels", "platforms"})
    spec = read.table(value.get("spec"), "spec", {"digest", "text"})
    names = sorted(read.table(platforms, "platforms", set(PLATFORMS)))
    lock = Lock(
        spec=read.string(spec, "spec", "digest"),
        spec_text=read.string(spec, "spec", "text"),
        platforms=tuple(_platform(read, each, platforms[each]) for each in names),
        layout=read.number(value.get("layout"), "layout"),
        channels=tuple(_channel(read, row) for row in read.rows(value.get("channels", []), "channels")),
        asked=_asked(read, value["asked"]) if "asked" in value else None,
    )
    if value.get("counts") != counts(lock):
        raise read.fail("counts", "disagrees with the packages")
    if not lock.platforms:
        raise read.fail("platforms", "is empty")
    return lock


def counts(lock: Lock) -> dict[str, int]:
    """How many platforms and packages a lock holds, as its head says."""
    found = {"platforms": len(lock.platforms), "pip": sum(len(each.pip) for each in lock.platforms)}
    conda = sum(len(each.conda) for each in lock.platforms)
    return {**found, "conda": conda} if conda else found


def _cut(said: object, platforms: Mapping[str, Any]) -> bool:
    """Whether fewer platforms or packages are there than the head says."""
    told = said if isinstance(said, dict) else {}
    tables = [each for each in platforms.values() if isinstance(each, dict)]
    there = {"platforms": len(tables), **{kind: sum(len(each.get(kind, ())) for each in tables) for kind in _KINDS}}
    return any(isinstance(told.get(key), int) and there[key] < told[key] for key in there)


def package_row(row: object) -> PipPackage | CondaPackage:
    """One row of a lock by itself: only conda's has a build. Raises `Unusable` when a field is wrong."""
    read = _Reader("a row", "")
    return _conda(read, row, "conda") if isinstance(row, dict) and "build" in row else _pip(read, row, "pip")


def _platform(read: _Reader, platform: str, value: object) -> PlatformLock:
    where = f"platforms.{platform}"
    table = read.table(value, where, {"python", "build", "run", "tools", "conda", "pip"})
    keys = ("version", "path", "source")
    python = None
    if "python" in table:
        row = read.table(table["python"], f"{where}.python", set(keys))
        python = Python(*read.strings(row, f"{where}.python", keys))
    build, run = (_base(read, table.get(stage), f"{where}.{stage}") for stage in ("build", "run"))
    tools = tuple(
        ToolImage(
            *read.strings(read.table(row, f"{where}.tools", {"name", "image"}), f"{where}.tools", ("name", "image"))
        )
        for row in read.rows(table.get("tools"), f"{where}.tools")
    )
    pip = _sorted(read, table.get("pip"), f"{where}.pip", _pip)
    conda = _sorted(read, table.get("conda", []), f"{where}.conda", _conda)
    return PlatformLock(platform, python, build, run, tools, pip, conda)


def _asked(read: _Reader, value: object) -> tuple[Asked, ...]:
    rows = [read.table(row, "asked", {"key", "values"}) for row in read.rows(value, "asked")]
    return tuple(
        Asked(
            read.matching(row.get("key"), "asked.key", _ASKED["key"]),
            tuple(
                read.matching(each, "asked.values", _ASKED["values"])
                for each in read.rows(row.get("values"), "asked.values")
            ),
        )
        for row in rows
    )


def _channel(read: _Reader, value: object) -> Channel:
    keys = ("name", "url")
    name, url = read.strings(read.table(value, "channels", set(keys)), "channels", keys, _CHANNEL)
    return Channel(name, url)


def _conda(read: _Reader, value: object, where: str) -> CondaPackage:
    keys = ("name", "version", "build", "channel", "subdir", "file", "sha256")
    table = read.table(value, where, {*keys, "md5", "size", "depends", "provides"})
    depends, provides = (
        tuple(read.matching(each, f"{where}.{key}", pattern) for each in read.rows(table.get(key, []), where))
        for key, pattern in (("depends", _MATCH_SPEC), ("provides", _NAME))
    )
    md5 = None if table.get("md5") is None else read.matching(table["md5"], f"{where}.md5", _MD5)
    size = None if table.get("size") is None else read.number(table["size"], f"{where}.size")
    name, version, build, channel, subdir, file, sha256 = read.strings(table, where, keys, _CONDA)
    return CondaPackage(name, version, build, channel, subdir, file, sha256, md5, size, depends, provides)


def _sorted(
    read: _Reader, value: object, where: str, item: Callable[[_Reader, object, str], Package]
) -> tuple[Package, ...]:
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
