"""The fields of a lock: what each may look like, and how they are taken out of a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.model import (
    AptPackage,
    BaseImage,
    BaseImageDecision,
    Channel,
    CondaPackage,
    Lock,
    PipPackage,
    PlatformLock,
    PythonInterpreter,
    RecordedInput,
    RejectedImage,
    SdistBuild,
    SizeSaving,
    Step,
    ToolImage,
)
from envcompile.platforms import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Package = TypeVar("Package", PipPackage, CondaPackage, AptPackage)

_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_DIGEST_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:/_\[\]-]{0,400}@sha256:[0-9a-f]{64}")
PIP_NAME_PATTERN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_PIP_VERSION_PATTERN = re.compile(r"[0-9]+(?:![0-9]+)?[a-z0-9.+]*")
_PIP_FILE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.(?:whl|tar\.gz|zip)")
_PATH_PATTERN = re.compile(r"(?:/[A-Za-z0-9._+@-]+)+")
_FIELD_PATTERNS = {
    "name": PIP_NAME_PATTERN,
    "version": _PIP_VERSION_PATTERN,
    "file": _PIP_FILE_PATTERN,
    "sha256": _SHA256_PATTERN,
    "index": PIP_NAME_PATTERN,
    "kind": re.compile("wheel|sdist"),
    "image": _IMAGE_PATTERN,
    "path": _PATH_PATTERN,
    "os": re.compile(r"[a-z][a-z0-9]*-[0-9]+(?:\.[0-9]+)*"),
    "glibc": re.compile(r"2\.[0-9]{1,2}"),
    "source": re.compile("spec|image|assumed|conda|apt"),
    "digest": _DIGEST_PATTERN,
    "text": _DIGEST_PATTERN,
    "snapshot": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"),
}
MD5_PATTERN = re.compile(r"[0-9a-f]{32}")
_CONDA_NAME_PATTERN = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
MATCH_SPEC_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.<>=!~,|*+\[\]'\"() :/-]*")
CHANNEL_PATTERNS = {
    "name": re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*"),
    # A folder of this machine is locked by its path, which no build can see.
    "url": re.compile(r"(?:https?|file)://[A-Za-z0-9._~%+:\[\]/ -]*"),
}
# Compared and shown, and no part of a Dockerfile: any text that a spec can hold.
RECORDED_INPUT_PATTERNS = {
    "key": re.compile(r"[a-z-]+(?:\.[a-z-]+)*"),
    "values": re.compile(r"[^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]+"),
}
CONDA_PATTERNS = {
    "name": _CONDA_NAME_PATTERN,
    "version": re.compile(r"[A-Za-z0-9_.!+-]+"),
    "build": re.compile(r"[A-Za-z0-9_.+-]+"),
    "channel": CHANNEL_PATTERNS["name"],
    "subdir": re.compile(r"linux-64|linux-aarch64|noarch"),
    "file": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]*(?:\.conda|\.tar\.bz2)"),
    "sha256": _SHA256_PATTERN,
}
# Debian policy, "Source" and "Version" of control files.
APT_PATTERNS = {
    "name": re.compile(r"[a-z0-9][a-z0-9.+-]+"),
    "version": re.compile(r"(?:[0-9]+:)?[0-9][A-Za-z0-9.+~-]*"),
    "architecture": re.compile(r"amd64|arm64|all"),
    "sha256": _SHA256_PATTERN,
}


class LockFieldReader:
    """Takes fields out of tables by name and type; the first that is wrong ends the reading, by `InvalidInputError`."""

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def create_error(self, where: str, said: str) -> InvalidInputError:
        """The error: what is wrong with the field at `where`."""
        return InvalidInputError(f"`{self._name}` is not a valid lock: `{where}` {said}", self._hint)

    def read_table(self, value: object, where: str, keys: set[str]) -> dict[str, Any]:
        """A table with no other keys than these."""
        if not isinstance(value, dict):
            raise self.create_error(where, "is missing or not a table")
        if strange := sorted(set(value) - keys):
            raise self.create_error(f"{where}.{strange[0]}", "is not known")
        return value

    def read_array(self, value: object, where: str) -> list[object]:
        """An array."""
        if not isinstance(value, list):
            raise self.create_error(where, "is missing or not an array")
        return value

    def read_matching(self, value: object, where: str, pattern: re.Pattern[str]) -> str:
        """A string that matches as a whole."""
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.create_error(where, "is missing or malformed")
        return value

    def read_number(self, value: object, where: str) -> int:
        """A whole number, not below 0."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.create_error(where, "is missing or not a whole number")
        return value

    def read_string(self, table: Mapping[str, Any], where: str, key: str) -> str:
        """The string of a key that looks the same in every table."""
        return self.read_matching(table.get(key), f"{where}.{key}", _FIELD_PATTERNS[key])

    def read_strings(
        self,
        table: Mapping[str, Any],
        where: str,
        keys: tuple[str, ...],
        patterns: Mapping[str, re.Pattern[str]] | None = None,
    ) -> list[str]:
        """The strings of several keys; `patterns` where they look otherwise in this table."""
        known = patterns or _FIELD_PATTERNS
        return [self.read_matching(table.get(key), f"{where}.{key}", known[key]) for key in keys]


# The decision about the bases, as it stands in a lock: to its TOML values and back, every field checked.


_CATALOGUE_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} sha256:[0-9a-f]{12}")
_NUMERIC_VERSION_PATTERN = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}")
# What we set ourselves: words, paths and lists of GPU architectures.
_VARIABLE_PATTERNS = {"name": re.compile(r"[A-Z][A-Z0-9_]*"), "value": re.compile(r"[A-Za-z0-9_./:;,+-]*")}
_RULE_PATTERN = re.compile(r"[a-z][a-z0-9.-]*")
# A sentence: whatever a terminal can show.
_SENTENCE_PATTERN = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,2000}")
_SAVING_PATTERNS = {"gigabytes": _NUMERIC_VERSION_PATTERN, "against": _SENTENCE_PATTERN}
_REJECTED_IMAGE_PATTERNS = {"image": _SENTENCE_PATTERN, "because": _SENTENCE_PATTERN}
_WHEEL_REQUIREMENT_PATTERN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)* ==[0-9]+(?:\.[0-9]+)*\.\*")
_DECISION_VERSION_KEYS = ("cuda", "driver", "image-driver")
_DECISION_KEYS = {
    "catalogue",
    *_DECISION_VERSION_KEYS,
    "compute",
    "env",
    "build-env",
    "apt",
    "apt-build",
    "wheels",
    "saving",
}


def table_from_decision(decided: BaseImageDecision) -> Mapping[str, object]:
    """All of it but the warnings and the trail, which are rows."""
    return {
        "catalogue": decided.catalogue,
        "cuda": decided.cuda,
        "driver": decided.driver,
        "image-driver": decided.image_driver,
        "compute": decided.compute or None,
        "env": _rows_from_variables(decided.env),
        "build-env": _rows_from_variables(decided.build_env),
        "apt": decided.apt or None,
        "apt-build": decided.apt_build or None,
        "wheels": decided.wheels or None,
        "saving": decided.saving and decided.saving._asdict(),
    }


def rows_from_warnings(decided: BaseImageDecision) -> Iterable[Mapping[str, object]]:
    """A row for each warning."""
    return ({"rule": each.rule, "message": each.message, "hint": each.hint} for each in decided.warnings)


def rows_from_explanation(decided: BaseImageDecision) -> Iterable[Mapping[str, object]]:
    """A row for each step."""
    return (
        {
            "step": row.step,
            "rule": row.rule,
            "inputs": row.inputs or None,
            "decision": row.decision,
            "rejected": [each._asdict() for each in row.rejected] or None,
            "source": row.source or None,
        }
        for row in decided.explanation
    )


def read_decision(
    reader: LockFieldReader, value: object, warned: object, steps: object, where: str
) -> BaseImageDecision:
    """The decision of the values of `decided`, `warnings` and `trail` in a platform's table."""
    table, at = reader.read_table(value, f"{where}.decided", _DECISION_KEYS), f"{where}.decided"
    cuda, driver, image_driver = (
        None if table.get(key) is None else reader.read_matching(table[key], f"{at}.{key}", _NUMERIC_VERSION_PATTERN)
        for key in _DECISION_VERSION_KEYS
    )
    saving = table.get("saving")
    return BaseImageDecision(
        catalogue=reader.read_matching(table.get("catalogue"), f"{at}.catalogue", _CATALOGUE_PATTERN),
        cuda=cuda,
        driver=driver,
        image_driver=image_driver,
        compute=_read_matching_strings(reader, table.get("compute", []), f"{at}.compute", _NUMERIC_VERSION_PATTERN),
        env=_read_variables(reader, table, at, "env"),
        build_env=_read_variables(reader, table, at, "build-env"),
        apt=_read_matching_strings(reader, table.get("apt", []), f"{at}.apt", APT_PATTERNS["name"]),
        apt_build=_read_matching_strings(reader, table.get("apt-build", []), f"{at}.apt-build", APT_PATTERNS["name"]),
        wheels=_read_matching_strings(reader, table.get("wheels", []), f"{at}.wheels", _WHEEL_REQUIREMENT_PATTERN),
        saving=None if saving is None else SizeSaving(*_read_pair(reader, saving, f"{at}.saving", _SAVING_PATTERNS)),
        warnings=tuple(
            _read_diagnostic(reader, each, f"{where}.warnings")
            for each in reader.read_array(warned, f"{where}.warnings")
        ),
        explanation=tuple(
            _read_step(reader, each, f"{where}.trail") for each in reader.read_array(steps, f"{where}.trail")
        ),
    )


def _rows_from_variables(env: tuple[tuple[str, str], ...]) -> list[dict[str, str]] | None:
    return [{"name": name, "value": value} for name, value in env] or None


def _read_variables(
    reader: LockFieldReader, table: Mapping[str, object], at: str, key: str
) -> tuple[tuple[str, str], ...]:
    where = f"{at}.{key}"
    return tuple(
        _read_pair(reader, each, where, _VARIABLE_PATTERNS) for each in reader.read_array(table.get(key, []), where)
    )


def _read_matching_strings(
    reader: LockFieldReader, value: object, where: str, pattern: re.Pattern[str]
) -> tuple[str, ...]:
    return tuple(reader.read_matching(each, where, pattern) for each in reader.read_array(value, where))


def _read_pair(
    reader: LockFieldReader, value: object, where: str, patterns: Mapping[str, re.Pattern[str]]
) -> tuple[str, str]:
    one, other = reader.read_strings(reader.read_table(value, where, set(patterns)), where, tuple(patterns), patterns)
    return one, other


def _read_diagnostic(reader: LockFieldReader, value: object, where: str) -> Diagnostic:
    patterns = {"rule": _RULE_PATTERN, "message": _SENTENCE_PATTERN, "hint": _SENTENCE_PATTERN}
    table = reader.read_table(value, where, set(patterns))
    rule, message, hint = reader.read_strings(table, where, tuple(patterns), patterns)
    # The severity is given, because another release may have rules that this one does not have.
    return Diagnostic(rule, message, hint=hint, severity="warning")


def _read_step(reader: LockFieldReader, value: object, where: str) -> Step:
    table = reader.read_table(value, where, set(Step._fields))
    rejected = reader.read_array(table.get("rejected", []), f"{where}.rejected")
    return Step(
        step=reader.read_number(table.get("step"), f"{where}.step"),
        rule=reader.read_matching(table.get("rule"), f"{where}.rule", _RULE_PATTERN),
        inputs=_read_matching_strings(reader, table.get("inputs", []), f"{where}.inputs", _SENTENCE_PATTERN),
        decision=reader.read_matching(table.get("decision"), f"{where}.decision", _SENTENCE_PATTERN),
        rejected=tuple(
            RejectedImage(*_read_pair(reader, each, f"{where}.rejected", _REJECTED_IMAGE_PATTERNS)) for each in rejected
        ),
        source=reader.read_matching(table.get("source", ""), f"{where}.source", _SENTENCE_PATTERN),
    )


# From the lock's TOML value to a Lock, every field checked: a lock may come from anybody.
#
# What reaches the Dockerfile is matched against a strict pattern here, whoever wrote the file and its digest.


_PACKAGE_KEYS = ("pip", "pip-build", "conda", "apt", "apt-build")
_PLATFORM_KEYS = ("python", "build", "run", "tools")
_PLATFORM_DECISION_KEYS = ("decided", "warnings", "trail")
_LOCK_KEYS = {
    *("format", "digest", "layout", "spec", "counts", "asked", "snapshot", "channels", "private-indexes", "platforms")
}


def decode_lock(value: dict[str, Any], name: str, hint: str, *, whole: bool) -> Lock:
    """The lock of a TOML value.

    Raises `InvalidInputError` when a field is wrong, or when it is not `whole`: cut or edited.
    """
    read = LockFieldReader(name, hint)
    platforms = value.get("platforms", {})
    if not whole:
        cut = _is_truncated(value.get("counts"), platforms)
        message = "is cut off: packages are missing at its end" if cut else "was edited by hand or by another program"
        raise InvalidInputError(f"`{name}` {message}", hint)
    read.read_table(value, name, _LOCK_KEYS)
    spec = read.read_table(value.get("spec"), "spec", {"digest", "text"})
    names = sorted(read.read_table(platforms, "platforms", set(PLATFORMS)))
    lock = Lock(
        spec_digest=read.read_string(spec, "spec", "digest"),
        spec_text_digest=read.read_string(spec, "spec", "text"),
        platforms=tuple(_read_platform(read, each, platforms[each]) for each in names),
        layout=read.read_number(value.get("layout"), "layout"),
        channels=tuple(_read_channel(read, row) for row in read.read_array(value.get("channels", []), "channels")),
        recorded_inputs=_read_recorded_inputs(read, value["asked"]) if "asked" in value else None,
        private_indexes=_read_private_indexes(read, value.get("private-indexes", [])),
        snapshot=read.read_string(value, "the lock", "snapshot") if "snapshot" in value else None,
    )
    if lock.snapshot is None and any(each.apt or each.apt_build for each in lock.platforms):
        raise read.create_error("snapshot", "is missing")
    if value.get("counts") != compute_counts(lock):
        raise read.create_error("counts", "disagrees with the packages")
    if not lock.platforms:
        raise read.create_error("platforms", "is empty")
    return lock


def compute_counts(lock: Lock) -> dict[str, int]:
    """How many platforms and packages a lock holds, as its head says."""
    found = {"platforms": len(lock.platforms), "pip": sum(len(each.pip) for each in lock.platforms)}
    conda = sum(len(each.conda) for each in lock.platforms)
    apt = sum(len(each.apt) for each in lock.platforms)
    build = sum(len(each.apt_build) for each in lock.platforms)
    wheels = sum(len(row.packages) for each in lock.platforms for row in each.pip_build)
    others = (("pip-build", wheels), ("conda", conda), ("apt", apt), ("apt-build", build))
    return found | {kind: many for kind, many in others if many}


def _is_truncated(said: object, platforms: Mapping[str, Any]) -> bool:
    """Whether fewer platforms or packages are there than the head says."""
    told = said if isinstance(said, dict) else {}
    tables = [each for each in platforms.values() if isinstance(each, dict)]
    there = {
        "platforms": len(tables),
        **{kind: sum(len(each.get(kind, ())) for each in tables) for kind in _PACKAGE_KEYS},
    }
    return any(isinstance(told.get(key), int) and there[key] < told[key] for key in there)


def parse_package_row(row: object) -> PipPackage | CondaPackage:
    """One row of a lock by itself: only conda's has a build. Raises `InvalidInputError` when a field is wrong."""
    read = LockFieldReader("a row", "")
    return (
        _read_conda_package(read, row, "conda")
        if isinstance(row, dict) and "build" in row
        else _read_pip_package(read, row, "pip")
    )


def _read_platform(read: LockFieldReader, platform: str, value: object) -> PlatformLock:
    where = f"platforms.{platform}"
    table = read.read_table(value, where, {*_PLATFORM_KEYS, *_PLATFORM_DECISION_KEYS, *_PACKAGE_KEYS})
    keys = ("version", "path", "source")
    python = None
    if "python" in table:
        row = read.read_table(table["python"], f"{where}.python", set(keys))
        python = PythonInterpreter(*read.read_strings(row, f"{where}.python", keys))
    build, run = (_read_base_image(read, table.get(stage), f"{where}.{stage}") for stage in ("build", "run"))
    tools = tuple(
        ToolImage(
            *read.read_strings(
                read.read_table(row, f"{where}.tools", {"name", "image"}), f"{where}.tools", ("name", "image")
            )
        )
        for row in read.read_array(table.get("tools"), f"{where}.tools")
    )
    pip = _read_packages(read, table.get("pip"), f"{where}.pip", _read_pip_package)
    conda = _read_packages(read, table.get("conda", []), f"{where}.conda", _read_conda_package)
    apt, apt_build = (
        _read_packages(read, table.get(key, []), f"{where}.{key}", _read_apt_package) for key in ("apt", "apt-build")
    )
    why = None
    if any(key in table for key in _PLATFORM_DECISION_KEYS):
        why = read_decision(read, table.get("decided"), table.get("warnings", []), table.get("trail"), where)
    builds = _read_sdist_builds(read, table.get("pip-build", []), f"{where}.pip-build", pip)
    return PlatformLock(platform, python, build, run, tools, pip, conda, apt, apt_build, why, builds)


def _read_sdist_builds(
    read: LockFieldReader, value: object, where: str, pip: tuple[PipPackage, ...]
) -> tuple[SdistBuild, ...]:
    """What each sdist is built with: wheels, for sdists that are locked, and for every one of them."""
    rows: dict[str, list[object]] = {each.name: [] for each in pip if each.kind == "sdist"}
    order = []
    for row in read.read_array(value, where):
        sdist = row.get("sdist") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(sdist, str) or sdist not in rows:
            raise read.create_error(f"{where}.sdist", "is missing, or names no sdist of the lock")
        order.append(sdist)
        rows[sdist].append({key: each for key, each in row.items() if key != "sdist"})
    if order != sorted(order):
        raise read.create_error(where, "is not sorted")
    builds = tuple(
        SdistBuild(name, _read_packages(read, rows[name], where, _read_pip_package)) for name in sorted(rows)
    )
    if any(each.kind != "wheel" for build in builds for each in build.packages):
        raise read.create_error(where, "holds something that is no wheel")
    return builds


def _read_recorded_inputs(read: LockFieldReader, value: object) -> tuple[RecordedInput, ...]:
    rows = [read.read_table(row, "asked", {"key", "values"}) for row in read.read_array(value, "asked")]
    return tuple(
        RecordedInput(
            read.read_matching(row.get("key"), "asked.key", RECORDED_INPUT_PATTERNS["key"]),
            tuple(
                read.read_matching(each, "asked.values", RECORDED_INPUT_PATTERNS["values"])
                for each in read.read_array(row.get("values"), "asked.values")
            ),
        )
        for row in rows
    )


def _read_channel(read: LockFieldReader, value: object) -> Channel:
    keys = ("name", "url")
    name, url = read.read_strings(read.read_table(value, "channels", set(keys)), "channels", keys, CHANNEL_PATTERNS)
    return Channel(name, url)


def _read_private_indexes(read: LockFieldReader, value: object) -> tuple[str, ...]:
    where = "private-indexes"
    names = tuple(read.read_matching(each, where, PIP_NAME_PATTERN) for each in read.read_array(value, where))
    if list(names) != sorted(set(names)):
        raise read.create_error(where, "is not sorted, or holds a name twice")
    return names


def _read_conda_package(read: LockFieldReader, value: object, where: str) -> CondaPackage:
    keys = ("name", "version", "build", "channel", "subdir", "file", "sha256")
    table = read.read_table(value, where, {*keys, "md5", "size", "depends", "provides"})
    depends, provides = (
        tuple(
            read.read_matching(each, f"{where}.{key}", pattern) for each in read.read_array(table.get(key, []), where)
        )
        for key, pattern in (("depends", MATCH_SPEC_PATTERN), ("provides", PIP_NAME_PATTERN))
    )
    md5 = None if table.get("md5") is None else read.read_matching(table["md5"], f"{where}.md5", MD5_PATTERN)
    size = None if table.get("size") is None else read.read_number(table["size"], f"{where}.size")
    name, version, build, channel, subdir, file, sha256 = read.read_strings(table, where, keys, CONDA_PATTERNS)
    return CondaPackage(name, version, build, channel, subdir, file, sha256, md5, size, depends, provides)


def _read_apt_package(read: LockFieldReader, value: object, where: str) -> AptPackage:
    keys = ("name", "version", "architecture", "sha256")
    table = read.read_table(value, where, {*keys, "size", "depends"})
    name, version, architecture, sha256 = read.read_strings(table, where, keys, APT_PATTERNS)
    depends = read.read_array(table.get("depends", []), f"{where}.depends")
    names = tuple(read.read_matching(each, f"{where}.depends", APT_PATTERNS["name"]) for each in depends)
    return AptPackage(name, version, architecture, sha256, read.read_number(table.get("size"), f"{where}.size"), names)


def _read_packages(
    read: LockFieldReader, value: object, where: str, item: Callable[[LockFieldReader, object, str], Package]
) -> tuple[Package, ...]:
    packages = tuple(item(read, row, f"{where}[{index}]") for index, row in enumerate(read.read_array(value, where)))
    names = [package.name for package in packages]
    if names != sorted(set(names)):
        raise read.create_error(where, "is not sorted, or holds a package twice")
    return packages


def _read_base_image(read: LockFieldReader, value: object, where: str) -> BaseImage:
    keys = ("image", "os", "glibc")
    return BaseImage(*read.read_strings(read.read_table(value, where, set(keys)), where, keys))


def _read_pip_package(read: LockFieldReader, value: object, where: str) -> PipPackage:
    keys = ("name", "version", "file", "sha256", "index", "kind")
    table = read.read_table(value, where, {*keys, "size", "depends"})
    name, version, file, sha256, index, kind = read.read_strings(table, where, keys)
    if file.endswith(".whl") != (kind == "wheel"):
        raise read.create_error(f"{where}.kind", "disagrees with the file")
    depends = read.read_array(table.get("depends", []), f"{where}.depends")
    if not all(isinstance(each, str) and PIP_NAME_PATTERN.fullmatch(each) for each in depends):
        raise read.create_error(f"{where}.depends", "holds something that is not a package's name")
    size = table.get("size")
    if size is not None:
        size = read.read_number(size, f"{where}.size")
    return PipPackage(name, version, file, sha256, size, index, tuple(str(each) for each in depends), kind)
