"""What changed from one lock to the next, as a value; `forms` writes it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import format_count
from envcompile.lock.graph import KINDS
from envcompile.lock.reasons import Moves
from envcompile.spec.pip import DEFAULT_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.lock.model import Decided, Lock, PlatformLock
    from envcompile.lock.reasons import Asked

# Each kind of thing that is pinned, in the order in which its changes are told, and what one of them is called.
LABELS = {
    "platform": "platform {}",
    "image": "image to {} on",
    "system": "system to {} on",
    "cuda": "CUDA",
    "driver": "oldest driver",
    "compute": "GPU architectures",
    "variable": "variable {}",
    "build-variable": "variable of the build {}",
    "facts": "facts about bases",
    "tool": "image for {}",
    "python": "Python",
    "channel": "channel {}",
    "snapshot": "snapshot of the archive",
    **KINDS,
    "pip-build": "for the build of {}",
    "index": "index of {}",
}
ADDED, REMOVED, CHANGED, REFILED = SIGNS = ("added", "removed", "changed", "another file")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that came, went or moved.

    `kind` is a key of `LABELS`; `before` and `after` are versions, or an image's reference, None where it was not or is
    not there. They are equal where a package's file alone is another one: `file` is then its name, for apt, where it
    has none, its sha256. `platforms` are those on which it is so, `everywhere` tells whether these are all that are
    locked. `why` are sentences without a full stop: none where nobody asks why, or where no reason stands in the locks.
    """

    kind: str
    name: str
    before: str | None
    after: str | None
    file: str = ""
    platforms: tuple[str, ...] = ()
    everywhere: bool = True
    why: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What it is called: `numpy`, `conda numpy`, `image to run on`."""
        return LABELS[self.kind].format(self.name)

    @property
    def sign(self) -> str:
        """One of `SIGNS`."""
        if self.before is None:
            return ADDED
        if self.after is None:
            return REMOVED
        return REFILED if self.before == self.after else CHANGED


class _Pin(NamedTuple):
    """What is pinned, and for a package what tells two files of one version apart."""

    version: str
    sha256: str = ""
    file: str = ""


class _Moved(NamedTuple):
    """The beginning of a `Change`."""

    kind: str
    name: str
    before: str | None
    after: str | None
    file: str = ""


def changes(before: Lock, after: Lock, asked: Asked | None = None) -> tuple[Change, ...]:
    """All that changed, what is so on every platform first; a change of several platforms stands once.

    A platform that came or went is one change. `asked` is what the second lock was asked for, where that is known.
    """
    found: dict[_Moved, dict[str, tuple[str, ...]]] = {}
    for name in sorted({each.platform for each in (*before.platforms, *after.platforms)}):
        old, new = before.platform(name), after.platform(name)
        if old and new:
            reasons = Moves(old, new, asked)
            for moved in _moved(_pins(before, old), _pins(after, new)):
                found.setdefault(moved, {})[name] = reasons.of(moved.kind, moved.name)
        else:
            found[_Moved("platform", name, _size(old), _size(new))] = {name: ()}
    every = {each.platform for each in before.platforms} & {each.platform for each in after.platforms}
    made = [
        Change(*moved, tuple(why), everywhere=moved.kind == "platform" or set(why) == every, why=_common(why))
        for moved, why in found.items()
    ]
    return tuple(sorted(made, key=_place))


def _place(change: Change) -> tuple[object, ...]:
    where = () if change.everywhere else change.platforms
    return where, SIGNS.index(change.sign), [*LABELS].index(change.kind), change.name, change.before, change.after


def _size(platform: PlatformLock | None) -> str | None:
    return format_count(platform.packages, "package") if platform else None


def _common(why: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The reasons of all its platforms, once; each with its platform where they differ."""
    told = list(why.values())
    if all(each == told[0] for each in told):
        return told[0]
    return tuple(f"{reason} ({platform})" for platform, reasons in why.items() for reason in reasons)


def _pins(lock: Lock, platform: PlatformLock) -> dict[tuple[str, str], _Pin]:
    """What is pinned for a platform, by kind and name."""
    pins = {("channel", each.name): _Pin(each.url) for each in lock.channels}
    if lock.snapshot:
        pins["snapshot", ""] = _Pin(lock.snapshot)
    for name, base in (("build", platform.build), ("run", platform.run)):
        pins["image", name] = _Pin(base.image)
        pins["system", name] = _Pin(f"{base.os}, glibc {base.glibc}")
    if platform.decided:
        pins |= _decided(platform.decided)
    pins |= {("tool", each.name): _Pin(each.image) for each in platform.tools}
    # conda's Python is one of its packages.
    if platform.python and platform.python.source != "conda":
        pins["python", ""] = _Pin(platform.python.version)
    pins |= {("conda", each.name): _Pin(each.version, each.sha256, each.file) for each in platform.conda}
    pins |= {("pip", each.name): _Pin(each.version, each.sha256, each.file) for each in platform.pip}
    pins |= {
        ("pip-build", f"{build.name}: {each.name}"): _Pin(each.version, each.sha256, each.file)
        for build in platform.pip_build
        for each in build.packages
    }
    pins |= {("index", each.name): _Pin(each.index) for each in platform.pip if each.index != DEFAULT_INDEX}
    for kind, packages in (("apt", platform.apt), ("apt-build", platform.apt_build)):
        pins |= {(kind, each.name): _Pin(each.version, each.sha256, each.sha256) for each in packages}
    return pins


def _decided(decided: Decided) -> dict[tuple[str, str], _Pin]:
    """What follows from the bases, or they from it."""
    told = {"cuda": decided.cuda, "driver": decided.driver, "compute": " ".join(decided.compute)}
    told["facts"] = decided.catalogue
    pins = {(kind, ""): _Pin(value) for kind, value in told.items() if value}
    pins |= {("variable", name): _Pin(value) for name, value in decided.env}
    return pins | {("build-variable", name): _Pin(value) for name, value in decided.build_env}


def _moved(old: Mapping[tuple[str, str], _Pin], new: Mapping[tuple[str, str], _Pin]) -> Iterator[_Moved]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before != after:
            file = after.file if before and after and before.version == after.version else ""
            yield _Moved(*key, before and before.version, after and after.version, file)
