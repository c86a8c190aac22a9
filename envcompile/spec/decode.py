"""From the TOML value to a Spec: which keys there are, and of what shape each is. Meaning is `check`'s business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcompile.diagnostics import Diagnostic, Problems
from envcompile.spec import names
from envcompile.spec.exports import EXPORTS
from envcompile.spec.indexes import normalized
from envcompile.spec.model import Apt, Base, Conda, Cuda, Image, Index, Metadata, Pip, Spec
from envcompile.spec.read import array, boolean, clean, kind, mapping, table, text, wrong_type
from envcompile.spec.refusal import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from envcompile.source import KeyPath, Source
    from envcompile.spec.read import Found, Reader


def _struct(build: Callable[..., Any], readers: dict[str, Reader[Any]], required: tuple[str, ...] = ()) -> Reader[Any]:
    """A reader of a table with known keys, answering `build(**values)`; None when a required key is not there."""

    def read(found: Found, path: KeyPath, value: Any) -> Any:
        values = table(found, path, value, readers)
        missing = [name for name in required if isinstance(value, dict) and name not in value]
        for name in missing:
            where = ".".join(part for part in path if isinstance(part, str))
            found.append(Diagnostic("missing-key", f"`{name}` is missing from `{where}`", path, f"add `{name} = ...`"))
        if any(name not in values for name in required):
            return None
        return build(**{name.replace("-", "_"): each for name, each in values.items()})

    return read


_base_table = _struct(
    Base,
    {
        "image": text,
        "os": names.system,
        "glibc": names.glibc,
        "python": names.python_exact,
        "python-path": names.program_path,
    },
    required=("image",),
)


def _base(found: Found, path: KeyPath, value: Any) -> Base | None:
    if isinstance(value, dict):
        base: Base | None = _base_table(found, path, value)
        return base
    if not isinstance(value, str):
        wrong_type(found, path, "a string or a table", value)
        return None
    image = text(found, path, value)
    return Base(image) if image is not None else None


_index = _struct(
    Index,
    {"name": names.index_name, "url": names.url, "packages": array(names.pattern)},
    required=("name", "url", "packages"),
)

_metadata_table = _struct(
    dict,
    {
        "requires-dist": array(text),
        "requires-python": text,
        "build-requires": array(text),
        "build-env": mapping(names.build_env_name, text),
    },
)


def _metadata(found: Found, path: KeyPath, value: Any) -> tuple[Metadata, ...] | None:
    """A table with one table for each sdist."""
    if not isinstance(value, dict):
        wrong_type(found, path, "a table", value)
        return None
    rows = (
        (name, _metadata_table(found, (*path, name), each))
        for name, each in value.items()
        if clean(found, (*path, name), name, "key")
    )
    known = ((name, each) for name, each in rows if each is not None)
    return tuple(sorted((Metadata(normalized(name), **each) for name, each in known), key=lambda each: each.name))


# The whole format (design: the spec), table by table.
_TOP: dict[str, Reader[Any]] = {
    "name": names.image_name,
    "python": names.python_version,
    "platforms": array(names.platform),
    "exclude-newer": names.timestamp,
    "conda": _struct(
        Conda,
        {
            "channels": array(text),
            "packages": array(text),
            "resolver": names.one_of(("rattler", "conda-lock"), "resolver", "a resolver of conda packages"),
        },
    ),
    "pip": _struct(
        Pip,
        {
            "packages": array(text),
            "exclude": array(text),
            "allow-sdist": array(text),
            "resolver": names.one_of(("uv", "pip-tools"), "resolver", "a resolver of pip packages"),
            "index": names.url,
            "extra-indexes": array(_index),
            "metadata": _metadata,
        },
    ),
    "apt": _struct(
        Apt,
        {"packages": array(names.apt_package), "build": array(names.apt_package), "snapshot": names.timestamp},
    ),
    "cuda": _struct(
        Cuda,
        {
            "version": names.cuda_version,
            "driver": names.driver,
            "compute": array(names.compute),
            "jit": boolean,
        },
    ),
    "image": _struct(
        Image,
        {
            "repository": names.repository,
            "base": _base,
            "env": mapping(names.env_name, text),
            "labels": mapping(names.label_name, text),
            "user": names.user,
            "workdir": names.path,
            "expose": array(names.port),
            "entrypoint": array(text),
            "command": array(text),
            "slim": boolean,
        },
    ),
    "tools": mapping(names.tool, text),
    "lock": _struct(
        lambda exports=(): exports, {"exports": array(names.one_of(tuple(EXPORTS), "export", "a file a lock can keep"))}
    ),
}


def decode(source: Source, value: dict[str, Any]) -> tuple[Spec | None, list[Diagnostic]]:
    """The spec and what is wrong with its shape; no spec when what every spec must have is not there."""
    found: list[Diagnostic] = []
    values = table(found, (), value, _TOP)
    if "name" not in value:
        hint = 'add `name = "ml"` at the top'
        found.append(Diagnostic("missing-key", f"`name` is missing from `{source.name}`", (), hint))
    if "name" not in values:
        return None, found
    exports = values.pop("lock", ())
    return Spec(**{name.replace("-", "_"): each for name, each in values.items()}, exports=exports), found


def source_of(name: str, data: bytes, root: KeyPath = ()) -> Source:
    """The text of a spec's bytes, the spec being the table at `root`.

    Raises `Problems` when they are too many or no plain UTF-8.
    """
    from envcompile.source import Source  # noqa: PLC0415 - brings the parser

    text = data[:LIMIT].decode(errors="replace")
    source = Source(name, text, root)
    if len(data) > LIMIT:
        message = f"`{name}` is larger than {LIMIT >> 10} KiB, which no spec is"
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

    value = value_of(source)
    spec, found = decode(source, value)
    return _answer(source, spec, found + check(value))


def parse_known(source: Source) -> Spec:
    """The spec of a text whose every byte was checked before (its hash is in the lock): the shape alone is read."""
    return _answer(source, *decode(source, value_of(source)))


def value_of(source: Source) -> dict[str, Any]:
    """The TOML value of a spec's text. Raises `Problems`."""
    from envcompile.source import SyntaxProblem  # noqa: PLC0415 - together with the parser
    from envcompile.spec.syntax import syntax_hint  # noqa: PLC0415

    try:
        value = source.parse()
    except SyntaxProblem as problem:
        found = Diagnostic("toml-syntax", problem.message, hint=syntax_hint(problem.message), offset=problem.offset)
        raise Problems(source, [found]) from None
    where = ".".join(str(part) for part in source.root)
    for part in source.root:
        value = value.get(str(part), {})
        if not isinstance(value, dict):
            message = f"`{part}` must be a table, not {kind(value)}"
            raise Problems(source, [Diagnostic("wrong-type", message, hint=f"write the spec in `[{where}]`")])
    if source.root and not value:
        hint = f"add `[{where}]`, or name another file with `-f FILE`"
        raise Problems(source, [Diagnostic("missing-key", f"`{source.name}` has no table `[{where}]`", (), hint)])
    return value


def _answer(source: Source, spec: Spec | None, found: list[Diagnostic]) -> Spec:
    if found or spec is None:
        raise Problems(source, found)
    return spec
