"""What a spec means, checked on the value as written, so that every diagnostic keeps its place."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics import Diagnostic, redact
from envcompile.spec.exports import EXPORTS
from envcompile.spec.image import reference
from envcompile.spec.indexes import check_indexes
from envcompile.spec.match_spec import match_spec
from envcompile.spec.read import CONTROL, shown
from envcompile.spec.refusal import Refusal
from envcompile.spec.requirement import name, requirement
from envcompile.spec.sdists import check_sdists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.source import KeyPath

# What makes an environment, and with it a build stage.
_BUILT = (("pip", "packages"), ("conda", "packages"), ("python",))

# Arrays in which nothing may stand twice, and what their items are called.
_LISTS = {
    ("platforms",): "the platform",
    ("image", "expose"): "the port",
    ("conda", "channels"): "the channel",
    ("apt", "packages"): "the package",
    ("apt", "build"): "the package",
    ("cuda", "compute"): "the architecture",
    ("lock", "exports"): "the file",
}


def check(value: dict[str, Any]) -> list[Diagnostic]:
    """All mistakes of meaning in a spec's TOML value; shapes are `decode`'s business and are passed over here."""
    return [
        *_python(value),
        *_nothing_to_install(value),
        *_requirements(value),
        *_conda(value),
        *_names(value, "exclude"),
        *_names(value, "allow-sdist"),
        *_excluded(value),
        *check_sdists(_at(value, "pip")),
        *check_indexes(_at(value, "pip", "extra-indexes")),
        *_images(value),
        *_commands(value),
        *_exports(value),
        *(problem for path, noun in _LISTS.items() for problem in _duplicates(value, path, noun)),
    ]


def _python(value: dict[str, Any]) -> Iterator[Diagnostic]:
    # conda brings its own where a package needs it, and Debian packages need none.
    others = any(_at(value, table, "packages") for table in ("conda", "apt"))
    if "python" not in value and (_at(value, "pip", "packages") or not others):
        hint = 'add `python = "3.12"` at the top'
        yield Diagnostic("missing-key", "`python` is missing, and pip packages need one", (), hint)


def _at(value: dict[str, Any], *path: str) -> Any:
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)  # type: ignore[assignment]
    return value


def _strings(value: dict[str, Any], *path: str) -> Iterator[tuple[KeyPath, str]]:
    array = _at(value, *path)
    for index, each in enumerate(array if isinstance(array, list) else ()):
        if isinstance(each, str) and not CONTROL.search(each):
            yield (*path, index), each


def _nothing_to_install(value: dict[str, Any]) -> Iterator[Diagnostic]:
    if value.get("platforms") == []:
        yield Diagnostic("platform", "`platforms` is empty", ("platforms",), 'write `["linux-64"]`')
    if _at(value, "pip", "packages") in (None, []) and not any(
        _at(value, table, "packages") for table in ("conda", "apt")
    ):
        path: KeyPath = ("pip", "packages") if _at(value, "pip", "packages") == [] else ()
        hint = 'add a table `[pip]` with `packages = ["numpy"]`'
        yield Diagnostic("nothing-to-install", "the spec asks for no package at all", path, hint)
    elif _at(value, "apt", "build") and not any(_at(value, *path) for path in _BUILT):
        message = (
            "nothing is built without pip packages, conda packages or a `python`, and so nothing can use `apt.build`"
        )
        yield Diagnostic(
            "nothing-to-install", message, ("apt", "build"), "take it out, or move it to `packages`", "key"
        )


def _requirements(value: dict[str, Any]) -> Iterator[Diagnostic]:
    seen: dict[tuple[str, str], str] = {}
    for path, text in _strings(value, "pip", "packages"):
        try:
            parsed = requirement(text)
        except Refusal as refusal:
            yield Diagnostic(refusal.rule, refusal.message, path, refusal.hint)
            continue
        normal, marker = name(parsed.name), str(parsed.marker)
        if (normal, marker) in seen:
            message = f"`{normal}` is asked for twice, as `{shown(seen[normal, marker])}` and `{shown(text)}`"
            yield Diagnostic("duplicate", message, path, "write the two as one requirement")
        seen[normal, marker] = text


def _conda(value: dict[str, Any]) -> Iterator[Diagnostic]:
    if _at(value, "conda", "packages") and not _at(value, "conda", "channels"):
        hint = 'add `channels = ["conda-forge"]`'
        yield Diagnostic("missing-key", "`channels` is missing from `conda`", ("conda",), hint, "key")
    seen: dict[str, str] = {}
    for path, text in _strings(value, "conda", "packages"):
        try:
            parsed = match_spec(text)
        except Refusal as refusal:
            yield Diagnostic(refusal.rule, refusal.message, path, refusal.hint)
            continue
        if parsed.name in seen:
            message = f"`{parsed.name}` is asked for twice, as `{shown(seen[parsed.name])}` and `{shown(text)}`"
            yield Diagnostic("duplicate", message, path, "write the two as one requirement")
        seen[parsed.name] = text
    for path, text in _strings(value, "conda", "channels"):
        if redact(text) != text:
            hint = "give credentials where the conda client keeps them"
            yield Diagnostic("userinfo", "this channel holds a user name, a password or a token", path, hint)
        elif not re.fullmatch(r"(?:https?://|file:///|\.{0,2}/)?[A-Za-z0-9](?:[A-Za-z0-9._~%+/-]|:(?!//))*", text):
            hint = "write a name such as `conda-forge`, a URL or a path"
            yield Diagnostic("channel", f"`{shown(text)}` is not a channel", path, hint)


def _names(value: dict[str, Any], key: str) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for path, text in _strings(value, "pip", key):
        try:
            normal = name(text)
        except Refusal as refusal:
            yield Diagnostic(refusal.rule, refusal.message, path, refusal.hint)
            continue
        if normal in seen:
            yield Diagnostic("duplicate", f"`{normal}` is named twice in `{key}`", path, "keep one")
        seen.add(normal)


def _excluded(value: dict[str, Any]) -> Iterator[Diagnostic]:
    asked: dict[str, str] = {}
    for _, text in _strings(value, "pip", "packages"):
        with suppress(Refusal):
            asked[name(requirement(text).name)] = text
    for path, text in _strings(value, "pip", "exclude"):
        with suppress(Refusal):
            if name(text) in asked:
                message = f"`{shown(text)}` is excluded, and asked for as `{shown(asked[name(text)])}`"
                yield Diagnostic("excluded-requirement", message, path, "take it out of one of the two")


def _images(value: dict[str, Any]) -> Iterator[Diagnostic]:
    base = _at(value, "image", "base")
    path: KeyPath = ("image", "base")
    if isinstance(base, dict):
        base, path = base.get("image"), (*path, "image")
    tools = _at(value, "tools")
    named = tools.items() if isinstance(tools, dict) else ()
    for where, image in [(path, base), *((("tools", key), each) for key, each in named)]:
        if not isinstance(image, str) or CONTROL.search(image):
            continue
        parts, quoted = reference(image), f"`{shown(image)}`"
        hint = "write `name:tag`, or `name:tag@sha256:` and the 64 hexadecimal digits of a digest"
        if "@" in image and "://" not in image and "@sha256:" not in image:
            yield Diagnostic("image-reference", f"{quoted} has no sha256 digest after its `@`", where, hint)
        elif parts is None:
            yield Diagnostic("image-reference", f"{quoted} is not an image reference", where, hint)


def _commands(value: dict[str, Any]) -> Iterator[Diagnostic]:
    for key in ("entrypoint", "command"):
        words = _at(value, "image", key)
        if isinstance(words, list) and words[:1] in ([], [""]):
            path: KeyPath = ("image", key, 0) if words else ("image", key)
            yield Diagnostic("command", f"`{key}` names no program", path, f"name a program, or take `{key}` out")


def _exports(value: dict[str, Any]) -> Iterator[Diagnostic]:
    """Files that would have nothing to hold, or the packages of too many platforms."""
    given = _at(value, "platforms")
    platforms = given if isinstance(given, list) and given else ["linux-64"]
    for path, text in _strings(value, "lock", "exports"):
        format_, platform = EXPORTS.get(text, ("", ""))
        kind = "pip" if format_ in {"pylock", "requirements"} else "conda"
        if format_ and not _at(value, kind, "packages"):
            message = f"`{text}` lists {kind} packages, and none is asked for"
            yield Diagnostic("export", message, path, f"take it out, or add `packages` to `[{kind}]`")
        elif platform and platform not in platforms:
            message = f"`{text}` is for `{platform}`, which is not one of the spec's platforms"
            yield Diagnostic("export", message, path, "take it out, or add the platform")
        elif format_ == "explicit" and not platform and len(platforms) > 1:
            message = f"`{text}` is a list for one platform, and the spec has {len(platforms)}"
            names = " and ".join(f"`explicit-{shown(str(each))}.txt`" for each in platforms)
            yield Diagnostic("export", message, path, f"write {names}")


def _duplicates(value: dict[str, Any], path: tuple[str, ...], noun: str) -> Iterator[Diagnostic]:
    array = _at(value, *path)
    seen: set[str | int] = set()
    for index, each in enumerate(array if isinstance(array, list) else ()):
        if isinstance(each, str) or (type(each) is int and 0 < each < 2**63):
            if each in seen:
                yield Diagnostic("duplicate", f"{noun} `{shown(str(each))}` is named twice", (*path, index), "keep one")
            seen.add(each)
