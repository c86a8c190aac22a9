"""What a spec means, checked on the value as written, so that every diagnostic keeps its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcompile.diagnostics import Diagnostic
from envcompile.spec.image import reference
from envcompile.spec.requirement import Refusal, name, render, requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.source import KeyPath


def check(value: dict[str, Any]) -> list[Diagnostic]:
    """All mistakes of meaning in a spec's TOML value; shapes are `decode`'s business and are passed over here."""
    return [
        *_nothing_to_install(value),
        *_requirements(value),
        *_images(value),
        *_duplicates(value, ("platforms",), "the platform"),
        *_duplicates(value, ("image", "expose"), "the port"),
    ]


def _at(value: dict[str, Any], *path: str) -> Any:  # noqa: ANN401 - TOML's value
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)  # type: ignore[assignment]
    return value


def _strings(value: dict[str, Any], *path: str) -> Iterator[tuple[KeyPath, str]]:
    array = _at(value, *path)
    for index, each in enumerate(array if isinstance(array, list) else ()):
        if isinstance(each, str) and not any(ord(c) < ord(" ") and c != "\t" for c in each):
            yield (*path, index), each


def _nothing_to_install(value: dict[str, Any]) -> Iterator[Diagnostic]:
    if _at(value, "pip", "packages") in (None, []) and not any(_at(value, table) for table in ("conda", "apt")):
        path: KeyPath = ("pip", "packages") if _at(value, "pip", "packages") == [] else ()
        hint = 'add a table `[pip]` with `packages = ["numpy"]`'
        yield Diagnostic("nothing-to-install", "the spec asks for no package at all", path, hint)


def _requirements(value: dict[str, Any]) -> Iterator[Diagnostic]:
    seen: dict[tuple[str, str], str] = {}
    asked: dict[str, str] = {}
    for path, text in _strings(value, "pip", "packages"):
        try:
            parsed = requirement(text)
        except Refusal as refusal:
            yield Diagnostic(refusal.rule, refusal.message, path, refusal.hint)
            continue
        normal, marker = name(parsed.name), str(parsed.marker)
        if (normal, marker) in seen:
            message = f"`{normal}` is asked for twice, as `{seen[normal, marker]}` and `{text}`"
            yield Diagnostic("duplicate", message, path, "write the two as one requirement")
        seen[normal, marker] = asked[normal] = text
    yield from _excluded(value, asked)


def _excluded(value: dict[str, Any], asked: dict[str, str]) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for path, text in _strings(value, "pip", "exclude"):
        try:
            normal = name(text)
        except Refusal as refusal:
            yield Diagnostic(refusal.rule, refusal.message, path, refusal.hint)
            continue
        if normal in seen:
            yield Diagnostic("duplicate", f"`{normal}` is excluded twice", path, "keep one")
        elif normal in asked:
            message = f"`{normal}` is excluded, and asked for as `{asked[normal]}`"
            yield Diagnostic("excluded-requirement", message, path, "take it out of one of the two")
        seen.add(normal)


def _images(value: dict[str, Any]) -> Iterator[Diagnostic]:
    base = _at(value, "image", "base")
    path: KeyPath = ("image", "base")
    if isinstance(base, dict):
        base, path = base.get("image"), (*path, "image")
    tools = _at(value, "tools")
    references = [(path, base), *((("tools", key), each) for key, each in (tools if isinstance(tools, dict) else {}).items())]
    for where, image in references:
        if not isinstance(image, str) or any(ord(c) < ord(" ") for c in image):
            continue
        parts = reference(image)
        hint = "write `name:tag@sha256:` and the 64 hexadecimal digits of its digest"
        if "@" in image and "://" not in image and "@sha256:" not in image:
            yield Diagnostic("image-reference", f"`{image}` has no sha256 digest after its `@`", where, hint)
        elif parts is None:
            yield Diagnostic("image-reference", f"`{image}` is not an image reference", where, hint)
        elif parts.digest is None:
            message = f"`{image}` has no digest, so tomorrow it can be another image"
            yield Diagnostic("digest-missing", message, where, hint)


def _duplicates(value: dict[str, Any], path: tuple[str, ...], noun: str) -> Iterator[Diagnostic]:
    array = _at(value, *path)
    seen: list[object] = []
    for index, each in enumerate(array if isinstance(array, list) else ()):
        if each in seen:
            yield Diagnostic("duplicate", f"{noun} `{each}` is named twice", (*path, index), "keep one")
        seen.append(each)


