"""What an sdist says of itself, read from its archive: none of its code is run, and none of it is unpacked to disk."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from email.parser import HeaderParser
from typing import Any, NamedTuple

import tomli

# The largest of these files known is a hundredth of it.
_LIMIT = 1 << 20
# What a build asks its backend for, and the backend for itself (`get_requires_for_build_wheel`): that is code, and is
# not run. setuptools before 70.1, and every release for `setup.py bdist_wheel`; mesonpy/__init__.py and
# scikit_build_core/builder/get_requires.py where the system has neither.
_OF_BACKENDS = {
    "setuptools.build_meta": ("wheel",),
    "mesonpy": ("ninja",),
    "scikit_build_core.build": ("cmake", "ninja"),
    "scikit_build_core.setuptools.build_meta": ("cmake", "ninja", "wheel"),
}
# PEP 517 and PEP 518: what a project without a word of it is built with.
_DEFAULT = ("setuptools", "wheel")
_NEEDS = frozenset(("requires-dist", "requires-python", "provides-extra"))
_UNREADABLE = (
    *(OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile),
    *(KeyError, TypeError, AttributeError),  # a table that is none
)
_OLD = ("1.0", "1.1", "1.2", "2.0", "2.1")


class Needs(NamedTuple):
    """What an installed release needs: requirements (PEP 508), a range of Pythons or "", and its extras."""

    requires: tuple[str, ...]
    python: str
    extras: tuple[str, ...]


class Sdist(NamedTuple):
    """`needs` is None where only the code of the sdist could tell; `build` are the requirements of its build."""

    needs: Needs | None
    build: tuple[str, ...]


def read_sdist(file: str, data: bytes) -> Sdist:
    """What is said in the archive named `file`. Raises `ValueError` when it cannot be read."""
    try:
        texts = _texts(file, data)
        project = tomli.loads(texts.get("pyproject.toml", ""))
        needs = _of_metadata(texts.get("PKG-INFO", "")) or _of_project(project.get("project"))
        return Sdist(needs, _build(project.get("build-system")))
    except _UNREADABLE as problem:
        raise ValueError(str(problem)) from problem


def _texts(file: str, data: bytes) -> dict[str, str]:
    """The two files at the top of the one folder that an sdist holds."""
    wanted = ("PKG-INFO", "pyproject.toml")
    found: dict[str, str] = {}
    if file.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if (name := _top(info.filename)) in wanted and info.file_size <= _LIMIT:
                    found[name] = archive.read(info).decode()
        return found
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        for member in tar:
            if (name := _top(member.name)) in wanted and member.isfile() and member.size <= _LIMIT:
                content = tar.extractfile(member)
                found[name] = content.read().decode() if content else ""
    return found


def _top(path: str) -> str:
    _, _, rest = path.removeprefix("./").partition("/")
    return rest


def _of_metadata(text: str) -> Needs | None:
    """PEP 643: from version 2.2 on, what is not said to be dynamic is the same in every wheel."""
    message = HeaderParser().parsestr(text)
    dynamic = {each.lower() for each in message.get_all("Dynamic", [])}
    if message.get("Metadata-Version", "1.0").strip() in _OLD or dynamic & _NEEDS:
        return None
    extras = tuple(message.get_all("Provides-Extra", []))
    return Needs(tuple(message.get_all("Requires-Dist", [])), message.get("Requires-Python", ""), extras)


def _of_project(project: Any) -> Needs | None:
    """PEP 621: a backend may add nothing to what the table does not name as dynamic."""
    dynamic = set(project.get("dynamic", ())) if isinstance(project, dict) else None
    if dynamic is None or dynamic & {"dependencies", "optional-dependencies", "requires-python"}:
        return None
    optional = project.get("optional-dependencies", {})
    requires = [*project.get("dependencies", ())]
    requires += [_with(each, extra) for extra, group in optional.items() for each in group]
    return Needs(tuple(requires), project.get("requires-python", ""), tuple(optional))


def _with(text: str, extra: str) -> str:
    head, semicolon, marker = text.partition(";")
    return (
        f'{head.strip()} ; ({marker.strip()}) and extra == "{extra}"' if semicolon else f'{text} ; extra == "{extra}"'
    )


def _build(system: Any) -> tuple[str, ...]:
    if not isinstance(system, dict) or "requires" not in system:
        return _DEFAULT
    backend = system.get("build-backend", "setuptools.build_meta:__legacy__").partition(":")[0]
    return (*map(str, system["requires"]), *_OF_BACKENDS.get(backend, ()))
