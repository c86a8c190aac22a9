"""Turns the bytes or the TOML value of a spec into a `Spec`, and reports unknown keys, missing keys and wrong types.

`check` finds mistakes in the meaning of the values; `parse_spec` decodes a spec and checks it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.project import MAX_SPEC_BYTES
from envcompile.project.generated_files import EXPORT_FILES
from envcompile.spec.conda import CondaRequirement, is_conda_name
from envcompile.spec.model import (
    ANY_CUDA,
    AptSpec,
    BaseImageSpec,
    CondaSpec,
    CudaSpec,
    ExtraIndex,
    HealthCheckSpec,
    ImageSpec,
    PipSpec,
    SdistMetadataOverride,
    Spec,
)
from envcompile.spec.pip import PipRequirement, normalize_name
from envcompile.spec.values import (
    describe_toml_type,
    display_text,
    has_clean_characters,
    is_valid_build_env_name,
    is_valid_env_name,
    is_valid_label_name,
    is_valid_tool_name,
    make_array_reader,
    make_choice_reader,
    make_mapping_reader,
    read_absolute_path,
    read_apt_package,
    read_boolean,
    read_cuda_request,
    read_driver_version,
    read_duration,
    read_exact_python_version,
    read_glibc_version,
    read_gpu_architecture,
    read_image_name,
    read_index_name,
    read_index_url,
    read_operating_system,
    read_package_pattern,
    read_platform,
    read_port,
    read_program_path,
    read_python_version,
    read_repository,
    read_retries,
    read_signal,
    read_string,
    read_table,
    read_timestamp,
    read_user,
    report_wrong_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from envcompile.diagnostics.source import KeyPath
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.spec.values import Diagnostics, ValueReader


def _make_struct_reader(
    build: Callable[..., Any], readers: dict[str, ValueReader[Any]], required: tuple[str, ...] = ()
) -> ValueReader[Any]:
    """Make a reader for tables. It returns `build(**values)`, or None if a required key is missing."""

    def read(problems: Diagnostics, path: KeyPath, value: Any) -> Any:
        values = read_table(problems, path, value, readers)
        missing = [name for name in required if isinstance(value, dict) and name not in value]
        for name in missing:
            where = ".".join(part for part in path if isinstance(part, str))
            problems.append(
                Diagnostic("missing-key", f"`{name}` is missing from `{where}`", path, f"add `{name} = ...`")
            )
        if any(name not in values for name in required):
            return None
        return build(**{name.replace("-", "_"): item for name, item in values.items()})

    return read


# These readers do not parse the requirements. `check_spec` does, and it is skipped if the lock has the spec's digest.


def _read_pip_requirement(problems: Diagnostics, path: KeyPath, value: Any) -> PipRequirement | None:
    text = read_string(problems, path, value)
    return None if text is None else PipRequirement(text)


def _read_conda_requirement(problems: Diagnostics, path: KeyPath, value: Any) -> CondaRequirement | None:
    text = read_string(problems, path, value)
    return None if text is None else CondaRequirement(text)


def _is_valid_conda_name(problems: Diagnostics, path: KeyPath, name: str) -> bool:
    if not has_clean_characters(problems, path, name, "key"):
        return False
    if is_conda_name(name):
        return True
    message = f"`{display_text(name)}` is not the name of a conda package"
    problems.append(Diagnostic("package-name", message, path, "write the name in lower case, without a version", "key"))
    return False


def _read_distributions(problems: Diagnostics, path: KeyPath, value: Any) -> tuple[str, ...] | None:
    names = _read_package_names(problems, path, value)
    return None if names is None else tuple(sorted(set(names)))


def _read_package_name(problems: Diagnostics, path: KeyPath, value: Any) -> str | None:
    text = read_string(problems, path, value)
    return None if text is None else normalize_name(text)


_read_package_names = make_array_reader(_read_package_name)

_read_base_image_table = _make_struct_reader(
    BaseImageSpec,
    {
        "image": read_string,
        "os": read_operating_system,
        "glibc": read_glibc_version,
        "python": read_exact_python_version,
        "python-path": read_program_path,
    },
    required=("image",),
)


def _read_base_image(problems: Diagnostics, path: KeyPath, value: Any) -> BaseImageSpec | None:
    if isinstance(value, dict):
        base: BaseImageSpec | None = _read_base_image_table(problems, path, value)
        return base
    if not isinstance(value, str):
        report_wrong_type(problems, path, "a string or a table", value)
        return None
    image = read_string(problems, path, value)
    return BaseImageSpec(image) if image is not None else None


_read_healthcheck = _make_struct_reader(
    HealthCheckSpec,
    {
        "command": make_array_reader(read_string),
        "interval": read_duration,
        "timeout": read_duration,
        "start-period": read_duration,
        "retries": read_retries,
    },
    required=("command",),
)

_read_extra_index = _make_struct_reader(
    ExtraIndex,
    {"name": read_index_name, "url": read_index_url, "packages": make_array_reader(read_package_pattern)},
    required=("name", "url", "packages"),
)

_read_metadata_table = _make_struct_reader(
    dict,
    {
        "requires-dist": make_array_reader(_read_pip_requirement),
        "requires-python": read_string,
        "build-requires": make_array_reader(_read_pip_requirement),
        "build-env": make_mapping_reader(is_valid_build_env_name, read_string),
    },
)


def _read_metadata(problems: Diagnostics, path: KeyPath, value: Any) -> tuple[SdistMetadataOverride, ...] | None:
    """Read `pip.metadata`, a table with one table for each sdist."""
    if not isinstance(value, dict):
        report_wrong_type(problems, path, "a table", value)
        return None
    rows = (
        (name, _read_metadata_table(problems, (*path, name), each))
        for name, each in value.items()
        if has_clean_characters(problems, (*path, name), name, "key")
    )
    known = ((name, each) for name, each in rows if each is not None)
    return tuple(
        sorted(
            (SdistMetadataOverride(normalize_name(name), **each) for name, each in known), key=lambda each: each.name
        )
    )


def _read_channels(problems: Diagnostics, path: KeyPath, value: Any) -> tuple[str, ...] | None:
    """Read the channels without `nodefaults`, by which conda leaves out its default channels: a spec has none."""
    channels = make_array_reader(read_string)(problems, path, value)
    return channels and tuple(each for each in channels if each != "nodefaults")


# The reader of each key at the top level of a spec.
_SPEC_READERS: dict[str, ValueReader[Any]] = {
    "name": read_image_name,
    "python": read_python_version,
    "platforms": make_array_reader(read_platform),
    "exclude-newer": read_timestamp,
    "conda": _make_struct_reader(
        CondaSpec,
        {
            "channels": _read_channels,
            "packages": make_array_reader(_read_conda_requirement),
            "resolver": make_choice_reader(("rattler", "conda-lock"), "resolver", "a resolver for conda packages"),
            "provides": make_mapping_reader(_is_valid_conda_name, _read_distributions),
        },
    ),
    "pip": _make_struct_reader(
        PipSpec,
        {
            "packages": make_array_reader(_read_pip_requirement),
            "exclude": _read_package_names,
            "allow-sdist": _read_package_names,
            "allow-overlap": _read_package_names,
            "resolver": make_choice_reader(("uv", "pip-tools"), "resolver", "a resolver for pip packages"),
            "index": read_index_url,
            "extra-indexes": make_array_reader(_read_extra_index),
            "metadata": _read_metadata,
        },
    ),
    "apt": _make_struct_reader(
        AptSpec,
        {
            "packages": make_array_reader(read_apt_package),
            "build": make_array_reader(read_apt_package),
            "snapshot": read_timestamp,
        },
    ),
    "cuda": _make_struct_reader(
        lambda version=ANY_CUDA, **values: CudaSpec(version, **values),
        {
            "version": read_cuda_request,
            "driver": read_driver_version,
            "compute": make_array_reader(read_gpu_architecture),
            "jit": read_boolean,
        },
    ),
    "image": _make_struct_reader(
        ImageSpec,
        {
            "repository": read_repository,
            "base": _read_base_image,
            "env": make_mapping_reader(is_valid_env_name, read_string),
            "labels": make_mapping_reader(is_valid_label_name, read_string),
            "user": read_user,
            "workdir": read_absolute_path,
            "expose": make_array_reader(read_port),
            "entrypoint": make_array_reader(read_string),
            "command": make_array_reader(read_string),
            "init": read_boolean,
            "stop-signal": read_signal,
            "healthcheck": _read_healthcheck,
            "allow-secret-names": make_array_reader(read_string),
        },
    ),
    "tools": make_mapping_reader(is_valid_tool_name, read_string),
    "lock": _make_struct_reader(
        lambda exports=(): exports,
        {"exports": make_array_reader(make_choice_reader(tuple(EXPORT_FILES), "export", "an export file"))},
    ),
}


def decode_spec(source: TomlSource, value: dict[str, Any]) -> tuple[Spec | None, list[Diagnostic]]:
    """Decode the TOML value of a spec.

    Returns the spec, or None if it has no valid `name`, and a diagnostic for each invalid or missing key and each
    invalid value.
    """
    problems: list[Diagnostic] = []
    values = read_table(problems, (), value, _SPEC_READERS)
    if "name" not in value:
        hint = 'add `name = "ml"` at the top'
        problems.append(Diagnostic("missing-key", f"`name` is missing from `{source.name}`", (), hint))
    if "name" not in values:
        return None, problems
    exports = values.pop("lock", ())
    spec = Spec(**{name.replace("-", "_"): item for name, item in values.items()}, exports=exports)
    if spec.python and spec.python.endswith("t"):
        spec = replace(spec, python=spec.python.removesuffix("t"), free_threaded=True)
    return spec, problems


def source_from_bytes(name: str, data: bytes, root: KeyPath = ()) -> TomlSource:
    """Decode the bytes of a file with the spec in the table `root`. `name` is the file name for messages.

    Raises `DiagnosticsError` if the file is too large or not UTF-8, starts with a byte order mark, or has a NUL byte.
    """
    from envcompile.diagnostics.toml_source import TomlSource  # noqa: PLC0415 - imports tomli

    text = data[:MAX_SPEC_BYTES].decode(errors="replace")
    source = TomlSource(name, text, root)
    if len(data) > MAX_SPEC_BYTES:
        message = f"`{name}` is larger than {MAX_SPEC_BYTES >> 10} KiB, the limit for a spec"
        raise DiagnosticsError(source, [Diagnostic("too-large", message, offset=0, hint="name another file with `-f`")])
    hint = "save it as UTF-8 without a byte order mark"
    if text.startswith("\N{BYTE ORDER MARK}"):
        raise DiagnosticsError(
            source, [Diagnostic("encoding", f"`{name}` starts with a byte order mark", (), hint, offset=0)]
        )
    try:
        data.decode()
    except UnicodeDecodeError as problem:
        offset = len(data[: problem.start].decode())
        message = f"`{name}` is not UTF-8 text: byte {problem.start} is 0x{data[problem.start]:02x}"
        raise DiagnosticsError(source, [Diagnostic("encoding", message, (), hint, offset=offset)]) from None
    if "\0" in text:
        message = f"`{name}` contains a NUL byte, so it is not a text file"
        raise DiagnosticsError(source, [Diagnostic("encoding", message, (), hint, offset=text.index("\0"))])
    return source


def parse_spec(source: TomlSource) -> Spec:
    """Parse and check a spec. Raises `DiagnosticsError` with all mistakes."""
    from envcompile.spec.check import check_spec  # noqa: PLC0415 - imports `packaging`, 34 ms

    value = parse_spec_value(source)
    spec, problems = decode_spec(source, value)
    return _require_valid_spec(source, spec, problems + check_spec(value))


def parse_checked_spec(source: TomlSource) -> Spec:
    """Parse a spec that passed all checks before (its digest is in the lock). Checks only keys and types."""
    return _require_valid_spec(source, *decode_spec(source, parse_spec_value(source)))


def parse_spec_value(source: TomlSource) -> dict[str, Any]:
    """The TOML value of the table with the spec. Raises `DiagnosticsError` for invalid TOML or a missing table."""
    value = source.value
    where = ".".join(str(part) for part in source.root)
    for part in source.root:
        value = value.get(str(part), {})
        if not isinstance(value, dict):
            message = f"`{part}` must be a table, not {describe_toml_type(value)}"
            raise DiagnosticsError(source, [Diagnostic("wrong-type", message, hint=f"write the spec in `[{where}]`")])
    if source.root and not value:
        hint = f"add `[{where}]`, or name another file with `-f FILE`"
        raise DiagnosticsError(
            source, [Diagnostic("missing-key", f"`{source.name}` has no table `[{where}]`", (), hint)]
        )
    return value


def _require_valid_spec(source: TomlSource, spec: Spec | None, problems: list[Diagnostic]) -> Spec:
    if problems or spec is None:
        raise DiagnosticsError(source, problems)
    return spec
