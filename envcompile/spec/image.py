"""The small syntaxes of `[image]` and `[tools]`: image references, users, ports, names of variables and labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from envcompile.diagnostics import Diagnostic, did_you_mean
from envcompile.spec import read

if TYPE_CHECKING:
    from envcompile.source import KeyPath
    from envcompile.spec.read import Found

TOOLS = ("uv",)

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    r"(?P<name>(?:(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:[0-9]+/)|\[::1\])(?::[0-9]+)?/)?"
    rf"{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_BIGGEST_ID = 2**31 - 1
_BIGGEST_PORT = 65535


class Reference(NamedTuple):
    """An image reference in its parts: `name[:tag][@digest]`."""

    name: str
    tag: str | None
    digest: str | None


def reference(image: str) -> Reference | None:
    """The parts of an image reference, or None when it is not one.

    The grammar is that of the distribution project (OCI distribution specification, "Pulling manifests").
    """
    found = _REFERENCE.fullmatch(image)
    return Reference(found["name"], found["tag"], found["digest"]) if found else None


def user(found: Found, path: KeyPath, value: Any) -> tuple[int, int] | None:  # noqa: ANN401 - TOML's value
    """`UID:GID`, both numeric."""
    string = read.text(found, path, value)
    if string is None:
        return None
    parts = re.fullmatch(r"(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,9})", string)
    ids = (int(parts[1]), int(parts[2])) if parts else None
    if ids is None or max(ids) > _BIGGEST_ID:
        hint = "names are looked up in the image and mean another number in each: write `1000:1000`"
        found.append(Diagnostic("user", f"`{read.shown(string)}` is not a numeric user and group", path, hint))
        return None
    return ids


def port(found: Found, path: KeyPath, value: Any) -> int | None:  # noqa: ANN401
    """A port number."""
    if isinstance(value, bool) or not isinstance(value, int):
        read.wrong_type(found, path, "an integer", value)
        return None
    if not 1 <= value <= _BIGGEST_PORT:
        found.append(Diagnostic("port", f"`{value}` is not a port", path, f"ports go from 1 to {_BIGGEST_PORT}"))
        return None
    return value


def env_name(found: Found, path: KeyPath, name: str) -> bool:
    """Whether a key names an environment variable that the spec may set."""
    if not read.clean(found, path, name, "key"):
        return False
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        message = f"`{read.shown(name)}` is not the name of an environment variable"
        found.append(Diagnostic("env-name", message, path, "letters, digits and `_`", "key"))
        return False
    if name == "PATH":
        message = "`PATH` is set by the image, to find the environment's programs"
        found.append(Diagnostic("env-reserved", message, path, "take it out of `env`", "key"))
        return False
    return True


def label_name(found: Found, path: KeyPath, name: str) -> bool:
    """Whether a key names a label."""
    if not read.clean(found, path, name, "key"):
        return False
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?", name):
        hint = "lower-case letters, digits, and `.`, `_`, `-`, `/` between them"
        found.append(Diagnostic("label-name", f"`{read.shown(name)}` is not the name of a label", path, hint, "key"))
        return False
    return True


def tool(found: Found, path: KeyPath, name: str) -> bool:
    """Whether a key names a tool of the build."""
    if name in TOOLS or not read.clean(found, path, name, "key"):
        return name in TOOLS
    hint = did_you_mean(name, TOOLS) or f"known are {', '.join(f'`{known}`' for known in TOOLS)}"
    found.append(Diagnostic("tool", f"`{read.shown(name)}` is not a tool of the build", path, hint, "key"))
    return False


# What a base table may say beside its image (design: the spec).
BASE_READERS = {
    "os": read.matching(
        r"[a-z][a-z0-9]*-[0-9]+(?:\.[0-9]+)*", "base-unknown", "an operating system", 'write `"debian-12"`'
    ),
    "glibc": read.matching(r"2\.[0-9]{1,2}", "base-unknown", "a version of glibc", 'write `"2.36"`'),
    "python": read.matching(
        r"3\.[0-9]{1,2}\.[0-9]{1,2}", "python-version", "an exact Python version", 'write `"3.12.12"`'
    ),
}
