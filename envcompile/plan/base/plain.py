"""Which base image, with which C library and which Python: decided before anything is resolved.

What has to be looked up is said here, and looked up elsewhere: `wanted` names the images, `needs_look` says whether one
must be opened, `choose` decides with what was found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import BaseImage, PythonInterpreter
from envcompile.plan.catalogue import CONDA_BASE, PYTHON_IMAGE, PYTHON_PATCHES, PYTHON_PATH, SYSTEMS, TOOLS
from envcompile.spec.image_reference import split_image_reference
from envcompile.spec.model import BaseImageSpec

if TYPE_CHECKING:
    from envcompile.diagnostics.toml_source import KeyPath
    from envcompile.spec.model import Spec


_EXACT = re.compile(r"3\.[0-9]{1,2}\.[0-9]{1,2}")
EXAMPLE = (
    '`base = { image = "...", os = "debian-12", glibc = "2.36", python = "3.12.12", python-path = "/usr/bin/python3" }`'
)


class Facts(NamedTuple):
    """What an image says of itself; None is not known. Versions as in `BaseImage` and `Python`."""

    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    python_path: str | None = None


def wanted(spec: Spec) -> BaseImageSpec:
    """The base image that the spec gives, else the usual one: with Python where the base's own is used."""
    if spec.image.base:
        return spec.image.base
    return BaseImageSpec(
        f"{PYTHON_IMAGE}:{_minor(spec.python or '')}-slim-bookworm" if own_python(spec) else CONDA_BASE
    )


def own_python(spec: Spec) -> bool:
    """Whether the environment is made with the base's own Python: asked for, and not brought by conda."""
    return spec.python is not None and not spec.conda.packages


def tools(spec: Spec) -> tuple[tuple[str, str], ...]:
    """The tools that the build needs and their images, sorted by name: shipped ones, unless the spec gives others."""
    needed = [*(["micromamba"] if spec.conda.packages else []), *(["uv"] if spec.pip.packages else [])]
    images = {**TOOLS, **dict(spec.tools)}
    return tuple((name, images[name]) for name in needed)


def needs_look(spec: Spec) -> bool:
    """Whether the base must be opened to know its system, its C library and, if it is used, where its Python is."""
    told = _told(wanted(spec))
    return told.os is None or told.glibc is None or (told.python_path is None and own_python(spec))


def choose(
    spec: Spec, base: BaseImageSpec, image: str, found: Facts
) -> tuple[BaseImage, PythonInterpreter | None] | Diagnostic:
    """The base and its interpreter, `image` being the base by digest; or what must be said of it first.

    Where its interpreter, if it has one, is none of the environment's business: None.
    """
    told = _told(base)
    # The spec's word, then the image's, then what its name lets expect.
    os, glibc = base.os or found.os or told.os, base.glibc or found.glibc or told.glibc
    if not os or not glibc:
        message = f"`{image}` does not tell which system and C library it has"
        return _said("base-unknown", message, f"say it: {EXAMPLE}")
    if not own_python(spec):
        return BaseImage(image, os, glibc), None
    path = base.python_path or found.python_path or told.python_path
    if not path:
        return _said("base-unknown", f"`{image}` does not tell where its Python is", f"say it: {EXAMPLE}")
    asked = spec.python or ""
    if wrong := _disagreement(asked, base, found):
        return _said("python-version", wrong, "make the two agree")
    minor = _minor(asked)
    exact = base.python or (asked if asked != minor else None) or told.python
    version = exact or found.python or PYTHON_PATCHES.get(minor)
    if version is None:
        hint = f'say which patch level the base has, such as `python = "{minor}.0"`'
        return Diagnostic("python-version", f"no release of Python {minor} is known", ("python",), hint)
    source = "spec" if exact else "image" if found.python else "assumed"
    return BaseImage(image, os, glibc), PythonInterpreter(version, path, source)


def _told(base: BaseImageSpec) -> Facts:
    """What the spec says of the image, or its name."""
    parts = split_image_reference(base.image)
    words = parts.tag.split("-") if parts and parts.tag else []
    known = next((SYSTEMS[word] for word in words if word in SYSTEMS), None)
    path = PYTHON_PATH if parts and _is_python(parts.name) else None
    exact = words[0] if path and words and _EXACT.fullmatch(words[0]) else None
    os, glibc = base.os or (known and known.os), base.glibc or (known and known.glibc)
    return Facts(os, glibc, base.python or exact, base.python_path or path)


def _disagreement(asked: str, base: BaseImageSpec, found: Facts) -> str | None:
    """How the Python that is asked for differs from that of the base, by its table, its own word or its tag."""
    if base.python and not _within(base.python, asked):
        return f"the spec asks for Python {asked}, and its base has {base.python}"
    if found.python and not _within(found.python, base.python or asked):
        return f"the spec asks for Python {base.python or asked}, and `{base.image}` has {found.python}"
    parts = split_image_reference(base.image)
    tagged = parts.tag.split("-")[0] if parts and parts.tag and _is_python(parts.name) else ""
    exact = base.python or asked
    if tagged[:1].isdigit() and not _within(exact, tagged) and not _within(tagged, exact):
        return f"the spec asks for Python {asked}, and `{base.image}` is named for {tagged}"
    return None


def _within(version: str, asked: str) -> bool:
    return f"{version}.".startswith(f"{asked}.")


def _is_python(name: str) -> bool:
    return name.rsplit("/", maxsplit=1)[-1] == PYTHON_IMAGE


def _said(rule: str, message: str, hint: str) -> Diagnostic:
    path: KeyPath = ("image", "base")
    return Diagnostic(rule, message, path, hint)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
