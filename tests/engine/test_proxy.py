"""Every kind of step behind a proxy that has a certificate of its own, for hosts that only the proxy can reach."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from envcompile.base_image.python_builds import RELEASE_URL
from envcompile.lock.reader import parse_lock
from envcompile.lock.writer import format_lock
from tests.cli.test_lock_several_indexes import envcompile
from tests.engine.test_conda import assert_contains
from tests.engine.test_conda import spec as conda_spec
from tests.engine.test_sdists import LOOK, SDIST
from tests.engine.test_standalone_python import make_stand_in
from tests.engine.test_standalone_python import spec as standalone_spec
from tests.kit.built_channel import serve, sha256, unpack
from tests.kit.debian_archive import debian_archive
from tests.kit.engine import CA_BUNDLE, docker
from tests.kit.index import Index, served
from tests.kit.standalone_python import make_archive
from tests.kit.tls_proxy import tls_proxy

if TYPE_CHECKING:
    from tests.kit.built_channel import Channel
    from tests.kit.engine import Engine
    from tests.kit.tls_proxy import TlsProxy

pytestmark = [pytest.mark.engine, pytest.mark.index]

TAG = "envcompile-test-behind-a-proxy"


class Site:
    """A network whose only way out is the proxy: a project in it, its settings, and its builds."""

    def __init__(self, proxy: TlsProxy, folder: Path) -> None:
        self.folder, self.proxy = folder, proxy
        folder.mkdir()
        # What this machine trusts is needed too, for hosts that the proxy passes on.
        self.authorities = folder.with_suffix(".pem")
        files = (proxy.authority, Path(CA_BUNDLE))
        self.authorities.write_text("".join(file.read_text("utf-8") for file in files), "utf-8")

    def envcompile(self, *arguments: str) -> str:
        """Run a command with the proxy in its environment."""
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        variables = {**dict.fromkeys(names, self.proxy.url), "SSL_CERT_FILE": str(self.authorities)}
        done = envcompile(self.folder, *arguments, **{**os.environ, **variables})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def build(self, dockerfile: str) -> str:
        """Build with BuildKit's own build arguments for a proxy, and the authorities as a secret."""
        docker("buildx", "prune", "--all", "--force")
        proxies = (f"{name}={self.proxy.url}" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"))
        arguments = [word for each in proxies for word in ("--build-arg", each)]
        secret = ("--secret", f"id=ca,src={self.authorities}")
        return docker("buildx", "build", "--network=host", *arguments, *secret, "--tag", TAG, "-", text=dockerfile)


def test_conda_and_pip_packages(engine: Engine, conda_channel: Channel, tmp_path: Path) -> None:
    spec = conda_spec(engine, "https://channel.invalid", '"everything"', '[pip]\npackages = ["six"]')
    with tls_proxy(tmp_path, {"channel.invalid": conda_channel.url}) as proxy:
        site = Site(proxy, tmp_path / "project")
        (site.folder / "envcompile.toml").write_text(spec, "utf-8")
        site.envcompile("lock")
        text = site.envcompile("dockerfile")
        proxy.asked.clear()
        site.build(text)
    # The other host is that of the package index.
    assert "channel.invalid" in proxy.asked
    assert len(proxy.asked) > 1
    lock = parse_lock((site.folder / "envcompile.lock").read_text("utf-8"), "x")
    assert_contains(engine, TAG, lock.platforms[0])
    assert proxy.url not in text + docker("history", "--no-trunc", TAG) + docker("image", "inspect", TAG)
    docker("image", "rm", "--force", TAG)


def test_debian_packages_a_standalone_python_and_an_sdist(engine: Engine, tmp_path: Path) -> None:
    version, archive = make_archive(unpack(engine.base, tmp_path / "root"))
    with debian_archive() as packages, served(Index((SDIST,))) as index, serve(tmp_path / "releases") as releases:
        hosts = {
            "index.invalid": index.url().removesuffix("/simple"),
            "snapshot.debian.org": packages.url,
            urlsplit(RELEASE_URL).netloc: releases,
        }
        with tls_proxy(tmp_path, hosts) as proxy:
            site = Site(proxy, tmp_path / "project")
            # Without TLS, because the stand-in for a standalone Python, which downloads the sdist, has no `ssl`.
            spec = standalone_spec(engine, index).replace(index.url(), "http://index.invalid/simple")
            (site.folder / "envcompile.toml").write_text(spec, "utf-8")
            site.envcompile("lock")
            file = site.folder / "envcompile.lock"
            lock = parse_lock(file.read_text("utf-8"), "x")
            (platform,) = lock.platforms
            assert platform.python
            python = make_stand_in(platform.python, version, sha256(archive))
            assert python.build
            path = tmp_path / "releases" / unquote(urlsplit(python.build.url).path).lstrip("/")
            path.parent.mkdir(parents=True)
            path.write_bytes(archive)
            file.write_text(format_lock(replace(lock, platforms=(replace(platform, python=python),))), "utf-8")
            text = site.envcompile("dockerfile")
            proxy.asked.clear()
            site.build(text)
    assert set(hosts) < proxy.asked
    assert engine.run(TAG, "python", "-c", LOOK).strip() == "cext.c yes ['cext', 'iniconfig', 'six']"
    docker("image", "rm", "--force", TAG)
