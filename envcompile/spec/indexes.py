"""Which index serves a package: the first extra index with a pattern for its name, else the default one; no other."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics import Diagnostic
from envcompile.spec.model import Index
from envcompile.spec.read import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envcompile.source import KeyPath
    from envcompile.spec.model import Pip

# What the lock calls the index that serves whatever no other is named for.
DEFAULT = "default"


def serving(package: str, indexes: Iterable[Index]) -> Index:
    """The one index that serves a package, which is named as PEP 503 normalises it."""
    by_name = (each for each in indexes if any(_covers(pattern, package) for pattern in each.packages))
    return next(by_name, Index(DEFAULT, "", ()))


def index_of(package: str, indexes: Iterable[Index]) -> str:
    """The name of that index."""
    return serving(package, indexes).name


def urls(pip: Pip) -> dict[str, str]:
    """The URLs that the spec gives, by the names of the indexes."""
    given = {DEFAULT: pip.index} if pip.index else {}
    return given | {each.name: each.url for each in pip.extra_indexes}


def normalized(pattern: str) -> str:
    """A name or a glob as PEP 503 normalises names."""
    return re.sub(r"[-_.]+", "-", pattern).lower()


def _covers(pattern: str, package: str) -> bool:
    return fnmatchcase(package, normalized(pattern))


def check_indexes(tables: object) -> Iterator[Diagnostic]:
    """What is wrong with the value of `extra-indexes`, beside its shape."""
    rows = tables if isinstance(tables, list) else []
    seen: dict[str, str] = {}
    names: set[str] = set()
    for place, row in enumerate(each if isinstance(each, dict) else {} for each in rows):
        path: KeyPath = ("pip", "extra-indexes", place)
        given = row.get("name")
        name = given if isinstance(given, str) else ""
        if name == DEFAULT:
            message = f"`{DEFAULT}` is the index that serves what no other is named for"
            yield Diagnostic("index", message, (*path, "name"), "give this one another name, or write it as `index`")
        elif name and name in names:
            yield Diagnostic("duplicate", f"the index `{shown(name)}` is there twice", (*path, "name"), "rename one")
        names.add(name)
        if row.get("packages") == []:
            message = f"no package is named for the index `{shown(name)}`, so it serves none"
            yield Diagnostic("index", message, (*path, "packages"), 'name them: `packages = ["acme-*"]`')
        yield from _patterns(row.get("packages"), (*path, "packages"), name, seen)


def _patterns(patterns: Any, path: KeyPath, name: str, seen: dict[str, str]) -> Iterator[Diagnostic]:
    """Names and globs that are there twice, or that an earlier index covers; `seen` maps each to its index."""
    texts = enumerate(patterns if isinstance(patterns, list) else ())
    for item, text in ((item, text) for item, text in texts if isinstance(text, str)):
        pattern, where = normalized(text), (*path, item)
        if seen.get(pattern) == name:
            yield Diagnostic("duplicate", f"`{shown(text)}` is named twice for one index", where, "keep one")
            continue
        # Of two globs one may cover the other in part, which is what the order is for.
        first = next((each for each in seen if each == pattern or _swallows(each, pattern)), None)
        if first is not None and seen[first] != name:
            message = f"`{shown(text)}` is served by the index `{shown(seen[first])}`, which comes first"
            hint = f"put this index before it, or take `{shown(text if first == pattern else first)}` out of one"
            yield Diagnostic("index", message, where, hint)
        seen.setdefault(pattern, name)


def _swallows(earlier: str, pattern: str) -> bool:
    return not set(pattern) & set("*?") and fnmatchcase(pattern, earlier)
