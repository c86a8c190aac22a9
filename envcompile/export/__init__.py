"""Views of a lock in the formats of other tools. Each is made by a module of its own, imported when it is asked for."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec


class ExportInput(NamedTuple):
    """What an export is made of: a spec and the lock that answers it, with those platforms alone that are wanted.

    `places` are the addresses of pip's files by their sha256, for the formats that need them.
    """

    spec: Spec
    lock: Lock
    file_urls: Mapping[str, str] = MappingProxyType({})


class Exporter(NamedTuple):
    """One format: `module` of this package has a function `text` from a `ExportInput` to the text of the file.

    `file` is what the file is called when nobody says otherwise. `holds` are the kinds of packages that it can hold:
    without one of the first kind there is nothing to export. `platforms` says whether one file is for several,
    `places` whether it wants the addresses of pip's files.
    """

    module: str
    file_name: str
    package_kinds: tuple[str, ...]
    supports_several_platforms: bool = True
    needs_file_urls: bool = False


EXPORTERS = {
    "conda-lock": Exporter("conda_lock", "conda-lock.yml", ("conda", "pip"), needs_file_urls=True),
    "explicit": Exporter("explicit", "explicit.txt", ("conda",), supports_several_platforms=False),
    "environment": Exporter("environment_yml", "environment.yml", ("conda", "pip")),
    "requirements": Exporter("requirements_txt", "requirements.txt", ("pip",)),
    "pylock": Exporter("pylock", "pylock.toml", ("pip",), needs_file_urls=True),
}


def export_lock(name: str, given: ExportInput) -> str:
    """The text of a lock in one of the `EXPORTERS`.

    Raises `InvalidInputError` when the format cannot hold what the lock has.
    """
    row = EXPORTERS[name]
    kind = row.package_kinds[0]
    # Asked for and kept out by markers is a list of none, and no mistake.
    if not count_packages(given.lock, kind) and not getattr(given.spec, kind).packages:
        message = f"the lock holds no {kind} package, and that is what `{name}` lists"
        raise InvalidInputError(message, f"add `packages` to `[{kind}]`, and run `envcompile lock`")
    if not row.supports_several_platforms and len(given.lock.platforms) > 1:
        names = ", ".join(f"`{each.platform}`" for each in given.lock.platforms)
        message = f"`{name}` is a list for one platform, and the lock holds {names}"
        raise InvalidInputError(message, f"add `--platform {given.lock.platforms[0].platform}`")
    sdists = sorted({each.name for one in given.lock.platforms for each in one.pip if each.kind == "sdist"})
    if sdists and "pip" in row.package_kinds and name != "environment":
        message = f"`{sdists[0]}` is locked as an sdist, and `{name}` has no place for what it is built with"
        raise InvalidInputError(message, "build the image, or ask for a release that has a wheel")
    return str(import_module(f"{__name__}.{row.module}").render_export(given))


def count_packages(lock: Lock, kind: str) -> int:
    """How many packages of a kind, `conda`, `pip` or `apt`, a lock holds."""
    return sum(len(getattr(each, kind)) for each in lock.platforms)


def select_platform(lock: Lock, name: str | None) -> Lock:
    """The lock with the named platform alone. Raises `InvalidInputError`."""
    if name is None:
        return lock
    platform = lock.find_platform(name)
    if platform is None:
        known = ", ".join(f"`{each.platform}`" for each in lock.platforms)
        raise InvalidInputError(f"the lock does not hold the platform `{name}`", f"it holds {known}")
    return replace(lock, platforms=(platform,))
