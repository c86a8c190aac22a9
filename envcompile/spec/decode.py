"""From the TOML value to a Spec: which keys there are, and of what shape each is. Meaning is `check`'s business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcompile.diagnostics import Diagnostic, Problems, did_you_mean
from envcompile.platforms import PLATFORMS, SPELLINGS
from envcompile.spec import image as images
from envcompile.spec import read
from envcompile.spec.model import Base, Image, Pip, Spec

if TYPE_CHECKING:
    from envcompile.source import KeyPath, Source
    from envcompile.spec.read import Found

# A spec is some kilobytes.
LIMIT = 1 << 20

# Parts of the format (design: the spec) whose passes come with later releases.
_LATER_TABLES = ("conda", "apt", "cuda", "lock")
_LATER_PIP = ("allow-sdist", "resolver", "index", "extra-indexes", "metadata")

_NAME = read.matching(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", "name", "a name for an image", "lower-case letters, digits, `.`, `_`, `-`"
)
_PYTHON = read.matching(r"3\.[0-9]{1,2}(?:\.[0-9]{1,2})?", "python-version", "a Python version", 'write `"3.12"`')
_PATH = read.matching(r"/|(?:/(?!\.{1,2}(?:/|$))[^/\x00-\x1f]+)+/?", "path", "an absolute path without `..`")
_REPOSITORY = read.matching(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*",
    "image-reference",
    "a repository of images",
    "write it without a tag, such as `registry.example.com/team/ml`: the tag is the Dockerfile's hash",
)


def _platform(found: Found, path: KeyPath, value: Any) -> str | None:  # noqa: ANN401
    name = read.text(found, path, value)
    if name is None or name in PLATFORMS:
        return name
    meant = f"did you mean `{SPELLINGS[name]}`?" if name in SPELLINGS else did_you_mean(name, PLATFORMS)
    hint = meant or f"known are {', '.join(f'`{known}`' for known in PLATFORMS)}"
    found.append(Diagnostic("platform", f"`{read.shown(name)}` is not a platform envcompile compiles for", path, hint))
    return None


def _timestamp(found: Found, path: KeyPath, value: Any) -> str | None:  # noqa: ANN401
    """RFC 3339 in UTC to the second. A TOML datetime is duck-typed: this package does not import the clock's module."""
    if not (hasattr(value, "utcoffset") and hasattr(value, "hour") and hasattr(value, "year")):
        read.wrong_type(found, path, "a timestamp such as 2026-11-01T00:00:00Z", value)
        return None
    if value.utcoffset() is None:
        message = f"`{value.isoformat()}` does not say in which time zone it is"
        found.append(Diagnostic("timestamp", message, path, f"write `{value.replace(microsecond=0).isoformat()}Z`"))
        return None
    return (value - value.utcoffset()).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pip(found: Found, path: KeyPath, value: Any) -> Pip:  # noqa: ANN401
    readers = {"packages": read.array(read.text), "exclude": read.array(read.text)}
    return Pip(**read.table(found, path, value, readers, _LATER_PIP))


def _base(found: Found, path: KeyPath, value: Any) -> Base | None:  # noqa: ANN401
    if isinstance(value, str):
        image = read.text(found, path, value)
        return Base(image) if image is not None else None
    if not isinstance(value, dict):
        read.wrong_type(found, path, "a string or a table", value)
        return None
    values = read.table(found, path, value, {**images.BASE_READERS, "image": read.text, "python-path": _PATH})
    if "image" not in value:
        found.append(Diagnostic("missing-key", "`image` is missing from this table", path, 'add `image = "..."`'))
    image = values.pop("image", None)
    return Base(image, **{key.replace("-", "_"): each for key, each in values.items()}) if image else None


def _image(found: Found, path: KeyPath, value: Any) -> Image:  # noqa: ANN401
    readers = {
        "repository": _REPOSITORY,
        "base": _base,
        "env": read.mapping(images.env_name, read.text),
        "labels": read.mapping(images.label_name, read.text),
        "user": images.user,
        "workdir": _PATH,
        "expose": read.array(images.port),
        "entrypoint": read.array(read.text),
        "command": read.array(read.text),
    }
    return Image(**read.table(found, path, value, readers))


_TOP = {
    "name": _NAME,
    "python": _PYTHON,
    "platforms": read.array(_platform),
    "exclude-newer": _timestamp,
    "pip": _pip,
    "image": _image,
    "tools": read.mapping(images.tool, read.text),
}


def decode(source: Source, value: dict[str, Any]) -> tuple[Spec | None, list[Diagnostic]]:
    """The spec and what is wrong with its shape; no spec when what every spec must have is not there."""
    found: list[Diagnostic] = []
    values = read.table(found, (), value, _TOP, _LATER_TABLES)
    for name, example in (("name", "ml"), ("python", "3.12")):
        if name not in value:
            hint = f'add `{name} = "{example}"` at the top'
            found.append(Diagnostic("missing-key", f"`{name}` is missing from `{source.name}`", (), hint))
    if value.get("platforms") == []:
        found.append(Diagnostic("platform", "`platforms` is empty", ("platforms",), 'write `["linux-64"]`'))
    if "name" not in values or "python" not in values:
        return None, found
    return Spec(**{name.replace("-", "_"): each for name, each in values.items()}), found


def source_of(name: str, data: bytes) -> Source:
    """The text of a spec's bytes. Raises `Problems` when they are too many or no plain UTF-8."""
    from envcompile.source import Source  # noqa: PLC0415 - brings the parser

    text = data[:LIMIT].decode(errors="replace")
    source = Source(name, text)
    if len(data) > LIMIT:
        message = f"`{name}` is larger than {LIMIT >> 20} MiB, which no spec is"
        raise Problems(source, [Diagnostic("too-large", message, offset=0, hint="name another file with `-f`")])
    hint = "save it as UTF-8 without a byte order mark"
    if text.startswith("\N{BYTE ORDER MARK}"):
        raise Problems(source, [Diagnostic("encoding", f"`{name}` starts with a byte order mark", (), hint, offset=0)])
    try:
        data.decode()
    except UnicodeDecodeError as problem:
        offset = len(data[: problem.start].decode())
        message = f"`{name}` is not UTF-8 text: byte {problem.start} is 0x{data[problem.start]:02x}"
        raise Problems(source, [Diagnostic("encoding", message, (), hint, offset=offset)]) from None
    if "\0" in text:
        message = f"`{name}` holds a NUL byte, so it is not a text"
        raise Problems(source, [Diagnostic("encoding", message, (), hint, offset=text.index("\0"))])
    return source


def parse(source: Source) -> Spec:
    """The spec of a text, fully checked. Raises `Problems` with all mistakes at once."""
    from envcompile.spec.check import check  # noqa: PLC0415 - brings `packaging`, 34 ms

    value = _value(source)
    spec, found = decode(source, value)
    return _answer(source, spec, found + check(value))


def parse_known(source: Source) -> Spec:
    """The spec of a text whose every byte was checked before (its hash is in the lock): the shape alone is read."""
    return _answer(source, *decode(source, _value(source)))


def _value(source: Source) -> dict[str, Any]:
    from envcompile.source import SyntaxProblem  # noqa: PLC0415 - together with the parser

    try:
        return source.parse()
    except SyntaxProblem as problem:
        raise Problems(source, [Diagnostic("toml-syntax", problem.message, offset=problem.offset)]) from None


def _answer(source: Source, spec: Spec | None, found: list[Diagnostic]) -> Spec:
    if found or spec is None:
        raise Problems(source, found)
    return spec
