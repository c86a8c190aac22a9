"""The decision about the bases, as it stands in a lock: to its TOML values and back, every field checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.lock.fields import APT
from envcompile.lock.model import Decided, Rejected, Row, Saving, Warned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcompile.lock.fields import Reader

_FACTS = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} sha256:[0-9a-f]{12}")
_VERSION = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}")
# What we set ourselves: words, paths and lists of GPU architectures.
_ENV = {"name": re.compile(r"[A-Z][A-Z0-9_]*"), "value": re.compile(r"[A-Za-z0-9_./:;,+-]*")}
_SLUG = re.compile(r"[a-z][a-z0-9.-]*")
# A sentence: whatever a terminal can show.
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,2000}")
_SAVING = {"gigabytes": _VERSION, "against": _TEXT}
_REJECTED = {"image": _TEXT, "because": _TEXT}
_REQUIREMENT = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)* ==[0-9]+(?:\.[0-9]+)*\.\*")
_VERSIONS = ("cuda", "driver", "image-driver")
_KEYS = {"catalogue", *_VERSIONS, "compute", "env", "build-env", "apt", "apt-build", "wheels", "saving"}


def head(decided: Decided) -> Mapping[str, object]:
    """All of it but the warnings and the trail, which are rows."""
    return {
        "catalogue": decided.catalogue,
        "cuda": decided.cuda,
        "driver": decided.driver,
        "image-driver": decided.image_driver,
        "compute": decided.compute or None,
        "env": _pairs(decided.env),
        "build-env": _pairs(decided.build_env),
        "apt": decided.apt or None,
        "apt-build": decided.apt_build or None,
        "wheels": decided.wheels or None,
        "saving": decided.saving and decided.saving._asdict(),
    }


def warnings(decided: Decided) -> Iterable[Mapping[str, object]]:
    """A row for each warning."""
    return (each._asdict() for each in decided.warnings)


def trail(decided: Decided) -> Iterable[Mapping[str, object]]:
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
        for row in decided.trail
    )


def read(reader: Reader, value: object, warned: object, steps: object, where: str) -> Decided:
    """The decision of the values of `decided`, `warnings` and `trail` in a platform's table."""
    table, at = reader.table(value, f"{where}.decided", _KEYS), f"{where}.decided"
    cuda, driver, image_driver = (
        None if table.get(key) is None else reader.matching(table[key], f"{at}.{key}", _VERSION) for key in _VERSIONS
    )
    saving = table.get("saving")
    return Decided(
        catalogue=reader.matching(table.get("catalogue"), f"{at}.catalogue", _FACTS),
        cuda=cuda,
        driver=driver,
        image_driver=image_driver,
        compute=_list(reader, table.get("compute", []), f"{at}.compute", _VERSION),
        env=_env(reader, table, at, "env"),
        build_env=_env(reader, table, at, "build-env"),
        apt=_list(reader, table.get("apt", []), f"{at}.apt", APT["name"]),
        apt_build=_list(reader, table.get("apt-build", []), f"{at}.apt-build", APT["name"]),
        wheels=_list(reader, table.get("wheels", []), f"{at}.wheels", _REQUIREMENT),
        saving=None if saving is None else Saving(*_pair(reader, saving, f"{at}.saving", _SAVING)),
        warnings=tuple(_warned(reader, each, f"{where}.warnings") for each in reader.rows(warned, f"{where}.warnings")),
        trail=tuple(_row(reader, each, f"{where}.trail") for each in reader.rows(steps, f"{where}.trail")),
    )


def _pairs(env: tuple[tuple[str, str], ...]) -> list[dict[str, str]] | None:
    return [{"name": name, "value": value} for name, value in env] or None


def _env(reader: Reader, table: Mapping[str, object], at: str, key: str) -> tuple[tuple[str, str], ...]:
    where = f"{at}.{key}"
    return tuple(_pair(reader, each, where, _ENV) for each in reader.rows(table.get(key, []), where))


def _list(reader: Reader, value: object, where: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    return tuple(reader.matching(each, where, pattern) for each in reader.rows(value, where))


def _pair(reader: Reader, value: object, where: str, patterns: Mapping[str, re.Pattern[str]]) -> tuple[str, str]:
    one, other = reader.strings(reader.table(value, where, set(patterns)), where, tuple(patterns), patterns)
    return one, other


def _warned(reader: Reader, value: object, where: str) -> Warned:
    table = reader.table(value, where, set(Warned._fields))
    patterns = {"rule": _SLUG, "message": _TEXT, "hint": _TEXT}
    return Warned(*reader.strings(table, where, Warned._fields, patterns))


def _row(reader: Reader, value: object, where: str) -> Row:
    table = reader.table(value, where, set(Row._fields))
    rejected = reader.rows(table.get("rejected", []), f"{where}.rejected")
    return Row(
        step=reader.number(table.get("step"), f"{where}.step"),
        rule=reader.matching(table.get("rule"), f"{where}.rule", _SLUG),
        inputs=_list(reader, table.get("inputs", []), f"{where}.inputs", _TEXT),
        decision=reader.matching(table.get("decision"), f"{where}.decision", _TEXT),
        rejected=tuple(Rejected(*_pair(reader, each, f"{where}.rejected", _REJECTED)) for each in rejected),
        source=reader.matching(table.get("source", ""), f"{where}.source", _TEXT),
    )
