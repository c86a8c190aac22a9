"""Debian packages on the real engine, from a loopback archive that plays the snapshot service.

Its signed indexes and its packages are Debian's own; the base is Debian's own minimal system, under another name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from envcompile.lock.writer import format_lock
from tests.kit.debian_archive import debian_archive
from tests.kit.engine import ZSTD, docker
from tests.kit.hadolint import findings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.lock.model import Lock, PlatformLock
    from tests.kit.debian_archive import DebianArchive
    from tests.kit.engine import Engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.index,
    pytest.mark.usefixtures("engine"),
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="the archive is fetched by apt, and this is no Debian"),
]

QUERY = ("dpkg-query", "-W", "-f", "${binary:Package} ${Version} ${db:Status-Status}\\n")
IMAGE = 'base = { image = "BASE", os = "debian-12", glibc = "2.36" }'


@pytest.fixture(scope="module")
def archive() -> Iterator[DebianArchive]:
    with debian_archive() as found:
        yield found


# What the public image adds to Debian's minimal system (debuerreotype's `debuerreotype-minimizing-config`, in short).
AS_PUBLIC = r"""FROM BASE
COPY <<'EOF' /etc/apt/apt.conf.d/docker-clean
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
EOF
COPY <<'EOF' /etc/apt/apt.conf.d/docker-gzip-indexes
Acquire::GzipIndexes "true";
EOF
COPY <<'EOF' /etc/dpkg/dpkg.cfg.d/docker
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
EOF
COPY --chmod=755 <<'EOF' /usr/sbin/policy-rc.d
#!/bin/sh
exit 101
EOF
RUN rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
"""


@pytest.fixture(scope="module")
def as_public(engine: Engine) -> str:
    """The stand-in base with the settings of apt and dpkg that the public image has."""
    name = f"{os.environ['ENVCOMPILE_TEST_REGISTRY']}/debian:as-public"
    text = AS_PUBLIC.replace("BASE", os.environ["ENVCOMPILE_TEST_DEBIAN"])
    return f"{name}@{engine.build(text, name, '--push')}"


@dataclass
class Work:
    """A folder with a spec, and the archive as mirror in the settings and as secret of the build."""

    folder: Path
    archive: DebianArchive

    def envcompile(self, *arguments: str, code: int = 0) -> str:
        settings = self.folder / "config" / "envcompile"
        settings.mkdir(parents=True, exist_ok=True)
        text = f'[mirrors]\n"snapshot.debian.org" = "{self.archive.url}"\n'
        (settings / "config.toml").write_text(text, "utf-8")
        (self.folder / "mirrors").write_text(f"snapshot.debian.org {self.archive.url}\n", "utf-8")
        environment = {**os.environ, "XDG_CONFIG_HOME": str(settings.parent), "XDG_CACHE_HOME": str(self.archive.kept)}
        done = subprocess.run(
            [sys.executable, "-m", "envcompile", *arguments],
            cwd=self.folder,
            capture_output=True,
            check=False,
            encoding="utf-8",
            env=environment,
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    def lock(self, text: str) -> PlatformLock:
        (self.folder / "envcompile.toml").write_text(text, "utf-8")
        self.envcompile("lock", "-q")
        asked = len(self.archive.asked)
        self.envcompile("lock", "-q", "--check")
        assert len(self.archive.asked) == asked, "the same question is not asked twice"
        return self.locked().platforms[0]

    def locked(self) -> Lock:
        return parse_lock((self.folder / "envcompile.lock").read_text("utf-8"), "x")

    def dockerfile(self) -> str:
        self.envcompile("dockerfile", "-q", "-o", "Dockerfile")
        assert findings(self.folder / "Dockerfile") == ""
        return (self.folder / "Dockerfile").read_text("utf-8")

    def secret(self) -> tuple[str, str]:
        return "--secret", f"id=mirrors,src={self.folder}/mirrors"

    def fails(self) -> str:
        """What a build says that must not succeed."""
        options = ("--no-cache", "--network=host", "--progress=plain", *self.secret())
        said = docker("buildx", "build", *options, "-", text=self.dockerfile(), check=False)
        assert "ERROR: failed to solve" in said
        return said


@pytest.fixture
def work(tmp_path: Path, archive: DebianArchive) -> Iterator[Work]:
    yield Work(tmp_path, archive)
    archive.hidden.clear()
    archive.changed.clear()
    archive.suites.clear()


@pytest.fixture(scope="module")
def tini_lock(archive: DebianArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lock of tini, for the tests that change a word of it or of the archive."""
    folder = tmp_path_factory.mktemp("tini")
    Work(folder, archive).lock(spec('"tini"', os.environ["ENVCOMPILE_TEST_DEBIAN"]))
    return folder


@pytest.fixture
def tini(work: Work, tini_lock: Path) -> Work:
    for name in ("envcompile.toml", "envcompile.lock"):
        shutil.copy(tini_lock / name, work.folder)
    return work


def now() -> str:
    """The mirror's suites are of this moment at the latest."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def spec(packages: str, base: str, more: str = "", top: str = "") -> str:
    return f'name = "a"\n{top}\n[apt]\npackages = [{packages}]\nsnapshot = {now()}\n{more}\n[image]\n' + IMAGE.replace(
        "BASE", base
    )


def apt_and_pip_spec(engine: Engine) -> str:
    """Debian packages of both stages and pip packages, with an init, as root."""
    more = 'build = ["make"]\n[pip]\npackages = ["six"]'
    facts = f'os = "debian-12", glibc = "2.36", python = "{engine.python}", python-path = "/usr/bin/python3"'
    text = spec('"tini"', engine.base, more, 'python = "3.11"').replace('os = "debian-12", glibc = "2.36"', facts)
    return f'{text}\nuser = "0:0"\ninit = true\n[tools]\nuv = "{engine.uv}"\n'


def installed(said: str) -> dict[str, str]:
    rows = [line.split() for line in said.splitlines() if line.endswith(" installed")]
    return {name.partition(":")[0]: version for name, version, _ in rows}


def test_what_is_locked_is_what_is_installed(engine: Engine, as_public: str, work: Work) -> None:
    """Promise 6: two builds, one image; in it are the base's packages, the lock's, and nothing else."""
    base = as_public
    # What makes users, keys, byte code and caches when it is installed is there too.
    locked = work.lock(spec('"git", "tcc", "libc6-dev", "openssh-server", "dbus", "python3-yaml", "fontconfig"', base))
    names = {package.name for package in locked.apt}
    assert {"git", "tcc", "libc6-dev", "liberror-perl"} <= names
    assert "libc6" not in names
    assert all(set(package.depends) <= names for package in locked.apt)
    text = work.dockerfile()
    tag = "envcompile-test-apt"
    engine.forget()
    digest = engine.build(text, tag, *ZSTD, *work.secret())
    # The second build runs every step again. It downloads the index of the archive alone: the packages are in the
    # cache mount of the builder. The builds of `test_two_engines_give_one_digest` download them twice.
    docker("buildx", "prune", "--all", "--force", "--filter", "type=regular")
    asked = len(work.archive.asked)
    assert engine.build(text, tag, *ZSTD, *work.secret()) == digest
    assert [path for path in work.archive.asked[asked:] if path.endswith("InRelease")]
    assert not [path for path in work.archive.asked[asked:] if "/pool/" in path]
    before = installed(engine.run(base, *QUERY))
    after = installed(engine.run(tag, *QUERY))
    assert after == before | {package.name: package.version for package in locked.apt}
    # What apt and dpkg write at work is gone, and no name of this machine is anywhere.
    left = "find /var/log /var/cache /var/lib/apt/lists /tmp -type f; ls /etc/passwd- /etc/group- /var/lib/dpkg/*-old"
    found = [engine.run(each, "sh", "-c", f"({left}) 2>/dev/null || true").splitlines() for each in (tag, base)]
    assert set(found[0]) <= set(found[1])
    assert not any(path.endswith(("-", "-old")) for path in found[0])
    assert (
        engine.run(
            tag, "sh", "-c", "cat /etc/machine-id /var/lib/dbus/machine-id /etc/ssh/ssh_host_* 2>/dev/null; true"
        )
        == ""
    )
    assert "127.0.0.1" not in engine.run(
        tag, "sh", "-c", "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true"
    )
    assert (
        engine.run(
            tag, "sh", "-c", "echo 'int main(){return 42;}' > /tmp/x.c && cc -o /tmp/x /tmp/x.c; /tmp/x; echo $?"
        )
        == "42\n"
    )
    history = json.loads(docker("image", "inspect", tag))
    assert work.archive.url not in json.dumps(history)


def test_with_pip_and_a_build_stage(engine: Engine, work: Work) -> None:
    """The run stage gets its packages, the build stage others; the environment is there as without."""
    facts = f'os = "debian-12", glibc = "2.36", python = "{engine.python}", python-path = "/usr/bin/python3"'
    top = f'python = "{engine.python}"'
    text = spec('"tini"', engine.base, 'build = ["make"]\n[pip]\npackages = ["six"]', top)
    text = (
        text.replace('os = "debian-12", glibc = "2.36"', facts)
        + f'\nentrypoint = ["tini", "--"]\n[tools]\nuv = "{engine.uv}"\n'
    )
    locked = work.lock(text)
    assert [[each.name for each in packages] for packages in (locked.apt, locked.apt_build)] == [["tini"], ["make"]]
    tag = "envcompile-test-apt-pip"
    engine.build(work.dockerfile(), tag, *work.secret())
    assert engine.run(tag, "python", "-c", "import six; print(six.__name__)") == "six\n"
    assert "no make" in engine.run(tag, "sh", "-c", "command -v make || echo no make")


def test_through_a_mirror_or_a_proxy_the_image_is_the_same(engine: Engine, tini: Work) -> None:
    """The mirror is a setting of the user: no word of it is in the Dockerfile or in the image."""
    text = tini.dockerfile()
    base = os.environ["ENVCOMPILE_TEST_DEBIAN"].partition("@")[0]
    assert "127.0.0.1" not in text.replace(base, "")
    asked = len(tini.archive.asked)
    digests = [
        engine.build(text, "envcompile-test-apt-mirror", "--no-cache", *options)
        for options in (tini.secret(), ("--build-arg", f"http_proxy={tini.archive.url}"))
    ]
    assert digests[0] == digests[1]
    layers = docker("image", "inspect", "--format", "{{.RootFS.Layers}}", "envcompile-test-apt-mirror")
    # `build` knows the mirror from the settings.
    tini.envcompile("build", "-q", "-t", "envcompile-test-apt-mirror", "--", "--no-cache", "--network=host")
    assert docker("image", "inspect", "--format", "{{.RootFS.Layers}}", "envcompile-test-apt-mirror") == layers
    assert any(path.startswith("http://snapshot.debian.org/") for path in tini.archive.asked[asked:])


def test_a_package_that_is_gone_fails_the_build(engine: Engine, tini: Work) -> None:
    """With apt's own words, and ours."""
    engine.forget()
    path = next(each for each in packages_of(tini, "tini"))
    tini.archive.hidden.add(path)
    said = tini.fails()
    assert re.search(r"E: Failed to fetch http://127\.0\.0\.1\S+tini_\S+ +404", said), said[-3000:]
    assert "envcompile: a package is not in the archive any more" in said
    assert "run `envcompile lock -U`" in said


def test_a_package_with_other_bytes_fails_the_build(engine: Engine, tini: Work) -> None:
    engine.forget()
    tini.archive.changed.update(packages_of(tini, "tini"))
    said = tini.fails()
    assert "Hash Sum mismatch" in said
    assert "envcompile: a package is not in the archive any more, or is another file than was signed" in said


def test_an_index_that_names_another_version_fails_the_build(tini: Work) -> None:
    """As when a mirror has moved on: apt does not know the version that is locked."""
    edit(tini, version="0.19.0-0")
    said = tini.fails()
    assert "E: Version '0.19.0-0' for 'tini' was not found" in said
    assert "envcompile: the archive does not have what the lock names" in said


def test_another_hash_in_the_lock_fails_the_build(tini: Work) -> None:
    """The archive's signature is right, and the file is still not the one that was locked."""
    edit(tini, sha256=64 * "0")
    said = tini.fails()
    assert "computed checksum did NOT match" in said
    assert "envcompile: a package of the archive is another file than was locked" in said


def test_a_lock_that_forgets_a_dependency_fails_the_build(work: Work) -> None:
    """Promise 2: apt solves nothing. What it would add by itself is not installed."""
    work.lock(spec('"git"', os.environ["ENVCOMPILE_TEST_DEBIAN"]))
    lock = work.locked()
    fewer = tuple(each for each in lock.platforms[0].apt if each.name != "liberror-perl")
    write(work, replace(lock, platforms=(replace(lock.platforms[0], apt=fewer),)))
    said = work.fails()
    assert "> liberror-perl=" in said
    assert "envcompile: apt would not install what the lock names" in said


def test_an_index_that_nobody_has_signed_is_refused_twice(work: Work) -> None:
    """When the lock is made, where gpgv is; and in the build, by apt with the base's own key."""
    text = spec('"tini"', os.environ["ENVCOMPILE_TEST_DEBIAN"])
    work.lock(text)
    signed = work.archive.answer("/archive/debian/20260101T000000Z/dists/bookworm/InRelease")
    assert signed
    forged = signed.decode().replace("Label: Debian\n", "Label: Debiam\n")
    assert forged != signed.decode()
    work.archive.suites["bookworm"] = forged
    said = work.fails()
    assert re.search(r"GPG error: .* bookworm InRelease: .*BADSIG|At least one invalid signature", said), said[-3000:]
    assert "envcompile: the index of the archive cannot be had, or no key of the base has signed it" in said
    (work.folder / "envcompile.lock").unlink()
    said = work.envcompile("lock", code=3)
    assert "InRelease of `bookworm` is not signed with a key in the base image" in said


def packages_of(work: Work, name: str) -> set[str]:
    """Where the archive has the package, as the lock's index says; the build asks for it once it is right."""
    index = next(path for path in work.archive.lists.glob("*_dists_bookworm_main_binary-amd64_Packages"))
    paths = re.findall(rf"^Filename: (pool/\S+/{name}_\S+)$", index.read_text("utf-8"), re.MULTILINE)
    assert paths
    return set(paths)


def edit(work: Work, **fields: str) -> None:
    """The same lock with other fields in its one package, its digest right."""
    lock = work.locked()
    (package,) = lock.platforms[0].apt
    changed = replace(package, **fields)  # type: ignore[arg-type]
    write(work, replace(lock, platforms=(replace(lock.platforms[0], apt=(changed,)),)))


def write(work: Work, lock: Lock) -> None:
    (work.folder / "envcompile.lock").write_text(format_lock(lock), "utf-8")
