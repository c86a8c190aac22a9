"""What conda-lock runs for `conda`: it solves by py-rattler, or has a conda program of the machine solve.

It is the script `create` of a folder, and conda-lock's `--conda` is the interpreter, which is started in that folder:
`python create --prefix P --dry-run --json --channel URL... SPEC...`. Beside it lie `question.json`, what is asked, and
in the end `answer.json`, in the words of `rattler_solve`. conda-lock hears what conda would tell it.

conda-lock spells requirements anew, and leaves a subdir and hashes out: what does not come through is not solved.
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

# How conda names what no set of packages is the answer to; mamba and micromamba have `solver_problems` instead.
_UNSOLVABLE_EXCEPTIONS = "Unsatisfiable|Packages?NotFound"


def main() -> None:
    """Answer conda-lock, and the folder that this script lies in."""
    folder = Path(sys.argv[0]).resolve().parent
    question = json.loads((folder / "question.json").read_text("utf-8"))
    answer = _answer_solve(question, sys.argv[1:])
    (folder / "answer.json").write_text(json.dumps(answer), "utf-8")
    solved = answer["kind"] == "solved"
    sys.stdout.write(json.dumps({"actions": {"FETCH": answer["fetch"]}} if solved else {"message": answer["problem"]}))
    sys.stdout.flush()
    # Without taking the interpreter apart: that is where py-rattler can crash.
    os._exit(0 if solved else 1)


def _answer_solve(question: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    (request,) = question["requests"]
    specs = _read_requirements(arguments)
    for text, spec in zip_longest(question["requirements"], specs, fillvalue=""):
        if _parse_valid_match_spec(spec) != parse_match_spec(text):
            return {"kind": "respelled", "problem": "", "asked": text, "read": spec}
    if not question["program"]:
        return _solve_with_rattler(question)
    # A channel by its URL, for what is called so elsewhere is another one.
    names = {each: parse_match_spec(each).name for each in specs if "::" in each}
    urls = {each: f"{request['only_channel'][name]}::{each.partition('::')[2]}" for each, name in names.items()}
    options = arguments[: len(arguments) - len(specs)]
    # Those that must be of a version are required of it, which no reason lets go.
    asked = (*(urls.get(each, each) for each in specs), *question["exact"])
    return _run_conda_program((question["program"], "create", *options, *asked), question["pins"])


def _read_requirements(arguments: Sequence[str]) -> list[str]:
    """The requirements in conda-lock's spelling, in the order they were asked in."""
    parser = argparse.ArgumentParser()
    for flag in ("--dry-run", "--json", "--override-channels"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--prefix")
    parser.add_argument("--channel", action="append")
    parser.add_argument("specs", nargs="*")
    specs: list[str] = parser.parse_args(arguments).specs
    # conda-lock 4.0.3 spells `x::a * b*` as `x::a=[build=b*]`, which is nothing.
    return [each.replace("=[", "[") for each in specs]


def _parse_valid_match_spec(spec: str) -> MatchSpec | None:
    try:
        return parse_match_spec(spec)
    except RequirementError:
        return None


def _solve_with_rattler(question: dict[str, Any]) -> dict[str, Any]:
    from envcompile.resolve.conda.rattler_worker import solve_requests  # noqa: PLC0415 - py-rattler, where no conda program is

    (answer,) = solve_requests(question)
    if answer["kind"] == "solved":
        (request,) = question["requests"]
        virtual = [{"name": name, "version": version, "url": name} for name, version, _ in request["virtual"]]
        answer["fetch"] = [*virtual, *map(_format_fetch_row, answer["packages"])]
    return answer


def _format_fetch_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as conda tells it: no hash, rather than an empty one. Of dependencies conda-lock needs the names alone."""
    url = f"{row['channel']}/{row['subdir']}/{row['file']}"
    names = [parse_dependency_name(each) for each in row["depends"]]
    return {**{key: value for key, value in row.items() if value is not None}, "url": url, "depends": names}


def _run_conda_program(argv: Sequence[str], pins: dict[str, str]) -> dict[str, Any]:
    """What the machine's own program answers, with pins to keep as requirements, and fewer of them where it must be.

    Of the pins, those that its reason names are let go; when it names none, all. What is there for a pin's sake alone
    is left out by conda-lock, which takes what the requirements lead to.
    """
    done = subprocess.run((*argv, *pins.values()), check=False, capture_output=True, encoding="utf-8", errors="replace")
    try:
        # Something may stand before and after it.
        said = json.loads(re.sub(r"^[^{]*|[^}]*$", "", done.stdout))
    except ValueError:
        said = {}
    if done.returncode == 0 and "actions" in said:
        return {"kind": "solved", "fetch": said["actions"].get("FETCH", [])}
    last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
    problem = said.get("message") or "\n".join(said.get("solver_problems", ())) or last
    if "solver_problems" not in said and not re.search(_UNSOLVABLE_EXCEPTIONS, said.get("exception_name", "")):
        return {"kind": "program", "problem": problem}
    if not pins:
        return {"kind": "unsolvable", "problem": problem, "missing": {}}
    named = {name for name in pins if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", problem)}
    return _run_conda_program(argv, {name: pin for name, pin in pins.items() if named and name not in named})
