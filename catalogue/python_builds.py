"""`python -m catalogue.python_builds VERSIONS.json`: write the table of standalone Python builds.

The input is `pbs_installer/versions.json` of the package `pbs-installer` (MIT), which lists the files that
python-build-standalone has released, with their sha256: for each version of CPython its newest build. The table keeps
the files for Linux with glibc in the `install_only` layout, which `uv python install` unpacks.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envcompile.base_image.python_builds import ARCHIVE_NAME, RELEASE_URL, PythonBuildRow, format_file_name
from envcompile.platforms import PLATFORMS
from envcompile.project.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_TABLE = Path(__file__).parents[1] / "envcompile" / "base_image" / "data" / "python_builds.txt"
_HEADER = """\
# Standalone builds of CPython (python-build-standalone, the newest build of each version), newest version first:
# VERSION BUILD PLATFORM LAYOUT SHA256. Versions with `t` are free-threaded.
# Written by `python -m catalogue.python_builds` from pbs-installer's versions.json (MIT), as of {date}.
"""


def select_builds(versions: Iterable[Mapping[str, Any]]) -> Iterator[PythonBuildRow]:
    """Yield the rows of the table. Raises `ValueError` for a file whose URL cannot be derived from its row."""
    platforms = {platform.machine: platform for platform in PLATFORMS.values()}
    for entry in versions:
        version = entry["python_version"]
        if version["implementation"] != "cpython":
            continue
        for file in entry["files"]:
            found = ARCHIVE_NAME.fullmatch(file["filename"])
            platform = platforms.get(file["arch"])
            if not (found and platform and file["platform"] == "linux" and file["sha256"]):
                continue
            suffix = "t" if version["freethreaded"] else ""
            row = PythonBuildRow(
                found["version"] + suffix, found["build"], platform.name, found["layout"], file["sha256"]
            )
            if file["filename"] != format_file_name(row) or not file["url"].startswith(f"{RELEASE_URL}/{row.build}/"):
                raise ValueError(f"`{file['url']}` does not have the usual form")
            yield row


def format_table(rows: Iterable[PythonBuildRow], date: str) -> str:
    """Return the text of the table, newest version first."""

    def order(row: PythonBuildRow) -> tuple[Any, ...]:
        numbers = tuple(-int(number) for number in row.version.removesuffix("t").split("."))
        return (numbers, row.version.endswith("t"), row.platform)

    return _HEADER.format(date=date) + "".join(f"{' '.join(row)}\n" for row in sorted(rows, key=order))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table. Return the exit code."""
    parser = argparse.ArgumentParser(
        "python -m catalogue.python_builds", description=(__doc__ or "").split("\n\n", 1)[1]
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("versions", type=Path, metavar="VERSIONS.json", help="versions.json of pbs-installer")
    arguments = parser.parse_args(argv)
    rows = tuple(select_builds(json.loads(arguments.versions.read_text("utf-8"))))
    newest = max(row.build for row in rows)
    write_text(_TABLE, format_table(rows, f"{newest[:4]}-{newest[4:6]}-{newest[6:]}"))
    sys.stdout.write(f"wrote `{_TABLE.name}`: {len(rows)} builds\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
