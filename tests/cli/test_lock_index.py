"""`envcompile lock` against the real index, through uv."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from envcompile.spec.pip import parse_dependency_name
from tests.kit.project import unanswered

if TYPE_CHECKING:
    from pathlib import Path

    from envcompile.lock.model import Lock

pytestmark = pytest.mark.index

BASE = "python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254"
SPEC = f"""
name = "x"
python = "3.12.12"
platforms = ["linux-64", "linux-aarch64"]
[pip]
packages = PACKAGES
[image]
base = "{BASE}"
"""


def lock(folder: Path, packages: list[str], *options: str, code: int = 0, more: str = "") -> tuple[Lock, str]:
    text = SPEC.replace("PACKAGES", str(packages)).replace("[pip]", f"{more}\n[pip]")
    (folder / "envcompile.toml").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", "lock", *options], cwd=folder, capture_output=True, check=False, text=True
    )
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    path = folder / "envcompile.lock"
    assert code or unanswered(folder) == []
    return parse_lock(path.read_text("utf-8"), "x") if path.exists() else None, done.stderr  # type: ignore[return-value]


def versions(locked: Lock, platform: str = "linux-64") -> dict[str, str]:
    found = locked.find_platform(platform)
    assert found
    return {package.name: package.version for package in found.pip}


def test_other_files_for_other_platforms_and_each_exists(tmp_path: Path) -> None:
    """The lock names another file per platform; pip finds each one with its hash, and its size is the one locked."""
    locked, _ = lock(tmp_path, ["markupsafe", "pyyaml", "six"])
    files: dict[str, set[str]] = {}
    for platform, machine in (("linux-64", "x86_64"), ("linux-aarch64", "aarch64")):
        found = locked.find_platform(platform)
        assert found
        files[platform] = {package.file for package in found.pip}
        rows = "".join(f"{each.name}=={each.version} --hash=sha256:{each.sha256}\n" for each in found.pip)
        (tmp_path / "rows.txt").write_text(rows, "utf-8")
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(36, 16, -1)] + [f"manylinux2014_{machine}"]
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"),
                *("--require-hashes", "--no-cache-dir"),
                *(
                    "--python-version",
                    "3.12.12",
                    "--implementation",
                    "cp",
                    "--abi",
                    "cp312",
                    "--abi",
                    "abi3",
                    "--abi",
                    "none",
                ),
                *(word for tag in tags for word in ("--platform", tag)),
                *("-d", str(tmp_path / platform), "-r", str(tmp_path / "rows.txt")),
            ],
            check=True,
        )
        for package in found.pip:
            data = (tmp_path / platform / package.file).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (package.size, package.sha256)
    assert len(files["linux-64"] & files["linux-aarch64"]) == 1  # six is the same everywhere


def test_a_second_lock_writes_nothing(tmp_path: Path) -> None:
    lock(tmp_path, ["requests"])
    before = (tmp_path / "envcompile.lock").stat()
    _, said = lock(tmp_path, ["requests"])
    assert "`envcompile.lock` is current" in said
    assert (tmp_path / "envcompile.lock").stat() == before
    assert lock(tmp_path, ["requests"], "--check")[1].startswith("`envcompile.lock` is current")


def test_pins_stay_until_they_are_upgraded(tmp_path: Path) -> None:
    """Promise 8: change one package, nothing else moves unless it must, and the tool says what moved."""
    old, _ = lock(tmp_path, ["requests ==2.31.0", "idna ==3.4", "urllib3 ==2.0.7"])
    assert versions(old)["idna"] == "3.4"
    kept, said = lock(tmp_path, ["requests", "six"])
    assert {name: versions(kept)[name] for name in versions(old)} == versions(old)
    assert [line for line in said.splitlines() if line.startswith("  ")] == [f"  + six {versions(kept)['six']}"]
    one, said = lock(tmp_path, ["requests", "six"], "-P", "IDNA")
    moved = {name for name, version in versions(one).items() if versions(kept)[name] != version}
    assert moved == {"idna"}
    assert f"  ~ idna 3.4 -> {versions(one)['idna']}" in said
    assert lock(tmp_path, ["requests", "six"], "-U", "--check", code=1)[1].count("  ~ ") >= 2
    newest, _ = lock(tmp_path, ["requests", "six"], "-U")
    assert versions(newest)["requests"] != "2.31.0"


def test_extras_markers_and_dependencies(tmp_path: Path) -> None:
    locked, _ = lock(
        tmp_path,
        ["requests[socks]", "six ; platform_machine == 'aarch64'", "colorama ; python_full_version < '3.12.4'"],
    )
    assert "pysocks" in versions(locked)
    assert "colorama" not in versions(locked)  # the full patch level, not 3.12.0
    assert ("six" in versions(locked), "six" in versions(locked, "linux-aarch64")) == (False, True)
    found = locked.find_platform("linux-64")
    assert found
    depends = {package.name: tuple(map(parse_dependency_name, package.depends)) for package in found.pip}
    assert set(depends["requests"]) >= {"certifi", "charset-normalizer", "idna", "urllib3", "pysocks"}
    assert depends["idna"] == ()


def test_exclude_newer_is_a_wall(tmp_path: Path) -> None:
    locked, _ = lock(tmp_path, ["idna"], more="exclude-newer = 2023-01-01T00:00:00+01:00")
    assert versions(locked) == {"idna": "3.4"}


def test_unsolvable_shows_the_reason_and_the_line(tmp_path: Path) -> None:
    lock(tmp_path, ["six"])
    whole = (tmp_path / "envcompile.lock").read_bytes()
    _, said = lock(tmp_path, ["six", "idna >=99", "requests"], code=1)
    assert "error[unsolvable]: no release of `idna` satisfies `idna >=99`" in said
    assert " --> envcompile.toml:7:20\n" in said
    assert "^^^^^^^^^^" in said
    assert "the newest release is 3." in said.partition("hint:")[2]
    assert (tmp_path / "envcompile.lock").read_bytes() == whole


def test_a_broken_lock_is_mended_and_its_pins_are_kept(tmp_path: Path) -> None:
    """Two branches that each added a package: whatever git leaves, `lock` mends it and keeps the pins of both."""
    lock(tmp_path, ["idna ==3.4", "six"])
    path = tmp_path / "envcompile.lock"
    text = path.read_text("utf-8")
    path.write_text(text.replace("layout", "<<<<<<< ours\nlayout", 1) + "=======\nx\n>>>>>>> theirs\n", "utf-8")
    locked, said = lock(tmp_path, ["idna", "six"])
    assert "contains merge conflict markers in line" in said
    assert "4 pins can still be read" in said
    assert versions(locked)["idna"] == "3.4"


def test_eight_at_once_leave_one_whole_lock(tmp_path: Path) -> None:
    text = SPEC.replace("PACKAGES", '["requests"]')
    (tmp_path / "envcompile.toml").write_text(text, "utf-8")
    running = [
        subprocess.Popen([sys.executable, "-m", "envcompile", "lock", "-q"], cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    assert [(process.communicate()[1], process.returncode) for process in running] == [(b"", 0)] * 8
    assert "requests" in versions(parse_lock((tmp_path / "envcompile.lock").read_text("utf-8"), "x"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["envcompile.lock", "envcompile.toml"]


def test_no_network_is_said(tmp_path: Path) -> None:
    text = SPEC.replace("PACKAGES", '["requests"]')
    (tmp_path / "envcompile.toml").write_text(text, "utf-8")
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-m", "envcompile", "lock"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
        env={"PATH": "/usr/bin:/bin", "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_HTTP_RETRIES": "0"},
    )
    assert done.returncode == 3, done.stderr
    assert "the package index did not answer" in done.stderr
    assert not (tmp_path / "envcompile.lock").exists()
