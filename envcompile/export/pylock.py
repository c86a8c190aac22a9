"""`pylock.toml` (PEP 751, lock-version 1.0), as `uv pip sync` and pip's `-r pylock.toml` install it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.export.common import (
    describe_platforms,
    format_platform_marker,
    merge_platforms,
    pip_omissions_comment,
    require_file_url,
)
from envcompile.project.generated_files import EXPORT_HEADER
from envcompile.project.toml_writer import format_toml_header, format_toml_pair, format_toml_rows
from envcompile.spec.pip import collect_index_urls
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.export import ExportInput
    from envcompile.export.common import MergedPackage
    from envcompile.lock.model import PipPackage
    from envcompile.project.toml_writer import TomlTable


def render_export(given: ExportInput) -> str:
    """The file, for all platforms of the lock. Raises `InvalidInputError` where the address of a file is not known."""
    rows = list(merge_platforms(given.lock))
    several = {row.name for row in rows if row.marker and sum(row.name == each.name for each in rows) > 1}
    known = collect_index_urls(given.spec.pip)
    lines = [*_format_header(given), *([] if rows else [format_toml_pair("packages", [])])]
    for row in rows:
        lines += _format_package(row, {each.name for each in rows}, several, known, given.file_urls)
    return "".join(lines)


def _format_header(given: ExportInput) -> Iterator[str]:
    yield f"{EXPORT_HEADER}; the pins are those of envcompile's own lock.\n"
    yield f"# For {describe_platforms(given.lock)}.\n"
    yield from (f"{line}\n" for line in pip_omissions_comment(given))
    yield format_toml_pair("lock-version", "1.0")
    linux = [f"sys_platform == 'linux' and {format_platform_marker([each])}" for each in given.lock.platforms]
    yield format_toml_pair("environments", linux)
    pythons = sorted({minor_release(each.python.version) for each in given.lock.platforms if each.python})
    if len(pythons) == 1:
        yield format_toml_pair("requires-python", f"=={pythons[0]}.*")
    yield format_toml_pair("created-by", "envcompile")


def _format_package(
    row: MergedPackage, there: set[str], several: set[str], indexes: Mapping[str, str], places: Mapping[str, str]
) -> Iterator[str]:
    yield "\n"
    yield format_toml_header("packages", is_array_item=True)
    yield format_toml_pair("name", row.name)
    yield format_toml_pair("version", row.version)
    if row.marker:
        yield format_toml_pair("marker", row.marker)
    # Of a name with several versions nothing short says which is meant: the markers do.
    needs = [each for each in row.dependency_names() if each in there and each not in several]
    if needs:
        yield format_toml_pair("dependencies", [{"name": each} for each in needs])
    if index := indexes.get(row.packages[0].index):
        yield format_toml_pair("index", index)
    yield from format_toml_rows("wheels", (_table_from_wheel(file, places) for file in row.unique_files()))


def _table_from_wheel(file: PipPackage, places: Mapping[str, str]) -> TomlTable:
    url = require_file_url(file, places, "pylock")
    return {"name": file.file, "url": url, "size": file.size, "hashes": {"sha256": file.sha256}}
