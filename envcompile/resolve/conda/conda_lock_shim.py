"""The conda executable of conda-lock: it solves with py-rattler, or runs a conda program of this machine.

conda-lock gets a Python interpreter as its `--conda`, and starts it in a folder with a script `create`, which calls
`main`: `python create --prefix P --dry-run --json --channel URL... SPEC...`. The folder also has `shim-input.json`,
which `conda_lock` writes. `main` writes `shim-answer.json` in the format of `rattler_worker`, with two additional kinds
(`misread-requirement` and `program-failed`), and prints what conda would print.

conda-lock rewrites requirements, and drops subdirs and hashes. Requirements that it changes are rejected.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.diagnostic import RequirementError
from envcompile.spec.conda import parse_dependency_name, parse_match_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envcompile.spec.conda import MatchSpec

# The exceptions of conda for unsolvable requirements. mamba and micromamba print `solver_problems` instead.
_UNSOLVABLE_EXCEPTIONS = "Unsatisfiable|Packages?NotFound"


def main() -> None:
    """Solve the request in `shim-input.json`. The files are in the folder of the script that calls this function."""
    folder = Path(sys.argv[0]).resolve().parent
    shim_input = json.loads((folder / "shim-input.json").read_text("utf-8"))
    answer = _answer_solve(shim_input, sys.argv[1:])
    (folder / "shim-answer.json").write_text(json.dumps(answer), "utf-8")
    solved = answer["kind"] == "solved"
    sys.stdout.write(json.dumps({"actions": {"FETCH": answer["fetch"]}} if solved else {"message": answer["problem"]}))
    sys.stdout.flush()
    # Skips the shutdown of the interpreter, in which py-rattler can crash.
    os._exit(0 if solved else 1)


def _answer_solve(shim_input: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    (request,) = shim_input["requests"]
    specs = _read_requirements(arguments)
    for text, spec in zip_longest(shim_input["requirements"], specs, fillvalue=""):
        if _parse_valid_match_spec(spec) != parse_match_spec(text):
            return {"kind": "misread-requirement", "problem": "", "requirement": text, "misread_as": spec}
    if not shim_input["program"]:
        return _solve_with_rattler(shim_input)
    # Channels are passed as URLs, because the program may know another channel by the same name.
    names = {spec: parse_match_spec(spec).name for spec in specs if "::" in spec}
    urls = {spec: f"{request['only_channel'][name]}::{spec.partition('::')[2]}" for spec, name in names.items()}
    options = arguments[: len(arguments) - len(specs)]
    # Exact versions are passed as requirements, because pins may be dropped.
    requirements = (*(urls.get(spec, spec) for spec in specs), *shim_input["exact"])
    return _run_conda_program((shim_input["program"], "create", *options, *requirements), shim_input["pins"])


def _read_requirements(arguments: Sequence[str]) -> list[str]:
    """Return the requirements as conda-lock has rewritten them, in the order of the spec."""
    parser = argparse.ArgumentParser()
    for flag in ("--dry-run", "--json", "--override-channels"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--prefix")
    parser.add_argument("--channel", action="append")
    parser.add_argument("specs", nargs="*")
    specs: list[str] = parser.parse_args(arguments).specs
    # conda-lock 4.0.3 rewrites `x::a * b*` to `x::a=[build=b*]`, which is not a valid MatchSpec.
    return [spec.replace("=[", "[") for spec in specs]


def _parse_valid_match_spec(spec: str) -> MatchSpec | None:
    try:
        return parse_match_spec(spec)
    except RequirementError:
        return None


def _solve_with_rattler(shim_input: dict[str, Any]) -> dict[str, Any]:
    from envcompile.resolve.conda.rattler_worker import solve_requests  # noqa: PLC0415 - imports py-rattler

    (answer,) = solve_requests(shim_input)
    if answer["kind"] == "solved":
        (request,) = shim_input["requests"]
        virtual = [{"name": name, "version": version, "url": name} for name, version, _ in request["virtual_packages"]]
        answer["fetch"] = [*virtual, *map(_format_fetch_row, answer["packages"])]
    return answer


def _format_fetch_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a package as conda prints it: without empty hashes, and with the names of the dependencies only."""
    url = f"{row['channel']}/{row['subdir']}/{row['file']}"
    names = [parse_dependency_name(text) for text in row["depends"]]
    return {**{key: value for key, value in row.items() if value is not None}, "url": url, "depends": names}


def _run_conda_program(argv: Sequence[str], pins: dict[str, str]) -> dict[str, Any]:
    """Run a conda program with the pins as requirements; if that fails, again without the pins that its error names.

    If the error names no pin, all pins are dropped. A package that only a pin requires does not get into the lock,
    because conda-lock keeps only what the requirements depend on.
    """
    done = subprocess.run((*argv, *pins.values()), check=False, capture_output=True, encoding="utf-8", errors="replace")
    try:
        # Some programs print text before and after the JSON.
        output = json.loads(done.stdout[done.stdout.find("{") : done.stdout.rfind("}") + 1])
    except ValueError:
        output = {}
    if done.returncode == 0 and "actions" in output:
        return {"kind": "solved", "fetch": output["actions"].get("FETCH", [])}
    last_line = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
    problem = output.get("message") or "\n".join(output.get("solver_problems", ())) or last_line
    if "solver_problems" not in output and not re.search(_UNSOLVABLE_EXCEPTIONS, output.get("exception_name", "")):
        return {"kind": "program-failed", "problem": problem}
    if not pins:
        return {"kind": "unsolvable", "problem": problem, "missing": {}}
    mentioned = {name for name in pins if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", problem)}
    return _run_conda_program(argv, {name: pin for name, pin in pins.items() if mentioned and name not in mentioned})
