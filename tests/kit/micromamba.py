"""A stand-in for micromamba, none of which can be had where these tests run: its `create --dry-run --json`.

py-rattler solves. What is solved comes from where micromamba has it from, and from nowhere else: its arguments, the
variables that it reads, and `.mambarc` in the home folder, of which it knows `pinned_packages`. It answers in
micromamba's JSON, and notes beside itself what it was called with.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from envcompile.resolve.conda.rattler_worker import solve_requests

SCRIPT = """#!{python}
import sys

sys.path.insert(0, {root!r})
from tests.kit.micromamba import main

main()
"""


def main() -> None:
    """Answer on standard output, and end."""
    seen = json.dumps({"argv": sys.argv[1:], "environment": dict(os.environ)})
    with Path(sys.argv[0]).with_suffix(".log").open("a", encoding="utf-8") as log:
        log.write(f"{seen}\n")
    (answer,) = solve_requests({"requests": [_request()], "offline": _set("OFFLINE") == "true", "timeout": 5})
    if answer["kind"] == "solved":
        rows = [{**row, "url": f"{row['channel']}/{row['subdir']}/{row['file']}"} for row in answer["packages"]]
        rows = [{key: value for key, value in row.items() if value not in (None, "")} for row in rows]
        said: dict[str, Any] = {"actions": {"FETCH": rows, "LINK": rows}, "success": True}
    elif answer["kind"] == "unsolvable":
        said = {"solver_problems": [answer["problem"]], "success": False}
    else:
        said = {}
        sys.stderr.write(f"critical libmamba {answer['problem']}\n")
    sys.stdout.write(json.dumps(said))
    sys.stdout.flush()
    os._exit(0 if answer["kind"] == "solved" else 1)


def _request() -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    for flag in ("--dry-run", "--json", "--override-channels"):
        parser.add_argument(flag, action="store_true", required=True)
    parser.add_argument("command", choices=["create"])
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--channel", action="append", required=True)
    parser.add_argument("specs", nargs="+")
    asked = parser.parse_args()
    if _set("CHANNEL_PRIORITY") != "strict":
        raise SystemExit("critical libmamba this stand-in knows strict priority only")
    settings = Path.home() / ".mambarc"
    pinned = settings.read_text("utf-8").splitlines()[1:] if settings.exists() else []
    names = [each.rpartition("::")[2].split(" ")[0].split("=")[0].split("[")[0] for each in asked.specs]
    return {
        "names": names,
        "specs": [*asked.specs, *(line.strip(" -") for line in pinned)]
        + [name for name, spec in zip(names, asked.specs, strict=True) if "::" not in spec],
        "channels": asked.channel,
        "subdirs": [os.environ["CONDA_SUBDIR"], "noarch"],
        "virtual_packages": [("__unix", "0", "0"), ("__linux", "0", "0"), *_virtual()],
        "constraints": [],
        "cuda": None,
        "exclude_newer": None,
        "preferences": [],
        "only_channel": {},
        "only_subdir": {},
    }


def _set(name: str) -> str:
    return os.environ.get(f"MAMBA_{name}", "")


def _virtual() -> list[tuple[str, str, str]]:
    version = {name: os.environ.get(f"CONDA_OVERRIDE_{name.upper()}") for name in ("glibc", "cuda", "archspec")}
    rows = [(f"__{name}", version[name] or "", "0") for name in ("glibc", "cuda") if version[name]]
    return [*rows, ("__archspec", "1", version["archspec"])] if version["archspec"] else rows
