"""Reads a lock: from its text to a `Lock`. Every field is checked.

`parse_lock` first checks whether the file is intact, because a damaged file needs another message than an invalid
one. Only then are the tables decoded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.diagnostics.source import CONFLICT_MARKER
from envcompile.digests import compute_sha256
from envcompile.lock.activation import ACTIVATE_PATTERN, ACTIVATION_CONDITION_PATTERN, ACTIVATION_PATTERNS
from envcompile.lock.fields import (
    APT_PATTERNS,
    CATALOGUE_PATTERN,
    CHANNEL_PATTERNS,
    CONDA_PATTERNS,
    DIAGNOSTIC_PATTERNS,
    DIGEST_PATTERN,
    MATCH_SPEC_PATTERN,
    MD5_PATTERN,
    NUMERIC_VERSION_PATTERN,
    PIP_DEPENDENCY_PATTERN,
    PIP_NAME_PATTERN,
    PYTHON_BUILD_PATTERNS,
    RECORDED_INPUT_PATTERNS,
    REJECTED_IMAGE_PATTERNS,
    RULE_PATTERN,
    SAVING_PATTERNS,
    SENTENCE_PATTERN,
    SNAPSHOT_PATTERN,
    SPECIFIER_PATTERN,
    VARIABLE_PATTERNS,
    WHEEL_REQUIREMENT_PATTERN,
    LockFieldReader,
)
from envcompile.lock.header import FORMAT_VERSION, HEADER_COMMENT
from envcompile.lock.model import (
    ActivationVariable,
    AptPackage,
    BaseImage,
    BaseImageDecision,
    Channel,
    CondaPackage,
    GeneratedFile,
    Lock,
    PipPackage,
    PlatformLock,
    PythonBuild,
    PythonInterpreter,
    RecordedInput,
    RejectedImage,
    SdistBuild,
    SizeSaving,
    Step,
    ToolImage,
)
from envcompile.lock.package_managers import PACKAGE_LISTS, count_by_kind
from envcompile.platforms import PLATFORMS
from envcompile.project.generated_files import DOCKERFILE_NAME, EXPORT_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Package = TypeVar("Package", PipPackage, CondaPackage, AptPackage)

_DIGEST_LINE = re.compile(r'digest = "(sha256:[0-9a-f]{64})"\n')
_FORMAT_LINE = re.compile(r"^format = ([0-9]{1,9})$", re.MULTILINE)
_LOCK_KEYS = {
    *("format", "digest", "layout", "spec", "catalogue", "files", "counts", "asked", "snapshot", "channels"),
    *("private-indexes", "platforms"),
}
_PLATFORM_KEYS = ("python", "build", "run", "tools", "layers")
_PLATFORM_DECISION_KEYS = ("decided", "warnings", "trail")
_MAX_LAYER_THRESHOLD = 1 << 20
_DECISION_VERSION_KEYS = ("cuda", "driver", "image-driver")
_DECISION_KEYS = {
    *("catalogue", *_DECISION_VERSION_KEYS, "compute", "env", "build-env", "apt", "apt-build", "wheels", "saving")
}


# A damaged lock may have lost its first lines. Lock files of other tools have none of these.
_LOCK_MARKS = re.compile(
    rf"{re.escape(HEADER_COMMENT.partition(';')[0])}|^digest = \"sha256:|^\[platforms\.linux-", re.MULTILINE
)


class NewerLockFormatError(InvalidInputError):
    """A lock written by a newer release. It must not be overwritten."""


def is_lock_text(text: str) -> bool:
    """Whether envcompile wrote a lock with this text, even if it is damaged, edited, empty or of a newer release."""
    # An editor may have saved it as UTF-16, which leaves a NUL after each character.
    return HEADER_COMMENT.startswith(text) or _LOCK_MARKS.search(text.replace("\0", "")) is not None


def parse_lock(text: str, name: str) -> Lock:
    """Parse the text of a lock. `name` is the file name for messages.

    Raises `NewerLockFormatError` if a newer release wrote it, and `InvalidInputError` if it is damaged or invalid.
    """
    text = text.replace("\r\n", "\n")
    hint = "run `envcompile lock`"
    if text.startswith("\N{BYTE ORDER MARK}"):
        raise InvalidInputError(f"`{name}` starts with a byte order mark, which some editors add", hint)
    if conflict := CONFLICT_MARKER.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise InvalidInputError(f"`{name}` contains merge conflict markers in line {line}", hint)
    version = _FORMAT_LINE.search(text)
    if version and int(version[1]) > FORMAT_VERSION:
        message = f"`{name}` has format {version[1]}, and this release reads formats up to {FORMAT_VERSION}"
        raise NewerLockFormatError(message, "upgrade envcompile")
    digest = _DIGEST_LINE.search(text)
    if not version or not digest:
        hint = hint if is_lock_text(text) else f"move the file away, and {hint}"
        raise InvalidInputError(f"`{name}` is not a lock of envcompile, or its header is missing", hint)
    has_same_body = compute_sha256(text[digest.end() :].encode()) == digest[1]
    is_intact = has_same_body and text[: digest.start()] == f"{HEADER_COMMENT}format = {version[1]}\n"
    return decode_lock(_parse_toml(text, name, hint, is_intact=is_intact), name, hint, is_intact=is_intact)


def _parse_toml(text: str, name: str, hint: str, *, is_intact: bool) -> dict[str, object]:
    import tomli  # noqa: PLC0415 - a lock that is fresh by its digests is not parsed

    try:
        return tomli.loads(text)
    except (ValueError, RecursionError) as error:
        problem = "is not TOML" if is_intact else "is truncated or was edited by hand"
        raise InvalidInputError(f"`{name}` {problem}", hint) from error


def decode_lock(value: Mapping[str, Any], name: str, hint: str, *, is_intact: bool) -> Lock:
    """Return the lock in a TOML value.

    Raises `InvalidInputError` if a field is wrong or if the file is not intact.
    """
    reader = LockFieldReader(name, hint)
    platforms = value.get("platforms", {})
    if not is_intact:
        truncated = _is_truncated(value.get("counts"), platforms)
        problem = (
            "is truncated: packages are missing at its end" if truncated else "was edited by hand or by another program"
        )
        raise InvalidInputError(f"`{name}` {problem}", hint)
    reader.read_table(value, name, _LOCK_KEYS)
    spec = reader.read_table(value.get("spec"), "spec", {"digest", "text"})
    names = sorted(reader.read_table(platforms, "platforms", set(PLATFORMS)))
    lock = Lock(
        spec_digest=reader.read_string(spec, "spec", "digest"),
        spec_text_digest=reader.read_string(spec, "spec", "text"),
        platforms=tuple(_read_platform(reader, each, platforms[each]) for each in names),
        layout=reader.read_number(value.get("layout"), "layout"),
        channels=tuple(_read_channel(reader, row) for row in reader.read_array(value.get("channels", []), "channels")),
        recorded_inputs=_read_recorded_inputs(reader, value["asked"]) if "asked" in value else None,
        private_indexes=_read_private_indexes(reader, value.get("private-indexes", [])),
        snapshot=reader.read_matching(value["snapshot"], "snapshot", SNAPSHOT_PATTERN) if "snapshot" in value else None,
        files=_read_files(reader, value.get("files", {})),
        format=reader.read_number(value.get("format"), "format"),
    )
    if lock.snapshot is None and any(each.apt or each.apt_build for each in lock.platforms):
        raise reader.create_error("snapshot", "is missing")
    if value.get("counts") != count_by_kind(lock):
        raise reader.create_error("counts", "does not match the packages")
    if not lock.platforms:
        raise reader.create_error("platforms", "is empty")
    if "catalogue" in value:
        reader.read_matching(value["catalogue"], "catalogue", CATALOGUE_PATTERN)
    if lock.format > 1 and value.get("catalogue") != lock.catalogue:
        raise reader.create_error("catalogue", "does not match the platforms")
    return lock


def _is_truncated(counts: object, platforms: object) -> bool:
    """Whether the file has fewer platforms or packages than its header counts."""
    expected = counts if isinstance(counts, dict) else {}
    tables = [each for each in platforms.values() if isinstance(each, dict)] if isinstance(platforms, dict) else []
    arrays = {key: [each[key] for each in tables if isinstance(each.get(key), list)] for key in PACKAGE_LISTS}
    found = {"platforms": len(tables), **{key: sum(map(len, arrays[key])) for key in PACKAGE_LISTS}}
    return any(isinstance(expected.get(key), int) and found[key] < expected[key] for key in found)


def _read_recorded_inputs(reader: LockFieldReader, value: object) -> tuple[RecordedInput, ...]:
    keys, values = RECORDED_INPUT_PATTERNS["key"], RECORDED_INPUT_PATTERNS["values"]
    rows = [reader.read_table(row, "asked", {"key", "values"}) for row in reader.read_array(value, "asked")]
    return tuple(
        RecordedInput(
            reader.read_matching(row.get("key"), "asked.key", keys),
            reader.read_matching_array(row.get("values"), "asked.values", values),
        )
        for row in rows
    )


def _read_channel(reader: LockFieldReader, value: object) -> Channel:
    return Channel(*_read_pair(reader, value, "channels", CHANNEL_PATTERNS))


def _read_files(reader: LockFieldReader, value: object) -> tuple[GeneratedFile, ...]:
    table = reader.read_table(value, "files", {DOCKERFILE_NAME, *EXPORT_FILES})
    return tuple(
        GeneratedFile(name, reader.read_matching(digest, f"files.{name}", DIGEST_PATTERN))
        for name, digest in table.items()
    )


def _read_private_indexes(reader: LockFieldReader, value: object) -> tuple[str, ...]:
    names = reader.read_matching_array(value, "private-indexes", PIP_NAME_PATTERN)
    if list(names) != sorted(set(names)):
        raise reader.create_error("private-indexes", "is not sorted, or contains a name twice")
    return names


def _read_platform(reader: LockFieldReader, platform: str, value: object) -> PlatformLock:
    where = f"platforms.{platform}"
    table = reader.read_table(value, where, {*_PLATFORM_KEYS, *_PLATFORM_DECISION_KEYS, *PACKAGE_LISTS})
    build, run = (_read_base_image(reader, table.get(stage), f"{where}.{stage}") for stage in ("build", "run"))
    tools = reader.read_array(table.get("tools"), f"{where}.tools")
    pip = _read_packages(reader, table.get("pip"), f"{where}.pip", _read_pip_package)
    apt, apt_build = (
        _read_packages(reader, table.get(key, []), f"{where}.{key}", _read_apt_package) for key in ("apt", "apt-build")
    )
    return PlatformLock(
        platform,
        python=_read_python(reader, table["python"], f"{where}.python") if "python" in table else None,
        build=build,
        run=run,
        tools=tuple(_read_tool(reader, row, f"{where}.tools") for row in tools),
        pip=pip,
        conda=_read_packages(reader, table.get("conda", []), f"{where}.conda", _read_conda_package),
        apt=apt,
        apt_build=apt_build,
        base_decision=_read_decision(reader, table, where),
        pip_build=_read_sdist_builds(reader, table.get("pip-build", []), f"{where}.pip-build", pip),
        conda_installer=_read_packages(
            reader, table.get("conda-installer", []), f"{where}.conda-installer", _read_pip_package
        ),
        layer_threshold=_read_layer_threshold(reader, table["layers"], f"{where}.layers")
        if "layers" in table
        else None,
    )


def _read_layer_threshold(reader: LockFieldReader, value: object, where: str) -> int:
    table = reader.read_table(value, where, {"threshold"})
    threshold = reader.read_number(table.get("threshold"), f"{where}.threshold")
    if not 0 < threshold <= _MAX_LAYER_THRESHOLD:
        raise reader.create_error(f"{where}.threshold", f"is not a number from 1 to {_MAX_LAYER_THRESHOLD}")
    return threshold


def _read_python(reader: LockFieldReader, value: object, where: str) -> PythonInterpreter:
    keys, build_keys = ("version", "path", "source"), ("file", "url", "sha256")
    table = reader.read_table(value, where, {*keys, "abi", *build_keys, "size"})
    abi = reader.read_string(table, where, "abi") if "abi" in table else ""
    version, path, source = reader.read_strings(table, where, keys)
    if (source == "standalone") != (not table.keys().isdisjoint({*build_keys, "size"})):
        raise reader.create_error(f"{where}.source", "does not match the other keys")
    if source != "standalone":
        return PythonInterpreter(version, path, source, abi)
    size = reader.read_number(table["size"], f"{where}.size") if "size" in table else None
    file, url, sha256 = reader.read_strings(table, where, build_keys, PYTHON_BUILD_PATTERNS)
    return PythonInterpreter(version, path, source, abi, PythonBuild(file, url, sha256, size))


def _read_base_image(reader: LockFieldReader, value: object, where: str) -> BaseImage:
    keys = ("image", "os", "glibc")
    return BaseImage(*reader.read_strings(reader.read_table(value, where, set(keys)), where, keys))


def _read_tool(reader: LockFieldReader, value: object, where: str) -> ToolImage:
    keys = ("name", "image")
    return ToolImage(*reader.read_strings(reader.read_table(value, where, set(keys)), where, keys))


def _read_packages(
    reader: LockFieldReader,
    value: object,
    where: str,
    read_package: Callable[[LockFieldReader, object, str], Package],
) -> tuple[Package, ...]:
    rows = reader.read_array(value, where)
    packages = tuple(read_package(reader, row, f"{where}[{index}]") for index, row in enumerate(rows))
    names = [package.name for package in packages]
    if names != sorted(set(names)):
        raise reader.create_error(where, "is not sorted, or contains a package twice")
    return packages


def parse_package_row(row: object) -> PipPackage | CondaPackage:
    """Return the package in one row of a lock: a conda package if the row has a build, otherwise a pip package.

    Raises `InvalidInputError` if a field is missing or malformed.
    """
    reader = LockFieldReader("a row", "")
    if isinstance(row, dict) and "build" in row:
        return _read_conda_package(reader, row, "conda")
    return _read_pip_package(reader, row, "pip")


def _read_pip_package(reader: LockFieldReader, value: object, where: str) -> PipPackage:
    keys = ("name", "version", "file", "sha256", "index", "kind")
    table = reader.read_table(value, where, {*keys, "size", "unpacked", "depends", "requires-python", "build-env"})
    name, version, file, sha256, index, kind = reader.read_strings(table, where, keys)
    if file.endswith(".whl") != (kind == "wheel"):
        raise reader.create_error(f"{where}.kind", "does not match the file")
    size, unpacked = (_read_optional_number(reader, table, where, key) for key in ("size", "unpacked"))
    depends = reader.read_matching_array(table.get("depends", []), f"{where}.depends", PIP_DEPENDENCY_PATTERN)
    python = ""
    if "requires-python" in table:
        python = reader.read_matching(table["requires-python"], f"{where}.requires-python", SPECIFIER_PATTERN)
    env = _read_variables(reader, table.get("build-env", []), f"{where}.build-env")
    return PipPackage(name, version, file, sha256, size, index, depends, kind, python, env, unpacked)


def _read_optional_number(reader: LockFieldReader, table: Mapping[str, object], where: str, key: str) -> int | None:
    return None if table.get(key) is None else reader.read_number(table[key], f"{where}.{key}")


def _read_sdist_builds(
    reader: LockFieldReader, value: object, where: str, pip: tuple[PipPackage, ...]
) -> tuple[SdistBuild, ...]:
    """Return the wheels to build each locked sdist with. The array has one row for each pair of sdist and wheel."""
    rows: dict[str, list[object]] = {each.name: [] for each in pip if each.kind == "sdist"}
    order = []
    for row in reader.read_array(value, where):
        sdist = row.get("sdist") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(sdist, str) or sdist not in rows:
            raise reader.create_error(f"{where}.sdist", "is missing or not the name of a locked sdist")
        order.append(sdist)
        rows[sdist].append({key: each for key, each in row.items() if key != "sdist"})
    if order != sorted(order):
        raise reader.create_error(where, "is not sorted")
    builds = tuple(
        SdistBuild(name, _read_packages(reader, rows[name], where, _read_pip_package)) for name in sorted(rows)
    )
    if any(each.kind != "wheel" for build in builds for each in build.packages):
        raise reader.create_error(where, "contains a file that is not a wheel")
    return builds


def _read_conda_package(reader: LockFieldReader, value: object, where: str) -> CondaPackage:
    keys = ("name", "version", "build", "channel", "subdir", "file", "sha256")
    table = reader.read_table(value, where, {*keys, "md5", "size", "depends", "provides", "env", "activate"})
    name, version, build, channel, subdir, file, sha256 = reader.read_strings(table, where, keys, CONDA_PATTERNS)
    return CondaPackage(
        *(name, version, build, channel, subdir, file, sha256),
        md5=None if table.get("md5") is None else reader.read_matching(table["md5"], f"{where}.md5", MD5_PATTERN),
        size=_read_optional_number(reader, table, where, "size"),
        depends=reader.read_matching_array(table.get("depends", []), f"{where}.depends", MATCH_SPEC_PATTERN),
        provides=reader.read_matching_array(table.get("provides", []), f"{where}.provides", PIP_NAME_PATTERN),
        env=_read_activation_variables(reader, table.get("env", []), f"{where}.env"),
        activate=reader.read_matching_array(table.get("activate", []), f"{where}.activate", ACTIVATE_PATTERN),
    )


def _read_activation_variables(reader: LockFieldReader, value: object, where: str) -> tuple[ActivationVariable, ...]:
    keys = tuple(ACTIVATION_PATTERNS)
    variables = []
    for row in reader.read_array(value, where):
        table = reader.read_table(row, where, {*keys, "when"})
        name, text, script = reader.read_strings(table, where, keys, ACTIVATION_PATTERNS)
        is_default = table.get("when") is not None
        if is_default:
            reader.read_matching(table["when"], f"{where}.when", ACTIVATION_CONDITION_PATTERN)
        variables.append(ActivationVariable(name, text, script, is_default))
    return tuple(variables)


def _read_apt_package(reader: LockFieldReader, value: object, where: str) -> AptPackage:
    keys = ("name", "version", "architecture", "sha256")
    table = reader.read_table(value, where, {*keys, "size", "unpacked", "depends"})
    name, version, architecture, sha256 = reader.read_strings(table, where, keys, APT_PATTERNS)
    size = reader.read_number(table.get("size"), f"{where}.size")
    depends = reader.read_matching_array(table.get("depends", []), f"{where}.depends", APT_PATTERNS["name"])
    unpacked = _read_optional_number(reader, table, where, "unpacked")
    return AptPackage(name, version, architecture, sha256, size, depends, unpacked)


def _read_decision(reader: LockFieldReader, platform: Mapping[str, object], where: str) -> BaseImageDecision | None:
    """Return the decision about the base images; None if an early release wrote the lock without one."""
    if not any(key in platform for key in _PLATFORM_DECISION_KEYS):
        return None
    at = f"{where}.decided"
    table = reader.read_table(platform.get("decided"), at, _DECISION_KEYS)
    cuda, driver, image_driver = (
        None if table.get(key) is None else reader.read_matching(table[key], f"{at}.{key}", NUMERIC_VERSION_PATTERN)
        for key in _DECISION_VERSION_KEYS
    )
    saving = table.get("saving")
    warnings = reader.read_array(platform.get("warnings", []), f"{where}.warnings")
    steps = reader.read_array(platform.get("trail"), f"{where}.trail")
    return BaseImageDecision(
        catalogue=reader.read_matching(table.get("catalogue"), f"{at}.catalogue", CATALOGUE_PATTERN),
        cuda=cuda,
        driver=driver,
        image_driver=image_driver,
        compute=reader.read_matching_array(table.get("compute", []), f"{at}.compute", NUMERIC_VERSION_PATTERN),
        env=_read_variables(reader, table.get("env", []), f"{at}.env"),
        build_env=_read_variables(reader, table.get("build-env", []), f"{at}.build-env"),
        apt=reader.read_matching_array(table.get("apt", []), f"{at}.apt", APT_PATTERNS["name"]),
        apt_build=reader.read_matching_array(table.get("apt-build", []), f"{at}.apt-build", APT_PATTERNS["name"]),
        wheels=reader.read_matching_array(table.get("wheels", []), f"{at}.wheels", WHEEL_REQUIREMENT_PATTERN),
        saving=None if saving is None else SizeSaving(*_read_pair(reader, saving, f"{at}.saving", SAVING_PATTERNS)),
        warnings=tuple(_read_diagnostic(reader, each, f"{where}.warnings") for each in warnings),
        explanation=tuple(_read_step(reader, each, f"{where}.trail") for each in steps),
    )


def _read_variables(reader: LockFieldReader, value: object, where: str) -> tuple[tuple[str, str], ...]:
    return tuple(_read_pair(reader, each, where, VARIABLE_PATTERNS) for each in reader.read_array(value, where))


def _read_diagnostic(reader: LockFieldReader, value: object, where: str) -> Diagnostic:
    table = reader.read_table(value, where, set(DIAGNOSTIC_PATTERNS))
    rule, message, hint = reader.read_strings(table, where, tuple(DIAGNOSTIC_PATTERNS), DIAGNOSTIC_PATTERNS)
    # The severity is stated, because the rule may be one of another release that this release does not know.
    return Diagnostic(rule, message, hint=hint, severity="warning")


def _read_step(reader: LockFieldReader, value: object, where: str) -> Step:
    table = reader.read_table(value, where, set(Step._fields))
    at = f"{where}.rejected"
    rejected = reader.read_array(table.get("rejected", []), at)
    return Step(
        step=reader.read_number(table.get("step"), f"{where}.step"),
        rule=reader.read_matching(table.get("rule"), f"{where}.rule", RULE_PATTERN),
        inputs=reader.read_matching_array(table.get("inputs", []), f"{where}.inputs", SENTENCE_PATTERN),
        decision=reader.read_matching(table.get("decision"), f"{where}.decision", SENTENCE_PATTERN),
        rejected=tuple(RejectedImage(*_read_pair(reader, each, at, REJECTED_IMAGE_PATTERNS)) for each in rejected),
        source=reader.read_matching(table.get("source", ""), f"{where}.source", SENTENCE_PATTERN),
    )


def _read_pair(
    reader: LockFieldReader, value: object, where: str, patterns: Mapping[str, re.Pattern[str]]
) -> tuple[str, str]:
    """Return the values of a table of two strings."""
    table = reader.read_table(value, where, set(patterns))
    first, second = reader.read_strings(table, where, tuple(patterns), patterns)
    return first, second
