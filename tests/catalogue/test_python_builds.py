"""The program that writes the table of standalone Pythons."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from catalogue.python_builds import _TABLE, format_table, select_builds
from envcompile.base_image.python_builds import RELEASE_URL, load_python_builds


def entry(
    version: str, *files: tuple[str, str, str | None], free_threaded: bool = False, implementation: str = "cpython"
) -> Any:
    major, minor, micro = map(int, version.split("."))
    python = {"major": major, "minor": minor, "micro": micro, "freethreaded": free_threaded}
    rows = []
    for platform, ending, digest in files:
        name = f"cpython-{version}+20261021-{ending}"
        rows.append({"platform": platform, "arch": ending.partition("-")[0], "filename": name, "sha256": digest})
        rows[-1]["url"] = f"{RELEASE_URL}/20261021/{name.replace('+', '%2B')}"
    return {"python_version": {**python, "implementation": implementation}, "files": rows}


GNU = "unknown-linux-gnu"
VERSIONS = [
    entry("3.9.2", ("linux", f"x86_64-{GNU}-install_only.tar.gz", 64 * "a")),
    entry(
        "3.10.2",
        ("linux", f"x86_64-{GNU}-install_only_stripped.tar.gz", 64 * "b"),
        ("linux", f"aarch64-{GNU}-install_only_stripped.tar.gz", 64 * "c"),
        ("linux", f"x86_64-{GNU}-pgo+lto-full.tar.zst", 64 * "d"),
        ("linux", f"i686-{GNU}-install_only.tar.gz", 64 * "d"),
        ("macos", "x86_64-apple-darwin-install_only.tar.gz", 64 * "d"),
    ),
    entry("3.8.2", ("linux", f"x86_64-{GNU}-install_only.tar.gz", None)),
    entry("3.10.2", ("linux", f"x86_64-{GNU}-freethreaded-install_only.tar.gz", 64 * "e"), free_threaded=True),
    entry("3.10.3", ("linux", f"x86_64-{GNU}-install_only.tar.gz", 64 * "f"), implementation="pypy"),
]


def test_the_builds_for_linux_with_a_hash() -> None:
    lines = format_table(select_builds(VERSIONS), "2026-10-21").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        f"3.10.2 20261021 linux-64 install_only_stripped {64 * 'b'}",
        f"3.10.2 20261021 linux-aarch64 install_only_stripped {64 * 'c'}",
        f"3.10.2t 20261021 linux-64 install_only {64 * 'e'}",
        f"3.9.2 20261021 linux-64 install_only {64 * 'a'}",
    ]


def test_a_url_that_the_table_cannot_express() -> None:
    other = copy.deepcopy(VERSIONS)
    other[0]["files"][0]["url"] = "https://other.example.invalid/a.tar.gz"
    with pytest.raises(ValueError, match="usual form"):
        list(select_builds(other))


def test_the_shipped_table_is_in_order() -> None:
    text = _TABLE.read_text("utf-8")
    date = text.partition("as of ")[2][:10]
    assert format_table(load_python_builds(), date) == text
