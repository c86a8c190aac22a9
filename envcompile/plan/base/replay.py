"""Cases from a file, decided again and compared: what `python -m envcompile.plan.base` does.

A case is `{id, title, input, expect}`. `input` is a question and some of a lock's packages; `expect` says what must be:
an error's code alone, or images, warnings and more. Each key that it has is compared, and nothing else is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.utils import canonicalize_name

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.plan.base.decide import decide
from envcompile.plan.base.model import Locked, Question
from envcompile.plan.base.versions import number
from envcompile.platforms import PLATFORM_ALIASES, PLATFORMS

if TYPE_CHECKING:
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.model import Decision, Stage

_KEYS = {
    "python": "python",
    "cuda": "cuda",
    "os": "system",
    "base": "image",
    "driver": "driver",
    "datacenter": "data_centre",
    "jit": "jit",
    "gpu": "gpu",
    "min_glibc": "glibc",
    "cmake_args": "cmake",
    "allow_eol": "accept_old",
}
_PACKAGES = {"pip", "conda", "platform", "platforms", "sm"}


class Replayed(NamedTuple):
    """One case: what differs (nothing: it matches), and the keys of its input that nobody reads."""

    name: str
    title: str
    wrong: tuple[str, ...]
    unread: tuple[str, ...]


def replay(text: str, catalogue: Catalogue) -> list[Replayed]:
    """Every case of a file's text. Raises `Unusable` where it is none."""
    try:
        cases = json.loads(text)["vectors"]
        return [_one(case, catalogue) for case in cases]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"these are no cases: {type(error).__name__} at {error}", "see docs/base.md for the form"
        ) from error


def _one(case: dict[str, Any], catalogue: Catalogue) -> Replayed:
    given = case["input"]
    decision = decide(question(given), packages(given), catalogue)
    unread = tuple(sorted(given.keys() - _KEYS.keys() - _PACKAGES))
    return Replayed(case["id"], case["title"], tuple(_wrong(case["expect"], decision)), unread)


def question(given: dict[str, Any]) -> Question:
    """The question of a case. Its packages are some of a lock's, not all."""
    values = {_KEYS[key]: value for key, value in given.items() if key in _KEYS and value is not None}
    if values.get("cuda") in ("none", False):
        values["cuda"] = False
    platforms = given.get("platforms") or [given.get("platform", "linux/amd64")]
    known = [PLATFORMS.get(PLATFORM_ALIASES.get(each, each)) for each in platforms]
    named = [one.docker_platform if one else each for one, each in zip(known, platforms, strict=True)]
    return Question(**values, platforms=tuple(named), compute=tuple(given.get("sm", ())), whole=False)


def packages(given: dict[str, Any]) -> tuple[Locked, ...]:
    """The packages of a case, pip's and conda's."""
    pip = [
        Locked(canonicalize_name(each["name"]), each["version"], each.get("kind", "wheel"), file=each.get("file", ""))
        for each in given.get("pip", [])
    ]
    conda = [Locked(each["name"], each["version"], "conda", each.get("build", "")) for each in given.get("conda", [])]
    return (*pip, *conda)


def _wrong(expect: dict[str, Any], decision: Decision) -> list[str]:
    """What differs, key by key. Where an error is expected there must be that one alone, and else none."""
    errors = sorted({each.code for each in decision.errors})
    wanted = [expect["error"]] if "error" in expect else []
    wrong = [] if errors == wanted else [f"errors: {errors}, not {wanted}"]
    if wrong or wanted:
        return wrong
    return [
        f"{key}: {json.dumps(found)}, not {json.dumps(told)}"
        for key, told in expect.items()
        if not _same(key, told, found := _found(key, decision))
    ]


def _found(key: str, decision: Decision) -> object:
    lists = {"warnings": sorted(each.code for each in decision.warnings), "sm": list(decision.compute)}
    plain = {"build": _image(decision.build), "run": _image(decision.run), "cuda": decision.cuda}
    rest = {
        "env": dict(decision.env),
        "build_env": dict(decision.build_env),
        "labels": dict(decision.labels),
        "min_driver": decision.driver,
        "apt_run": sorted(decision.apt_run),
        "apt_build": sorted(decision.apt_build),
    }
    return {**lists, **plain, **rest}.get(key, "(nobody says)")


def _same(key: str, told: object, found: object) -> bool:
    """Lists in any order; drivers by their numbers (450.80.2 is 450.80.02)."""
    if key == "min_driver" and isinstance(told, str) and isinstance(found, str):
        return number(told) == number(found)
    if isinstance(told, list) and isinstance(found, list):
        return sorted(map(str, told)) == sorted(map(str, found))
    return told == found


def _image(stage: Stage | None) -> str | None:
    return stage.image if stage else None
