"""`pylock.toml` (PEP 751, lock-version 1.0), as `uv pip sync` and pip's `-r pylock.toml` install it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from envcompile.export.common import (
    describe_platforms,
    format_platform_marker,
    merge_platforms,
    pip_omissions_comment,
    require_file_url,
)
from envcompile.project.generated_files import EXPORT_HEADER
from envcompile.spec.pip import collect_index_urls
from envcompile.versions import minor_release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envcompile.export import ExportInput
    from envcompile.export.common import MergedPackage
    from envcompile.lock.model import PipPackage


def render_export(given: ExportInput) -> str:
    """The file, for all platforms of the lock. Raises `InvalidInputError` where the address of a file is not known."""
    rows = list(merge_platforms(given.lock))
    several = {row.name for row in rows if row.marker and sum(row.name == each.name for each in rows) > 1}
    known = collect_index_urls(given.spec.pip)
    lines = [*_format_header(given), *([] if rows else ["packages = []"])]
    for row in rows:
        lines += _format_package(row, {each.name for each in rows}, several, known, given.file_urls)
    return "".join(f"{line}\n" for line in lines)


def _format_header(given: ExportInput) -> Iterator[str]:
    yield f"{EXPORT_HEADER}; the pins are those of envcompile's own lock."
    yield f"# For {describe_platforms(given.lock)}."
    yield from pip_omissions_comment(given)
    yield 'lock-version = "1.0"'
    linux = [f"sys_platform == 'linux' and {format_platform_marker([each])}" for each in given.lock.platforms]
    yield f"environments = [{', '.join(map(_format_string, linux))}]"
    pythons = sorted({minor_release(each.python.version) for each in given.lock.platforms if each.python})
    if len(pythons) == 1:
        yield f'requires-python = "=={pythons[0]}.*"'
    yield 'created-by = "envcompile"'


def _format_package(
    row: MergedPackage, there: set[str], several: set[str], indexes: Mapping[str, str], places: Mapping[str, str]
) -> Iterator[str]:
    yield ""
    yield "[[packages]]"
    yield f"name = {_format_string(row.name)}"
    yield f"version = {_format_string(row.version)}"
    if row.marker:
        yield f"marker = {_format_string(row.marker)}"
    # Of a name with several versions nothing short says which is meant: the markers do.
    needs = [each for each in row.dependency_names() if each in there and each not in several]
    if needs:
        yield f"dependencies = [{', '.join(f'{{ name = {_format_string(each)} }}' for each in needs)}]"
    if index := indexes.get(row.packages[0].index):
        yield f"index = {_format_string(index)}"
    yield "wheels = ["
    yield from _format_wheels(row.unique_files(), places)
    yield "]"


def _format_wheels(files: Sequence[PipPackage], places: Mapping[str, str]) -> Iterator[str]:
    for file in files:
        size = f"size = {file.size}, " if file.size is not None else ""
        url = _format_string(require_file_url(file, places, "pylock"))
        yield (
            f"    {{ name = {_format_string(file.file)}, url = {url}, {size}"
            f"hashes = {{ sha256 = {_format_string(file.sha256)} }} }},"
        )


def _format_string(value: str) -> str:
    # What JSON escapes, TOML's basic strings escape alike.
    return json.dumps(value, ensure_ascii=False)
