"""A stand-in for a release of python-build-standalone, and for the host that serves it.

The real archives are on a host that tests may not use. This one has the same layout (`install_only`): Debian's CPython
made relocatable, with its headers, its `python3-config`, and `/install` as the prefix that uv replaces.
"""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kit.built_channel import PLACEHOLDER, TIME, python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.built_channel import Package

# What python-build-standalone configures its builds with.
_PREFIX = b"/install"
_HEADERS = Path("/usr/include/python3.11")
_MULTIARCH = Path("/usr/include/x86_64-linux-gnu/python3.11")
_CONFIG = Path("/usr/bin/x86_64-linux-gnu-python3.11-config")


def make_archive(root: Path) -> tuple[str, bytes]:
    """Return the version of the Python in an unpacked root file system, and the archive made of it."""
    package = python(root)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content, mode in _list_files(package):
            member = _make_member(name, mode)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in sorted({**package.links, "bin/python3-config": _CONFIG.name}.items()):
            member = _make_member(name, 0o777)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return package.version, buffer.getvalue()


def _list_files(package: Package) -> Iterator[tuple[str, bytes, int]]:
    if not _CONFIG.exists():
        pytest.fail("Python's headers are needed to make a standalone Python: apt-get install libpython3.11-dev")
    for name, content in sorted(package.files.items()):
        mode = 0o755 if name in package.executable else 0o644
        yield name, _set_prefix(content) if "_sysconfigdata" in name else content, mode
    # Debian's own pyconfig.h selects that of the architecture.
    own = {path.relative_to(_HEADERS): path for path in _HEADERS.rglob("*.h")}
    for relative, path in sorted({**own, Path("pyconfig.h"): _MULTIARCH / "pyconfig.h"}.items()):
        yield f"include/python3.11/{relative}", path.read_bytes(), 0o644
    yield f"bin/{_CONFIG.name}", _CONFIG.read_bytes(), 0o755


def _set_prefix(content: bytes) -> bytes:
    """Return the build configuration with the prefix that uv replaces, instead of Debian's and of the placeholder."""
    content = re.sub(rb"(?<=['= ])/usr(?=/(?:lib|include|share|bin/?')|')", _PREFIX, content)
    assert b"'INCLUDEPY': '/install/include/python3.11'" in content
    return content.replace(PLACEHOLDER.encode(), _PREFIX)


def _make_member(name: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"python/{name}")
    member.mtime, member.mode = TIME, mode
    return member
