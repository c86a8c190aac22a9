"""conda requirements (MatchSpec): the subset that conda, mamba and rattler read alike; the rest is refused with a hint.

Facts: conda and rattler differ in `>1.26.*`, `!=1.26*`, `1.*.4`, `~=1` and letter prefixes, and rattler's lenient
parser swallows a missing comma and a single-colon channel (measured with py-rattler 0.28 against conda-lock 4.0.3).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from envcompile.diagnostics import redact
from envcompile.spec.read import shown
from envcompile.spec.refusal import ARCHIVES, LONGEST, RECIPE, Refusal

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_PLAIN = re.compile(rf"(?:(?P<channel>[^\s\[\]]+?)::)?(?P<name>{_NAME})(?P<rest>.*)", re.DOTALL)
_VERSION = r"[0-9]+(?:![0-9]+)?[0-9A-Za-z_.+]*"
_CONSTRAINT = re.compile(rf"(?P<operator>==|!=|~=|>=|<=|>|<|=)?(?P<version>{_VERSION}|\*)(?P<star>\.?\*)?")
_BRACKET = re.compile(r"""(?P<key>[a-z_0-9]+)\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^,'"\s]+))""")
_BRACKET_KEYS = ("version", "build", "channel", "subdir", "build_number", "md5", "sha256")
_DIFFERENT = "means different things to conda and rattler"
_BRACKETS_HINT = 'write `[version=">=2", build="cuda*"]`'
_BUILD = re.compile(r"[A-Za-z0-9_.*+]+")


class MatchSpec(NamedTuple):
    """A conda requirement in its parts: `channel::name version build`; brackets are folded in."""

    name: str
    version: str | None
    build: str | None
    channel: str | None


def match_spec(text: str) -> MatchSpec:
    """One conda requirement. Raises `Refusal` with the rule that says what it is instead, and the spelling to use."""
    stripped = text.strip()
    quoted = f"`{shown(stripped)}`"
    _refuse_others(stripped, quoted)
    found = _PLAIN.fullmatch(stripped)
    if found is None:
        raise Refusal("match-spec", f"{quoted} is not a conda requirement", 'write it as `"numpy >=2,<3"`')
    channel, rest = found["channel"], found["rest"].strip()
    if rest.startswith(":"):
        hint = f"write two colons: `{found['name']}::{rest.lstrip(':')}`"
        raise Refusal("match-spec", f"{quoted} names a channel with a single colon", hint)
    brackets: dict[str, str] = {}
    if ("[" in rest) != rest.endswith("]"):
        raise Refusal("match-spec", f"{quoted} has brackets that cannot be read", _BRACKETS_HINT)
    if rest.endswith("]"):
        rest, _, inside = rest[:-1].partition("[")
        brackets = _brackets(inside, quoted)
    version, build = _version_and_build(rest.strip(), quoted)
    version, build = brackets.get("version", version), brackets.get("build", build)
    if version is not None:
        _check_version(version, quoted)
    return MatchSpec(found["name"].lower(), version, build, brackets.get("channel", channel))


def _refuse_others(stripped: str, quoted: str) -> None:
    if len(stripped) > LONGEST:
        raise Refusal("match-spec", f"{quoted} is longer than any requirement", "write a name and a range")
    if stripped.startswith("-"):
        raise Refusal("requirement-option", f"{quoted} is an option, not a requirement", "write a name and a range")
    if redact(stripped) != stripped:
        hint = "take it out of the spec, and give credentials where the conda client keeps them"
        raise Refusal("userinfo", f"{quoted} holds a user name, a password or a token", hint)
    if stripped.startswith((".", "/", "~")) or stripped.endswith((*ARCHIVES, ".conda")):
        raise Refusal("requirement-path", f"{quoted} is a file, which no lock can pin", RECIPE)
    if "://" in stripped:
        raise Refusal("requirement-url", f"{quoted} is a URL", "write `channel::name`, and the channel in `channels`")


def _brackets(inside: str, quoted: str) -> dict[str, str]:
    values = {
        each["key"]: next(value for value in (each["double"], each["single"], each["bare"]) if value is not None)
        for each in _BRACKET.finditer(inside)
    }
    if strange := [key for key in values if key not in _BRACKET_KEYS]:
        known = ", ".join(f"`{key}`" for key in _BRACKET_KEYS)
        raise Refusal("match-spec", f"{quoted} has the key `{strange[0]}` in brackets", f"known are {known}")
    if _BRACKET.sub("", inside).strip(", \t"):
        raise Refusal("match-spec", f"{quoted} has brackets that cannot be read", _BRACKETS_HINT)
    return values


def _version_and_build(rest: str, quoted: str) -> tuple[str | None, str | None]:
    if not rest:
        return None, None
    # Operators may stand apart from their version: `>= 2, < 3`.
    words = re.sub(r"\s*([,|])\s*", r"\1", re.sub(r"([=<>!~]=?|,|\|)\s+", r"\1", rest)).split()
    if len(words) == 1 and (fuzzy := re.fullmatch(r"(={1,2}[^=,|<>]+)=([^=]+)", words[0])):
        words = [fuzzy[1], fuzzy[2]]
    if len(words) > 1 and re.match(r"[<>=!~]", words[1]):
        hint = f"put a comma between them: `{','.join(words[:2])}`"
        raise Refusal("match-spec", f"{quoted} has two ranges without a comma", hint)
    if len(words) > 2:  # noqa: PLR2004 - a version and a build
        raise Refusal("match-spec", f"{quoted} has more than a version and a build", 'write `"pytorch 2.* cuda*"`')
    build = words[1] if len(words) > 1 else None
    if build is not None and not _BUILD.fullmatch(build):
        raise Refusal("match-spec", f"`{shown(build)}` in {quoted} is not a build", 'write `"pytorch * cuda*"`')
    return words[0], build


def _check_version(version: str, quoted: str) -> None:
    for part in re.split(r"[,|]", re.sub(r"\s", "", version).strip("()")):
        found = _CONSTRAINT.fullmatch(part)
        if found is None:
            hint = 'write versions as `">=2,<3"`, `"2.*"` or `"=1.26"`'
            raise Refusal("match-spec", f"`{shown(part)}` in {quoted} is not a version", hint)
        operator, number, star = found["operator"], found["version"], found["star"]
        if operator in (">", "<", ">=", "<=") and star:
            hint = f"write `{operator}{number.rstrip('.')}`"
            raise Refusal("match-spec", f"`{part}` in {quoted} {_DIFFERENT}", hint)
        if operator == "!=" and star == "*":
            raise Refusal("match-spec", f"`{part}` in {quoted} {_DIFFERENT}", f"write `!={number}.*`")
        if operator == "~=" and (star or "." not in number):
            raise Refusal("match-spec", f"`{part}` in {quoted} {_DIFFERENT}", f"write `>={number}`")
