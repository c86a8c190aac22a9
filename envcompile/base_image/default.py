"""Chooses the base image before anything is resolved: its operating system, its C library and its Python.

Facts about well-known images are constants of this module, with dates and sources. If they are not enough,
`needs_inspection` says that the image must be read from its registry, which `resolve.base_images` does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.python_builds import find_standalone_python
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.lock.model import BaseImage, PipPackage, PythonInterpreter
from envcompile.spec.model import BaseImageSpec
from envcompile.spec.pip import find_index_name
from envcompile.spec.solver_inputs import list_pip_requirements
from envcompile.spec.values import split_image_reference
from envcompile.versions import is_release_of, minor_release

if TYPE_CHECKING:
    from envcompile.diagnostics.source import KeyPath
    from envcompile.spec.model import Spec


class SystemRelease(NamedTuple):
    """An operating system (ID-VERSION_ID of its os-release) and the version of its glibc (X.Y)."""

    os: str
    glibc: str


# The code names in image tags, and the glibc in each release's own archive (package libc6).
SYSTEM_RELEASES = {
    "bullseye": SystemRelease("debian-11", "2.31"),
    "bookworm": SystemRelease("debian-12", "2.36"),
    "trixie": SystemRelease("debian-13", "2.41"),
    "focal": SystemRelease("ubuntu-20.04", "2.31"),
    "jammy": SystemRelease("ubuntu-22.04", "2.35"),
    "noble": SystemRelease("ubuntu-24.04", "2.39"),
}

# The newest patch version of each Python release, from the builds in the index of conda-forge as of August 2026. It is
# assumed if neither the spec nor the image states the patch version, and the build checks it.
PYTHON_PATCHES = {
    "3.9": "3.9.23",
    "3.10": "3.10.20",
    "3.11": "3.11.15",
    "3.12": "3.12.13",
    "3.13": "3.13.15",
    "3.14": "3.14.7",
}

# The interpreter of the `python` images of Docker Hub: their Dockerfile configures --prefix=/usr/local.
PYTHON_IMAGE = "python"
PYTHON_PATH = "/usr/local/bin/python3"

# The default base image of environments that do not use its Python: it has everything else, such as the C library.
PLAIN_IMAGE = "debian:bookworm-slim"

# The images of the build tools. The digests were copied from public projects that pin these images (uv 2026-11-22, one
# project; Python 2026-11-28, eight projects, on amd64 and on arm64), not read from a registry.
TOOL_IMAGES = {
    # Python 3.10 or later, in which py-rattler installs the conda packages.
    "python": "python:3.13.14-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8",
    "uv": "ghcr.io/astral-sh/uv:0.12.7@sha256:95f2aa1fe59274951cfe9b0cbc7972e879ff1004bc8945d130a32eb0dbd85945",
}


# py-rattler, which installs the conda packages: the wheel of each platform, from the package index (2026-11-28). It
# depends on no other package, and one wheel is for all versions of Python from 3.10. The program of the build that uses
# it, `emit/scripts/install_conda.py`, is tested with this version.
CONDA_INSTALLER_VERSION = "0.28.0"
_CONDA_INSTALLER_FILES = {
    "linux-64": (
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "4f4ab1d34d5394e7ce130a86e59009c95ace4f5757d9c3af04de1351bcea47eb",
        24874516,
    ),
    "linux-aarch64": (
        "manylinux_2_28_aarch64",
        "61b24202374188e72130f1b3dc63b455befaafc3e49e5481a38b6a6c8828c1e0",
        26589741,
    ),
}


# The choice.


_EXACT_PYTHON = re.compile(r"3\.[0-9]{1,2}\.[0-9]{1,2}")
BASE_TABLE_EXAMPLE = (
    '`base = { image = "...", os = "debian-12", glibc = "2.36", python = "3.12.12", python-path = "/usr/bin/python3" }`'
)


class BaseImageProperties(NamedTuple):
    """Facts about an image, None if unknown. Versions are written as in `BaseImage` and `PythonInterpreter`."""

    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    python_path: str | None = None


def find_base_image(spec: Spec) -> BaseImageSpec:
    """Return the base image of the spec, otherwise the default one.

    The default image contains Python if the environment uses the Python of its base image. If the spec requests an
    exact version, the tag of the image has that version, because the tag of a minor release moves to newer versions.
    """
    if spec.image.base:
        return spec.image.base
    return BaseImageSpec(
        f"{PYTHON_IMAGE}:{spec.python}-slim-bookworm"
        if uses_base_python(spec) and not spec.free_threaded
        else PLAIN_IMAGE
    )


def uses_base_python(spec: Spec) -> bool:
    """Whether the environment has the Python of its base image or a standalone Python, instead of conda's."""
    return spec.python is not None and not spec.conda.packages


def find_tool_images(spec: Spec, *, has_standalone_python: bool = False) -> tuple[tuple[str, str], ...]:
    """Return the build tools that the spec needs and their images, sorted by name.

    uv installs pip packages, a standalone Python, and py-rattler into the Python that installs conda packages.

    The image of the spec takes precedence over the default one.
    """
    has_conda = bool(spec.conda.packages)
    needs_uv = has_conda or bool(list_pip_requirements(spec)) or has_standalone_python
    needed = [*(["python"] if has_conda else []), *(["uv"] if needs_uv else [])]
    images = {**TOOL_IMAGES, **dict(spec.tools)}
    return tuple((name, images[name]) for name in needed)


def find_conda_installer(
    spec: Spec, platform: str, locked: tuple[PipPackage, ...] | None = None
) -> tuple[PipPackage, ...]:
    """Return the wheels that install conda packages on a platform: the `locked` ones, otherwise those of this release.

    Empty if the spec has no conda packages.
    """
    if not spec.conda.packages or locked:
        return locked or ()
    name, version = "py-rattler", CONDA_INSTALLER_VERSION
    tag, sha256, size = _CONDA_INSTALLER_FILES[platform]
    file = f"py_rattler-{version}-cp310-abi3-{tag}.whl"
    index = find_index_name(name, spec.pip.extra_indexes)
    return (PipPackage(name, version, file, sha256, size, index, requires_python=">=3.10"),)


def needs_inspection(spec: Spec) -> bool:
    """Whether the image must be read to find out its system, its C library or, if it is used, its Python."""
    inferred = _infer_properties(find_base_image(spec))
    needs_python = uses_base_python(spec) and not spec.free_threaded
    return inferred.os is None or inferred.glibc is None or (inferred.python_path is None and needs_python)


def choose_base_image(  # noqa: PLR0913, PLR0917
    spec: Spec,
    base: BaseImageSpec,
    image: str,
    found: BaseImageProperties,
    platform: str = "linux-64",
    locked: PythonInterpreter | None = None,
) -> tuple[BaseImage, PythonInterpreter | None] | Diagnostic:
    """Return the base image and the interpreter, or a diagnostic if they do not fit the spec.

    `image` is the image by digest, `found` what was read from it, and `locked` the interpreter of the earlier lock. The
    interpreter is None if conda installs it or nothing needs it, and a standalone one if the image has none.
    """
    inferred = _infer_properties(base)
    # The spec takes precedence, then the image itself, then its name.
    os, glibc = base.os or found.os or inferred.os, base.glibc or found.glibc or inferred.glibc
    if not os or not glibc:
        message = f"the system and the C library of `{image}` are unknown"
        return _make_base_diagnostic("base-unknown", message, f"state them: {BASE_TABLE_EXAMPLE}")
    if not uses_base_python(spec):
        return BaseImage(image, os, glibc), None
    path = base.python_path or found.python_path or inferred.python_path
    if path or base.python:
        python = _choose_image_python(spec, base, image, found, path)
    elif spec.image.base and not spec.free_threaded and not (base.os or found.os):
        message = f"`{image}` has no Python, and no system that envcompile knows to install one in"
        python = _make_base_diagnostic("base-unknown", message, f"state what it has: {BASE_TABLE_EXAMPLE}")
    else:
        python = find_standalone_python(spec.python or "", platform, free_threaded=spec.free_threaded, locked=locked)
    return python if isinstance(python, Diagnostic) else (BaseImage(image, os, glibc), python)


def _choose_image_python(
    spec: Spec, base: BaseImageSpec, image: str, found: BaseImageProperties, path: str | None
) -> PythonInterpreter | Diagnostic:
    """Return the interpreter of an image that has a Python."""
    requested = spec.python or ""
    if not path:
        message = f"the spec states the Python of `{image}` without its path"
        return _make_base_diagnostic("base-unknown", message, f"state it: {BASE_TABLE_EXAMPLE}")
    if spec.free_threaded:
        message = f"`python` is {requested}t, the free-threaded build, but `{base.image}` has a Python of its own"
        hint = f"name an image without Python, such as `{PLAIN_IMAGE}`"
        return _make_base_diagnostic("python-version", message, hint)
    if wrong := _find_python_mismatch(requested, base, found):
        return _make_base_diagnostic("python-version", wrong, "make the two agree")
    minor = minor_release(requested)
    exact = base.python or (requested if requested != minor else None) or _infer_properties(base).python
    version = exact or found.python or PYTHON_PATCHES.get(minor)
    if version is None:
        hint = f'say which patch level the base has, such as `python = "{minor}.0"`'
        return Diagnostic("python-version", f"no release of Python {minor} is known", ("python",), hint)
    return PythonInterpreter(version, path, "spec" if exact else "image" if found.python else "assumed")


def _infer_properties(base: BaseImageSpec) -> BaseImageProperties:
    """Return the facts that the spec states about the image, otherwise those that its name implies."""
    parts = split_image_reference(base.image)
    words = parts.tag.split("-") if parts and parts.tag else []
    known = next((SYSTEM_RELEASES[word] for word in words if word in SYSTEM_RELEASES), None)
    path = PYTHON_PATH if parts and _is_python(parts.name) else None
    exact = words[0] if path and words and _EXACT_PYTHON.fullmatch(words[0]) else None
    os, glibc = base.os or (known and known.os), base.glibc or (known and known.glibc)
    return BaseImageProperties(os, glibc, base.python or exact, base.python_path or path)


def _find_python_mismatch(requested: str, base: BaseImageSpec, found: BaseImageProperties) -> str | None:
    """Return how the Python of the image differs from the requested one, or None.

    Its version is known from the spec, from the image or from its tag.
    """
    if base.python and not is_release_of(base.python, requested):
        return f"the spec requests Python {requested}, but its base image has {base.python}"
    if found.python and not is_release_of(found.python, base.python or requested):
        return f"the spec requests Python {base.python or requested}, but `{base.image}` has {found.python}"
    parts = split_image_reference(base.image)
    tagged = parts.tag.split("-")[0] if parts and parts.tag and _is_python(parts.name) else ""
    exact = base.python or requested
    if tagged[:1].isdigit() and not is_release_of(exact, tagged) and not is_release_of(tagged, exact):
        return f"the spec requests Python {requested}, but the tag of `{base.image}` is for Python {tagged}"
    return None


def _is_python(name: str) -> bool:
    return name.rsplit("/", maxsplit=1)[-1] == PYTHON_IMAGE


def _make_base_diagnostic(rule: str, message: str, hint: str) -> Diagnostic:
    path: KeyPath = ("image", "base")
    return Diagnostic(rule, message, path, hint)
