"""Reads the activation scripts in archives of conda packages, and evaluates them. Runs in the process of the worker.

`rattler_worker` calls it with py-rattler's client. An archive `.conda` is read by range requests: 64 kB of its end, and
the files `etc/conda/activate.d/*.sh` and `etc/conda/env_vars.d/*.json` if `info/paths.json` lists any. An archive
`.tar.bz2`, and any archive on a server without range requests, is downloaded as a whole up to `MAX_DOWNLOAD` bytes.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rattler.package_streaming import PackageArchive

from envcompile.lock.activation import (
    SCRIPT_PATTERN,
    SCRIPTS_FOLDER,
    UNKNOWN_SCRIPTS,
    VARIABLES_FILE_PATTERN,
    is_settable,
    is_storable_value,
)
from envcompile.lock.activation_effects import PackageFiles, find_script_effects
from envcompile.lock.model import ActivationVariable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rattler import Client

# In bytes, for an archive that cannot be read in parts.
MAX_DOWNLOAD = 16 << 20
_MAX_SCRIPT_BYTES = 64 << 10
_CONCURRENCY = 16
# py-rattler repeats requests, but not the transfer of a file that ends early.
_ATTEMPTS = 3
# The errors of py-rattler are texts. These mean that the network failed, so a later attempt may succeed.
_NETWORK_PROBLEM = re.compile(
    r"server error|Request failed after|error sending request|during transport|decoding response body|timed out|"
    r"429 Too Many Requests|connection",
    re.IGNORECASE,
)
_CREDENTIALS_PROBLEM = re.compile("401 Unauthorized|403 Forbidden")


async def read_archives(client: Client, archives: list[dict[str, Any]], prefix: str) -> list[dict[str, Any]]:
    """Return an answer for each archive, in the same order. `prefix` is the path of the environment in the image.

    An archive is an object with `url` and `size` (in bytes, or null). The `kind` of an answer is `read`, with `env` and
    `activate`, whose items are those of `CondaPackage`; `unreadable` or `too-large`; or `network` or
    `credentials-required`, both with `problem`.
    """
    limit = asyncio.Semaphore(_CONCURRENCY)

    async def read(archive: dict[str, Any]) -> dict[str, Any]:
        async with limit:
            return await _read_archive(client, archive["url"], archive["size"], prefix)

    return list(await asyncio.gather(*map(read, archives)))


async def _read_archive(client: Client, url: str, size: int | None, prefix: str) -> dict[str, Any]:
    if url.startswith("http") and url.endswith(".tar.bz2") and (size or 0) > MAX_DOWNLOAD:
        return {"kind": "too-large"}
    answer: dict[str, Any] = {}
    for _ in range(_ATTEMPTS):
        answer = await _try_archive(client, url, prefix)
        if answer["kind"] != "network" or "Request failed after" in answer["problem"]:
            break
    return answer


async def _try_archive(client: Client, url: str, prefix: str) -> dict[str, Any]:
    try:
        return await _evaluate_scripts(await _open_archive(client, url), prefix)
    except (OSError, ValueError) as error:
        problem = str(error)
    if _CREDENTIALS_PROBLEM.search(problem):
        return {"kind": "credentials-required", "problem": problem}
    if "exceeds the configured" in problem:
        return {"kind": "too-large"}
    is_network_problem = url.startswith("http") and _NETWORK_PROBLEM.search(problem)
    return {"kind": "network", "problem": problem} if is_network_problem else {"kind": "unreadable"}


async def _open_archive(client: Client, url: str) -> PackageArchive:
    if url.startswith("file:"):
        return await PackageArchive.from_path(Path(url2pathname(urlsplit(url).path)))
    return await PackageArchive.from_url(client, url, sparse="prefer", max_spool_size=MAX_DOWNLOAD)


class _PathRow(NamedTuple):
    """A row of `info/paths.json`: the type of a file, and the text in it that the installer replaces by the prefix."""

    kind: str
    placeholder: str = ""


async def _evaluate_scripts(archive: PackageArchive, prefix: str) -> dict[str, Any]:
    """Return the answer for an archive. Raises `OSError` or `ValueError` if it cannot be read."""
    rows = await _read_paths(archive)
    # A file with an unusual name is in the list too, and makes the result unknown.
    scripts = sorted(path for path in rows if _is_in_folder(path, SCRIPTS_FOLDER, ".sh"))
    variable_files = sorted(path for path in rows if VARIABLES_FILE_PATTERN.fullmatch(path))
    if not scripts and not variable_files:
        return {"kind": "read", "env": [], "activate": []}
    if not all(map(SCRIPT_PATTERN.fullmatch, scripts)):
        return {"kind": "read", "env": [], "activate": [UNKNOWN_SCRIPTS]}
    # Links are not read.
    wanted = [path for path in (*variable_files, *scripts) if rows[path].kind == "hardlink"]
    contents = await archive.read_files(wanted)
    texts = {path: _decode_text(contents.get(path), rows[path], prefix) for path in (*variable_files, *scripts)}
    variables = [each for path in variable_files for each in _parse_variables_file(path, texts[path])]
    activate = []
    files = PackageFiles({path: row.kind for path, row in rows.items()}, prefix)
    for path in scripts:
        text = texts[path]
        effects = find_script_effects(path, text, prefix, files.test) if text is not None else None
        variables += effects.variables if effects else ()
        if effects is None or not effects.is_static:
            activate.append(path)
    return {"kind": "read", "env": variables, "activate": activate}


def _is_in_folder(path: str, folder: str, ending: str) -> bool:
    """Whether the pattern FOLDER/*ENDING of a shell matches a path."""
    name = path.removeprefix(folder)
    return path.startswith(folder) and name.endswith(ending) and "/" not in name and not name.startswith(".")


async def _read_paths(archive: PackageArchive) -> dict[str, _PathRow]:
    """Return the files of a package by path."""
    found = await archive.read_files(["info/paths.json"])
    if content := found["info/paths.json"]:
        rows: Iterable[Mapping[str, Any]] = json.loads(content)["paths"]
        return {
            row["_path"]: _PathRow(row.get("path_type", "hardlink"), row.get("prefix_placeholder") or "")
            for row in rows
        }
    # Packages before conda 4.3 have only a list of the files, in which links look like other files.
    lists = await archive.read_files(["info/files", "info/has_prefix"])
    if lists["info/files"] is None:
        raise ValueError("the archive has no list of its files")
    # The kind is not known, so no test of a file in a script has a result. Scripts with a placeholder are rare, and
    # `_decode_text` does not accept them.
    has_prefix = lists["info/has_prefix"] is not None
    return {
        path: _PathRow("unknown" if has_prefix or not path.startswith("etc/conda/") else "hardlink")
        for path in lists["info/files"].decode().splitlines()
    }


def _decode_text(content: bytes | None, row: _PathRow, prefix: str) -> str | None:
    """Return the text of a file as it is installed, or None if it is not a plain, short text."""
    if content is None or len(content) > _MAX_SCRIPT_BYTES:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text.replace(row.placeholder, prefix) if row.placeholder else text


def _parse_variables_file(path: str, text: str | None) -> list[ActivationVariable]:
    """Return the variables in a file of `etc/conda/env_vars.d`, except those that an image must not set."""
    try:
        value = json.loads(text or "")
    except ValueError:
        return []
    items = sorted(value.items()) if isinstance(value, dict) else []
    return [
        ActivationVariable(name, each, path)
        for name, each in items
        if is_settable(name) and isinstance(each, str) and is_storable_value(each)
    ]
