"""The lists of the Dockerfile: every archive with its hash."""

from __future__ import annotations

import dataclasses

import pytest

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.model import Channel, CondaPackage, Lock
from envcompile.plan.conda import create_conda_files, find_conda_layers
from envcompile.spec.model import PipSpec
from tests.kit.project import parsed


def package(name: str, *depends: str, channel: str = "c") -> CondaPackage:
    return CondaPackage(name, "1", "0", channel, "noarch", f"{name}-1-0.conda", "0" * 64, depends=depends)


def lock(*packages: CondaPackage, channel: str = "https://example.invalid/c") -> Lock:
    found = parsed("conda")[1]
    platform = dataclasses.replace(found.platforms[0], conda=packages)
    return dataclasses.replace(found, platforms=(platform,), channels=(Channel("c", channel),))


def test_lists() -> None:
    made = lock(package("a", "b"), package("b"))
    installer, packages = create_conda_files(PipSpec(), made, made.platforms[0])
    assert installer.lines[0].startswith("py-rattler==")
    assert packages.lines == (
        f"https://example.invalid/c/noarch/a-1-0.conda#{'0' * 64} shared/tiny_2",
        f"https://example.invalid/c/noarch/b-1-0.conda#{'0' * 64} shared/tiny_2",
        "- unowned",
    )
    assert find_conda_layers(made) == ("shared/tiny_2", "unowned")
    assert create_conda_files(PipSpec(), lock(), lock().platforms[0]) == ()
    assert find_conda_layers(lock()) == ()
    made = lock(package("a"), channel="file:///somewhere")
    with pytest.raises(InvalidInputError, match="is a local folder"):
        create_conda_files(PipSpec(), made, made.platforms[0])
