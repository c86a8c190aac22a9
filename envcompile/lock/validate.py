"""From the lock's TOML value to a Lock, every field checked: a lock may come from anybody.

What reaches the Dockerfile is matched against a strict pattern here, whoever wrote the file and its digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock import decided
from envcompile.lock.fields import APT, ASKED, CHANNEL, CONDA, MATCH_SPEC, MD5, NAME, Reader
from envcompile.lock.model import (
    AptPackage,
    Asked,
    BaseImage,
    Channel,
    CondaPackage,
    Lock,
    PipPackage,
    PlatformLock,
    Python,
    SdistBuild,
    ToolImage,
)
from envcompile.platforms import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Package = TypeVar("Package", PipPackage, CondaPackage, AptPackage)

_KINDS = ("pip", "pip-build", "conda", "apt", "apt-build")
_PLATFORM = ("python", "build", "run", "tools")
_DECIDED = ("decided", "warnings", "trail")
_HEADS = {
    *("format", "digest", "layout", "spec", "counts", "asked", "snapshot", "channels", "private-indexes", "platforms")
}


def decode(value: dict[str, Any], name: str, hint: str, *, whole: bool) -> Lock:
    """The lock of a TOML value. Raises `Unusable` when a field is wrong, or when it is not `whole`: cut or edited."""
    read = Reader(name, hint)
    platforms = value.get("platforms", {})
    if not whole:
        cut = _cut(value.get("counts"), platforms)
        message = "is cut off: packages are missing at its end" if cut else "was edited by hand or by another program"
        raise InvalidInputError(f"`{name}` {message}", hint)
    read.table(value, name, _HEADS)
    spec = read.table(value.get("spec"), "spec", {"digest", "text"})
    names = sorted(read.table(platforms, "platforms", set(PLATFORMS)))
    lock = Lock(
        spec=read.string(spec, "spec", "digest"),
        spec_text=read.string(spec, "spec", "text"),
        platforms=tuple(_platform(read, each, platforms[each]) for each in names),
        layout=read.number(value.get("layout"), "layout"),
        channels=tuple(_channel(read, row) for row in read.rows(value.get("channels", []), "channels")),
        asked=_asked(read, value["asked"]) if "asked" in value else None,
        private_indexes=_private_indexes(read, value.get("private-indexes", [])),
        snapshot=read.string(value, "the lock", "snapshot") if "snapshot" in value else None,
    )
    if lock.snapshot is None and any(each.apt or each.apt_build for each in lock.platforms):
        raise read.fail("snapshot", "is missing")
    if value.get("counts") != counts(lock):
        raise read.fail("counts", "disagrees with the packages")
    if not lock.platforms:
        raise read.fail("platforms", "is empty")
    return lock


def counts(lock: Lock) -> dict[str, int]:
    """How many platforms and packages a lock holds, as its head says."""
    found = {"platforms": len(lock.platforms), "pip": sum(len(each.pip) for each in lock.platforms)}
    conda = sum(len(each.conda) for each in lock.platforms)
    apt = sum(len(each.apt) for each in lock.platforms)
    build = sum(len(each.apt_build) for each in lock.platforms)
    wheels = sum(len(row.packages) for each in lock.platforms for row in each.pip_build)
    others = (("pip-build", wheels), ("conda", conda), ("apt", apt), ("apt-build", build))
    return found | {kind: many for kind, many in others if many}


def _cut(said: object, platforms: Mapping[str, Any]) -> bool:
    """Whether fewer platforms or packages are there than the head says."""
    told = said if isinstance(said, dict) else {}
    tables = [each for each in platforms.values() if isinstance(each, dict)]
    there = {"platforms": len(tables), **{kind: sum(len(each.get(kind, ())) for each in tables) for kind in _KINDS}}
    return any(isinstance(told.get(key), int) and there[key] < told[key] for key in there)


def package_row(row: object) -> PipPackage | CondaPackage:
    """One row of a lock by itself: only conda's has a build. Raises `Unusable` when a field is wrong."""
    read = Reader("a row", "")
    return _conda(read, row, "conda") if isinstance(row, dict) and "build" in row else _pip(read, row, "pip")


def _platform(read: Reader, platform: str, value: object) -> PlatformLock:
    where = f"platforms.{platform}"
    table = read.table(value, where, {*_PLATFORM, *_DECIDED, *_KINDS})
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
    apt, apt_build = (_sorted(read, table.get(key, []), f"{where}.{key}", _apt) for key in ("apt", "apt-build"))
    why = None
    if any(key in table for key in _DECIDED):
        why = decided.read(read, table.get("decided"), table.get("warnings", []), table.get("trail"), where)
    builds = _builds(read, table.get("pip-build", []), f"{where}.pip-build", pip)
    return PlatformLock(platform, python, build, run, tools, pip, conda, apt, apt_build, why, builds)


def _builds(read: Reader, value: object, where: str, pip: tuple[PipPackage, ...]) -> tuple[SdistBuild, ...]:
    """What each sdist is built with: wheels, for sdists that are locked, and for every one of them."""
    rows: dict[str, list[object]] = {each.name: [] for each in pip if each.kind == "sdist"}
    order = []
    for row in read.rows(value, where):
        sdist = row.get("sdist") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(sdist, str) or sdist not in rows:
            raise read.fail(f"{where}.sdist", "is missing, or names no sdist of the lock")
        order.append(sdist)
        rows[sdist].append({key: each for key, each in row.items() if key != "sdist"})
    if order != sorted(order):
        raise read.fail(where, "is not sorted")
    builds = tuple(SdistBuild(name, _sorted(read, rows[name], where, _pip)) for name in sorted(rows))
    if any(each.kind != "wheel" for build in builds for each in build.packages):
        raise read.fail(where, "holds something that is no wheel")
    return builds


def _asked(read: Reader, value: object) -> tuple[Asked, ...]:
    rows = [read.table(row, "asked", {"key", "values"}) for row in read.rows(value, "asked")]
    return tuple(
        Asked(
            read.matching(row.get("key"), "asked.key", ASKED["key"]),
            tuple(
                read.matching(each, "asked.values", ASKED["values"])
                for each in read.rows(row.get("values"), "asked.values")
            ),
        )
        for row in rows
    )


def _channel(read: Reader, value: object) -> Channel:
    keys = ("name", "url")
    name, url = read.strings(read.table(value, "channels", set(keys)), "channels", keys, CHANNEL)
    return Channel(name, url)


def _private_indexes(read: Reader, value: object) -> tuple[str, ...]:
    where = "private-indexes"
    names = tuple(read.matching(each, where, NAME) for each in read.rows(value, where))
    if list(names) != sorted(set(names)):
        raise read.fail(where, "is not sorted, or holds a name twice")
    return names


def _conda(read: Reader, value: object, where: str) -> CondaPackage:
    keys = ("name", "version", "build", "channel", "subdir", "file", "sha256")
    table = read.table(value, where, {*keys, "md5", "size", "depends", "provides"})
    depends, provides = (
        tuple(read.matching(each, f"{where}.{key}", pattern) for each in read.rows(table.get(key, []), where))
        for key, pattern in (("depends", MATCH_SPEC), ("provides", NAME))
    )
    md5 = None if table.get("md5") is None else read.matching(table["md5"], f"{where}.md5", MD5)
    size = None if table.get("size") is None else read.number(table["size"], f"{where}.size")
    name, version, build, channel, subdir, file, sha256 = read.strings(table, where, keys, CONDA)
    return CondaPackage(name, version, build, channel, subdir, file, sha256, md5, size, depends, provides)


def _apt(read: Reader, value: object, where: str) -> AptPackage:
    keys = ("name", "version", "architecture", "sha256")
    table = read.table(value, where, {*keys, "size", "depends"})
    name, version, architecture, sha256 = read.strings(table, where, keys, APT)
    depends = read.rows(table.get("depends", []), f"{where}.depends")
    names = tuple(read.matching(each, f"{where}.depends", APT["name"]) for each in depends)
    return AptPackage(name, version, architecture, sha256, read.number(table.get("size"), f"{where}.size"), names)


def _sorted(
    read: Reader, value: object, where: str, item: Callable[[Reader, object, str], Package]
) -> tuple[Package, ...]:
    packages = tuple(item(read, row, f"{where}[{index}]") for index, row in enumerate(read.rows(value, where)))
    names = [package.name for package in packages]
    if names != sorted(set(names)):
        raise read.fail(where, "is not sorted, or holds a package twice")
    return packages


def _base(read: Reader, value: object, where: str) -> BaseImage:
    keys = ("image", "os", "glibc")
    return BaseImage(*read.strings(read.table(value, where, set(keys)), where, keys))


def _pip(read: Reader, value: object, where: str) -> PipPackage:
    keys = ("name", "version", "file", "sha256", "index", "kind")
    table = read.table(value, where, {*keys, "size", "depends"})
    name, version, file, sha256, index, kind = read.strings(table, where, keys)
    if file.endswith(".whl") != (kind == "wheel"):
        raise read.fail(f"{where}.kind", "disagrees with the file")
    depends = read.rows(table.get("depends", []), f"{where}.depends")
    if not all(isinstance(each, str) and NAME.fullmatch(each) for each in depends):
        raise read.fail(f"{where}.depends", "holds something that is not a package's name")
    size = table.get("size")
    if size is not None:
        size = read.number(size, f"{where}.size")
    return PipPackage(name, version, file, sha256, size, index, tuple(str(each) for each in depends), kind)
