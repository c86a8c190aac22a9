"""Views of a lock in the formats of other tools. Each is made by a module of its own, imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from envcompile.errors import Unusable

if TYPE_CHECKING:
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec


class Given(NamedTuple):
    """What an export is made of: a spec and the lock that answers it, with those platforms alone that are wanted.

    `files` is the URL below which pip's files are found, without a slash at its end, for the format that needs it.
    """

    spec: Spec
    lock: Lock
    files: str | None = None


class Format(NamedTuple):
    """One format: `module` of this package has a function `text` from a `Given` to the text of the file.

    `file` is what the file is called when nobody says otherwise. `holds` are the kinds of packages that it can hold:
    without one of the first kind there is nothing to export. `platforms` says whether one file is for several.
    """

    module: str
    file: str
    holds: tuple[str, ...]
    platforms: bool = True
    files: bool = False


FORMATS = {
    "conda-lock": Format("conda_lock", "conda-lock.yml", ("conda", "pip"), files=True),
    "explicit": Format("explicit", "explicit.txt", ("conda",), platforms=False),
    "environment": Format("environment", "environment.yml", ("conda", "pip")),
}


def export(name: str, given: Given) -> str:
    """The text of a lock in one of the `FORMATS`. Raises `Unusable` when the format cannot hold what the lock has."""
    row = FORMATS[name]
    kind = row.holds[0]
    if not packages(given.lock, kind):
        message = f"the lock holds no {kind} package, and that is what `{name}` lists"
        raise Unusable(message, f"add `packages` to `[{kind}]`, and run `envcompile lock`")
    if not row.platforms and len(given.lock.platforms) > 1:
        names = ", ".join(f"`{each.platform}`" for each in given.lock.platforms)
        message = f"`{name}` is a list for one platform, and the lock holds {names}"
        raise Unusable(message, f"add `--platform {given.lock.platforms[0].platform}`")
    return str(import_module(f"{__name__}.{row.module}").text(given))


def packages(lock: Lock, kind: str) -> int:
    """How many packages of a kind, `conda` or `pip`, a lock holds."""
    return sum(len(each.conda if kind == "conda" else each.pip) for each in lock.platforms)
