"""`requirements.txt` with hashes, as pip-compile writes it, for pip, pip-sync and uv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.export.common import PINS_HEADER, describe_platforms, format_pip_omissions, merge_platforms
from envcompile.spec.pip import collect_index_urls
from envcompile.spec.solver_inputs import list_pip_requirements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.export import ExportInput
    from envcompile.export.common import MergedPackage


def render_export(export_input: ExportInput) -> str:
    """The text of the file, for all platforms of the lock. A package has the hash of its file on each platform."""
    requested = {each.name for each in list_pip_requirements(export_input.spec)}
    packages = list(merge_platforms(export_input.lock))
    dependents: dict[str, set[str]] = {each.name: set() for each in packages}
    for each in packages:
        for name in each.dependency_names():
            dependents.setdefault(name, set()).add(each.name)
    lines = [*_format_header(export_input), *_format_index_options(export_input)]
    for each in packages:
        lines += _format_package(each, sorted(dependents[each.name]), is_requested=each.name in requested)
    return "".join(f"{line}\n" for line in lines)


def _format_header(export_input: ExportInput) -> Iterator[str]:
    yield PINS_HEADER
    yield f"# For {describe_platforms(export_input.lock)}."
    yield "# All dependencies are listed. Install them with: pip install --no-deps --require-hashes -r FILE"
    yield from format_pip_omissions(export_input)


def _format_index_options(export_input: ExportInput) -> Iterator[str]:
    """The options for the indexes of the spec that serve a locked package.

    pip may request any package from any of these indexes; the hashes decide which file it accepts.
    """
    pip = export_input.spec.pip
    used = {package.index for platform in export_input.lock.platforms for package in platform.pip}
    urls = collect_index_urls(pip)
    if pip.index:
        yield f"--index-url {pip.index}"
    yield from (f"--extra-index-url {urls[each.name]}" for each in pip.extra_indexes if each.name in used)


def _format_package(package: MergedPackage, dependents: list[str], *, is_requested: bool) -> Iterator[str]:
    marker = f" ; {package.marker}" if package.marker else ""
    hashes = [f"    --hash=sha256:{file.sha256}" for file in package.unique_files()]
    yield " \\\n".join((f"{package.name}=={package.version}{marker}", *hashes))
    via = [*dependents, *(["the spec"] if is_requested else [])]
    if len(via) == 1:
        yield f"    # via {via[0]}"
    elif via:
        yield "    # via"
        yield from (f"    #   {each}" for each in via)
