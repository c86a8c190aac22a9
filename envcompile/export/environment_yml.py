"""YAML of one spelling: what we export is made of strings, numbers, lists and mappings, and needs no library."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from envcompile.export.common import environment_omissions_comment
from envcompile.project.generated_files import EXPORT_HEADER
from envcompile.spec.conda import parse_match_spec
from envcompile.spec.pip import canonicalize_requirement
from envcompile.spec.solver_inputs import list_conda_requirements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.export import ExportInput
    from envcompile.spec.conda import MatchSpec

YamlValue: TypeAlias = "str | int | bool | Sequence[YamlValue] | Mapping[str, YamlValue]"

# A plain word is a string, but for those that YAML 1.1 takes for something else.
_PLAIN_WORD = re.compile(r"[a-z][a-z0-9_-]*")
_RESERVED_WORDS = frozenset("y n yes no on off true false null".split())


def format_yaml(value: Mapping[str, YamlValue]) -> str:
    """The text of a mapping, keys in their order."""
    return "".join(f"{line}\n" for line in _format_mapping(value))


def _format_mapping(value: Mapping[str, YamlValue]) -> Iterator[str]:
    for key, each in value.items():
        yield from _format_item(f"{_format_scalar(key)}:", each)


def _format_item(head: str, value: YamlValue) -> Iterator[str]:
    if isinstance(value, str | int) or not value:
        yield f"{head} {_format_scalar(value)}"
        return
    yield head
    if isinstance(value, Mapping):
        yield from (f"  {line}" for line in _format_mapping(value))
        return
    for each in value:
        lines = _format_mapping(each) if isinstance(each, Mapping) and each else iter((_format_scalar(each),))
        yield f"  - {next(lines)}"
        yield from (f"    {line}" for line in lines)


def _format_scalar(value: YamlValue) -> str:
    if isinstance(value, str) and _PLAIN_WORD.fullmatch(value) and value not in _RESERVED_WORDS:
        return value
    # JSON is YAML in its flow style.
    return json.dumps(value, ensure_ascii=False)


# `environment.yml`: what was asked for, not what is pinned, as conda, mamba and conda-lock read it.


def render_export(given: ExportInput) -> str:
    """The file, with the spec's channels and no others, and the platforms for conda-lock."""
    dependencies: list[YamlValue] = [format_match_spec(each) for each in collect_conda_requirements(given)]
    if given.spec.pip.packages:
        dependencies.append({"pip": [canonicalize_requirement(each) for each in given.spec.pip.packages]})
    head = (f"{EXPORT_HEADER}; what is asked for, without the pins.", *environment_omissions_comment(given))
    return "".join(f"{line}\n" for line in head) + format_yaml(
        {
            "name": given.spec.name,
            # Without the last one, conda would add the channels of the user's own configuration.
            "channels": [*given.spec.conda.channels, "nodefaults"],
            "platforms": [each.platform for each in given.lock.platforms],
            "dependencies": dependencies,
        }
    )


def collect_conda_requirements(given: ExportInput) -> tuple[MatchSpec, ...]:
    """What is asked of conda: packages in their order, the Python, and `pip` where pip has something to install.

    A channel that the spec gives by its URL stands there with it: mamba looks for a name in a place of its own. conda
    takes either, and the last part of its path for a folder of this machine.
    """
    named = given.spec.conda.channels
    urls = {
        each.name: each.url for each in given.lock.channels if each.name not in named and each.url.startswith("http")
    }
    asked = [parse_match_spec(each) for each in list_conda_requirements(given.spec)]
    if given.spec.pip.packages and all(each.name != "pip" for each in asked):
        # conda says that it adds it where it is missing; mamba and conda-lock say nothing.
        asked.append(parse_match_spec("pip"))
    return tuple(each._replace(channel=urls.get(each.channel or "", each.channel)) for each in asked)


def format_match_spec(asked: MatchSpec) -> str:
    """The one spelling: `channel/subdir::name version build[md5=…]`, and what is not asked for left out."""
    subdir = f"/{asked.subdir}" if asked.subdir and asked.channel else ""
    channel = f"{asked.channel}{subdir}::" if asked.channel else ""
    brackets = {"subdir": asked.subdir if not asked.channel else None, "md5": asked.md5, "sha256": asked.sha256}
    pairs = ",".join(f"{key}={value}" for key, value in brackets.items() if value)
    version = asked.version or ("*" if asked.build else None)
    words = " ".join(word for word in (asked.name, version, asked.build) if word)
    return f"{channel}{words}[{pairs}]" if pairs else f"{channel}{words}"
