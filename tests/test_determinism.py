"""Promise 4: same spec and lock, same bytes. On any machine, any day, any locale, any hash seed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import envcompile
from envcompile.project.generated_files import EXPORTERS
from tests.kit.project import FIXTURES

CASE = FIXTURES / "compile" / "everything"
EXPECTED = (CASE / "expected" / "Dockerfile").read_bytes()


def emitted(folder: Path, *command: str, **environment: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", *(command or ("dockerfile",))],
        cwd=folder,
        env={**{key: each for key, each in os.environ.items() if not key.startswith("LC_")}, **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("seed", ["0", "1", "4242", "random"])
def test_hash_seeds(seed: str) -> None:
    assert emitted(CASE, PYTHONHASHSEED=seed) == EXPECTED


@pytest.mark.parametrize("seed", ["0", "4242", "random"])
@pytest.mark.parametrize("format_", EXPORTERS)
def test_exports(format_: str, seed: str, tmp_path: Path) -> None:
    """In every hash seed, locale and time zone, and with CRLF line ends in what they are made of."""
    case = FIXTURES / "compile" / "conda"
    for file in ("envcompile.toml", "envcompile.lock"):
        (tmp_path / file).write_bytes((case / file).read_bytes().replace(b"\n", b"\r\n"))
    row = EXPORTERS[format_]
    files = ("--files", "https://files.example.invalid/packages") if row.needs_file_urls else ()
    platform = () if row.supports_several_platforms else ("--platform", "linux-64")
    expected = case / "expected" / row.platform_file_name("".join(platform[1:]))
    odd = {"PYTHONHASHSEED": seed, "TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.ISO-8859-9", "PYTHONUTF8": "0"}
    assert emitted(tmp_path, "export", "--format", format_, *files, *platform, **odd) == expected.read_bytes()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
def test_time_zones(zone: str) -> None:
    assert emitted(CASE, TZ=zone) == EXPECTED


@pytest.mark.parametrize("locale", ["C", "tr_TR.UTF-8", "tr_TR.ISO-8859-9", "en_US.UTF-8"])
def test_locales(locale: str) -> None:
    """The Turkish i has broken many a program that changes case; a C locale many that print."""
    for utf8 in ("0", "1"):
        assert emitted(CASE, LC_ALL=locale, LANG=locale, PYTHONUTF8=utf8) == EXPECTED


@pytest.mark.parametrize("files", [["envcompile.toml"], ["envcompile.lock"], ["envcompile.toml", "envcompile.lock"]])
def test_windows_line_ends(files: list[str], tmp_path: Path) -> None:
    """A checkout with CRLF line ends is the same spec and the same lock."""
    shutil.copytree(CASE, tmp_path / "case")
    for name in files:
        path = tmp_path / "case" / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert emitted(tmp_path / "case") == EXPECTED


def test_install_locations(tmp_path: Path) -> None:
    """Another place of the program, another place of the files."""
    package = Path(envcompile.__file__).parent
    shutil.copytree(package, tmp_path / "elsewhere ü" / "envcompile")
    shutil.copytree(CASE, tmp_path / "a b" / "case")
    assert emitted(tmp_path / "a b" / "case", PYTHONPATH=str(tmp_path / "elsewhere ü")) == EXPECTED


def test_sha256sum_starts_with_the_tag() -> None:
    """Promise 5: the tag is the hash of the Dockerfile."""
    tag = (CASE / "expected" / "tag").read_text("utf-8").strip().rpartition(":")[2]
    assert hashlib.sha256(EXPECTED).hexdigest().startswith(tag)
    assert len(tag) == 32
