"""conda requirements (MatchSpecs): parses them, compares conda versions, and matches packages against requirements.

Versions follow CEP 33, not PEP 440: https://github.com/conda/ceps/blob/main/cep-0033.md. A version is an epoch, a
release and a local part; both consist of segments, and a segment of components. Components sort as `dev` < `_` <
letters < numbers < `post`. A missing component counts as 0: 1.0 equals 1; 1.0rc1 and 1.0+cu118 are lower than 1.0;
1.0.post1 is higher than 1.0. Where conda and rattler order versions differently (`1.1a_` and `1.1a`), this module uses
the order of rattler, the default resolver.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import zip_longest
from typing import NamedTuple, NoReturn, Protocol

from envcompile.diagnostics.diagnostic import RequirementError, contains_credentials
from envcompile.platforms import PLATFORMS
from envcompile.spec.values import (
    ARCHIVE_SUFFIXES,
    LOCAL_CODE_HINT,
    MAX_REQUIREMENT_LENGTH,
    display_text,
    format_choices,
)

# (rank, number, letters), compared as a tuple: `rc` is (2, 0, "rc"), `26` is (3, 26, "").
VersionComponent = tuple[int, int, str]
VersionSegment = tuple[VersionComponent, ...]

_DEV_RANK, _LETTERS_RANK, _NUMBER_RANK = 0, 2, 3
_KEYWORD_COMPONENTS: dict[str, VersionComponent] = {"dev": (_DEV_RANK, 0, ""), "_": (1, 0, ""), "post": (4, 0, "")}
_ZERO_COMPONENT: VersionComponent = (_NUMBER_RANK, 0, "")

_VERSION_PART_PATTERN = r"[0-9A-Za-z]+(?:[._-][0-9A-Za-z]+)*[_-]?"
_CONDA_VERSION_PATTERN = rf"(?:[0-9]+!)?{_VERSION_PART_PATTERN}(?:\+{_VERSION_PART_PATTERN})?"


class CondaVersion(NamedTuple):
    """A parsed version: `1!1.0rc1+cu118` has the epoch 1, the release `1.0rc1` and the local part `cu118`."""

    epoch: int
    release: tuple[VersionSegment, ...]
    local: tuple[VersionSegment, ...]


def parse_conda_version(text: str) -> CondaVersion:
    """Parse a version. Raises ValueError if the text is not one."""
    if not re.fullmatch(_CONDA_VERSION_PATTERN, text) or ("-" in text and "_" in text):
        raise ValueError(text)
    rest, _, local = text.lower().replace("-", "_").partition("+")
    epoch, mark, release = rest.rpartition("!")
    return CondaVersion(int(epoch) if mark else 0, _parse_segments(release), _parse_segments(local))


def _parse_segments(text: str) -> tuple[VersionSegment, ...]:
    return tuple(_parse_segment(each) for each in re.split("[._](?=.)", text) if each)


def _parse_segment(text: str) -> VersionSegment:
    components = tuple(_parse_component(each) for each in re.findall("[0-9]+|[a-z]+|_", text))
    # A segment that starts with letters has an implicit 0 in front: 1.rc1 equals 1.0rc1.
    return components if text[0].isdigit() else (_ZERO_COMPONENT, *components)


def _parse_component(text: str) -> VersionComponent:
    return (_NUMBER_RANK, int(text), "") if text.isdigit() else _KEYWORD_COMPONENTS.get(text, (_LETTERS_RANK, 0, text))


def compare_conda_versions(left: CondaVersion, right: CondaVersion) -> int:
    """Return -1, 0 or 1 if `left` is lower than, equal to or higher than `right`."""
    if left.epoch != right.epoch:
        return -1 if left.epoch < right.epoch else 1
    return _compare_segments(left.release, right.release) or _compare_segments(left.local, right.local)


def _compare_segments(left: tuple[VersionSegment, ...], right: tuple[VersionSegment, ...]) -> int:
    for ours, theirs in zip_longest(left, right, fillvalue=()):
        for one, other in zip_longest(ours, theirs, fillvalue=_ZERO_COMPONENT):
            if one != other:
                return -1 if one < other else 1
    return 0


def is_in_series(version: CondaVersion, series: CondaVersion) -> bool:
    """Whether a version belongs to a series, as in `1.26.*`: 1.26.4 and 1.26rc1 belong to 1.26, but 1.260 does not."""
    if version.epoch != series.epoch:
        return False
    return _has_segment_prefix(version.release, series.release) and _has_segment_prefix(version.local, series.local)


def _has_segment_prefix(segments: tuple[VersionSegment, ...], prefix: tuple[VersionSegment, ...]) -> bool:
    last_shared = min(len(segments), len(prefix)) - 1
    for index, theirs in enumerate(prefix):
        ours = segments[index] if index < len(segments) else ()
        # Of the shared segments, only the last may have more components than in the series: 1.26rc1 belongs to 1.26
        # and also to 1.26.0.
        if index < last_shared and len(ours) > len(theirs):
            return False
        if any(one != other for one, other in zip_longest(ours[: len(theirs)], theirs, fillvalue=_ZERO_COMPONENT)):
            return False
    return True


# Parsing of MatchSpecs. Notations that conda and rattler read differently are rejected, with a hint.
#
# CEP 29 describes the language: https://github.com/conda/ceps/blob/main/cep-0029.md. How the tools read it was
# measured with py-rattler 0.28 and conda 24.7.1 (the one inside conda-lock 4.0.3). They differ in `>1.26.*`, `>=1.26*`,
# `!=1.26*`, `1.*.4`, `~=1`, `=1.26+cu118`, `>=1,==1.26.*`, `>=1, =1.26`, parentheses, and spaces within brackets;
# rattler's lenient parser accepts a missing comma and a single-colon channel. Both read `numpy=1.26=py*` as exactly
# 1.26, and `numpy=1.26` as the series 1.26. One difference cannot be rejected: in rattler (and here), 1.26rc1 belongs
# to the series 1.26.0; in conda it does not.


# The patterns are strings, which `re` compiles on first use, because most runs need only two or three of them.
_NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_MATCH_SPEC_PATTERN = rf"(?:(?P<channel>[^\s\[\]]+?)::)?(?P<name>{_NAME_PATTERN})(?P<rest>(?:[ =<>!~\[].*)?)"
_DEPENDENCY_PATTERN = rf"(?:[^\s\[\]]+?::)?(?P<name>{_NAME_PATTERN})(?P<rest>.*)"
_CHANNEL_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.~+-]*(?:/[A-Za-z0-9_.~+-]+)*"
_VERSION_WORDS_PATTERN = r"[0-9A-Za-z]*(?:[._-][0-9A-Za-z]+)*"
_VERSION_PATTERN = rf"(?:[0-9]+!)?[0-9]{_VERSION_WORDS_PATTERN}_?(?:\+[0-9A-Za-z]{_VERSION_WORDS_PATTERN})?"
_CONSTRAINT_PATTERN = rf"(?P<operator>==|!=|~=|>=|<=|>|<|=)?(?P<version>{_VERSION_PATTERN}|\*)(?P<star>\.?\*)?"
_BUILD_PATTERN = r"(?!.*\*\*)[A-Za-z0-9_.*+]+"
_BRACKET_PAIR_PATTERN = r"""(?P<key>[a-z_0-9]+)=(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|(?P<bare>[^][=,'"\s]+))"""
_BRACKET_ITEM_PATTERN = rf"(?<![a-z_0-9]){_BRACKET_PAIR_PATTERN}(?: *, *(?=[a-z])|$)"
_SUBDIRS = (*PLATFORMS, "noarch")
_BRACKET_VALUE_PATTERNS = {
    "version": r"[^ ].*[^ ]|[^ ]",
    "build": _BUILD_PATTERN,
    "channel": ".+",
    "subdir": "|".join(_SUBDIRS),
    "md5": "[0-9a-f]{32}",
    "sha256": "[0-9a-f]{64}",
}
_SUBDIR_PATTERN = r"(?i:noarch|(?:linux|osx|win|freebsd|emscripten|wasi|zos)-[0-9a-z]+)"
_OPERATOR_CHARACTERS = "<>=!~"
_AMBIGUOUS_MESSAGE = "means different things to conda and rattler"
_DIGEST_HINT = "write all its hexadecimal digits, in lower case"
_BRACKETS_HINT = 'write `[version=">=2", build="cuda*"]`'
_VERSIONS_HINT = 'write versions as `">=2,<3"`, `"2.*"` or `"=1.26"`'
_OPERATOR_CORRECTIONS = {"===": "==", "=>": ">=", "=<": "<=", "<>": "!="}


def is_conda_name(text: str) -> bool:
    """Whether a text can be the name of a conda package in a channel, where names are in lower case."""
    return bool(re.fullmatch(_NAME_PATTERN, text)) and text == text.lower()


class MatchSpec(NamedTuple):
    """A parsed conda requirement: `channel/subdir::name version build`, merged with the values in its brackets.

    `version` is normalised to constraints such as `==1.26`, `1.26.*`, `!=1.26.*`, `>=1.26` and `~=1.26`, joined by `,`
    (and) and `|` (or); `,` binds closer. `build` may contain `*`. A part that the requirement does not have is None.
    """

    name: str
    version: str | None
    build: str | None
    channel: str | None
    subdir: str | None = None
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class CondaRequirement:
    """A conda requirement: the text as written, and the MatchSpec, which is parsed when it is first used.

    `match_spec` and `name` of an invalid text raise `RequirementError`. `check_spec` reports invalid texts first.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @cached_property
    def match_spec(self) -> MatchSpec:
        """The parts of the requirement."""
        return parse_match_spec(self.text)

    @property
    def name(self) -> str:
        """The name of the package, in lower case."""
        return self.match_spec.name

    def allows(self, package: MatchablePackage) -> bool:
        """Whether a package satisfies the requirement."""
        return matches_package(self.match_spec, package)


@dataclass(frozen=True)
class CondaDependency:
    """A dependency in a package record of a channel.

    Records may contain MatchSpecs that `parse_match_spec` rejects; of these, only the name is used.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def name(self) -> str:
        """The name of the package, in lower case."""
        return parse_dependency_name(self.text)

    def allows(self, package: MatchablePackage) -> bool:
        """Whether a package with the dependency's name satisfies it; True if `parse_match_spec` rejects the text."""
        match_spec = _parse_record_match_spec(self.text)
        return match_spec is None or matches_package(match_spec, package)


@cache
def _parse_record_match_spec(text: str) -> MatchSpec | None:
    with suppress(RequirementError):
        return parse_match_spec(text)
    return None


def parse_conda_requirement(text: str) -> CondaRequirement:
    """Parse a conda requirement. Raises `RequirementError` if the text is not valid."""
    requirement = CondaRequirement(text)
    _ = requirement.match_spec
    return requirement


def parse_match_spec(text: str) -> MatchSpec:
    """Parse a conda requirement.

    Raises `RequirementError` if the text is not valid. The hint says how to write the requirement. URLs, paths, options
    and credentials each have their own rule.
    """
    stripped = text.strip(" ")
    quoted = f"`{display_text(stripped)}`"
    _reject_foreign_syntax(stripped, quoted)
    found = re.fullmatch(_MATCH_SPEC_PATTERN, stripped, re.DOTALL)
    if found is None or ":" in found["rest"].partition("[")[0]:
        _reject_name(stripped, quoted)
    rest, brackets = _parse_brackets(found["rest"].strip(" "), quoted)
    version, build = _split_version_and_build(rest, quoted)
    if version is not None:
        version = _normalize_version(version, quoted, build)
    channel, subdir = _parse_channel(found["channel"], found["name"], quoted)
    # A value in brackets overrides the same part before the brackets.
    if "version" in brackets:
        version = _normalize_version(brackets["version"], quoted, bare=False)
    if "channel" in brackets:
        channel, inside = _parse_channel(brackets["channel"], found["name"], quoted)
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


def parse_dependency_name(text: str) -> str:
    """The name in a dependency of a package record, in lower case."""
    return split_dependency(text)[0]


def split_dependency(text: str) -> tuple[str, str]:
    """Split a dependency of a package record into its name, in lower case, and the rest.

    Records contain MatchSpecs that `parse_match_spec` rejects, and ones without a space, such as `zz>=0.5`.
    """
    found = re.fullmatch(_DEPENDENCY_PATTERN, text.strip(), re.DOTALL)
    return (found["name"].lower(), found["rest"].strip()) if found else (text.strip().lower(), "")


def _reject(message: str, hint: str) -> NoReturn:
    rule = "match-spec"
    raise RequirementError(rule, message, hint)


def _reject_foreign_syntax(stripped: str, quoted: str) -> None:
    if len(stripped) > MAX_REQUIREMENT_LENGTH:
        _reject(f"{quoted} is too long for a requirement", "write a name and a version range")
    if stripped.startswith("-"):
        raise RequirementError(
            "requirement-option", f"{quoted} is an option, not a requirement", "write a name and a version range"
        )
    if contains_credentials(stripped):
        hint = "remove them, and store them with `rattler auth login` (for the resolver `rattler`)"
        raise RequirementError("userinfo", f"{quoted} contains a user name, a password or a token", hint)
    if "#" in stripped:
        _reject(f"{quoted} contains a comment", "write the comment outside the quotes")
    if stripped.startswith((".", "/", "~")) or stripped.endswith((*ARCHIVE_SUFFIXES, ".conda")):
        raise RequirementError("requirement-path", f"{quoted} is a file, which a lock cannot pin", LOCAL_CODE_HINT)
    if "://" in stripped:
        raise RequirementError(
            "requirement-url", f"{quoted} is a URL", "write `channel::name`, and add the channel to `channels`"
        )
    if any(each.isspace() and each != " " for each in stripped):
        _reject(f"{quoted} contains whitespace other than spaces", "write spaces instead")
    if ";" in stripped or " if " in stripped:
        hint = f"write `{display_text(stripped.partition(';')[0].partition(' if ')[0].strip())}`"
        _reject(f"{quoted} has a condition, which conda requirements do not support", hint)
    if "(" in stripped or ")" in stripped:
        hint = "write it without parentheses: `,` binds closer than `|`"
        _reject(f"{quoted} has parentheses, so it {_AMBIGUOUS_MESSAGE}", hint)


def _reject_name(stripped: str, quoted: str) -> NoReturn:
    channel, _, name = stripped.partition("[")[0].rpartition(":")
    channel = channel.split(":")[0].strip() or "conda-forge"
    if not stripped.partition("[")[0].count(":"):
        _reject(f"{quoted} is not a conda requirement", 'write it as `"numpy >=2,<3"`')
    if stripped.startswith("::"):
        _reject(f"{quoted} has no channel before `::`", f"write `{display_text(name)}`")
    if "::" not in stripped:
        _reject(f"{quoted} names a channel with a single colon", f"write two colons: `{channel}::{name.strip()}`")
    _reject(f"{quoted} does not name one package of one channel", f"write `{channel}::{name.strip()}`")


def _parse_brackets(rest: str, quoted: str) -> tuple[str, dict[str, str]]:
    if "[" not in rest and "]" not in rest:
        return rest, {}
    rest, _, inside = rest.partition("[")
    if re.match(r"[A-Za-z0-9_][A-Za-z0-9_., -]*\]", inside):
        hint = "list the packages that the extra stands for, or move the requirement to `[pip]`"
        _reject(f"{quoted} requests an extra, which conda packages do not have", hint)
    if not inside.endswith("]"):
        _reject(f"{quoted} has invalid brackets", _BRACKETS_HINT)
    pairs = list(re.finditer(_BRACKET_ITEM_PATTERN, inside[:-1]))
    values = {each["key"]: each["double"] or each["single"] or each["bare"] for each in pairs}
    if "build_number" in values:
        hint = f'write the build: `[build="*_{display_text(values["build_number"])}"]`'
        _reject(f"{quoted} requests a build number, which a lock does not record", hint)
    if unknown := [key for key in values if key not in _BRACKET_VALUE_PATTERNS]:
        _reject(
            f"{quoted} has the unknown key `{display_text(unknown[0])}` in brackets",
            format_choices(_BRACKET_VALUE_PATTERNS),
        )
    if "".join(each.group() for each in pairs) != inside[:-1] or len(values) != len(pairs) or not pairs:
        _reject(f"{quoted} has invalid brackets", _BRACKETS_HINT)
    for key, value in values.items():
        if not re.fullmatch(_BRACKET_VALUE_PATTERNS[key], value):
            hint = {"subdir": format_choices(_SUBDIRS), "md5": _DIGEST_HINT, "sha256": _DIGEST_HINT}.get(
                key, _BRACKETS_HINT
            )
            _reject(f"`{display_text(value)}` in {quoted} is not a {key}", hint)
    return rest.rstrip(" "), values


def _split_version_and_build(rest: str, quoted: str) -> tuple[str | None, str | None]:
    """Split `>= 2, < 3 cuda*` into the version `>=2,<3` and the build `cuda*`. A missing part is None."""
    if not rest:
        return None, None
    if " " in rest:
        if re.search(r"[,|] +=(?!=)", rest):
            glued = re.sub(r"([,|]) +=", r"\1=", rest)
            _reject(f"{quoted} has a space before an `=`", f"write `{display_text(glued)}`")
        glued = re.sub(r"([=<>!~]=|[=<>]) +(?![=<>!~])", r"\1", rest)
        rest = "".join(each.strip(" ") for each in re.split("([,|])", glued))
    words = [word for word in rest.split(" ") if word]
    if len(words) == 1 and (split := re.fullmatch(r"(.*[^=<>!~,|])=([^=<>!~,|]+)", words[0])):
        words = [split[1], split[2]]
    if len(words) > 1 and words[1][0] in _OPERATOR_CHARACTERS:
        if re.match(r"=[^=0-9]", words[1]) or not words[0].strip(_OPERATOR_CHARACTERS):
            _reject(f"{quoted} has a space before an `=`", f"write `{display_text(words[0] + words[1])}`")
        hint = f"put a comma between them: `{display_text(','.join(words[:2]))}`"
        _reject(f"{quoted} has no comma between two ranges", hint)
    if len(words) > 2:  # noqa: PLR2004 - a version and a build
        _reject(f"{quoted} has more than a version and a build", 'write `"pytorch 2.* cuda*"`')
    build = words[1] if len(words) > 1 else None
    if build is not None and not re.fullmatch(_BUILD_PATTERN, build):
        _reject(f"`{display_text(build)}` in {quoted} is not a build", 'write `"pytorch * cuda*"`')
    return words[0], build


def _normalize_version(text: str, quoted: str, build: str | None = None, *, bare: bool = True) -> str:
    """The normalised version. If a `build` follows, `=1.26` means `==1.26`. `bare` is False for one in brackets."""
    parts = [each.strip(" ") for each in re.split("([,|])", text)]
    if build is not None and re.fullmatch(rf"={_VERSION_PATTERN}", text):
        return _normalize_constraint(f"={text}", quoted)
    for index, part in enumerate(parts):
        # conda and rattler agree on the star only in `name ==1.26.*` and `name=1.26*`; elsewhere, one tool ignores it.
        first = bare and not index and build is None
        alone = bare and len(parts) == 1
        if (re.match(r"==[^*].*\*$", part) and not first) or (re.match(r"=[^=*](?:.*[^.])?\*$", part) and not alone):
            hint = f"write `{part.strip('=').rstrip('.*')}.*`"
            _reject(f"`{display_text(part)}` in {quoted} {_AMBIGUOUS_MESSAGE}", hint)
    return "".join(each if index % 2 else _normalize_constraint(each, quoted) for index, each in enumerate(parts))


def _normalize_constraint(part: str, quoted: str) -> str:
    found = re.fullmatch(_CONSTRAINT_PATTERN, part)
    if found is None:
        _reject_constraint(part, quoted)
    operator, number, star = found["operator"] or "", found["version"], found["star"]
    if number == "*":
        if operator in ("", "=") and not star:
            return "*"
        _reject(f"`{part}` in {quoted} has an operator but no version", "write `*`")
    _check_version_number(number, quoted)
    if (operator == ">" and star) or (operator in (">=", "<=", "<", "!=") and star == "*"):
        hint = f"write `{operator}{number}.*`" if operator == "!=" else f"write `{operator}{number}`"
        _reject(f"`{part}` in {quoted} {_AMBIGUOUS_MESSAGE}", hint)
    if operator == "~=" and (star or "." not in number or re.search("[-_+]", number)):
        _reject(f"`{part}` in {quoted} {_AMBIGUOUS_MESSAGE}", f"write `>={number}`")
    series = operator in ("", "=", "==", "!=") and (star or operator == "=")
    if series and "+" in number:
        _reject(f"`{part}` in {quoted} {_AMBIGUOUS_MESSAGE}", f"write `{'!=' if operator == '!=' else '=='}{number}`")
    if series:
        return f"{operator.strip('=') and operator}{number}.*"
    return f"{operator or '=='}{number}"


def _check_version_number(number: str, quoted: str) -> None:
    try:
        parse_conda_version(number)
    except ValueError:
        hint = f"write `{number.replace('-', '_')}`"
        _reject(f"`{display_text(number)}` in {quoted} is not a version, because it has both `-` and `_`", hint)
    if re.search("[0-9]{20}", number):  # rattler stores numbers in 64 bits
        _reject(
            f"`{display_text(number)}` in {quoted} is not a version: a number in it is too long",
            "write a shorter number",
        )
    if re.search("[A-Za-z]_(?:[+]|$)", number):
        _reject(f"`{number}` in {quoted} {_AMBIGUOUS_MESSAGE}", f"write `{number.replace('_', '')}`")


def _reject_constraint(part: str, quoted: str) -> NoReturn:
    if not part:
        _reject(f"{quoted} has a `,` or `|` without a version on each side", _VERSIONS_HINT)
    for wrong, right in _OPERATOR_CORRECTIONS.items():
        if part.startswith(wrong):
            _reject(
                f"`{wrong}` in {quoted} is not a comparison operator",
                f"write `{display_text(right + part[len(wrong) :].strip())}`",
            )
    if re.search(r"[^<>=!~ ] *[<>=!~]+.", part):
        _reject(f"{quoted} has no comma between two ranges", "put a comma between them: `>=2,<3`")
    if re.match(r"[=<>!~]* *(?:[0-9][^ *]*)?\*.", part):
        hint = f"write `{part.partition('*')[0]}*`, or a range"
        _reject(f"`{display_text(part)}` in {quoted} {_AMBIGUOUS_MESSAGE}", hint)
    _reject(f"`{display_text(part)}` in {quoted} is not a version", _VERSIONS_HINT)


def _parse_channel(channel: str | None, name: str, quoted: str) -> tuple[str | None, str | None]:
    """Split `conda-forge/noarch` into channel and subdir."""
    if channel is None:
        return None, None
    start, _, last = channel.rpartition("/")
    if channel == "defaults":
        hint = f"write one of its channels: `pkgs/main::{name}`"
        _reject(f"{quoted} names `defaults`, which is several channels in conda and unknown in rattler", hint)
    if not re.fullmatch(_CHANNEL_PATTERN, channel):
        _reject(f"`{display_text(channel)}` in {quoted} is not a channel name", f"write `conda-forge::{name}`")
    if not start or not re.fullmatch(_SUBDIR_PATTERN, last):
        return channel, None
    if last not in _SUBDIRS:
        _reject(f"`{last}` in {quoted} is not a supported subdir", format_choices(_SUBDIRS))
    return start, last


# Matching: whether a locked conda package satisfies a requirement.


class MatchablePackage(Protocol):
    """The attributes that matching needs; a `CondaPackage` of the lock has them. `channel` is a channel's name."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def version(self) -> str: ...  # noqa: D102
    @property
    def build(self) -> str: ...  # noqa: D102
    @property
    def channel(self) -> str: ...  # noqa: D102
    @property
    def subdir(self) -> str: ...  # noqa: D102
    @property
    def md5(self) -> str | None: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102


def matches_package(spec: MatchSpec, package: MatchablePackage) -> bool:
    """Whether a package satisfies a requirement by rattler's rules, including its channel, subdir and digests.

    A package with an invalid version satisfies only requirements without a version.
    """
    return (
        spec.name == package.name.lower()
        and spec.channel in (None, package.channel)
        and spec.subdir in (None, package.subdir)
        and spec.md5 in (None, package.md5)
        and spec.sha256 in (None, package.sha256)
        and (spec.build is None or _matches_build(package.build.lower(), spec.build.lower()))
        and allows_version(spec, package.version)
    )


def allows_version(spec: MatchSpec, version: str) -> bool:
    """Whether a MatchSpec allows a version, whatever the build and the channel."""
    return spec.version is None or _matches_ranges(version, spec.version)


def _matches_build(build: str, pattern: str) -> bool:
    """Whether a build string matches a pattern in which `*` stands for any characters."""
    first, *inner = pattern.split("*")
    if not inner:
        return build == first
    last = inner.pop()
    at, end = len(first), len(build) - len(last)
    if at > end or not build.startswith(first) or not build.endswith(last):
        return False
    for text in inner:
        found = build.find(text, at, end)
        if found < 0:
            return False
        at = found + len(text)
    return True


def _matches_ranges(text: str, ranges: str) -> bool:
    try:
        candidate = parse_conda_version(text)
    except ValueError:
        return False
    return any(all(_satisfies_constraint(candidate, part) for part in one.split(",")) for one in ranges.split("|"))


def _satisfies_constraint(candidate: CondaVersion, constraint: str) -> bool:
    """Whether a version satisfies one constraint of a normalised `MatchSpec.version`."""
    if constraint == "*":
        return True
    number = constraint.lstrip("<>=!~")
    operator = constraint[: -len(number)]
    if number.endswith(".*"):
        return is_in_series(candidate, parse_conda_version(number[:-2])) != (operator == "!=")
    required = parse_conda_version(number)
    order = compare_conda_versions(candidate, required)
    if operator == "~=":
        return order >= 0 and is_in_series(candidate, required._replace(release=required.release[:-1], local=()))
    return {"==": order == 0, "!=": order != 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[
        operator
    ]
