"""From a resolver's reason to the line of the spec."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED
from envcompile.spec.conda import parse_match_spec
from envcompile.spec.pip import parse_package_name, parse_requirement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.diagnostics.toml_source import KeyPath, TomlSource
    from envcompile.resolve.protocol import Unsolvable
    from envcompile.spec.model import Spec


def explain(answer: Unsolvable, source: TomlSource, spec: Spec, exact: Mapping[str, str]) -> DiagnosticsError:
    """The answer as diagnostics: the line of every requirement that the reason says is required, the reason below.

    `exact` are the versions of conda's and pip's packages that were asked for beside the spec.
    """
    message = answer.message
    if exact and answer.table != "apt":
        pinned = " and ".join(f"`{name}=={version}`" for name, version in exact.items())
        message = f"no set of packages answers the spec with {pinned} on `{answer.platform}`"
    paths = _blamed(answer, spec) or [(answer.table, "packages")]
    ground = "the base's packages" if answer.table == "apt" else "Python and C library as in the base"
    hint = f"the resolver's reason for `{answer.platform}`, {ground}:\n{_indent(answer.reason)}"
    found = [
        Diagnostic("unsolvable", message if index == 0 else "this requirement takes part in it", path)
        for index, path in enumerate(paths)
    ]
    last = found[-1]
    found[-1] = Diagnostic(last.rule, last.message, last.path, hint)
    return DiagnosticsError(source, found, EXIT_FAILED)


def _blamed(answer: Unsolvable, spec: Spec) -> list[KeyPath]:
    """The requirements that the reason says "you require", else those it names at all."""
    if answer.table == "conda":
        names = [parse_match_spec(text).name for text in spec.conda.packages]
    elif answer.table == "apt":
        names = list(spec.apt.packages)
    else:
        names = [parse_package_name(parse_requirement(text).name) for text in spec.pip.packages]
    words = " ".join(answer.reason.split()).lower()
    # The name, and not a longer one that it is a part of.
    patterns = [rf"{'[-_.]'.join(map(re.escape, each.split('-')))}(?![a-z0-9_-])" for each in names]
    required = [i for i, pattern in enumerate(patterns) if re.search(rf"you require {pattern}", words)]
    named = [i for i, pattern in enumerate(patterns) if re.search(rf"(?<![a-z0-9_.-]){pattern}", words)]
    return [(answer.table, "packages", index) for index in required or named]


def _indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
