"""Readers that check single values of a spec (strings, versions, URLs, ports, tables), and image references.

A reader is a function of (problems, key path, value). It returns the typed value; for an invalid value it appends a
diagnostic to `problems` and returns None, so that one run reports all mistakes. `decode` combines the readers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from envcompile.diagnostics.diagnostic import Diagnostic, clean_message, contains_credentials, did_you_mean
from envcompile.platforms import PLATFORM_ALIASES, PLATFORMS
from envcompile.spec.model import NO_CUDA, CudaRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from envcompile.diagnostics.source import KeyPath

    Diagnostics = list[Diagnostic]
    Value = TypeVar("Value")
    ValueReader = Callable[[Diagnostics, KeyPath, Any], Value | None]

# Image references: `[registry/]repository[:tag][@sha256:digest]`, with the grammar that Docker uses:
# https://github.com/distribution/reference. A reference without a registry is on Docker Hub, which has two older names.
DOCKER_HUB = "docker.io"
DOCKER_HUB_ALIASES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
# The namespace on Docker Hub of repositories that are written without one, such as `python`.
_OFFICIAL_NAMESPACE = "library"

_PATH_PART_PATTERN = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_PATTERN = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:[0-9]+/)|\[[0-9a-f:]+\])(?::[0-9]+)?/"
_REFERENCE_PATTERN = re.compile(
    rf"(?P<name>(?:{_HOST_PATTERN})?{_PATH_PART_PATTERN}(?:/{_PATH_PART_PATTERN})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class ImageReferenceParts(NamedTuple):
    """A parsed image reference. `name` is the registry, if any, and the repository, as written."""

    name: str
    tag: str | None
    digest: str | None

    def split_registry(self) -> tuple[str, str]:
        """The registry, and the repository within it: `python` is (`docker.io`, `library/python`).

        As in Docker, the first part of the name is a registry if it contains a dot or a port, or is `localhost`.
        """
        registry, slash, repository = self.name.partition("/")
        if not slash or not (registry == "localhost" or "." in registry or ":" in registry):
            registry, repository = DOCKER_HUB, self.name
        if registry not in DOCKER_HUB_ALIASES:
            return registry, repository
        return DOCKER_HUB, repository if "/" in repository else f"{_OFFICIAL_NAMESPACE}/{repository}"


def split_image_reference(image: str) -> ImageReferenceParts | None:
    """The parts of an image reference, or None if the text is not one."""
    found = _REFERENCE_PATTERN.fullmatch(image)
    return ImageReferenceParts(found["name"], found["tag"], found["digest"]) if found else None


def remove_digest(image: str) -> str:
    """The reference without its digest: `python:3.12@sha256:…` is `python:3.12`."""
    return image.partition("@")[0]


def is_same_repository(image: str, other: str) -> bool:
    """Whether two references have the same name; tags and digests may differ. False if one is not a reference."""
    names = [parts.name if parts else None for parts in map(split_image_reference, (image, other))]
    return names[0] is not None and names[0] == names[1]


# Readers for TOML types.


LOCAL_CODE_HINT = (
    "build the environment without it, then put your own code on top: `FROM repository:tag`, `COPY . /app`"
)
# No real requirement exceeds these limits. `packaging` recurses on parentheses and needs quadratic time.
MAX_REQUIREMENT_LENGTH, MAX_REQUIREMENT_DEPTH = 2000, 20
# File name suffixes of the archives that pip installs.
ARCHIVE_SUFFIXES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz")
CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_LINE_ENDING = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]")
# Hints for a value of a wrong type, by the expected type or by (expected type, actual type).
_WRONG_TYPE_HINTS = {
    ("a string", "an array"): "write one string in quotes",
    ("a string", "a table"): "write one string in quotes",
    "a string": "put it in quotes",
    "an array": "put it in brackets: `[...]`",
    ("an array", "a table"): "write a list in brackets: `[...]`",
    "an integer": "write the bare number, without quotes",
    "a boolean": "write `true` or `false`, without quotes",
    "a table": "write keys with values, such as `{ key = ... }`",
}


def describe_toml_type(value: object) -> str:
    """The TOML type of a value, with an article."""
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}
    return names.get(type(value), "a date or a time")


def report_wrong_type(problems: Diagnostics, path: KeyPath, expected: str, value: object) -> None:
    """Report that the value at `path` has a wrong type. `expected` is an article and a noun, such as `a string`."""
    last = path[-1]
    named = f"`{display_text(last)}`" if isinstance(last, str) else f"entry {last + 1} of `{path[-2]}`"
    hint = (
        _WRONG_TYPE_HINTS.get((expected, describe_toml_type(value)))
        or _WRONG_TYPE_HINTS.get(expected)
        or f"write {expected}"
    )
    problems.append(
        Diagnostic("wrong-type", f"{named} must be {expected}, not {describe_toml_type(value)}", path, hint)
    )


def format_choices(words: Iterable[str]) -> str:
    """A hint that lists the valid words."""
    return f"write one of {', '.join(f'`{word}`' for word in words)}"


def read_string(problems: Diagnostics, path: KeyPath, value: Any) -> str | None:
    """Read a string without control characters (tabs are allowed)."""
    if not isinstance(value, str):
        report_wrong_type(problems, path, "a string", value)
        return None
    return value if has_clean_characters(problems, path, value) else None


def has_clean_characters(problems: Diagnostics, path: KeyPath, value: str, of: str = "value") -> bool:
    """Whether a key or a value has no control characters; reports the first one. `of` is "key" or "value"."""
    control = CONTROL_CHARACTER.search(value)
    if control:
        message = f"this {of} contains a control character (U+{ord(control.group()):04X})"
        hint = "write the text on one line" if _LINE_ENDING.search(value) else "remove it"
        problems.append(Diagnostic("control-character", message, path, hint, of))
    return not control


def make_pattern_reader(pattern: str, rule: str, expected: str, hint: str | None = None) -> ValueReader[str]:
    """A reader of strings that match the whole pattern. `expected` completes the message "`x` is not ..."."""
    compiled = re.compile(pattern)

    def read(problems: Diagnostics, path: KeyPath, value: Any) -> str | None:
        string = read_string(problems, path, value)
        if string is not None and not compiled.fullmatch(string):
            problems.append(Diagnostic(rule, f"`{display_text(string)}` is not {expected}", path, hint))
            return None
        return string

    return read


def display_text(string: str) -> str:
    """A text to quote in a message: secrets are masked, unprintable characters escaped, and long texts shortened."""
    safe = clean_message(string) or '""'
    return safe if len(safe) <= 80 else safe[:77] + "..."  # noqa: PLR2004 - a line of a terminal


def make_array_reader(item: ValueReader[Value]) -> ValueReader[tuple[Value, ...]]:
    """A reader of arrays, which leaves out invalid items."""

    def read(problems: Diagnostics, path: KeyPath, value: Any) -> tuple[Value, ...] | None:
        if not isinstance(value, list):
            report_wrong_type(problems, path, "an array", value)
            return None
        items = (item(problems, (*path, index), each) for index, each in enumerate(value))
        return tuple(each for each in items if each is not None)

    return read


def make_mapping_reader(
    is_valid_key: Callable[[Diagnostics, KeyPath, str], bool], item: ValueReader[Value]
) -> ValueReader[tuple[tuple[str, Value], ...]]:
    """A reader of tables in which the user chooses the keys; it returns (key, value) pairs, sorted by key."""

    def read(problems: Diagnostics, path: KeyPath, value: Any) -> tuple[tuple[str, Value], ...] | None:
        if not isinstance(value, dict):
            report_wrong_type(problems, path, "a table", value)
            return None
        pairs = [
            (name, read_value)
            for name, item_value in value.items()
            if is_valid_key(problems, (*path, name), name)
            and (read_value := item(problems, (*path, name), item_value)) is not None
        ]
        return tuple(sorted(pairs, key=lambda pair: pair[0]))

    return read


def read_boolean(problems: Diagnostics, path: KeyPath, value: Any) -> bool | None:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    report_wrong_type(problems, path, "a boolean", value)
    return None


# Hints for keys that people write and that do not exist.
_KEY_HINTS: dict[KeyPath, str] = {
    ("image", "ports"): "write the ports in `expose`",
    ("image", "slim"): "remove the key: it saved less than 10 % of an image, and no files are removed any more",
}


def read_table(
    problems: Diagnostics, path: KeyPath, value: Any, readers: Mapping[str, ValueReader[Any]]
) -> dict[str, Any]:
    """Read a table with the reader of each key. Reports unknown keys, and leaves out invalid values."""
    if not isinstance(value, dict):
        report_wrong_type(problems, path, "a table", value)
        return {}
    where = f"`{'.'.join(part for part in path if isinstance(part, str))}`" if path else "the top level of a spec"
    values: dict[str, Any] = {}
    for name, each in value.items():
        here = (*path, name)
        if name in readers:
            values[name] = readers[name](problems, here, each)
        elif has_clean_characters(problems, here, name, "key"):
            hint = _KEY_HINTS.get(here) or did_you_mean(name, readers) or format_choices(readers)
            message = f"`{display_text(name)}` is not a key of {where}"
            problems.append(Diagnostic("unknown-key", message, here, hint, "key"))
    return {name: each for name, each in values.items() if each is not None}


# Readers for names, versions, URLs, paths, users and ports.


TOOL_NAMES = ("python", "uv")
_MAX_USER_ID = 2**31 - 1
# `emit/scripts/sdist-install` sets these, so that an sdist gives the same wheel everywhere.
_RESERVED_BUILD_VARIABLES = ("HOME", "LC_ALL", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "ZERO_AR_DATE")

read_image_name = make_pattern_reader(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*",
    "name",
    "an image name",
    "write lower-case letters and digits, with `.`, `_` or `-` between them",
)
read_repository = make_pattern_reader(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*",
    "image-reference",
    "an image repository",
    "write it without a tag, such as `registry.example.com/team/ml`: envcompile computes the tag",
)
read_python_version = make_pattern_reader(
    r"3\.[0-9]{1,2}(?:\.[0-9]{1,2})?t?", "python-version", "a Python version", 'write a version such as `"3.12"`'
)
read_exact_python_version = make_pattern_reader(
    r"3\.[0-9]{1,2}\.[0-9]{1,2}", "python-version", "an exact Python version", 'write a version such as `"3.12.12"`'
)
read_operating_system = make_pattern_reader(
    r"[a-z][a-z0-9]*-[0-9]+(?:\.[0-9]+)*", "base-unknown", "an operating system", 'write a system such as `"debian-12"`'
)
read_glibc_version = make_pattern_reader(
    r"2\.[0-9]{1,2}", "base-unknown", "a glibc version", 'write a version such as `"2.36"`'
)
# No trailing space: the Dockerfile lists folders, one per line, and reading a line strips spaces.
read_absolute_path = make_pattern_reader(
    r"/|(?:/(?!\.{1,2}(?:/|$))[^/]+)+(?<![ \t])",
    "path",
    "an absolute path without `..`",
    'write a path such as `"/work"`',
)
read_program_path = make_pattern_reader(
    r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._+@-]+)+",
    "path",
    "the path of a program",
    'write a path such as `"/usr/bin/python3"`',
)
read_apt_package = make_pattern_reader(
    r"[a-z0-9][a-z0-9.+-]+",
    "package-name",
    "the name of a Debian package",
    "write only the name: the snapshot determines the version",
)
read_index_name = make_pattern_reader(
    r"[a-z0-9]+(?:-[a-z0-9]+)*", "name", "an index name", "write lower-case letters, digits and `-`"
)
read_package_pattern = make_pattern_reader(
    r"[A-Za-z0-9*?](?:[A-Za-z0-9._*?-]*[A-Za-z0-9*?])?",
    "package-name",
    "a package name or a glob",
    'write a name such as `"acme"` or a glob such as `"acme-*"`',
)
read_driver_version = make_pattern_reader(
    r"[0-9]{3}(?:\.[0-9]{1,3}){0,2}", "driver", "a driver version", 'write a version such as `"535"` or `"535.104.05"`'
)
read_gpu_architecture = make_pattern_reader(
    r"[0-9]{1,2}\.[0-9]", "compute", "a GPU architecture", 'write a compute capability such as `"8.0"`'
)
_read_cuda_version_string = make_pattern_reader(
    r"[0-9]{1,2}(?:\.[0-9]{1,2})?", "cuda-version", "a CUDA version", 'write a version such as `"12"` or `"12.8"`'
)


def make_choice_reader(known: tuple[str, ...], rule: str, noun: str) -> ValueReader[str]:
    """A reader of strings that accepts the `known` words only. `noun` completes the message "`x` is not ..."."""

    def read_word(problems: Diagnostics, path: KeyPath, value: Any) -> str | None:
        word = read_string(problems, path, value)
        if word is None or word in known:
            return word
        hint = did_you_mean(word, known) or format_choices(known)
        problems.append(Diagnostic(rule, f"`{display_text(word)}` is not {noun}", path, hint))
        return None

    return read_word


def read_platform(problems: Diagnostics, path: KeyPath, value: Any) -> str | None:
    """Read the conda name of a supported platform, such as `linux-64`."""
    name = read_string(problems, path, value)
    if name is None or name in PLATFORMS:
        return name
    meant = f"did you mean `{PLATFORM_ALIASES[name]}`?" if name in PLATFORM_ALIASES else did_you_mean(name, PLATFORMS)
    hint = meant or format_choices(PLATFORMS)
    problems.append(Diagnostic("platform", f"`{display_text(name)}` is not a supported platform", path, hint))
    return None


def read_cuda_request(problems: Diagnostics, path: KeyPath, value: Any) -> CudaRequest | None:
    """Read `cuda.version`: X or X.Y in quotes, or false."""
    if value is False:
        return NO_CUDA
    if value is True or not isinstance(value, str):
        report_wrong_type(problems, path, 'a version in quotes such as `"12.8"`, or `false`', value)
        return None
    version = _read_cuda_version_string(problems, path, value)
    return None if version is None else CudaRequest(version)


def read_timestamp(problems: Diagnostics, path: KeyPath, value: Any) -> str | None:
    """Read a TOML date-time as RFC 3339 in UTC.

    The type is recognised by its attributes, because pure packages, such as this one, do not import `datetime`.
    """
    if not (hasattr(value, "utcoffset") and hasattr(value, "hour") and hasattr(value, "year")):
        report_wrong_type(problems, path, "a timestamp such as 2026-11-01T00:00:00Z", value)
        return None
    if value.utcoffset() is None:
        message = f"`{value.isoformat()}` has no time zone"
        problems.append(Diagnostic("timestamp", message, path, f"write `{value.replace(microsecond=0).isoformat()}Z`"))
        return None
    try:
        return str((value - value.utcoffset()).strftime("%Y-%m-%dT%H:%M:%SZ")).zfill(20)
    except OverflowError:
        problems.append(
            Diagnostic("timestamp", f"`{value.isoformat()}` is out of range", path, "write a year from 1 to 9999")
        )
        return None


def read_user(problems: Diagnostics, path: KeyPath, value: Any) -> tuple[int, int] | None:
    """Read `UID:GID` as a pair of numbers."""
    string = read_string(problems, path, value)
    if string is None:
        return None
    parts = re.fullmatch(r"(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,9})", string)
    ids = (int(parts[1]), int(parts[2])) if parts else None
    if ids is None or max(ids) > _MAX_USER_ID:
        hint = "write numbers such as `1000:1000`: the same name can have different numbers in different images"
        problems.append(Diagnostic("user", f"`{display_text(string)}` is not a numeric user and group", path, hint))
        return None
    return ids


# The signals that a Dockerfile can name, from signal(7).
_SIGNAL = re.compile(
    r"SIG(?:HUP|INT|QUIT|ABRT|KILL|USR1|USR2|ALRM|TERM|CONT|STOP|TSTP|WINCH|PWR|RTMIN(?:\+[1-9][0-9]?)?|RTMAX(?:-[1-9][0-9]?)?)"
)
# A duration of Go without fractions: `30s`, `1m30s`.
_DURATION = re.compile(r"(?=.)(?:[0-9]{1,4}h)?(?:[0-9]{1,4}m)?(?:[0-9]{1,5}s)?(?:[0-9]{1,5}ms)?")


def read_signal(problems: Diagnostics, path: KeyPath, value: Any) -> str | None:
    """Read the name of a signal, such as `SIGINT`."""
    name = read_string(problems, path, value)
    if name is None or _SIGNAL.fullmatch(name):
        return name
    problems.append(
        Diagnostic(
            "signal", f"`{display_text(name)}` is not the name of a signal", path, "write a name such as `SIGINT`"
        )
    )
    return None


def read_duration(problems: Diagnostics, path: KeyPath, value: Any) -> str | None:
    """Read a duration such as `30s` or `1m30s`, of at least a millisecond."""
    text = read_string(problems, path, value)
    if text is None or (_DURATION.fullmatch(text) and re.search("[1-9]", text)):
        return text
    message = f"`{display_text(text)}` is not a duration"
    problems.append(Diagnostic("duration", message, path, "write numbers with units, such as `30s` or `1m30s`"))
    return None


def make_integer_reader(rule: str, noun: str, most: int, hint: str) -> ValueReader[int]:
    """Make a reader for integers from 1 to `most`. `noun` is what the value is, for messages: `a port`."""

    def read(problems: Diagnostics, path: KeyPath, value: Any) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int):
            report_wrong_type(problems, path, "an integer", value)
            return None
        if not 1 <= value <= most:
            # Python cannot format an integer of more than 4,300 digits.
            number = f"`{value}`" if abs(value) < 2**63 else "this number"
            problems.append(Diagnostic(rule, f"{number} is not {noun}", path, hint))
            return None
        return value

    return read


read_port = make_integer_reader("port", "a port", 65535, "ports go from 1 to 65535")
read_retries = make_integer_reader("retries", "a number of retries", 1000, "write a number from 1 to 1000")


def read_index_url(problems: Diagnostics, path: KeyPath, value: Any) -> str | None:
    """Read the URL of a package index: http or https, without credentials, query or fragment."""
    string = read_string(problems, path, value)
    if string is None:
        return None
    if contains_credentials(string):
        hint = "remove them, and store credentials where the package client reads them, such as in netrc"
        problems.append(Diagnostic("userinfo", "this URL contains a user name, a password or a token", path, hint))
        return None
    if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+(?:/[A-Za-z0-9._~%+/-]*)?", string):
        hint = "write `https://host/path`, without a query"
        problems.append(Diagnostic("url", f"`{display_text(string)}` is not the URL of an index", path, hint))
        return None
    return string.rstrip("/")


def is_valid_env_name(problems: Diagnostics, path: KeyPath, name: str) -> bool:
    """Whether a key is a name of an environment variable that the spec may set in the image; reports it if not."""
    return _is_valid_variable_name(
        problems, path, name, {"PATH": "is reserved: the image sets it to find the programs of the environment"}
    )


def is_valid_build_env_name(problems: Diagnostics, path: KeyPath, name: str) -> bool:
    """Whether a key is a name of a variable that the spec may set while an sdist is built; reports it if not."""
    return _is_valid_variable_name(
        problems, path, name, dict.fromkeys(_RESERVED_BUILD_VARIABLES, "is reserved: every build of an sdist sets it")
    )


def _is_valid_variable_name(problems: Diagnostics, path: KeyPath, name: str, reserved: Mapping[str, str]) -> bool:
    if not has_clean_characters(problems, path, name, "key"):
        return False
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        message = f"`{display_text(name)}` is not the name of an environment variable"
        problems.append(
            Diagnostic("env-name", message, path, "write letters, digits and `_`, and do not start with a digit", "key")
        )
        return False
    if name in reserved:
        problems.append(Diagnostic("env-reserved", f"`{name}` {reserved[name]}", path, "remove it", "key"))
        return False
    return True


def is_valid_label_name(problems: Diagnostics, path: KeyPath, name: str) -> bool:
    """Whether a key is a valid name of an image label; reports it if not."""
    if not has_clean_characters(problems, path, name, "key"):
        return False
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?", name):
        hint = "write lower-case letters and digits, with `.`, `_`, `-` or `/` between them"
        problems.append(
            Diagnostic("label-name", f"`{display_text(name)}` is not the name of a label", path, hint, "key")
        )
        return False
    return True


_REMOVED_TOOLS = {
    "micromamba": "remove it: py-rattler installs the conda packages, with the Python of the image in `tools.python`"
}


def is_valid_tool_name(problems: Diagnostics, path: KeyPath, name: str) -> bool:
    """Whether a key is one of `TOOL_NAMES`; reports it if not."""
    if name in TOOL_NAMES or not has_clean_characters(problems, path, name, "key"):
        return name in TOOL_NAMES
    hint = _REMOVED_TOOLS.get(name) or did_you_mean(name, TOOL_NAMES) or format_choices(TOOL_NAMES)
    problems.append(Diagnostic("tool", f"`{display_text(name)}` is not a tool of the build", path, hint, "key"))
    return False
