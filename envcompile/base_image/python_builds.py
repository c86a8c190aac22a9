"""Standalone builds of CPython, for base images without the requested Python.

The table `data/python_builds.txt` lists the builds of python-build-standalone (PSF licence); it is renewed by
`python -m catalogue.python_builds`. The build stage installs one with `uv python install`, which checks its sha256.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import PythonBuild, PythonInterpreter
from envcompile.platforms import PLATFORMS
from envcompile.versions import is_release_of, minor_release, version_numbers

# The URL of the releases of python-build-standalone. Users can set a mirror of the host.
RELEASE_URL = "https://github.com/astral-sh/python-build-standalone/releases/download"
# The folder in the image that contains the folder of a standalone Python, which uv names.
INSTALL_FOLDER = "/opt/python"


ARCHIVE_NAME = re.compile(
    r"cpython-(?P<version>[0-9.]+)\+(?P<build>[0-9]{8})-[a-z0-9_]+-unknown-linux-gnu-(?P<variant>freethreaded-)?"
    r"(?P<layout>install_only(?:_stripped)?)\.tar\.gz"
)


class PythonBuildRow(NamedTuple):
    """One build: the version (X.Y.Z, with `t` if it is free-threaded), its date (YYYYMMDD), platform and layout."""

    version: str
    build: str
    platform: str
    layout: str
    sha256: str


@cache
def load_python_builds() -> tuple[PythonBuildRow, ...]:
    """Return the table, newest version first."""
    text = files("envcompile.base_image").joinpath("data/python_builds.txt").read_text("utf-8")
    return tuple(PythonBuildRow(*line.split()) for line in text.splitlines() if not line.startswith("#"))


def find_standalone_python(
    release: str, platform: str, *, free_threaded: bool = False, locked: PythonInterpreter | None = None
) -> PythonInterpreter | Diagnostic:
    """Return the standalone Python of a release (X.Y or X.Y.Z) for a platform: the `locked` one, otherwise the newest.

    Returns a diagnostic if the release has no build for the platform.
    """
    if locked and locked.build and is_release_of(locked.version, release) and bool(locked.abi) == free_threaded:
        return locked
    builds = [
        row for row in load_python_builds() if row.platform == platform and row.version.endswith("t") == free_threaded
    ]
    for row in builds:
        if is_release_of(row.version.removesuffix("t"), release):
            return _make_interpreter(row)
    kind = "free-threaded standalone build" if free_threaded else "standalone build"
    message = f"there is no {kind} of Python {release} for `{platform}`"
    patches = [row.version for row in builds if is_release_of(row.version, minor_release(release))]
    known = patches or dict.fromkeys(_find_release(row) for row in builds)
    hint = f"set `python` to one of {', '.join(known)}, or install Python from conda"
    return Diagnostic("base-python", message, ("python",), hint)


def _find_release(row: PythonBuildRow) -> str:
    return minor_release(row.version) + ("t" if row.version.endswith("t") else "")


def check_standalone_python(python: PythonInterpreter, platform: str) -> Diagnostic | None:
    """Return a diagnostic if `find_standalone_python` cannot have returned this locked Python, or None.

    The build may be missing from a newer table. If it is in the table, it must have the same sha256.
    """
    build = python.build
    if build is None:
        return None
    found = ARCHIVE_NAME.fullmatch(build.file)
    row = found and PythonBuildRow(
        found["version"] + ("t" if found["variant"] else ""), found["build"], platform, found["layout"], build.sha256
    )
    other = row and next((each for each in load_python_builds() if each[:4] == row[:4] and each != row), None)
    made = _make_interpreter(row) if row and not other else None
    if made and made.build and replace(made, build=made.build._replace(size=build.size)) == python:
        return None
    message = f"the lock has Python {python.version} from `{build.url}`, which is not a known build with this sha256"
    return Diagnostic("stale", message, ("python",))


def format_file_name(row: PythonBuildRow) -> str:
    """Return the file name of the archive of a build."""
    version, free_threaded = row.version.removesuffix("t"), row.version.endswith("t")
    machine = PLATFORMS[row.platform].machine
    variant = "freethreaded-" if free_threaded else ""
    return f"cpython-{version}+{row.build}-{machine}-unknown-linux-gnu-{variant}{row.layout}.tar.gz"


def _make_interpreter(row: PythonBuildRow) -> PythonInterpreter:
    version, free_threaded = row.version.removesuffix("t"), row.version.endswith("t")
    file = format_file_name(row)
    # Release pages escape the plus sign.
    url = f"{RELEASE_URL}/{row.build}/{file.replace('+', '%2B')}"
    abi = f"cp3{version_numbers(version)[1]}t" if free_threaded else ""
    path = f"{INSTALL_FOLDER}/{format_install_key(version, row.platform, abi)}/bin/python3"
    return PythonInterpreter(version, path, "standalone", abi, PythonBuild(file, url, row.sha256))


def format_install_key(version: str, platform: str, abi: str) -> str:
    """Return the name by which `uv python install` knows a build; its folder has the same name."""
    variant = "+freethreaded" if abi else ""
    return f"cpython-{version}{variant}-linux-{PLATFORMS[platform].machine}-gnu"
