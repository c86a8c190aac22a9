"""Which base, which Python: from the spec, the image, or what is known of its name."""

from __future__ import annotations

import pytest

from envcompile.base_image.default import (
    BaseImageProperties,
    choose_base_image,
    find_base_image,
    find_tool_images,
    needs_inspection,
)
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import BaseImage
from envcompile.spec.conda import CondaRequirement
from envcompile.spec.model import BaseImageSpec, CondaSpec, ImageSpec, PipSpec, Spec
from envcompile.spec.pip import PipRequirement

DIGEST = "sha256:" + "0" * 64
NOTHING = BaseImageProperties()


def decided(
    python: str, base: BaseImageSpec | None, found: BaseImageProperties = NOTHING
) -> tuple[str, str, str, str, str] | str:
    spec = Spec("x", python, image=ImageSpec(base=base))
    image = find_base_image(spec).image
    answer = choose_base_image(spec, find_base_image(spec), image if "@" in image else f"{image}@{DIGEST}", found)
    if isinstance(answer, Diagnostic):
        return answer.rule
    ground, interpreter = answer
    assert interpreter
    return ground.os, ground.glibc, interpreter.version, interpreter.path, interpreter.source


USUAL = "/usr/local/bin/python3"


@pytest.mark.parametrize(
    ("python", "base", "found", "expected"),
    [
        # Nothing is said and nobody is asked: the newest patch that is known, marked as assumed.
        ("3.12", None, NOTHING, ("debian-12", "2.36", "3.12.13", USUAL, "assumed")),
        ("3.12.4", None, NOTHING, ("debian-12", "2.36", "3.12.4", USUAL, "spec")),
        ("3.98", None, NOTHING, "python-version"),
        # The image's own word, where there is one.
        (
            "3.12",
            None,
            BaseImageProperties("debian-12", "2.36", "3.12.9", USUAL),
            ("debian-12", "2.36", "3.12.9", USUAL, "image"),
        ),
        ("3.12.4", None, BaseImageProperties("debian-12", "2.36", "3.12.9", USUAL), "python-version"),
        (
            *("3.11", BaseImageSpec("example.com/python:3.11-slim-bookworm")),
            *(BaseImageProperties(python="3.11.2", python_path="/usr/bin/python3"),),
            ("debian-12", "2.36", "3.11.2", "/usr/bin/python3", "image"),
        ),
        # Tags name a release of the system, and a Python.
        ("3.13", BaseImageSpec("python:3.13-slim-trixie"), NOTHING, ("debian-13", "2.41", "3.13.15", USUAL, "assumed")),
        ("3.13", BaseImageSpec("python:3.12-slim-bookworm"), NOTHING, "python-version"),
        ("3.12", BaseImageSpec("python:3.12.7-slim-bookworm"), NOTHING, ("debian-12", "2.36", "3.12.7", USUAL, "spec")),
        ("3.1", BaseImageSpec("python:3.12-slim-bookworm"), NOTHING, "python-version"),
        # An image that nobody knows.
        ("3.12", BaseImageSpec("example.com/x:1"), NOTHING, "base-unknown"),
        # An image without Python.
        (
            *("3.12.15", BaseImageSpec("example.com/x:1", "debian-12", "2.36"), NOTHING),
            ("debian-12", "2.36", "3.12.15", "/opt/python/cpython-3.12.15-linux-x86_64-gnu/bin/python3", "standalone"),
        ),
        ("3.12", BaseImageSpec("example.com/x:bookworm"), NOTHING, "base-unknown"),
        ("3.12", BaseImageSpec("example.com/x:1", "debian-12", "2.36", "3.12.15"), NOTHING, "base-unknown"),
        ("3.98", BaseImageSpec("example.com/x:1", "debian-12", "2.36"), NOTHING, "base-python"),
        (
            *("3.12", BaseImageSpec("example.com/x:1", "ubuntu-24.04", "2.39", "3.12.3", "/usr/bin/python3"), NOTHING),
            ("ubuntu-24.04", "2.39", "3.12.3", "/usr/bin/python3", "spec"),
        ),
        (
            "3.11",
            BaseImageSpec("example.com/x:1", "ubuntu-24.04", "2.39", "3.12.3", "/usr/bin/python3"),
            NOTHING,
            "python-version",
        ),
        (
            "3.12.4",
            BaseImageSpec("example.com/x", "a-1", "2.39", "3.12.3", "/usr/bin/python3"),
            NOTHING,
            "python-version",
        ),
    ],
)
def test_choose(
    python: str, base: BaseImageSpec | None, found: BaseImageProperties, expected: tuple[str, ...] | str
) -> None:
    assert decided(python, base, found) == expected


def test_only_what_is_not_told_is_looked_up() -> None:
    assert not needs_inspection(spec(BaseImageSpec("python:3.12-slim-bookworm")))
    assert needs_inspection(spec(BaseImageSpec("python:3.12-slim")))
    assert needs_inspection(spec(BaseImageSpec("debian:bookworm-slim")))
    assert not needs_inspection(spec(BaseImageSpec("debian:bookworm-slim", python_path="/usr/bin/python3")))
    assert not needs_inspection(spec(BaseImageSpec("x", "a-1", "2.1", "3.12.1", "/p")))


def spec(base: BaseImageSpec) -> Spec:
    return Spec("x", "3.12", image=ImageSpec(base=base))


def test_conda_brings_its_own_python() -> None:
    """On a base without one."""
    conda = Spec("x", conda=CondaSpec(("conda-forge",), (CondaRequirement("numpy"),)))
    assert find_base_image(conda) == BaseImageSpec("debian:bookworm-slim")
    assert not needs_inspection(conda)
    assert choose_base_image(conda, find_base_image(conda), f"x@{DIGEST}", NOTHING) == (
        BaseImage(f"x@{DIGEST}", "debian-12", "2.36"),
        None,
    )


def test_tools() -> None:
    """Those that the build needs, and no others."""
    pip, conda = PipSpec((PipRequirement("six"),)), CondaSpec(("conda-forge",), (CondaRequirement("numpy"),))
    assert [name for name, _ in find_tool_images(Spec("x", "3.12", pip=pip))] == ["uv"]
    assert [name for name, _ in find_tool_images(Spec("x", conda=conda))] == ["python", "uv"]
    assert [name for name, _ in find_tool_images(Spec("x", "3.12", pip=pip, conda=conda))] == ["python", "uv"]
    own = Spec("x", "3.12", pip=pip, tools=(("uv", "mine@x"), ("python", "theirs@x")))
    assert find_tool_images(own) == (("uv", "mine@x"),)
