"""Locks edited by hand: each field of each fixture lock gets another well-formed value, and a correct digest.

Promise 7: a lock edited by hand is caught even if its digest was recomputed. A reviewer may see nothing but the
output of `envcompile diff`, or git's diff of our listing: both must show every edit that changes the image.
"""

from __future__ import annotations

import copy
import hashlib
import re
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import pytest
import tomli

from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.diagnostics.errors import EnvcompileError, InvalidInputError
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.emit.dockerfile import compile_dockerfile
from envcompile.loading import Project, check_lock_fully
from envcompile.lock.diff import compare_locks
from envcompile.lock.diff_formats import format_listing
from envcompile.lock.reader import decode_lock
from tests.kit.project import CASES, case, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str | int, ...]

OTHER_VALUES: dict[str, str] = {
    "architecture": "all",
    "glibc": "2.31",
    "index": "other",
    "os": "debian-11",
    "path": "/opt/python",
    "snapshot": "2020-01-01T00:00:00Z",
    "subdir": "noarch",
    "url": "https://other.example.com/x",
}
# The text of a field that no other rule covers is free, or must match another field.
FREE_TEXT_KEYS = ("because", "decision", "hint", "message", "against", "value")


def change_value(key: str, value: Any) -> Any:
    """Another well-formed value for a field, or None if there is none."""
    if isinstance(value, int):
        return value + 1
    if re.fullmatch("[0-9a-f]{32}|[0-9a-f]{64}", value):
        return hashlib.sha256(value.encode()).hexdigest()[: len(value)]
    if key == "image":
        return re.sub(r"^.*(?=@)", "other.example.com/image", value)
    if key == "file":
        return re.sub(r"^([A-Za-z0-9_]+)-", r"\1_other-", value)
    if key in ("version", "build", "cuda", "driver", *FREE_TEXT_KEYS):
        return f"{value}1"
    other = OTHER_VALUES.get(key)
    return other if other != value else None


def iter_leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from iter_leaves(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from iter_leaves(each, (*path, index))
    else:
        yield path, value


def find_key(path: Path) -> str:
    """The last key of a path: that of an array, if the value is one of its items."""
    return str(next(part for part in reversed(path) if isinstance(part, str)))


def edit_locks(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """One edited value for each kind of field of a case's lock, with the place of the edit."""
    value = tomli.loads(case(name)[1])
    seen = set()
    for path, old in iter_leaves(value):
        kind = tuple(part for part in path if isinstance(part, str))
        new = change_value(find_key(path), old)
        if new is None or path[0] in ("format", "digest", "counts") or kind in seen:
            continue
        seen.add(kind)
        edited = copy.deepcopy(value)
        table: Any = edited
        for part in path[:-1]:
            table = table[part]
        table[path[-1]] = new
        yield ".".join(map(str, path)), edited


@pytest.mark.parametrize("name", CASES)
def test_an_edit_that_changes_the_image_is_in_the_diff(name: str) -> None:
    spec, text = spec_of(case(name)[0]), case(name)[1]
    lock = decode_lock(tomli.loads(text), "x.lock", "", is_intact=True)
    dockerfile, listing = compile_dockerfile(spec, lock), [*format_listing(lock)]
    silent = []
    for place, value in edit_locks(name):
        try:
            edited = decode_lock(value, "x.lock", "", is_intact=True)
        except InvalidInputError:
            continue
        try:
            is_same = compile_dockerfile(spec, edited) == dockerfile
        except EnvcompileError:
            is_same = False
        if not is_same and not compare_locks(lock, edited):
            silent.append(f"{place}: not in the diff")
        if not is_same and [*format_listing(edited)] == listing:
            silent.append(f"{place}: not in the listing")
    assert silent == []


# Fields that no other field and no fact of the spec or the catalogue contradicts: texts for people, the sizes of files,
# and the md5 of conda's archives, which is only in exports. A size that moves a package to another layer changes the
# Dockerfile.
FREE_KEYS = ("md5", "against", "decision", "because", "rejected", "step", "inputs", "message", "hint", "size", "source")


@pytest.mark.parametrize("name", CASES)
def test_the_full_check_finds_each_edit_that_contradicts_the_lock(name: str) -> None:
    """Promise 7, whether or not the edit changes the image."""
    project = Project(FilePath("envcompile.toml"), TomlSource("envcompile.toml", case(name)[0]))
    unseen = [place for place, value in edit_locks(name) if not find_messages(project, value)]
    assert [place for place in unseen if not set(place.split(".")) & set(FREE_KEYS)] == []


def find_messages(project: Project, value: dict[str, Any]) -> list[str]:
    """What the reader or the full check reports about the value of a lock."""
    try:
        lock = decode_lock(value, "x.lock", "", is_intact=True)
        return [each.message for each in check_lock_fully(project, lock, load_default_catalogue())[1]]
    except EnvcompileError as error:
        return [error.message]


@pytest.mark.parametrize("variable", ["PATH", "LD_PRELOAD", "BASH_ENV", "OTHER"])
@pytest.mark.parametrize("key", ["env", "build-env"])
def test_a_lock_cannot_set_variables_that_select_code(key: str, variable: str) -> None:
    project = Project(FilePath("envcompile.toml"), TomlSource("envcompile.toml", case("cuda")[0]))
    value = tomli.loads(case("cuda")[1])
    value["platforms"]["linux-64"]["decided"][key] = [{"name": variable, "value": "/evil"}]
    expected = (
        f"the lock sets the variable `{variable}`, which no choice of a base image sets"
        if variable == "OTHER"
        else f"`x.lock` is not a valid lock: `platforms.linux-64.decided.{key}.name` is missing or malformed"
    )
    assert expected in find_messages(project, value)


@pytest.mark.parametrize("name", CASES)
def test_the_full_check_finds_each_edit_that_changes_the_image(name: str) -> None:
    """Promise 7: `verify --full` does not trust the digests of the lock. An untouched lock passes."""
    project = Project(FilePath("envcompile.toml"), TomlSource("envcompile.toml", case(name)[0]))
    lock = decode_lock(tomli.loads(case(name)[1]), "x.lock", "", is_intact=True)
    catalogue = load_default_catalogue()
    assert check_lock_fully(project, lock, catalogue)[1] == []
    dockerfile = compile_dockerfile(project.spec, lock)
    found = set()
    for place, value in edit_locks(name):
        try:
            edited = decode_lock(value, "x.lock", "", is_intact=True)
            is_same = compile_dockerfile(project.spec, edited) == dockerfile
        except EnvcompileError:
            continue
        messages = [each.message for each in check_lock_fully(project, edited, catalogue)[1]]
        assert messages or is_same, place
        found |= {message.split("`")[0] for message in messages}
    assert any("image in the lock is" in message for message in found)
