"""`envcompile lock` with `[apt]`, from a made-up archive with a real signature, on loopback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from tests.kit.archive import made_archive, paragraph, status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.lock.model import Lock
    from tests.kit.archive import MadeArchive

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg signs the archive, and is not here")

SNAPSHOT = "snapshot = 2026-02-01T00:00:00Z"


@dataclass
class Work:
    folder: Path
    archive: MadeArchive
    image: str

    def lock(self, packages: str, *options: str, more: str = SNAPSHOT, top: str = "", code: int = 0) -> str:
        """Standard error of `envcompile lock`."""
        base = f'base = {{ image = "{self.image}", os = "debian-12", glibc = "2.36" }}'
        text = f'name = "a"\n{top}\n[apt]\npackages = [{packages}]\n{more}\n[image]\n{base}\n'
        (self.folder / "envcompile.toml").write_text(text, "utf-8")
        settings = self.folder / "config" / "envcompile"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "config.toml").write_text(self.archive.settings(), "utf-8")
        environment = {
            **os.environ,
            "XDG_CONFIG_HOME": str(settings.parent),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        argv = [sys.executable, "-m", "envcompile", "lock", *options]
        done = subprocess.run(
            argv,
            cwd=self.folder,
            capture_output=True,
            check=False,
            encoding="utf-8",
            env={**environment, **self.environment},
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def locked(self) -> Lock:
        return parse_lock((self.folder / "envcompile.lock").read_text("utf-8"), "x")

    def names(self) -> dict[str, str]:
        return {each.name: each.version for each in self.locked().platforms[0].apt}


@pytest.fixture
def archive() -> Iterator[MadeArchive]:
    with made_archive() as found:
        found.suites["bookworm"] = [
            paragraph("git", Depends="libc6 (>= 1.0), libcurl | curl, mail", Recommends="less", Installed_Size="47"),
            paragraph("libcurl", Pre_Depends="zlib"),
            *map(paragraph, ("curl", "less", "zlib", "libc6", "libc6-dev")),
            paragraph("postfix", Provides="mail"),
            paragraph("exim", Provides="mail", Priority="standard"),
        ]
        yield found


@pytest.fixture
def work(tmp_path: Path, archive: MadeArchive) -> Work:
    return Work(tmp_path, archive, archive.image(status("libc6", "dpkg")))


def test_what_the_base_has_not_is_locked(work: Work) -> None:
    """Promise 1: version, architecture, hash and closure of all that is added, at one moment."""
    work.lock('"git"')
    lock = work.locked()
    assert lock.snapshot == "2026-02-01T00:00:00Z"
    assert work.names() == dict.fromkeys(("exim", "git", "libcurl", "zlib"), "1.0")
    git = lock.platforms[0].apt[1]
    assert (git.architecture, git.size, git.depends) == ("amd64", 1000, ("exim", "libcurl"))
    assert [each.unpacked for each in lock.platforms[0].apt] == [None, 47 * 1024, None, None]
    assert re.search(f"^SHA256: {git.sha256}$", work.archive.suites["bookworm"][0], re.MULTILINE)
    assert {moment for moment, _ in work.archive.asked} == {"20260201T000000Z"}
    asked = len(work.archive.asked)
    work.lock('"git"', "--check")
    assert len(work.archive.asked) == asked


def test_security_and_updates_count(work: Work) -> None:
    work.archive.suites["bookworm-security"] = [
        paragraph("git", "1.0+deb12u1", Depends="libcurl (>= 1.0), libc6 (>= 1.1)")
    ]
    work.archive.suites["bookworm-updates"] = [paragraph("libc6", "1.1~rc1"), paragraph("libc6", "1.1")]
    work.lock('"git"')
    assert work.names() == {"git": "1.0+deb12u1", "libc6": "1.1", "libcurl": "1.0", "zlib": "1.0"}


def test_all_mistakes_at_once_with_near_names(work: Work) -> None:
    """Promise 11."""
    said = work.lock('"gti", "git", "libcurl4", "mail"', code=2)
    assert "error[apt-package]: there is no package `gti` in debian-12 at 2026-02-01T00:00:00Z" in said
    assert "similar names: `git`" in said
    assert "similar names: `libcurl`" in said
    assert "`mail` is a virtual package" in said
    assert "request one of its providers: `exim`, `postfix`" in said
    assert said.endswith("3 mistakes in `envcompile.toml`\n")
    assert not (work.folder / "envcompile.lock").exists()


@pytest.mark.parametrize(
    ("more", "top", "place"),
    [(SNAPSHOT, "", "envcompile.toml:5:12"), ("", "exclude-newer = 2026-02-01T00:00:00Z", "envcompile.toml:2:17")],
)
def test_a_snapshot_older_than_the_base(work: Work, more: str, top: str, place: str) -> None:
    work.image = work.archive.image(status("libc6"), created="2026-02-01T02:00:00.25+01:00")
    said = work.lock('"git"', more=more, top=top, code=2)
    assert (
        "the snapshot 2026-02-01T00:00:00Z is older than the base image, which was built at 2026-02-01T01:00:01Z"
        in said
    )
    assert f"--> {place}\n" in said
    assert "write `snapshot = 2026-02-01T01:00:01Z` or later in `[apt]`" in said
    work.lock('"git"', more="snapshot = 2026-02-01T01:00:01Z", top=top)
    assert work.locked().snapshot == "2026-02-01T01:00:01Z"


def test_a_snapshot_that_is_not_given_is_fixed_and_kept(work: Work) -> None:
    """It moves with `-U` and when the base is newer; `exclude-newer` gives it too."""
    work.lock('"git"', more="")
    first = work.locked().snapshot
    assert first
    assert re.fullmatch(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}T00:00:00Z", first)
    path = work.folder / "envcompile.lock"
    work.lock('"git"', more="", top="exclude-newer = 2026-03-01T12:00:00Z")
    assert work.locked().snapshot == "2026-03-01T12:00:00Z"
    work.lock('"git", "less"', more="")
    assert work.locked().snapshot == "2026-03-01T12:00:00Z"
    assert "less" in work.names()
    path.write_text(path.read_text("utf-8").replace("[platforms.", "<<<<<<< HEAD\n[platforms."), "utf-8")
    assert "merge conflict" in work.lock('"git"', more="")
    assert work.locked().snapshot == "2026-03-01T12:00:00Z"
    work.lock('"git"', "-U", more="")
    assert work.locked().snapshot == first
    path.unlink()
    work.lock('"git"', more="snapshot = 2026-01-05T00:00:00Z")
    work.image = work.archive.image(status("libc6", "zlib"), created="2026-01-07T00:00:00Z")
    work.lock('"git"', more="")
    assert work.locked().snapshot == first
    assert "zlib" not in work.names()


def test_the_future_is_no_snapshot(work: Work) -> None:
    said = work.lock('"git"', more="snapshot = 2999-01-01T00:00:00Z", code=2)
    assert "error[snapshot]: 2999-01-01T00:00:00Z is in the future" in said
    assert not work.archive.asked


def test_a_base_that_is_newer_than_the_archive_allows(work: Work) -> None:
    """Its creation may say nothing; its packages do."""
    work.archive.suites["bookworm"].append(paragraph("gcc", Depends="libc6 (= 1.0)"))
    work.image = work.archive.image(status("libc6", version="1.1"), created="1970-01-01T00:00:00Z")
    said = work.lock('"gcc"', code=1)
    assert "error[unsolvable]: no set of packages satisfies the requirements on `linux-64`" in said
    assert "`gcc 1.0` needs `libc6 (= 1.0)`, but the base image has `libc6 1.1`" in said


def test_packages_that_exclude_each_other(work: Work) -> None:
    work.archive.suites["bookworm"] += [paragraph("one", Conflicts="other"), paragraph("two", Provides="other")]
    said = work.lock('"one", "two"', code=1)
    assert "`one 1.0` conflicts with `two 1.0`" in said
    assert said.count("error[unsolvable]") == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rewrite": ("Origin: Made", "Origin: Fake")}, "is not signed with a key in the base image"),
        ({"rewrite": ("-----BEGIN PGP SIGNED", "-----BEGIN PGP")}, "is not a signed file"),
        (
            {"date": "Sun, 01 Mar 2026 00:00:00 UTC"},
            "has the date 2026-03-01T00:00:00Z, which is after the snapshot 2026-02-01T00:00:00Z",
        ),
        ({"other_bytes": True}, "does not have the hash in InRelease"),
        ({"gone": True}, "(HTTP 404)"),
    ],
)
def test_an_archive_that_is_not_what_it_should_be(work: Work, change: dict[str, object], sentence: str) -> None:
    for name, value in change.items():
        setattr(work.archive, name, value)
    assert sentence in work.lock('"git"', code=3)


@pytest.mark.parametrize("field", [("SHA256: ", "SHA256: x"), ("Size: ", "Size: x"), ("Version: ", "Version: $(id)")])
def test_an_index_with_what_no_lock_can_hold(work: Work, field: tuple[str, str]) -> None:
    """Promise 10: what an archive says is looked at before it is written down."""
    work.archive.suites["bookworm"] = [paragraph("git").replace(*field)]
    said = work.lock('"git"', code=3)
    assert "the index of the archive has an invalid or incomplete entry for `git`" in said
    assert not (work.folder / "envcompile.lock").exists()


@pytest.mark.parametrize("what", ["no keyring", "no status file"])
def test_a_base_without_apt(work: Work, what: str) -> None:
    work.image = work.archive.image(status("libc6"), keyring=b"") if what == "no keyring" else work.archive.image("")
    said = work.lock('"git"', code=2)
    assert "error[apt-base]" in said
    assert what in said


def test_a_base_that_nobody_can_look_into(work: Work) -> None:
    work.image = f"127.0.0.1:1/base@sha256:{64 * 'a'}"
    said = work.lock('"git"', code=3)
    assert "error[apt-base]: cannot read the installed packages of `127.0.0.1:1/base@sha256:aaa" in said
    assert "`: `127.0.0.1:1` refused the connection" in said


def test_without_gpgv_the_user_is_told(work: Work, tmp_path: Path) -> None:
    """Nothing of the lock depends on it: the build's apt checks the same signature with the same key."""
    work.lock('"git"')
    whole = (work.folder / "envcompile.lock").read_bytes()
    (work.folder / "envcompile.lock").unlink()
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    said = WithoutPath(work.folder, work.archive, work.image).lock('"git"')
    assert said.count("cannot check the signature of the archive without `gpgv`") == 1
    assert (work.folder / "envcompile.lock").read_bytes() == whole


class WithoutPath(Work):
    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.folder / "bin")}
