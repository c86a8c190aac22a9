"""List the files of wheels from their tables of contents, and find packages that overwrite files of each other."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from envcompile.lock.families import FileOverlap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from zipfile import ZipInfo

# The folder `NAME-VERSION.data/KIND/` in a wheel: KIND determines where its files are installed.
_DATA_FOLDER = re.compile(r"[^/]+\.data/(purelib|platlib|scripts|data|headers)/")
_DATA_TARGETS = {"purelib": "", "platlib": "", "scripts": "<scripts>/", "data": "<data>/", "headers": "<headers>/"}
_LIBRARY = re.compile(r".*\.so(?:\.[0-9]+)*")


class FileContent(NamedTuple):
    """The size in bytes and the CRC-32 of a file, to compare its content with that of another file."""

    size: int
    checksum: int


WheelFiles = dict[str, FileContent]


def list_installed_files(contents: Iterable[ZipInfo]) -> WheelFiles:
    """Return the files that a wheel installs, by path, except those in its `.dist-info` folder.

    Paths are relative to site-packages, or start with `<scripts>/`, `<data>/` or `<headers>/`.
    """
    files = {}
    for each in contents:
        path = each.filename
        if found := _DATA_FOLDER.match(path):
            path = f"{_DATA_TARGETS[found[1]]}{path[found.end() :]}"
        if not path.endswith("/") and ".dist-info/" not in path:
            files[path] = FileContent(each.file_size, each.CRC)
    return files


def list_top_levels(files: Iterable[str]) -> tuple[str, ...]:
    """Return the sorted names of the modules and folders at the top level of the paths in `files`.

    Only packages with a common name at the top level can have a common file.
    """
    return tuple(sorted({path.partition("/")[0] for path in files}))


def find_overlaps(
    top_levels: Mapping[str, tuple[str, ...]], read_files: Callable[[str], WheelFiles | None]
) -> tuple[FileOverlap, ...]:
    """Return the groups of packages that install different contents under the same path.

    `top_levels` has the names at the top level of each package, and `read_files` returns the files of a package, or
    None if they are unknown.
    """
    owners: dict[str, list[str]] = {}
    for package, names in sorted(top_levels.items()):
        for name in names:
            owners.setdefault(name, []).append(package)
    sharing = sorted({package for packages in owners.values() if len(packages) > 1 for package in packages})
    contents: dict[str, dict[str, FileContent]] = {}
    for package in sharing:
        for path, content in (read_files(package) or {}).items():
            contents.setdefault(path, {})[package] = content
    paths: dict[tuple[str, ...], list[str]] = {}
    for path, found in contents.items():
        if len(set(found.values())) > 1:
            paths.setdefault(tuple(found), []).append(path)
    folders = {str(parent): path for path in contents for parent in PurePosixPath(path).parents}
    for path in sorted(folders.keys() & contents.keys()):
        paths.setdefault(tuple(sorted({*contents[path], *contents[folders[path]]})), []).append(path)
    return tuple(_make_overlaps(paths, folders))


def _make_overlaps(paths: Mapping[tuple[str, ...], list[str]], folders: Collection[str]) -> Iterator[FileOverlap]:
    for packages, found in sorted(paths.items()):
        fatal = sorted(path for path in found if _LIBRARY.fullmatch(path) or path in folders)
        yield FileOverlap(packages, (fatal or sorted(found))[0], len(found), is_fatal=bool(fatal))
