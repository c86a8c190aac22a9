"""Digests of images for one platform: refused while locking, if the registry tells. With a real registry client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.lock.model import BaseImage, Lock, PlatformLock, ToolImage
from envcompile.registry import create_registry
from envcompile.resolve.base_images import check_image_platforms
from envcompile.spec.decode import parse_spec
from tests.kit.registry import INDEX, MANIFEST, Server, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.registry import LazyRegistry, OfflineRegistry

NAMES = {"amd64": "linux-64", "arm64": "linux-aarch64"}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    web = start(server)
    yield server
    web.shutdown()
    web.server_close()


@pytest.fixture
def registry(tmp_path: Path) -> LazyRegistry | OfflineRegistry:
    # No docker configuration and no settings of the user.
    own = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    return create_registry({**os.environ, **own})


def make_single(server: Server, architecture: str) -> str:
    return f"{server.host}/team/python@{server.image([], architecture=architecture)}"


def make_index(server: Server, *architectures: str) -> str:
    """An image for several platforms, with an attestation beside each, as BuildKit pushes it."""
    digests = {each: server.image([], architecture=each) for each in architectures}
    rows = [
        {"mediaType": MANIFEST, "digest": digest, "size": 1, "platform": platform}
        for each, digest in digests.items()
        for platform in ({"os": "linux", "architecture": each}, {"os": "unknown", "architecture": "unknown"})
    ]
    return f"{server.host}/team/python@{server.document('team/python', 'index', INDEX, {'manifests': rows})}"


def write_spec(base: str, tools: str = "", platforms: str = '"linux-64", "linux-aarch64"') -> TomlSource:
    return TomlSource(
        "envcompile.toml",
        f'name = "x"\npython = "3.11"\nplatforms = [{platforms}]\n[pip]\npackages = ["idna"]\n[image]\n{base}\n{tools}',
    )


def check(source: TomlSource, registry: LazyRegistry | OfflineRegistry, earlier: Lock | None = None) -> None:
    check_image_platforms(source, parse_spec(source), earlier, registry)


def make_lock(image: str, *platforms: str) -> Lock:
    base = BaseImage(image, "debian-12", "2.36")
    tools = (ToolImage("uv", image),)
    return Lock("", "", tuple(PlatformLock(name, None, base, base, tools, ()) for name in platforms))


@pytest.mark.parametrize("architecture", sorted(NAMES))
def test_a_base_for_one_platform_is_refused_for_the_other(
    server: Server, registry: LazyRegistry, architecture: str
) -> None:
    image = make_single(server, architecture)
    other = next(name for key, name in NAMES.items() if key != architecture)
    with pytest.raises(DiagnosticsError) as refused:
        check(write_spec(f'base = "{image}"'), registry)
    (found,) = refused.value.diagnostics
    assert (found.rule, found.path) == ("image-platform", ("image", "base"))
    assert f"`linux/{architecture}`" in found.message
    assert f"`{other}`" in found.message
    assert NAMES[architecture] not in found.message
    # Alone, its own platform is fine, and the other one is not.
    check(write_spec(f'base = "{image}"', platforms=f'"{NAMES[architecture]}"'), registry)
    with pytest.raises(DiagnosticsError):
        check(write_spec(f'base = "{image}"', platforms=f'"{other}"'), registry)


def test_the_caret_is_below_the_value_in_a_table_and_in_tools(server: Server, registry: LazyRegistry) -> None:
    image = make_single(server, "amd64")
    base = f'base = {{ image = "{image}", os = "debian-12", glibc = "2.36", python = "3.11.2", python-path = "/x" }}'
    with pytest.raises(DiagnosticsError) as refused:
        check(write_spec(base, f'[tools]\nuv = "{image}"\npython = "{image}"\n'), registry)
    # No conda packages, so the Python of the tools is not needed.
    assert [found.path for found in refused.value.diagnostics] == [("image", "base", "image"), ("tools", "uv")]


def test_an_index_of_all_platforms_is_accepted(server: Server, registry: LazyRegistry) -> None:
    check(write_spec(f'base = "{make_index(server, "amd64", "arm64")}"'), registry)
    with pytest.raises(DiagnosticsError) as refused:
        check(write_spec(f'base = "{make_index(server, "amd64")}"'), registry)
    assert "unknown" not in refused.value.diagnostics[0].message


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_a_registry_that_does_not_tell_is_passed_over(server: Server, registry: LazyRegistry, status: int) -> None:
    image = make_single(server, "amd64")
    server.statuses = [status]
    check(write_spec(f'base = "{image}"'), registry)
    assert len(server.asked("/manifests/")) == 1, "no second attempt"


def test_no_registry_is_read_offline_and_for_tags(server: Server, registry: LazyRegistry) -> None:
    image = make_single(server, "amd64")
    check(write_spec(f'base = "{image}"'), create_registry({}, offline=True))
    # A tag is resolved for each platform, and its registry must answer.
    check(write_spec(f'base = "{server.host}/team/python:1"'), registry)
    assert server.seen == []


def test_what_is_locked_is_not_looked_up_again(server: Server, registry: LazyRegistry) -> None:
    image = make_index(server, "amd64", "arm64")
    source = write_spec(f'base = "{image}"', f'[tools]\nuv = "{image}"\n')
    check(source, registry, make_lock(image, "linux-64", "linux-aarch64"))
    assert server.seen == []
    check(source, registry, make_lock(image, "linux-64"))
    assert server.seen
    server.seen.clear()
    check(source, registry, make_lock(make_single(server, "amd64"), "linux-64", "linux-aarch64"))
    assert server.seen
