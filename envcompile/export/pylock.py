"""`pylock.toml` (PEP 751, lock-version 1.0), for `uv pip sync` and `pip install -r pylock.toml`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.export.common import (
    PINS_HEADER,
    describe_platforms,
    format_pip_omissions,
    format_platform_marker,
    merge_platforms,
    require_file_url,
)
from envcompile.project.toml_writer import format_toml_header, format_toml_pair, format_toml_rows
from envcompile.spec.pip import collect_index_urls
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.export import ExportInput
    from envcompile.export.common import MergedPackage
    from envcompile.lock.model import PipPackage
    from envcompile.project.toml_writer import TomlTable


def render_export(export_input: ExportInput) -> str:
    """The text of the file, for all platforms of the lock.

    Raises `InvalidInputError` if the URL of a file is not known.
    """
    packages = list(merge_platforms(export_input.lock))
    names = [each.name for each in packages]
    # A dependency is written as a name. A name with several versions is omitted: it would need a version and a marker.
    single = {name for name in names if names.count(name) == 1}
    indexes = collect_index_urls(export_input.spec.pip)
    lines = [*_format_header(export_input), *([] if packages else [format_toml_pair("packages", [])])]
    for each in packages:
        lines += _format_package(each, single, indexes, export_input.file_urls)
    return "".join(lines)


def _format_header(export_input: ExportInput) -> Iterator[str]:
    platforms = export_input.lock.platforms
    yield f"{PINS_HEADER}\n"
    yield f"# For {describe_platforms(export_input.lock)}.\n"
    yield from (f"{line}\n" for line in format_pip_omissions(export_input))
    yield format_toml_pair("lock-version", "1.0")
    environments = [f"sys_platform == 'linux' and {format_platform_marker([each])}" for each in platforms]
    yield format_toml_pair("environments", environments)
    pythons = sorted({minor_release(each.python.version) for each in platforms if each.python})
    if len(pythons) == 1:
        yield format_toml_pair("requires-python", f"=={pythons[0]}.*")
    yield format_toml_pair("created-by", "envcompile")


def _format_package(
    package: MergedPackage, single: set[str], indexes: Mapping[str, str], file_urls: Mapping[str, str]
) -> Iterator[str]:
    yield "\n"
    yield format_toml_header("packages", is_array_item=True)
    yield format_toml_pair("name", package.name)
    yield format_toml_pair("version", package.version)
    if package.marker:
        yield format_toml_pair("marker", package.marker)
    dependencies = [{"name": name} for name in package.dependency_names() if name in single]
    if dependencies:
        yield format_toml_pair("dependencies", dependencies)
    if index := indexes.get(package.packages[0].index):
        yield format_toml_pair("index", index)
    yield from format_toml_rows("wheels", (_table_from_wheel(file, file_urls) for file in package.unique_files()))


def _table_from_wheel(file: PipPackage, file_urls: Mapping[str, str]) -> TomlTable:
    url = require_file_url(file, file_urls, "pylock")
    return {"name": file.file, "url": url, "size": file.size, "hashes": {"sha256": file.sha256}}
