"""conda requirements (MatchSpec): the subset that conda and rattler read alike; the rest is refused with a hint.

CEP 29 describes the language: https://github.com/conda/ceps/blob/main/cep-0029.md. What the tools make of it was
measured with py-rattler 0.28 and conda 24.7.1 (the one inside conda-lock 4.0.3). They differ in `>1.26.*`, `>=1.26*`,
`!=1.26*`, `1.*.4`, `~=1`, `=1.26+cu118`, `>=1,==1.26.*`, `>=1, =1.26`, parentheses, and blanks within brackets;
rattler's lenient parser swallows a missing comma and a single-colon channel. `numpy=1.26=py*` is exactly 1.26 to
both, and `numpy=1.26` the series. They differ in one thing that cannot be refused: 1.26rc1 is of the series 1.26.0 to
rattler (and here), and not to conda.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from envcompile.diagnostics import redact
from envcompile.platforms import PLATFORMS
from envcompile.spec.read import shown
from envcompile.spec.refusal import ARCHIVES, LONGEST, RECIPE, Refusal
from envcompile.spec.version_order import version as version_of

if TYPE_CHECKING:
    from collections.abc import Iterable

# Patterns are compiled when they are first used: most files need two or three of them.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_PLAIN = rf"(?:(?P<channel>[^\s\[\]]+?)::)?(?P<name>{_NAME})(?P<rest>(?:[ =<>!~\[].*)?)"
_CHANNEL = r"[A-Za-z0-9_][A-Za-z0-9_.~+-]*(?:/[A-Za-z0-9_.~+-]+)*"
_WORDS = r"[0-9A-Za-z]*(?:[._-][0-9A-Za-z]+)*"
_VERSION = rf"(?:[0-9]+!)?[0-9]{_WORDS}_?(?:\+[0-9A-Za-z]{_WORDS})?"
_CONSTRAINT = rf"(?P<operator>==|!=|~=|>=|<=|>|<|=)?(?P<version>{_VERSION}|\*)(?P<star>\.?\*)?"
_BUILD = r"(?!.*\*\*)[A-Za-z0-9_.*+]+"
_PAIR = r"""(?P<key>[a-z_0-9]+)=(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|(?P<bare>[^][=,'"\s]+))"""
_BRACKET = rf"{_PAIR}(?: *, *(?=[a-z])|$)"
_SUBDIRS = (*PLATFORMS, "noarch")
_BRACKET_KEYS = {
    "version": r"[^ ].*[^ ]|[^ ]",
    "build": _BUILD,
    "channel": ".+",
    "subdir": "|".join(_SUBDIRS),
    "md5": "[0-9a-f]{32}",
    "sha256": "[0-9a-f]{64}",
}
_PLATFORM = r"(?i:noarch|(?:linux|osx|win|freebsd|emscripten|wasi|zos)-[0-9a-z]+)"
_COMPARISONS = "<>=!~"
_DIFFERENT = "means different things to conda and rattler"
_DIGEST_HINT = "write all its hexadecimal digits, in lower case"
_BRACKETS_HINT = 'write `[version=">=2", build="cuda*"]`'
_VERSIONS_HINT = 'write versions as `">=2,<3"`, `"2.*"` or `"=1.26"`'
_MISSPELT = {"===": "==", "=>": ">=", "=<": "<=", "<>": "!="}


class MatchSpec(NamedTuple):
    """A conda requirement in its parts: `channel/subdir::name version build`; brackets are folded in.

    `version` has one spelling for one meaning: `==1.26`, `1.26.*`, `!=1.26`, `!=1.26.*`, `>=1.26`, `~=1.26` and so on,
    `,` for and, which binds closer than `|` for or. `build` may hold `*`. What is not asked for is None.
    """

    name: str
    version: str | None
    build: str | None
    channel: str | None
    subdir: str | None = None
    md5: str | None = None
    sha256: str | None = None


def match_spec(text: str) -> MatchSpec:
    """One conda requirement. Raises `Refusal` with the rule that says what it is instead, and the spelling to use."""
    stripped = text.strip(" ")
    quoted = f"`{shown(stripped)}`"
    _refuse_others(stripped, quoted)
    found = re.fullmatch(_PLAIN, stripped, re.DOTALL)
    if found is None or ":" in found["rest"].partition("[")[0]:
        _refuse_name(stripped, quoted)
    rest, brackets = _brackets(found["rest"].strip(" "), quoted)
    version, build = _version_and_build(rest, quoted)
    if version is not None:
        version = _version(version, quoted, build)
    channel, subdir = _channel(found["channel"], found["name"], quoted)
    # What stands in brackets wins.
    if "version" in brackets:
        version = _version(brackets["version"], quoted, bare=False)
    if "channel" in brackets:
        channel, inside = _channel(brackets["channel"], found["name"], quoted)
        subdir = inside or subdir
    build = brackets.get("build", build)
    return MatchSpec(
        found["name"].lower(),
        None if version == "*" else version,
        None if build == "*" else build,
        channel,
        brackets.get("subdir", subdir),
        brackets.get("md5"),
        brackets.get("sha256"),
    )


def _refuse(message: str, hint: str) -> NoReturn:
    rule = "match-spec"
    raise Refusal(rule, message, hint)


def _known(words: Iterable[str]) -> str:
    return f"known are {', '.join(f'`{word}`' for word in words)}"


def _refuse_others(stripped: str, quoted: str) -> None:
    if len(stripped) > LONGEST:
        _refuse(f"{quoted} is longer than any requirement", "write a name and a range")
    if stripped.startswith("-"):
        raise Refusal("requirement-option", f"{quoted} is an option, not a requirement", "write a name and a range")
    if redact(stripped) != stripped:
        hint = "take it out of the spec, and give credentials where the conda client keeps them"
        raise Refusal("userinfo", f"{quoted} holds a user name, a password or a token", hint)
    if "#" in stripped:
        _refuse(f"{quoted} holds a comment", "write the comment outside the quotes")
    if stripped.startswith((".", "/", "~")) or stripped.endswith((*ARCHIVES, ".conda")):
        raise Refusal("requirement-path", f"{quoted} is a file, which no lock can pin", RECIPE)
    if "://" in stripped:
        raise Refusal("requirement-url", f"{quoted} is a URL", "write `channel::name`, and the channel in `channels`")
    if any(each.isspace() and each != " " for each in stripped):
        _refuse(f"{quoted} holds a tab or another blank that is not a space", "write a space")
    if ";" in stripped or " if " in stripped:
        hint = f"write `{shown(stripped.partition(';')[0].partition(' if ')[0].strip())}`"
        _refuse(f"{quoted} holds a condition, and a conda requirement has none", hint)
    if "(" in stripped or ")" in stripped:
        hint = "write it without them: `,` binds closer than `|`"
        _refuse(f"{quoted} has parentheses, and with them it {_DIFFERENT}", hint)


def _refuse_name(stripped: str, quoted: str) -> NoReturn:
    channel, _, name = stripped.partition("[")[0].rpartition(":")
    channel = channel.split(":")[0].strip() or "conda-forge"
    if not stripped.partition("[")[0].count(":"):
        _refuse(f"{quoted} is not a conda requirement", 'write it as `"numpy >=2,<3"`')
    if stripped.startswith("::"):
        _refuse(f"{quoted} names no channel before its colons", f"write `{shown(name)}`")
    if "::" not in stripped:
        _refuse(f"{quoted} names a channel with a single colon", f"write two colons: `{channel}::{name.strip()}`")
    _refuse(f"{quoted} does not name one package of one channel", f"write `{channel}::{name.strip()}`")


def _brackets(rest: str, quoted: str) -> tuple[str, dict[str, str]]:
    if "[" not in rest and "]" not in rest:
        return rest, {}
    rest, _, inside = rest.partition("[")
    if re.match(r"[A-Za-z0-9_][A-Za-z0-9_., -]*\]", inside):
        hint = "name the packages that the extra stands for, or ask pip for it, under `[pip]`"
        _refuse(f"{quoted} asks for an extra, which conda has none of", hint)
    if not inside.endswith("]"):
        _refuse(f"{quoted} has brackets that cannot be read", _BRACKETS_HINT)
    pairs = list(re.finditer(_BRACKET, inside[:-1]))
    values = {each["key"]: each["double"] or each["single"] or each["bare"] for each in pairs}
    if "build_number" in values:
        hint = f'write the build: `[build="*_{shown(values["build_number"])}"]`'
        _refuse(f"{quoted} asks for a build number, which no lock holds", hint)
    if strange := [key for key in values if key not in _BRACKET_KEYS]:
        _refuse(f"{quoted} has the key `{shown(strange[0])}` in brackets", _known(_BRACKET_KEYS))
    if "".join(each.group() for each in pairs) != inside[:-1] or len(values) != len(pairs) or not pairs:
        _refuse(f"{quoted} has brackets that cannot be read", _BRACKETS_HINT)
    for key, value in values.items():
        if not re.fullmatch(_BRACKET_KEYS[key], value):
            hint = {"subdir": _known(_SUBDIRS), "md5": _DIGEST_HINT, "sha256": _DIGEST_HINT}.get(key, _BRACKETS_HINT)
            _refuse(f"`{shown(value)}` in {quoted} is not a {key}", hint)
    return rest.rstrip(" "), values


def _version_and_build(rest: str, quoted: str) -> tuple[str | None, str | None]:
    """The two words, as written; an operator may stand apart from its version: `>= 2, < 3`."""
    if not rest:
        return None, None
    if " " in rest:
        if re.search(r"[,|] +=(?!=)", rest):
            glued = re.sub(r"([,|]) +=", r"\1=", rest)
            _refuse(f"{quoted} has a blank before an `=`", f"write `{shown(glued)}`")
        rest = re.sub(r" *([,|]) *", r"\1", re.sub(r"([=<>!~]=|[=<>]) +(?![=<>!~])", r"\1", rest))
    words = [word for word in rest.split(" ") if word]
    if len(words) == 1 and (split := re.fullmatch(r"(.*[^=<>!~,|])=([^=<>!~,|]+)", words[0])):
        words = [split[1], split[2]]
    if len(words) > 1 and words[1][0] in _COMPARISONS:
        if re.match(r"=[^=0-9]", words[1]) or not words[0].strip(_COMPARISONS):
            _refuse(f"{quoted} has a blank before an `=`", f"write `{shown(words[0] + words[1])}`")
        hint = f"put a comma between them: `{shown(','.join(words[:2]))}`"
        _refuse(f"{quoted} has two ranges without a comma", hint)
    if len(words) > 2:  # noqa: PLR2004 - a version and a build
        _refuse(f"{quoted} has more than a version and a build", 'write `"pytorch 2.* cuda*"`')
    build = words[1] if len(words) > 1 else None
    if build is not None and not re.fullmatch(_BUILD, build):
        _refuse(f"`{shown(build)}` in {quoted} is not a build", 'write `"pytorch * cuda*"`')
    return words[0], build


def _version(text: str, quoted: str, build: str | None = None, *, bare: bool = True) -> str:
    """The one spelling. `build` is the one that stands behind the version: beside it, `=1.26` means `==1.26`."""
    parts = re.split(r" *([,|]) *", text)
    if build is not None and re.fullmatch(rf"={_VERSION}", text):
        return _constraint(f"={text}", quoted)
    for index, part in enumerate(parts):
        # The star is dropped, or taken for a character, everywhere but in `name ==1.26.*` and `name=1.26*`.
        first = bare and not index and build is None
        alone = bare and len(parts) == 1
        if (re.match(r"==[^*].*\*$", part) and not first) or (re.match(r"=[^=*](?:.*[^.])?\*$", part) and not alone):
            hint = f"write `{part.strip('=').rstrip('.*')}.*`"
            _refuse(f"`{shown(part)}` in {quoted} {_DIFFERENT}", hint)
    return "".join(each if index % 2 else _constraint(each, quoted) for index, each in enumerate(parts))


def _constraint(part: str, quoted: str) -> str:
    found = re.fullmatch(_CONSTRAINT, part)
    if found is None:
        _refuse_constraint(part, quoted)
    operator, number, star = found["operator"] or "", found["version"], found["star"]
    if number == "*":
        if operator in ("", "=") and not star:
            return "*"
        _refuse(f"`{part}` in {quoted} compares with nothing", "write `*`")
    _check_number(number, quoted)
    if (operator == ">" and star) or (operator in (">=", "<=", "<", "!=") and star == "*"):
        hint = f"write `{operator}{number}.*`" if operator == "!=" else f"write `{operator}{number}`"
        _refuse(f"`{part}` in {quoted} {_DIFFERENT}", hint)
    if operator == "~=" and (star or "." not in number or re.search("[-_+]", number)):
        _refuse(f"`{part}` in {quoted} {_DIFFERENT}", f"write `>={number}`")
    series = operator in ("", "=", "==", "!=") and (star or operator == "=")
    if series and "+" in number:
        _refuse(f"`{part}` in {quoted} {_DIFFERENT}", f"write `{'!=' if operator == '!=' else '=='}{number}`")
    if series:
        return f"{operator.strip('=') and operator}{number}.*"
    return f"{operator or '=='}{number}"


def _check_number(number: str, quoted: str) -> None:
    try:
        version_of(number)
    except ValueError:
        hint = f"write `{number.replace('-', '_')}`"
        _refuse(f"`{shown(number)}` in {quoted} has both `-` and `_`, and is no version", hint)
    if re.search("[0-9]{20}", number):  # rattler counts to 2**64
        _refuse(f"`{shown(number)}` in {quoted} is longer than any version", "write a shorter one")
    if re.search("[A-Za-z]_(?:[+]|$)", number):
        _refuse(f"`{number}` in {quoted} {_DIFFERENT}", f"write `{number.replace('_', '')}`")


def _refuse_constraint(part: str, quoted: str) -> NoReturn:
    if not part:
        _refuse(f"{quoted} has a `,` or a `|` with nothing beside it", _VERSIONS_HINT)
    for wrong, right in _MISSPELT.items():
        if part.startswith(wrong):
            _refuse(
                f"`{wrong}` in {quoted} is not a comparison", f"write `{shown(right + part[len(wrong) :].strip())}`"
            )
    if re.search(r"[^<>=!~ ] *[<>=!~]+.", part):
        _refuse(f"{quoted} has two ranges without a comma", "put a comma between them: `>=2,<3`")
    if re.match(r"[=<>!~]* *(?:[0-9][^ *]*)?\*.", part):
        hint = f"write `{part.partition('*')[0]}*`, or a range"
        _refuse(f"`{shown(part)}` in {quoted} {_DIFFERENT}", hint)
    _refuse(f"`{shown(part)}` in {quoted} is not a version", _VERSIONS_HINT)


def _channel(channel: str | None, name: str, quoted: str) -> tuple[str | None, str | None]:
    """Channel and subdir of `conda-forge/noarch`."""
    if channel is None:
        return None, None
    start, _, last = channel.rpartition("/")
    if channel == "defaults":
        hint = f"name the one that is meant: `pkgs/main::{name}`"
        _refuse(f"{quoted} names `defaults`, which is several channels to conda and none to rattler", hint)
    if not re.fullmatch(_CHANNEL, channel):
        _refuse(f"`{shown(channel)}` in {quoted} is not the name of one channel", f"write `conda-forge::{name}`")
    if not start or not re.fullmatch(_PLATFORM, last):
        return channel, None
    if last not in _SUBDIRS:
        _refuse(f"`{last}` in {quoted} is not a platform that can be locked", _known(_SUBDIRS))
    return start, last
