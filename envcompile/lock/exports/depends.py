"""What a conda package needs, as conda-lock writes it: one version for each name, without builds and channels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Channel, name, what follows, and brackets, of which the version is wanted.
_DEPENDS = re.compile(r"(?:.*::)?(?P<name>[^ =<>!~\[]+)(?P<rest>[^\[]*)(?:\[(?P<brackets>.*)\])?")
_IN_BRACKETS = re.compile(r"""(?:^|[, ])version=(?P<quote>["']?)(?P<version>[^"']*)(?P=quote)""")
# A build follows a version, never an operator, and holds none.
_VERSION_AND_BUILD = re.compile(r"(?P<version>.*?[^ =<>!~,|])[ =] *(?P<build>[^ =<>!~,|]+)")


def merged(depends: Iterable[str]) -> dict[str, str]:
    """Name -> versions, sorted by name, of the MatchSpecs of a channel's record; of several for a name all hold.

    The version is empty where any will do. As conda's own MatchSpec has them in `solve_conda` of conda-lock 4.0.3.
    """
    found: dict[str, list[str]] = {}
    for text in depends:
        name, version = _parts(text)
        found.setdefault(name, []).extend([version] if version else [])
    return {name: ",".join(sorted(found[name])) for name in sorted(found)}


def _parts(text: str) -> tuple[str, str]:
    found = _DEPENDS.fullmatch(text.strip())
    if found is None:
        return text, ""
    inside = _IN_BRACKETS.search(found["brackets"] or "")
    return found["name"].lower(), _normal(inside["version"] if inside else _outside(found["rest"].strip()))


def _outside(rest: str) -> str:
    """The version beside a name: `=1.2` means 1.2.*, and 1.2 where a build follows; `==1.2` means 1.2."""
    split = _VERSION_AND_BUILD.fullmatch(rest)
    version = (split["version"] if split else rest).replace(" ", "")
    number = version.removeprefix("=")
    if number.startswith("="):
        return version if split else number[1:]
    if number == version or re.search("[=,|]", number):
        return version
    return number if split or number.endswith("*") else f"{number}*"


def _normal(versions: str) -> str:
    """A series always with a dot before its star."""
    return "".join(_series(each.strip()) for each in re.split("([,|])", versions))


def _series(version: str) -> str:
    series = version[:1] not in "=<>!~" and version != "*" and version.find("*") == len(version) - 1
    return f"{version.rstrip('*').rstrip('.')}.*" if series else version
