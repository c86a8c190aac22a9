"""`requirements.txt` with hashes, as pip-compile writes it and pip, pip-sync and uv install it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.export.common import describe_platforms, merge_platforms, pip_omissions_comment
from envcompile.project.generated_files import EXPORT_HEADER
from envcompile.spec.pip import collect_index_urls, parse_package_name, parse_requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.export import ExportInput
    from envcompile.export.common import MergedPackage


def render_export(given: ExportInput) -> str:
    """The file, for all platforms of the lock: each row has the one file of each platform."""
    asked = {parse_package_name(parse_requirement(each).name) for each in given.spec.pip.packages}
    rows = list(merge_platforms(given.lock))
    needed: dict[str, set[str]] = {row.name: set() for row in rows}
    for row in rows:
        for each in row.dependency_names():
            needed.setdefault(each, set()).add(row.name)
    lines = [*_format_header(given), *_format_index_options(given)]
    for row in rows:
        lines += _format_requirement(row, sorted(needed[row.name]), direct=row.name in asked)
    return "".join(f"{line}\n" for line in lines)


def _format_header(given: ExportInput) -> Iterator[str]:
    yield f"{EXPORT_HEADER}; the pins are those of envcompile's own lock."
    yield f"# For {describe_platforms(given.lock)}."
    yield "# All that is needed stands here: pip install --no-deps --require-hashes -r FILE"
    yield from pip_omissions_comment(given)


def _format_index_options(given: ExportInput) -> Iterator[str]:
    """The spec's indexes, as far as a package is of them. pip may ask any for any name: the hashes decide."""
    used = {package.index for platform in given.lock.platforms for package in platform.pip}
    known = collect_index_urls(given.spec.pip)
    if given.spec.pip.index:
        yield f"--index-url {given.spec.pip.index}"
    yield from (f"--extra-index-url {known[each.name]}" for each in given.spec.pip.extra_indexes if each.name in used)


def _format_requirement(row: MergedPackage, needed: list[str], *, direct: bool) -> Iterator[str]:
    files = row.unique_files()
    yield f"{row.name}=={row.version}{f' ; {row.marker}' if row.marker else ''} \\"
    for file in files[:-1]:
        yield f"    --hash=sha256:{file.sha256} \\"
    yield f"    --hash=sha256:{files[-1].sha256}"
    via = [*needed, *(["the spec"] if direct else [])]
    if len(via) == 1:
        yield f"    # via {via[0]}"
    elif via:
        yield "    # via"
        yield from (f"    #   {each}" for each in via)
