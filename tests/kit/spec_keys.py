"""Every key of the format with a good value, so that tests of all keys are derived and not written by hand.

`tests/property/test_schema.py` holds it complete: the schema has no key that is not here.
"""

from __future__ import annotations

import copy
import json
from datetime import date, datetime, time, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.source import KeyPath

_DIGEST = "sha256:" + 64 * "a"
_MOMENT = datetime(2026, 11, 1, tzinfo=timezone.utc)

FULL: dict[str, Any] = {
    "name": "ml",
    "python": "3.12",
    "platforms": ["linux-64"],
    "exclude-newer": _MOMENT,
    "conda": {
        "channels": ["conda-forge"],
        "packages": ["ffmpeg =7"],
        "resolver": "rattler",
        "provides": {"mychem": ["my-chem"]},
    },
    "pip": {
        "packages": ["numpy >=2"],
        "exclude": ["nvidia-nccl-cu12"],
        "allow-sdist": ["flash-attn"],
        "allow-overlap": ["opencv-python-headless"],
        "resolver": "uv",
        "index": "https://example.com/simple",
        "metadata": {
            "flash-attn": {
                "requires-dist": ["torch"],
                "requires-python": ">=3.9",
                "build-requires": ["torch"],
                "build-env": {"MAX_JOBS": "4"},
            }
        },
        "extra-indexes": [{"name": "corp", "url": "https://example.com/corp", "packages": ["acme-*"]}],
    },
    "apt": {"packages": ["git"], "build": ["gcc"], "snapshot": _MOMENT},
    "cuda": {"version": "12.8", "driver": "535", "compute": ["8.0"], "jit": True},
    "image": {
        "repository": "registry.example.com/team/ml",
        "base": {
            "image": f"registry.example.com/base@{_DIGEST}",
            "os": "debian-12",
            "glibc": "2.36",
            "python": "3.12.12",
            "python-path": "/usr/bin/python3",
        },
        "env": {"PYTHONUNBUFFERED": "1"},
        "labels": {"org.example.source": "here"},
        "user": "1000:1000",
        "workdir": "/work",
        "expose": [8888],
        "entrypoint": ["tini"],
        "command": ["jupyter"],
        "init": True,
        "stop-signal": "SIGINT",
        "allow-secret-names": ["KEY_COLUMN"],
        "healthcheck": {
            "command": ["true"],
            "interval": "30s",
            "timeout": "5s",
            "start-period": "1m",
            "retries": 3,
        },
    },
    "tools": {
        "uv": f"registry.example.com/uv:0.13.9@{_DIGEST}",
        "python": f"registry.example.com/python:3.13-slim-bookworm@{_DIGEST}",
    },
    "lock": {"exports": ["requirements.txt"]},
}
# Tables whose keys the user chooses.
FREE = (
    ("conda", "provides"),
    ("image", "env"),
    ("image", "labels"),
    ("pip", "metadata"),
    ("pip", "metadata", "flash-attn", "build-env"),
)
# Of each type of TOML a value that is good nowhere.
TYPES: dict[str, Any] = {
    "a string": "***",
    "an integer": -1,
    "a float": 0.5,
    "a boolean": True,
    "a date or a time": date(2026, 11, 1),
    "an array": [],
    "a table": {},
}


def paths(value: Any = None, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every key and item of `FULL`, outermost first."""
    value = FULL if value is None else value
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, each in inside:
        yield (*path, part), each
        yield from paths(each, (*path, part))


STRINGS = [path for path, value in paths() if isinstance(value, str)]
TABLES = [(), *(path for path, value in paths() if isinstance(value, dict) and path not in (*FREE, ("tools",)))]


def changed(path: KeyPath, new: Any) -> dict[str, Any]:
    """A spec of what must be there and the table of `path`, in which the value at `path` is another one."""
    return put({key: FULL[key] for key in ("name", "python", "pip", *path[:1]) if key in FULL}, path, new)


def put(value: dict[str, Any], path: KeyPath, new: Any) -> dict[str, Any]:
    """A copy in which the value at `path` is another one."""
    whole = copy.deepcopy(value)
    around: Any = whole
    for part in path[:-1]:
        around = around[part]
    around[path[-1]] = new
    return whole


def without(value: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """A copy in which there is nothing at `path`."""
    whole = copy.deepcopy(value)
    around: Any = whole
    for part in path[:-1]:
        around = around[part]
    del around[path[-1]]
    return whole


def dumps(value: dict[str, Any]) -> str:
    """The value as TOML: a line for each key, with tables inside of tables inline."""
    plain = [f"{_key(key)} = {_inline(each)}\n" for key, each in value.items() if not isinstance(each, dict)]
    tables = [
        "".join([f"\n[{_key(key)}]\n", *(f"{_key(name)} = {_inline(inner)}\n" for name, inner in each.items())])
        for key, each in value.items()
        if isinstance(each, dict)
    ]
    return "".join(plain + tables)


def _key(key: str) -> str:
    return _inline(key)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {_inline(each)}' for key, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    # A JSON string is a TOML basic string, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
