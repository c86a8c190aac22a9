"""The closure beside the real apt's, over the real archive of this machine's mirror, for both architectures."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from envcompile.resolve.apt.closure import PackageIndex, compute_closure
from tests.kit.real_apt import RealApt

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.index,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="compares with the real apt, and this is no Debian"),
]

ASKED = ("git", "libgl1", "g++", "ffmpeg", "tini", "curl", "openjdk-17-jre-headless", "libopenmpi-dev")
MORE = (
    *("gcc", "build-essential", "cmake", "libsm6", "openssh-client", "python3-dev"),
    *("r-base-core", "qtbase5-dev", "nginx"),
)


class World:
    def __init__(self, folder: Path, architecture: str) -> None:
        self.apt = RealApt(folder, architecture)
        self.apt.update()
        self.indexes = [PackageIndex(text) for text in self.apt.indexes()]
        self.minimal = self.apt.minimal()

    def ours(self, status: Path, *names: str) -> dict[str, str]:
        closed = compute_closure(names, self.indexes, PackageIndex(status.read_text("utf-8")))
        chosen = {each.package.name: each for each in closed}
        for each in closed:
            assert set(each.depends) <= set(chosen)
        return {name: each.package.version for name, each in chosen.items()}


@pytest.fixture(scope="module", params=["amd64", pytest.param("arm64", marks=pytest.mark.long)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize("names", [ASKED, pytest.param(MORE, marks=pytest.mark.long)], ids=["some", "more"])
def test_the_same_packages_as_apt(world: World, names: tuple[str, ...]) -> None:
    """One by one, and all that can be together at once, on a base with the required packages alone."""
    for name in names:
        ours = world.ours(world.minimal, name)
        assert ours == world.apt.install(name, status=world.minimal), name
        assert name in ours
    assert world.ours(world.minimal, *names) == world.apt.install(*names, status=world.minimal)


@pytest.mark.parametrize("source", ["glibc", "gcc-12", "perl"])
def test_an_older_base_is_upgraded_as_far_as_needed_and_no_further(world: World, source: str) -> None:
    """Promise 8: nothing else moves unless it must. Every binary of one source is one revision older in the base."""
    text = world.minimal.read_text("utf-8")
    paragraphs = [
        aged(paragraph) if re.search(rf"^(?:Source|Package): {source}\b", paragraph, re.MULTILINE) else paragraph
        for paragraph in text.split("\n\n")
    ]
    status = world.minimal.with_name(f"older-{source}")
    status.write_text("\n\n".join(paragraphs), "utf-8")
    for name in ("git", "gcc", "tini"):
        assert world.ours(status, name) == world.apt.install(name, status=status), name


def aged(paragraph: str) -> str:
    """The same with an older version of itself, which its siblings need too where they need this very version."""
    version = re.search(r"^Version: (\S+)$", paragraph, re.MULTILINE)
    return paragraph.replace(version[1], f"{version[1]}~older") if version else paragraph
