"""The small syntaxes of a spec's values: names, versions, URLs, paths, users, ports. One reader for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics import Diagnostic, did_you_mean, redact
from envcompile.platforms import PLATFORMS, SPELLINGS
from envcompile.spec import read
from envcompile.spec.read import matching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.source import KeyPath
    from envcompile.spec.read import Found

TOOLS = ("uv", "micromamba")
_BIGGEST_ID = 2**31 - 1
_BIGGEST_PORT = 65535
# What `emit/templates/sdist-install` sets, so that a wheel is the same wherever it is made.
_OF_BUILDS = ("HOME", "LC_ALL", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "ZERO_AR_DATE")

image_name = matching(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*",
    "name",
    "a name for an image",
    "write lower-case letters and digits, with `.`, `_` or `-` between them",
)
repository = matching(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*",
    "image-reference",
    "a repository of images",
    "write it without a tag, such as `registry.example.com/team/ml`: the tag is the Dockerfile's hash",
)
python_version = matching(r"3\.[0-9]{1,2}(?:\.[0-9]{1,2})?", "python-version", "a Python version", 'write `"3.12"`')
python_exact = matching(r"3\.[0-9]{1,2}\.[0-9]{1,2}", "python-version", "an exact Python version", 'write `"3.12.12"`')
system = matching(r"[a-z][a-z0-9]*-[0-9]+(?:\.[0-9]+)*", "base-unknown", "an operating system", 'write `"debian-12"`')
glibc = matching(r"2\.[0-9]{1,2}", "base-unknown", "a version of glibc", 'write `"2.36"`')
# No blank at the end: the line of the Dockerfile's list of folders would lose it when it is read.
path = matching(
    r"/|(?:/(?!\.{1,2}(?:/|$))[^/]+)+(?<![ \t])", "path", "an absolute path without `..`", 'write it as `"/work"`'
)
program_path = matching(
    r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._+@-]+)+", "path", "the path of a program", 'write `"/usr/bin/python3"`'
)
apt_package = matching(
    r"[a-z0-9][a-z0-9.+-]+",
    "package-name",
    "the name of a Debian package",
    "write the bare name: the snapshot fixes versions",
)
index_name = matching(
    r"[a-z0-9]+(?:-[a-z0-9]+)*", "name", "a name for an index", "write lower-case letters, digits and `-`"
)
pattern = matching(
    r"[A-Za-z0-9*?](?:[A-Za-z0-9._*?-]*[A-Za-z0-9*?])?",
    "package-name",
    "a package's name or a glob",
    'write it as `"acme"` or `"acme-*"`',
)
driver = matching(r"[0-9]{3}(?:\.[0-9]{1,3}){0,2}", "driver", "a driver's version", 'write `"535"` or `"535.104.05"`')
compute = matching(r"[0-9]{1,2}\.[0-9]", "compute", "a GPU architecture", 'write `"8.0"`')
_cuda_version = matching(r"[0-9]{1,2}(?:\.[0-9]{1,2})?", "cuda-version", "a CUDA version", 'write `"12"` or `"12.8"`')


def one_of(known: tuple[str, ...], rule: str, noun: str) -> read.Reader[str]:
    """A reader of one of a few words."""

    def read_word(found: Found, at: KeyPath, value: Any) -> str | None:
        word = read.text(found, at, value)
        if word is None or word in known:
            return word
        hint = did_you_mean(word, known) or f"known are {', '.join(f'`{each}`' for each in known)}"
        found.append(Diagnostic(rule, f"`{read.shown(word)}` is not {noun}", at, hint))
        return None

    return read_word


def platform(found: Found, at: KeyPath, value: Any) -> str | None:
    """One of the platforms, in conda's spelling."""
    name = read.text(found, at, value)
    if name is None or name in PLATFORMS:
        return name
    meant = f"did you mean `{SPELLINGS[name]}`?" if name in SPELLINGS else did_you_mean(name, PLATFORMS)
    hint = meant or f"known are {', '.join(f'`{known}`' for known in PLATFORMS)}"
    found.append(Diagnostic("platform", f"`{read.shown(name)}` is not a platform envcompile compiles for", at, hint))
    return None


def cuda_version(found: Found, at: KeyPath, value: Any) -> str | bool | None:
    """X, X.Y, or false."""
    if value is False:
        return False
    if value is True or not isinstance(value, str):
        read.wrong_type(found, at, 'a version in quotes such as `"12.8"`, or `false`', value)
        return None
    return _cuda_version(found, at, value)


def timestamp(found: Found, at: KeyPath, value: Any) -> str | None:
    """RFC 3339 in UTC to the second. TOML's value is duck-typed: this package does not import the clock's module."""
    if not (hasattr(value, "utcoffset") and hasattr(value, "hour") and hasattr(value, "year")):
        read.wrong_type(found, at, "a timestamp such as 2026-11-01T00:00:00Z", value)
        return None
    if value.utcoffset() is None:
        message = f"`{value.isoformat()}` does not say in which time zone it is"
        found.append(Diagnostic("timestamp", message, at, f"write `{value.replace(microsecond=0).isoformat()}Z`"))
        return None
    try:
        return str((value - value.utcoffset()).strftime("%Y-%m-%dT%H:%M:%SZ")).zfill(20)
    except OverflowError:
        found.append(
            Diagnostic("timestamp", f"`{value.isoformat()}` is out of range", at, "name a year from 1 to 9999")
        )
        return None


def user(found: Found, at: KeyPath, value: Any) -> tuple[int, int] | None:
    """`UID:GID`, both numeric."""
    string = read.text(found, at, value)
    if string is None:
        return None
    parts = re.fullmatch(r"(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,9})", string)
    ids = (int(parts[1]), int(parts[2])) if parts else None
    if ids is None or max(ids) > _BIGGEST_ID:
        hint = "names are looked up in the image and mean another number in each: write `1000:1000`"
        found.append(Diagnostic("user", f"`{read.shown(string)}` is not a numeric user and group", at, hint))
        return None
    return ids


def port(found: Found, at: KeyPath, value: Any) -> int | None:
    """A port number."""
    if isinstance(value, bool) or not isinstance(value, int):
        read.wrong_type(found, at, "an integer", value)
        return None
    if not 1 <= value <= _BIGGEST_PORT:
        # Python refuses to write a number of thousands of digits.
        number = f"`{value}`" if abs(value) < 2**63 else "this number"
        found.append(Diagnostic("port", f"{number} is not a port", at, f"ports go from 1 to {_BIGGEST_PORT}"))
        return None
    return value


def url(found: Found, at: KeyPath, value: Any) -> str | None:
    """The URL of an index or a channel: http or https, without userinfo, query or fragment."""
    string = read.text(found, at, value)
    if string is None:
        return None
    if redact(string) != string:
        hint = "give credentials where the package client keeps them, such as netrc or its keyring"
        found.append(Diagnostic("userinfo", "this URL holds a user name, a password or a token", at, hint))
        return None
    if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+(?:/[A-Za-z0-9._~%+/-]*)?", string):
        hint = "write `https://host/path`, without a query"
        found.append(Diagnostic("url", f"`{read.shown(string)}` is not the URL of an index", at, hint))
        return None
    return string.rstrip("/")


def env_name(found: Found, at: KeyPath, name: str) -> bool:
    """Whether a key names an environment variable that the spec may set in the image."""
    return _variable(found, at, name, {"PATH": "is set by the image, to find the environment's programs"})


def build_env_name(found: Found, at: KeyPath, name: str) -> bool:
    """Whether a key names an environment variable that the spec may set where an sdist is built."""
    return _variable(found, at, name, dict.fromkeys(_OF_BUILDS, "is set by the build of an sdist itself"))


def _variable(found: Found, at: KeyPath, name: str, reserved: Mapping[str, str]) -> bool:
    if not read.clean(found, at, name, "key"):
        return False
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        message = f"`{read.shown(name)}` is not the name of an environment variable"
        found.append(Diagnostic("env-name", message, at, "write letters, digits and `_`, no digit first", "key"))
        return False
    if name in reserved:
        found.append(Diagnostic("env-reserved", f"`{name}` {reserved[name]}", at, "take it out", "key"))
        return False
    return True


def label_name(found: Found, at: KeyPath, name: str) -> bool:
    """Whether a key names a label."""
    if not read.clean(found, at, name, "key"):
        return False
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?", name):
        hint = "write lower-case letters and digits, with `.`, `_`, `-` or `/` between them"
        found.append(Diagnostic("label-name", f"`{read.shown(name)}` is not the name of a label", at, hint, "key"))
        return False
    return True


def tool(found: Found, at: KeyPath, name: str) -> bool:
    """Whether a key names a tool of the build."""
    if name in TOOLS or not read.clean(found, at, name, "key"):
        return name in TOOLS
    hint = did_you_mean(name, TOOLS) or f"known are {', '.join(f'`{known}`' for known in TOOLS)}"
    found.append(Diagnostic("tool", f"`{read.shown(name)}` is not a tool of the build", at, hint, "key"))
    return False
