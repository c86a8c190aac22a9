"""The lists of the Dockerfile: every archive with its hash."""

from __future__ import annotations

import dataclasses

import pytest

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.emit.dockerfile import compile_dockerfile
from envcompile.lock.model import ActivationVariable, Channel, CondaPackage, Lock
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


def test_static_variables_of_activation_scripts_are_in_the_image() -> None:
    """Per platform if they differ, and below `env` in `[image]`."""
    spec, _ = parsed("conda")
    variable = ActivationVariable("NVCC_HOME", "/env/targets/x86_64-linux", "etc/conda/activate.d/nvcc.sh")
    one = lock(dataclasses.replace(package("nvcc"), env=(variable,)))
    text = compile_dockerfile(spec, one)
    assert "NVCC_HOME=/env/targets/x86_64-linux" in text[text.index("\nENV PATH") :]
    mine = dataclasses.replace(spec, image=dataclasses.replace(spec.image, env=(("NVCC_HOME", "/mine"),)))
    assert "x86_64-linux" not in compile_dockerfile(mine, one)
    other = dataclasses.replace(
        one.platforms[0],
        platform="linux-aarch64",
        conda=(dataclasses.replace(package("nvcc"), env=(variable._replace(value="/env/targets/sbsa-linux"),)),),
    )
    text = compile_dockerfile(spec, dataclasses.replace(one, platforms=(*one.platforms, other)))
    amd64, arm64 = text.index("AS base-amd64\n"), text.index("AS base-arm64\n")
    assert text.index("ENV NVCC_HOME=/env/targets/x86_64-linux\n") > amd64
    assert text.index("ENV NVCC_HOME=/env/targets/sbsa-linux\n") > arm64
    assert "NVCC_HOME" not in text[text.index("\nENV PATH") :]
