"""A catalogue that somebody hands in: all that is wrong with it at once, each with its place in the file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError, did_you_mean
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.plan.base.catalogue import FORMAT, Catalogue
from envcompile.plan.base.json_places import offset
from envcompile.plan.base.shape import Mistake, mistakes
from envcompile.plan.base.versions import minor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RULE = "catalogue"
_HINT = "`envcompile schema catalogue` prints the form, which editors check while one writes"


def validated(name: str, text: str, schema: Mapping[str, Any]) -> Catalogue:
    """The catalogue of a text that is shown as `name`. `schema` is that of `schemas/catalogue.v1.json`.

    Raises `Problems` with every mistake and its place.
    """
    source = TomlSource(name, text)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"`{name}` is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise DiagnosticsError(source, [Diagnostic(RULE, message, hint=_HINT, offset=error.pos)]) from None
    except RecursionError:
        raise DiagnosticsError(
            source, [Diagnostic(RULE, f"`{name}` is nested too deeply", hint=_HINT, offset=0)]
        ) from None
    if isinstance(data, dict) and data.get("format") != FORMAT and "format" in data:
        message = f"the catalogue is of format {data['format']!r}, and this release reads format {FORMAT}"
        where = offset(text, ("format",))
        raise DiagnosticsError(source, [Diagnostic(RULE, message, hint="take one for this release", offset=where)])
    found = list(mistakes(data, schema)) or list(_contradictions(data))
    if found:
        rows = [
            Diagnostic(RULE, each.message, hint=each.hint or _HINT, offset=offset(text, each.path, key=each.key))
            for each in found
        ]
        raise DiagnosticsError(source, rows)
    return Catalogue(data, text)


def _contradictions(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """What no schema can say: names that must be elsewhere in the catalogue, and rows that stand twice."""
    yield from _images(data)
    systems, libraries = {row[0] for row in data["systems"]["rows"]}, data["libraries"]
    named = [(("policy", "systems", at), each) for at, each in enumerate(data["policy"]["systems"])]
    named += [(("systems", "debian", word), each) for word, each in data["systems"]["debian"].items()]
    for path, each in named:
        if each not in systems:
            yield Mistake(path, f"`{each}` is no system of the table `systems`", did_you_mean(each, systems))
    for row, need in enumerate(data["needs"]):
        for key in ("libraries", "path"):
            for at, each in enumerate(need.get(key, ())):
                if each not in libraries:
                    message = f"`{each}` is no part of CUDA in the table `libraries`"
                    yield Mistake(("needs", row, key, at), message, did_you_mean(each, libraries))
    releases = {minor(row[0]) for row in data["images"]["rows"]}
    for word, each in data["policy"]["minors"].items():
        if each not in releases:
            yield Mistake(("policy", "minors", word), f"there is no image of CUDA `{each}` in the table `images`")


def _images(data: Mapping[str, Any]) -> Iterator[Mistake]:
    rows, systems = data["images"]["rows"], {row[0] for row in data["systems"]["rows"]}
    if not rows:
        yield Mistake(("images", "rows"), "there is no image in the table `images`")
    seen: set[tuple[str, str]] = set()
    for number, (cuda, system, *_) in enumerate(rows):
        if system not in systems:
            hint = did_you_mean(system, systems)
            yield Mistake(("images", "rows", number, 1), f"`{system}` is no system of the table `systems`", hint)
        if (cuda, system) in seen:
            yield Mistake(("images", "rows", number), f"CUDA `{cuda}` on `{system}` stands twice in the table `images`")
        seen.add((cuda, system))
    if data["images"]["cudnn-words"][:1] != [] and data["images"]["cudnn-words"][0][0] == "0":
        return
    yield Mistake(("images", "cudnn-words"), "`images.cudnn-words` does not begin with the word from `0` on")
