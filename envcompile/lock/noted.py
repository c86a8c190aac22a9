"""What the lock has noted of the spec because no pin shows it, beside what the spec says now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.finding import Finding
from envcompile.spec.model import ExtraIndex
from envcompile.spec.pip import find_index
from envcompile.spec.solver_inputs import find_requested_extras, recorded_inputs
from envcompile.spec.values import display_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envcompile.diagnostics.toml_source import KeyPath
    from envcompile.lock.model import Lock, PlatformLock
    from envcompile.spec.model import Spec

Values = tuple[str, ...]


def noted(spec: Spec, lock: Lock) -> Iterator[Finding]:
    """The keys that were changed in a way that the lock may not satisfy, sorted."""
    if lock.asked is None:
        yield Finding((), "the spec was changed, and the lock does not tell what it was: an early release has made it")
        return
    before, now = {each.key: each.values for each in lock.asked}, recorded_inputs(spec)
    for key in sorted({*before, *now}):
        old, new = before.get(key, ()), now.get(key, ())
        if old == new or _still(key, old, new, lock) or (key in _STILL and _STILL[key](spec, old, lock)):
            continue
        if key == "pip.packages":
            yield from _extras(spec, set(old), set(new))
        else:
            yield Finding(_path(key), f"the lock was made {_with(key, old)}, and the spec {_says(key, new)}")


def _still(key: str, old: Values, new: Values, lock: Lock) -> bool:
    """Whether what is locked satisfies the new value as it did the old one."""
    if key == "exclude-newer":
        return not new or (bool(old) and new > old)
    if key == "pip.exclude":
        # That nothing in the lock is excluded is seen in its packages.
        return set(new) > set(old)
    if key == "conda.channels":
        # A channel behind all others cannot have what was taken from them.
        return bool(old) and new[: len(old)] == old
    return key.startswith(("image.", "tools.")) and _still_image(key, new, lock)


def _still_snapshot(spec: Spec, _: Values, lock: Lock) -> bool:
    """Whether the archive's moment is the one that a lock for the spec would keep."""
    return lock.snapshot == (spec.apt.snapshot or spec.exclude_newer or lock.snapshot)


def _still_indexes(spec: Spec, old: Values, lock: Lock) -> bool:
    """Whether everything that is locked comes from where it came from."""
    before = [ExtraIndex(name, url, tuple(patterns)) for name, url, *patterns in map(str.split, old)]
    names = {package.name for platform in lock.platforms for package in platform.pip}
    served = ((find_index(name, before), find_index(name, spec.pip.extra_indexes)) for name in names)
    return all((then.name, then.url) == (now.name, now.url) for then, now in served)


_STILL = {"apt.snapshot": _still_snapshot, "pip.extra-indexes": _still_indexes}


def _still_image(key: str, new: Values, lock: Lock) -> bool:
    """Whether the locked image, or what is known of it, is what the new value says."""
    if key.startswith("image.base."):
        return not new or all(_base(each).get(key.rpartition(".")[2]) == new[0] for each in lock.platforms)
    images = [each.build.image for each in lock.platforms] if key == "image.base" else []
    images += [tool.image for each in lock.platforms for tool in each.tools if f"tools.{tool.name}" == key]
    # A tool that nothing needs is in no lock.
    return not images or (bool(new) and all(_is(image, new[0]) for image in images))


def _is(image: str, asked: str) -> bool:
    """Whether a locked image is what is asked for: the very name, with the very digest or any."""
    return image == asked or image.partition("@")[0] == asked


def _base(platform: PlatformLock) -> dict[str, str]:
    """What the lock holds of a base, by the keys of the base's table."""
    python = {"python": platform.python.version, "python-path": platform.python.path} if platform.python else {}
    return {"os": platform.build.os, "glibc": platform.build.glibc, **python}


def _extras(spec: Spec, old: set[str], new: set[str]) -> Iterator[Finding]:
    places = find_requested_extras(spec)
    for extra in sorted(new - old):
        path: KeyPath = ("pip", "packages", places[extra])
        yield Finding(path, f"`{extra}` is asked of pip, and the lock was made without that extra")
    for extra in sorted(old - new):
        yield Finding(("pip", "packages"), f"the lock was made for `{extra}`, and the spec does not ask for that extra")


def _path(key: str) -> KeyPath:
    return tuple(key.split("."))


def _with(key: str, values: Sequence[str]) -> str:
    return f"with `{key}` as {_list(values)}" if values else f"without `{key}`"


def _says(key: str, values: Sequence[str]) -> str:
    return f"has {_list(values)}" if values else f"has no `{key}`"


def _list(values: Sequence[str]) -> str:
    return ", ".join(f"`{display_text(each)}`" for each in values)
