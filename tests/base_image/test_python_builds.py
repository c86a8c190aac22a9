"""The table of standalone Pythons: which one is chosen, and what a lock may say about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envcompile.base_image.python_builds import (
    ARCHIVE_NAME,
    RELEASE_URL,
    check_standalone_python,
    find_standalone_python,
    format_file_name,
    load_python_builds,
)
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import PythonBuild, PythonInterpreter
from envcompile.versions import version_numbers


def found(release: str, platform: str = "linux-64", *, free_threaded: bool = False) -> PythonInterpreter:
    python = find_standalone_python(release, platform, free_threaded=free_threaded)
    assert isinstance(python, PythonInterpreter)
    return python


def test_the_table_has_every_release_for_both_platforms() -> None:
    rows = load_python_builds()
    assert len({row[:3] for row in rows}) == len(rows) > 200
    newest: dict[tuple[str, bool], set[str]] = {}
    for row in rows:
        name = ARCHIVE_NAME.fullmatch(format_file_name(row))
        assert name
        assert name["build"] == row.build
        assert len(row.sha256) == 64
        newest.setdefault((row.version, row.version.endswith("t")), set()).add(row.platform)
    for minor in range(9, 15):
        assert found(f"3.{minor}").version == found(f"3.{minor}", "linux-aarch64").version


def test_the_newest_build_of_a_release() -> None:
    python = found("3.12")
    versions = [row.version for row in load_python_builds() if row.version.startswith("3.12.")]
    assert python.version == max(versions, key=version_numbers)
    assert python.build
    assert python.build.url.startswith(f"{RELEASE_URL}/")
    assert python.build.url.endswith(python.build.file.replace("+", "%2B"))
    assert (python.source, python.abi) == ("standalone", "")
    assert found("3.12.3").version == "3.12.3"
    free_threaded = found("3.14", "linux-aarch64", free_threaded=True)
    assert free_threaded.abi == "cp314t"
    assert (
        free_threaded.path == f"/opt/python/cpython-{free_threaded.version}+freethreaded-linux-aarch64-gnu/bin/python3"
    )


def test_the_locked_build_is_kept() -> None:
    """Promise 8: changing one package changes nothing else unless it must."""
    old = found("3.12.3")
    assert find_standalone_python("3.12", "linux-64", locked=old) == old
    for release, free_threaded in (("3.11", False), ("3.12.4", False), ("3.14", True)):
        assert find_standalone_python(release, "linux-64", free_threaded=free_threaded, locked=old) != old
    base = PythonInterpreter("3.12.3", "/usr/bin/python3", "image")
    assert find_standalone_python("3.12", "linux-64", locked=base) == found("3.12")


@pytest.mark.parametrize(
    ("release", "free_threaded", "expected"),
    [("3.12.99", False, "3.12.0"), ("3.98", False, "3.13"), ("3.12", True, "3.14t"), ("3.14.99", True, "3.14.3t")],
)
def test_a_version_without_a_build(release: str, free_threaded: bool, expected: str) -> None:
    answer = find_standalone_python(release, "linux-64", free_threaded=free_threaded)
    assert isinstance(answer, Diagnostic)
    assert (answer.rule, answer.path) == ("base-python", ("python",))
    assert f"Python {release} for `linux-64`" in answer.message
    assert expected in (answer.hint or "").replace(",", "").split()


@pytest.mark.parametrize("field", ["version", "path", "abi", "file", "url", "sha256", "platform"])
def test_an_edited_build_is_noticed(field: str) -> None:
    """Promise 7: a lock edited by hand is caught even if its digest was recomputed."""
    for python in (found("3.12"), found("3.14", free_threaded=True)):
        assert check_standalone_python(python, "linux-64") is None
        assert python.build
        values: dict[str, Any] = {
            "version": "3.12.98",
            "path": "/opt/python/bin/python3",
            "abi": "cp312t",
            "file": python.build.file.replace("x86_64", "aarch64"),
            "url": python.build.url.replace("https://", "https://other."),
            "sha256": 64 * "0",
        }
        edited = python
        if field in PythonBuild._fields:
            edited = replace(python, build=python.build._replace(**{field: values[field]}))
        elif field in values:
            edited = replace(python, **{field: values[field]})
        wrong = check_standalone_python(edited, "linux-aarch64" if field == "platform" else "linux-64")
        assert wrong
        assert wrong.path == ("python",)


def test_a_build_that_the_table_does_not_have() -> None:
    """A lock of another release of envcompile may have an older or a newer build."""
    python = found("3.12")
    assert python.build
    date = python.build.url.split("/")[-2]
    file, url = (text.replace(date, "20990101") for text in (python.build.file, python.build.url))
    build = PythonBuild(file, url, python.build.sha256, 12345)
    assert check_standalone_python(replace(python, build=build), "linux-64") is None
    assert check_standalone_python(PythonInterpreter("3.12.3", "/usr/bin/python3", "image"), "linux-64") is None
