"""What a spec says of sdists, checked: only what is allowed is described, and only uv resolves it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics import Diagnostic
from envcompile.spec.indexes import normalized
from envcompile.spec.read import CONTROL, shown
from envcompile.spec.refusal import Refusal
from envcompile.spec.requirement import name, requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.source import KeyPath


def check_sdists(pip: object) -> Iterator[Diagnostic]:
    """What is wrong with `allow-sdist` and `metadata` of the value of `[pip]`, beside their shapes."""
    table = pip if isinstance(pip, dict) else {}
    given = table.get("allow-sdist")
    allowed = {normalized(each) for each in given if isinstance(each, str)} if isinstance(given, list) else set()
    if allowed and table.get("resolver") == "pip-tools":
        message = "`pip-tools` runs the code of sdists to learn what they need, and a lock runs none"
        hint = "take `resolver` out: uv is given what the sdists themselves say"
        yield Diagnostic("sdist", message, ("pip", "allow-sdist"), hint, "key")
    said = table.get("metadata")
    seen: set[str] = set()
    for each, row in said.items() if isinstance(said, dict) else ():
        path: KeyPath = ("pip", "metadata", each)
        try:
            normal = name(each)
        except Refusal as refusal:
            if not CONTROL.search(each):
                yield Diagnostic(refusal.rule, refusal.message, path, refusal.hint, "key")
            continue
        if normal in seen:
            yield Diagnostic("duplicate", f"`{normal}` is described twice in `metadata`", path, "keep one", "key")
        elif normal not in allowed:
            message = f"`{shown(each)}` is described in `metadata`, and no sdist of it is allowed"
            yield Diagnostic("sdist", message, path, f'add `allow-sdist = ["{normal}"]`, or take the table out', "key")
        seen.add(normal)
        yield from _described(path, row if isinstance(row, dict) else {})


def _described(path: KeyPath, row: dict[str, Any]) -> Iterator[Diagnostic]:
    for key in ("requires-dist", "build-requires"):
        texts = row.get(key)
        for index, text in enumerate(texts if isinstance(texts, list) else ()):
            if isinstance(text, str):
                try:
                    requirement(text)
                except Refusal as refusal:
                    yield Diagnostic(refusal.rule, refusal.message, (*path, key, index), refusal.hint)
    python = row.get("requires-python")
    if isinstance(python, str):
        from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - for sdists only

        with suppress(InvalidSpecifier):
            SpecifierSet(python)
            return
        message = f"`{shown(python)}` is not a range of versions"
        yield Diagnostic("requirement", message, (*path, "requires-python"), "write it as `>=3.9`")
