"""pip requirements (PEP 508): read, refused with the right word, and written in one canonical form."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from envcompile.diagnostics import redact
from envcompile.spec.read import shown
from envcompile.spec.refusal import ARCHIVES, DEEPEST, LONGEST, RECIPE, Refusal

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION_CONTROL = re.compile(r"(?:^|@\s*)(?:git|hg|svn|bzr)\+")


def name(text: str) -> str:
    """The normalised name (PEP 503) of a package. Raises `Refusal`."""
    if not _NAME.fullmatch(text) or text.endswith(ARCHIVES):
        raise Refusal("package-name", f"`{shown(text)}` is not the name of a package", "write the bare name")
    return _normal(text)


def _normal(text: str) -> str:
    """PEP 503. `packaging` would do it too, and its import takes longer than a spec that asks pip for nothing."""
    return re.sub(r"[-_.]+", "-", text).lower()


def requirement(text: str) -> Requirement:
    """One requirement as `packaging` reads it. Raises `Refusal` with the rule that says what it is instead."""
    stripped = text.strip()
    quoted = f"`{shown(stripped)}`"
    if len(text) > LONGEST or text.count("(") > DEEPEST:
        raise Refusal("requirement", f"{quoted} is longer or deeper than any requirement", "write a name and a range")
    if stripped.startswith("-") and not re.match(r"-e\b|--editable\b", stripped):
        hint = "write a name and a range, such as `numpy >=2`; indexes and files have keys of their own"
        raise Refusal("requirement-option", f"{quoted} is an option of pip, not a requirement", hint)
    if redact(stripped) != stripped:
        hint = "take the URL out of the spec, and give credentials where the package client keeps them, such as netrc"
        raise Refusal("userinfo", f"{quoted} holds a user name or a password", hint)
    local = stripped.startswith((".", "/", "~", "file:", "-e", "--editable")) or re.match(r"[A-Za-z]:\\", stripped)
    if local or _VERSION_CONTROL.search(stripped) or "file:" in stripped:
        raise Refusal("requirement-path", f"{quoted} is code of one's own, which no lock can pin", RECIPE)
    if "://" in stripped:
        hint = "write the package's name and version, so that any mirror can serve the file by its hash"
        raise Refusal("requirement-url", f"{quoted} is a URL, not a requirement", hint)
    if stripped.endswith(ARCHIVES) or ("/" in stripped.split(";", maxsplit=1)[0]):
        raise Refusal("requirement-path", f"{quoted} is a file, which no lock can pin", RECIPE)
    return _parsed(stripped, quoted)


def _parsed(stripped: str, quoted: str) -> Requirement:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - 14 ms, for pip packages only

    try:
        return Requirement(stripped)
    except InvalidRequirement:
        reason, hint = _why_not(stripped)
        raise Refusal("requirement", f"{quoted} is not a requirement: {reason}", hint) from None


def _why_not(text: str) -> tuple[str, str]:
    """What is wrong with a requirement that `packaging` does not read, and what mends it.

    Our own words: those of `packaging` speak of its grammar, and change from release to release.
    """
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - as above

    if not text:
        return "it is empty", "name a package, or take it out"
    head, semicolon, _ = text.partition(";")
    if head.count("[") != head.count("]"):
        return "its bracket is not closed", 'write extras as `"transformers[torch] >=5"`'
    if equals := re.fullmatch(rf"({_NAME.pattern}(?:\[.*\])?)\s*=?\s*([0-9]\S*)\s*", head):
        return "a version stands without a comparison", f"write `{equals[1]} =={equals[2]}`"
    if re.search(r"[<>=!~]=?\s*[^\s,]+\s+[<>=!~]", head):
        return "two ranges stand without a comma", "put a comma between them: `numpy >=2,<3`"
    if semicolon:
        with suppress(InvalidRequirement):
            Requirement(head)
            return "its marker cannot be read", "write it as `; python_version < '3.13'`"
    return "it cannot be read", 'write it as pip does, such as `"numpy >=2,<3"` or `"transformers[torch] >=5"`'


def canonical(text: str) -> str:
    """One text for one requirement: normalised name, sorted extras and specifiers, one spacing."""
    return render(requirement(text))


def render(parsed: Requirement) -> str:
    """The canonical text of a parsed requirement."""
    extras = f"[{','.join(sorted(_normal(extra) for extra in parsed.extras))}]" if parsed.extras else ""
    specifiers = ",".join(sorted(str(specifier) for specifier in parsed.specifier))
    marker = f" ; {parsed.marker}" if parsed.marker else ""
    return f"{_normal(parsed.name)}{extras}{specifiers}{marker}"
