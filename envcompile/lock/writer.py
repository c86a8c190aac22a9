"""The lock's one canonical text: TOML, one package per line, sorted, with its own digest and counts.

There is one text for one value, so the digest is taken of the text below its line, with LF line ends.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.digests import compute_sha256
from envcompile.lock.header import FORMAT_VERSION, HEADER_COMMENT
from envcompile.lock.reader import (
    compute_counts,
    decode_lock,
    rows_from_explanation,
    rows_from_warnings,
    table_from_decision,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.lock.model import AptPackage, BaseImage, CondaPackage, Lock, PipPackage, PlatformLock

_DIGEST_LINE = re.compile(r'digest = "(sha256:[0-9a-f]{64})"\n')
_FORMAT_LINE = re.compile(r"^format = ([0-9]{1,9})$", re.MULTILINE)
_CONFLICT_MARKER = re.compile(r"^(?:<{7}|={7}|>{7}|\|{7})(?: |$)", re.MULTILINE)


class NewerLockFormatError(InvalidInputError):
    """A lock of a release to come: nothing in it may be overwritten by this one."""


def format_lock(lock: Lock) -> str:
    """The canonical text of a lock."""
    body = "".join(_format_body(lock))
    return f'{HEADER_COMMENT}format = {FORMAT_VERSION}\ndigest = "{compute_sha256(body.encode())}"\n{body}'


def parse_lock(text: str, name: str) -> Lock:
    """The lock of a text. `name` is the file's, for messages.

    Raises `InvalidInputError`: what is wrong, and what mends it.
    """
    text = text.replace("\r\n", "\n")
    hint = "run `envcompile lock`"
    if text.startswith("\N{BYTE ORDER MARK}"):
        raise InvalidInputError(f"`{name}` starts with a byte order mark, which an editor has put there", hint)
    if conflict := _CONFLICT_MARKER.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise InvalidInputError(f"`{name}` holds the marks of a merge conflict in line {line}", hint)
    version = _FORMAT_LINE.search(text)
    if version and int(version[1]) > FORMAT_VERSION:
        message = f"`{name}` has format {version[1]}, and this release reads formats up to {FORMAT_VERSION}"
        raise NewerLockFormatError(message, "upgrade envcompile")
    digest = _DIGEST_LINE.search(text)
    if not version or not digest:
        raise InvalidInputError(f"`{name}` is not a lock of envcompile, or its head is missing", hint)
    sound = compute_sha256(text[digest.end() :].encode()) == digest[1]
    whole = sound and text[: digest.start()] == f"{HEADER_COMMENT}format = {FORMAT_VERSION}\n"
    return decode_lock(_parse_toml(text, name, hint, whole=whole), name, hint, whole=whole)


def _parse_toml(text: str, name: str, hint: str, *, whole: bool) -> dict[str, object]:
    import tomli  # noqa: PLC0415 - a lock that is known to be current need not be parsed

    try:
        return tomli.loads(text)
    except (ValueError, RecursionError) as problem:
        said = "is cut off, or was edited by hand" if not whole else "is not TOML"
        raise InvalidInputError(f"`{name}` {said}", hint) from problem


def _format_body(lock: Lock) -> Iterable[str]:
    yield f"layout = {lock.layout}\n"
    yield f"spec = {_format_table({'digest': lock.spec_digest, 'text': lock.spec_text_digest})}\n"
    yield f"counts = {_format_table(compute_counts(lock))}\n"
    if lock.recorded_inputs is not None:
        yield from _format_rows(
            "asked", ({"key": each.key, "values": list(each.values)} for each in lock.recorded_inputs)
        )
    if lock.snapshot:
        yield f"snapshot = {json.dumps(lock.snapshot)}\n"
    if lock.channels:
        yield from _format_rows("channels", ({"name": each.name, "url": each.url} for each in lock.channels))
    if lock.private_indexes:
        yield f"private-indexes = {json.dumps(lock.private_indexes)}\n"
    for platform in lock.platforms:
        yield from _format_platform(platform)


def _format_platform(platform: PlatformLock) -> Iterable[str]:
    yield f"\n[platforms.{platform.platform}]\n"
    if python := platform.python:
        yield f"python = {_format_table({'version': python.version, 'path': python.path, 'source': python.source})}\n"
    yield f"build = {_format_base_image(platform.build)}\n"
    yield f"run = {_format_base_image(platform.run)}\n"
    if platform.base_decision:
        yield f"decided = {_format_table(table_from_decision(platform.base_decision))}\n"
        if platform.base_decision.warnings:
            yield from _format_rows("warnings", rows_from_warnings(platform.base_decision))
        yield from _format_rows("trail", rows_from_explanation(platform.base_decision))
    yield from _format_rows("tools", ({"name": tool.name, "image": tool.image} for tool in platform.tools))
    if platform.conda:
        yield from _format_rows("conda", (_row_from_conda_package(package) for package in platform.conda))
    yield from _format_rows("pip", (_row_from_pip_package(package) for package in platform.pip))
    if platform.pip_build:
        rows = (
            {"sdist": each.name, **_row_from_pip_package(package)}
            for each in platform.pip_build
            for package in each.packages
        )
        yield from _format_rows("pip-build", rows)
    for key, packages in (("apt", platform.apt), ("apt-build", platform.apt_build)):
        if packages:
            yield from _format_rows(key, (_row_from_apt_package(package) for package in packages))


def _format_base_image(base: BaseImage) -> str:
    return _format_table({"image": base.image, "os": base.os, "glibc": base.glibc})


def _row_from_conda_package(package: CondaPackage) -> Mapping[str, object]:
    return {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "channel": package.channel,
        "subdir": package.subdir,
        "file": package.file,
        "sha256": package.sha256,
        "md5": package.md5,
        "size": package.size,
        "depends": list(package.depends) or None,
        "provides": list(package.provides) or None,
    }


def _row_from_pip_package(package: PipPackage) -> Mapping[str, object]:
    return {
        "name": package.name,
        "version": package.version,
        "kind": package.kind,
        "file": package.file,
        "sha256": package.sha256,
        "size": package.size,
        "index": package.index,
        "depends": list(package.depends) or None,
    }


def _row_from_apt_package(package: AptPackage) -> Mapping[str, object]:
    return {
        "name": package.name,
        "version": package.version,
        "architecture": package.architecture,
        "sha256": package.sha256,
        "size": package.size,
        "depends": list(package.depends) or None,
    }


def _format_rows(key: str, rows: Iterable[Mapping[str, object]]) -> Iterable[str]:
    yield f"{key} = [\n"
    yield from (f"    {_format_table(row)},\n" for row in rows)
    yield "]\n"


def _format_table(values: Mapping[str, object]) -> str:
    pairs = (f"{key} = {_format_value(value)}" for key, value in values.items() if value is not None)
    return f"{{ {', '.join(pairs)} }}"


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return _format_table(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_format_value, value))}]"
    # A JSON string without control characters is a TOML basic string, and numbers are written alike.
    return json.dumps(value, ensure_ascii=False)
