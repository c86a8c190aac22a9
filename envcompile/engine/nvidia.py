"""The NVIDIA driver of this machine, against the oldest that the locked CUDA runs on."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple

from envcompile.findings import Finding
from envcompile.plan.base.versions import number

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUERY = ("nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader")
# It hangs on some broken drivers.
_SECONDS = 30
_REPAIR = "reinstall the driver, and restart the machine: after an update its two halves differ until then"


class Floor(NamedTuple):
    """The oldest driver that will do, and who says so."""

    version: str
    because: str


def driver(floors: tuple[Floor, ...], environment: Mapping[str, str]) -> Finding:
    """The driver of this machine, against every floor. No driver at all is worth a note: images build without one."""
    try:
        done = subprocess.run(
            _QUERY,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        return _none(floors)
    except (OSError, subprocess.TimeoutExpired) as problem:
        why = f"does not answer within {_SECONDS} seconds"
        if isinstance(problem, OSError):
            why = f"cannot be started: {problem.strerror}"
        return Finding("driver", "wrong", f"`nvidia-smi` {why}", _REPAIR)
    rows = [line.partition(", ") for line in done.stdout.splitlines() if number(line)]
    if done.returncode or not rows:
        said = " ".join((done.stdout + done.stderr).split())[:200]
        return Finding("driver", "wrong", f"`nvidia-smi` finds no driver at work: {said}", _REPAIR)
    version, names = rows[0][0], dict.fromkeys(name for _, _, name in rows)
    has = f"NVIDIA driver {version} ({', '.join(names)})"
    low = [each for each in floors if number(version) < number(each.version)]
    if not low:
        enough = "".join(f"; {each.version} is enough for {each.because}" for each in floors)
        return Finding("driver", "fine", has + enough)
    worst = max(low, key=lambda each: number(each.version))
    message = f"{has} is too old: {worst.because} needs {worst.version} or newer"
    remedy = "install that driver, or ask for an older CUDA with `version` under `[cuda]` and run `envcompile lock`"
    return Finding("driver", "wrong", message, remedy)


def _none(floors: tuple[Floor, ...]) -> Finding:
    if not floors:
        return Finding("driver", "fine", "no NVIDIA driver here, and none is needed")
    needed = " and ".join(f"{each.version} or newer for {each.because}" for each in floors)
    message = f"no NVIDIA driver here: images build without one, and run on a GPU with {needed}"
    return Finding("driver", "note", message)
