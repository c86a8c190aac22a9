"""Renders a lock in the formats of other tools: one module per format, imported when the format is requested.

`EXPORTERS` lists the formats. `common` contains what several formats need.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import format_count
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.package_managers import PACKAGE_LISTS, PACKAGE_MANAGERS
from envcompile.project.generated_files import EXPORTERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

__all__ = ["EXPORTERS", "ExportInput", "export_lock", "find_export_warnings", "select_platform"]


class ExportInput(NamedTuple):
    """The input of an export: a spec, and its lock, which is restricted to the requested platforms.

    `file_urls` maps the sha256 of each file of a pip package to its URL, for the formats that need URLs.
    """

    spec: Spec
    lock: Lock
    file_urls: Mapping[str, str] = MappingProxyType({})


def export_lock(name: str, export_input: ExportInput) -> str:
    """The text of a lock in the format `name`, a key of `EXPORTERS`.

    Raises `InvalidInputError` if the format cannot represent the lock.
    """
    exporter = EXPORTERS[name]
    lock, kind = export_input.lock, exporter.package_kinds[0]
    # If the spec requests packages and markers exclude them all, an empty list is correct.
    count = PACKAGE_LISTS[kind].count_packages(lock.platforms)
    if not count and not PACKAGE_MANAGERS[kind].list_requirements(export_input.spec, "packages"):
        message = f"`{name}` lists {kind} packages, and the lock has none"
        raise InvalidInputError(message, f"add `packages` to `[{kind}]`, and run `envcompile lock`")
    if not exporter.supports_several_platforms and len(lock.platforms) > 1:
        names = ", ".join(f"`{each.platform}`" for each in lock.platforms)
        message = f"`{name}` is a format for one platform, and the lock has {names}"
        raise InvalidInputError(message, f"add `--platform {lock.platforms[0].platform}`")
    sdists = sorted({package.name for each in lock.platforms for package in each.pip if package.kind == "sdist"})
    if sdists and exporter.has_pins and "pip" in exporter.package_kinds:
        message = f"`{name}` cannot list the build dependencies of the sdist `{sdists[0]}`"
        raise InvalidInputError(message, "build the image, or request a release that has a wheel")
    return str(import_module(f"{__name__}.{exporter.module}").render_export(export_input))


def find_export_warnings(name: str, lock: Lock) -> Iterator[tuple[str, str]]:
    """Yield a message and a hint for each kind of packages that the format omits, and for a missing conda `pip`."""
    exporter = EXPORTERS[name]
    for kind in PACKAGE_MANAGERS:
        count = PACKAGE_LISTS[kind].count_packages(lock.platforms)
        if count and kind not in exporter.package_kinds:
            both = {*exporter.package_kinds, kind}
            other = next((each.name for each in EXPORTERS.values() if both <= set(each.package_kinds)), None)
            hint = f"`--format {other}` lists both kinds" if other else "only the Dockerfile installs all packages"
            yield f"`{name}` omits the {format_count(count, f'{kind} package')} of the lock", hint
    without_pip = any(each.pip and all(package.name != "pip" for package in each.conda) for each in lock.platforms)
    if exporter.needs_conda_pip and without_pip:
        message = f"`{name}` needs the conda package `pip` to install pip packages, and the lock does not have it"
        yield message, "add `pip` to `packages` in `[conda]`, and run `envcompile lock`"


def select_platform(lock: Lock, name: str | None) -> Lock:
    """The lock restricted to the platform `name`, or the whole lock if `name` is None.

    Raises `InvalidInputError` if the lock does not have the platform.
    """
    if name is None:
        return lock
    platform = lock.find_platform(name)
    if platform is None:
        known = ", ".join(f"`{each.platform}`" for each in lock.platforms)
        raise InvalidInputError(f"the lock does not have the platform `{name}`", f"it has {known}")
    return replace(lock, platforms=(platform,))
