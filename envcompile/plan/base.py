"""Which base image, with which C library and which Python: decided before anything is resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics import Diagnostic
from envcompile.lock.model import BaseImage, Python, ToolImage
from envcompile.plan.catalogue import PYTHON_IMAGE, PYTHON_PATCHES, PYTHON_PATH, SYSTEMS, TOOLS
from envcompile.spec.image import reference

if TYPE_CHECKING:
    from envcompile.spec.model import Base, Spec


class Ground(NamedTuple):
    """What everything else stands on: the base image, its interpreter, and the tools of the build, sorted by name."""

    base: BaseImage
    python: Python
    tools: tuple[ToolImage, ...]


def choose(spec: Spec) -> tuple[Ground | None, list[Diagnostic]]:
    """The ground for a spec, or what must be said of the base first."""
    base = spec.image.base
    if base is None:
        hint = f'add `[image]` with `base = "python:{_minor(spec.python)}-slim-bookworm@sha256:..."`'
        message = "no base image is given, and this release asks no registry for the digest of one"
        return None, [Diagnostic("base-missing", message, ("image",), hint)]
    found: list[Diagnostic] = []
    system = _system(base, found)
    python = _python(base, spec.python, found)
    tools = {**TOOLS, **dict(spec.tools)}
    if system is None or python is None:
        return None, found
    return Ground(system, python, tuple(ToolImage(name, tools[name]) for name in sorted(tools))), found


def _system(base: Base, found: list[Diagnostic]) -> BaseImage | None:
    parts = reference(base.image)
    words = parts.tag.split("-") if parts and parts.tag else []
    known = next((SYSTEMS[word] for word in words if word in SYSTEMS), None)
    os, glibc = base.os or (known and known.os), base.glibc or (known and known.glibc)
    if os and glibc:
        return BaseImage(base.image, os, glibc)
    hint = f'say it: `base = {{ image = "{base.image}", os = "debian-12", glibc = "2.36", python = "3.12.12" }}`'
    message = f"nothing is known of `{base.image}`: neither its operating system nor its C library"
    found.append(Diagnostic("base-unknown", message, ("image", "base"), hint))
    return None


def _python(base: Base, asked: str, found: list[Diagnostic]) -> Python | None:
    parts = reference(base.image)
    is_python = parts is not None and parts.name.rsplit("/", maxsplit=1)[-1] == PYTHON_IMAGE
    path = base.python_path or (PYTHON_PATH if is_python else None)
    if path is None:
        hint = 'write the base as a table and add `python-path = "/usr/bin/python3"`'
        message = f"where Python is in `{base.image}` is not known"
        found.append(Diagnostic("base-unknown", message, ("image", "base"), hint))
        return None
    minor = _minor(asked)
    exact = base.python or (asked if asked != minor else None)
    if (base.python and _minor(base.python) != minor) or (base.python and asked not in (minor, base.python)):
        message = f"the spec asks for Python {asked}, and its base has {base.python}"
        found.append(Diagnostic("python-version", message, ("image", "base"), "make the two agree"))
        return None
    tagged = parts.tag.split("-")[0] if is_python and parts and parts.tag else minor
    if (
        tagged[:1].isdigit()
        and not f"{exact or minor}.".startswith(f"{tagged}.")
        and not f"{tagged}.".startswith(f"{exact or minor}.")
    ):
        message = f"the spec asks for Python {asked}, and `{base.image}` is named for {tagged}"
        found.append(Diagnostic("python-version", message, ("image", "base"), "make the two agree"))
        return None
    if exact is None and minor not in PYTHON_PATCHES:
        hint = f'say which patch level the base has, such as `python = "{minor}.0"`'
        found.append(Diagnostic("python-version", f"no release of Python {minor} is known", ("python",), hint))
        return None
    return Python(exact or PYTHON_PATCHES[minor], path, "spec" if exact else "assumed")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
