"""What is known of images without asking anybody. Data with dates and sources; no decision is made here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import BaseImage, PythonInterpreter
from envcompile.spec.model import BaseImageSpec
from envcompile.spec.values import split_image_reference
from envcompile.versions import is_release_of, minor_release

if TYPE_CHECKING:
    from envcompile.diagnostics.source import KeyPath
    from envcompile.spec.model import Spec


class SystemRelease(NamedTuple):
    """An operating system's id (os-release ID-VERSION_ID) and its C library (glibc, X.Y)."""

    os: str
    glibc: str


# Code names as they stand in image tags, and the glibc of each release's own archive (package libc6).
SYSTEM_RELEASES = {
    "bullseye": SystemRelease("debian-11", "2.31"),
    "bookworm": SystemRelease("debian-12", "2.36"),
    "trixie": SystemRelease("debian-13", "2.41"),
    "focal": SystemRelease("ubuntu-20.04", "2.31"),
    "jammy": SystemRelease("ubuntu-22.04", "2.35"),
    "noble": SystemRelease("ubuntu-24.04", "2.39"),
}

# The newest patch of each Python that is known to this release: the newest build of each in conda-forge's channel
# index as of August 2026. It is assumed where nobody says better, and checked by the build.
PYTHON_PATCHES = {
    "3.9": "3.9.23",
    "3.10": "3.10.20",
    "3.11": "3.11.15",
    "3.12": "3.12.13",
    "3.13": "3.13.15",
    "3.14": "3.14.7",
}

# Where the interpreter is in the `python` images of the hub (their Dockerfile configures --prefix=/usr/local).
PYTHON_IMAGE = "python"
PYTHON_PATH = "/usr/local/bin/python3"

# What conda environments are built on: conda brings all but the C library.
CONDA_BASE_IMAGE = "debian:bookworm-slim"

# Images that hold one static program, by digest as other public projects pin them (gathered 2026-11-22, one source
# each; not read from a registry).
TOOL_IMAGES = {
    "micromamba": "mambaorg/micromamba:2.0.5-ubuntu24.04"
    "@sha256:1c62a28916ad7a4533555a542a5410e55ea2ed2c1e29f00c8fc3f1c8add111d5",
    "uv": "ghcr.io/astral-sh/uv:0.12.7@sha256:95f2aa1fe59274951cfe9b0cbc7972e879ff1004bc8945d130a32eb0dbd85945",
}


# Which base image, with which C library and which Python: decided before anything is resolved.
#
# This module names what must be looked up and decides with the result; the lookup itself happens in
# `resolve.base_images`.


_EXACT_PYTHON = re.compile(r"3\.[0-9]{1,2}\.[0-9]{1,2}")
BASE_TABLE_EXAMPLE = (
    '`base = { image = "...", os = "debian-12", glibc = "2.36", python = "3.12.12", python-path = "/usr/bin/python3" }`'
)


class BaseImageProperties(NamedTuple):
    """What an image says of itself; None is not known. Versions as in `BaseImage` and `PythonInterpreter`."""

    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    python_path: str | None = None


def find_base_image(spec: Spec) -> BaseImageSpec:
    """The base image that the spec gives, else the usual one: with Python where the base's own is used."""
    if spec.image.base:
        return spec.image.base
    return BaseImageSpec(
        f"{PYTHON_IMAGE}:{minor_release(spec.python or '')}-slim-bookworm"
        if uses_base_python(spec)
        else CONDA_BASE_IMAGE
    )


def uses_base_python(spec: Spec) -> bool:
    """Whether the environment is made with the base's own Python: asked for, and not brought by conda."""
    return spec.python is not None and not spec.conda.packages


def find_tool_images(spec: Spec) -> tuple[tuple[str, str], ...]:
    """The tools that the build needs and their images, sorted by name: shipped ones, unless the spec gives others."""
    needed = [*(["micromamba"] if spec.conda.packages else []), *(["uv"] if spec.pip.packages else [])]
    images = {**TOOL_IMAGES, **dict(spec.tools)}
    return tuple((name, images[name]) for name in needed)


def needs_inspection(spec: Spec) -> bool:
    """Whether the base must be opened to know its system, its C library and, if it is used, where its Python is."""
    told = _infer_properties(find_base_image(spec))
    return told.os is None or told.glibc is None or (told.python_path is None and uses_base_python(spec))


def choose_base_image(
    spec: Spec, base: BaseImageSpec, image: str, found: BaseImageProperties
) -> tuple[BaseImage, PythonInterpreter | None] | Diagnostic:
    """The base and its interpreter, `image` being the base by digest; or what must be said of it first.

    Where its interpreter, if it has one, is none of the environment's business: None.
    """
    told = _infer_properties(base)
    # The spec's word, then the image's, then what its name lets expect.
    os, glibc = base.os or found.os or told.os, base.glibc or found.glibc or told.glibc
    if not os or not glibc:
        message = f"`{image}` does not tell which system and C library it has"
        return _make_base_diagnostic("base-unknown", message, f"say it: {BASE_TABLE_EXAMPLE}")
    if not uses_base_python(spec):
        return BaseImage(image, os, glibc), None
    path = base.python_path or found.python_path or told.python_path
    if not path:
        return _make_base_diagnostic(
            "base-unknown", f"`{image}` does not tell where its Python is", f"say it: {BASE_TABLE_EXAMPLE}"
        )
    asked = spec.python or ""
    if wrong := _find_python_mismatch(asked, base, found):
        return _make_base_diagnostic("python-version", wrong, "make the two agree")
    minor = minor_release(asked)
    exact = base.python or (asked if asked != minor else None) or told.python
    version = exact or found.python or PYTHON_PATCHES.get(minor)
    if version is None:
        hint = f'say which patch level the base has, such as `python = "{minor}.0"`'
        return Diagnostic("python-version", f"no release of Python {minor} is known", ("python",), hint)
    source = "spec" if exact else "image" if found.python else "assumed"
    return BaseImage(image, os, glibc), PythonInterpreter(version, path, source)


def _infer_properties(base: BaseImageSpec) -> BaseImageProperties:
    """What the spec says of the image, or its name."""
    parts = split_image_reference(base.image)
    words = parts.tag.split("-") if parts and parts.tag else []
    known = next((SYSTEM_RELEASES[word] for word in words if word in SYSTEM_RELEASES), None)
    path = PYTHON_PATH if parts and _is_python(parts.name) else None
    exact = words[0] if path and words and _EXACT_PYTHON.fullmatch(words[0]) else None
    os, glibc = base.os or (known and known.os), base.glibc or (known and known.glibc)
    return BaseImageProperties(os, glibc, base.python or exact, base.python_path or path)


def _find_python_mismatch(asked: str, base: BaseImageSpec, found: BaseImageProperties) -> str | None:
    """How the Python that is asked for differs from that of the base, by its table, its own word or its tag."""
    if base.python and not is_release_of(base.python, asked):
        return f"the spec asks for Python {asked}, and its base has {base.python}"
    if found.python and not is_release_of(found.python, base.python or asked):
        return f"the spec asks for Python {base.python or asked}, and `{base.image}` has {found.python}"
    parts = split_image_reference(base.image)
    tagged = parts.tag.split("-")[0] if parts and parts.tag and _is_python(parts.name) else ""
    exact = base.python or asked
    if tagged[:1].isdigit() and not is_release_of(exact, tagged) and not is_release_of(tagged, exact):
        return f"the spec asks for Python {asked}, and `{base.image}` is named for {tagged}"
    return None


def _is_python(name: str) -> bool:
    return name.rsplit("/", maxsplit=1)[-1] == PYTHON_IMAGE


def _make_base_diagnostic(rule: str, message: str, hint: str) -> Diagnostic:
    path: KeyPath = ("image", "base")
    return Diagnostic(rule, message, path, hint)
