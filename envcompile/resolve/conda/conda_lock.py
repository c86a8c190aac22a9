"""conda-lock as conda resolver, in processes of its own: one for each platform, as each has pins of its own.

conda-lock 4.0 has no solver: it runs a conda program. What it is given for one is `conda_program`, which has the
question solved by the conda, mamba or micromamba of the machine, or by py-rattler where there is none. conda-lock's
answer is the archives; what else is to be known of them is looked up in their channels.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from envcompile.diagnostics.diagnostic import redact_secrets
from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.process import run_in_threads, select_environment
from envcompile.resolve.conda.rattler import (
    RATTLER_VARIABLES,
    create_no_answer_error,
    format_request,
    parse_answer,
    run_worker,
)
from envcompile.spec.conda import parse_match_spec

if TYPE_CHECKING:
    from envcompile.lock.model import CondaPackage
    from envcompile.resolve.model import CondaRequest, Effects

_CONDA_PROGRAMS = ("conda", "mamba", "micromamba")
_RATTLER_HINT = 'write `resolver = "rattler"` under `[conda]`'
_SHIM_PROGRAM = "from envcompile.resolve.conda.conda_lock_shim import main\n\nmain()\n"


class CondaLockResolver:
    """conda-lock; see `CondaResolver`. `timeout` is the seconds that one download may take, where py-rattler solves."""

    def __init__(self, timeout: int = 300) -> None:
        self._timeout = timeout

    def resolve(self, requests: tuple[CondaRequest, ...], effects: Effects) -> tuple[tuple[CondaPackage, ...], ...]:
        """The packages of each request, sorted by name.

        Raises `UnsolvableError`, `UnavailableError` or `InvalidInputError`.
        """
        return tuple(run_in_threads(lambda request: self._resolve_platform(request, effects), requests))

    def _resolve_platform(self, request: CondaRequest, effects: Effects) -> tuple[CondaPackage, ...]:
        asked, program = format_request(request), _find_conda_program(effects)
        if program:
            unasked = {"exclude-newer": request.exclude_newer, "cuda.version": request.cuda}
            for key in filter(unasked.get, unasked):
                said = f"`{Path(program).stem}`, which `conda-lock` runs, cannot be asked for `{key}`"
                raise InvalidInputError(said, _RATTLER_HINT)
            # What cannot be read is told by py-rattler, whoever solves.
            parse_answer(request, self._look_up_records(request, [], effects))
        with TemporaryDirectory(prefix="envcompile-") as name:
            folder = Path(name).resolve()
            whole = {
                "requests": [asked],
                "offline": effects.offline,
                "timeout": self._timeout,
                "requirements": request.requirements,
                "program": program,
                # To keep, as requirements: no conda program can be asked to keep them in another way.
                "pins": {each.name: f"{each.name}={each.version}={each.build}" for each in request.kept_pins()},
                "exact": [f"{name} =={version}" for name, version in request.exact.items()],
            }
            _write_inputs(folder, request, whole)
            chosen = _parse_explicit_list(request, _run_conda_lock(folder, request, program, effects))
        found = parse_answer(request, self._look_up_records(request, [*chosen], effects))
        _check_archives(request, chosen, found)
        return found

    def _look_up_records(self, request: CondaRequest, files: list[tuple[str, ...]], effects: Effects) -> dict[str, Any]:
        (answer,) = run_worker([{**format_request(request), "files": files}], effects, self._timeout)
        return answer


def _find_conda_program(effects: Effects) -> str | None:
    path = effects.environment.get("PATH", "")
    return next((found for name in _CONDA_PROGRAMS if (found := shutil.which(name, path=path))), None)


def _write_inputs(folder: Path, request: CondaRequest, whole: dict[str, Any]) -> None:
    """Everything that is read in the folder. JSON is YAML, too."""
    (asked,) = whole["requests"]
    virtual = {name: f"{version} {build}" for name, version, build in asked["virtual"]}
    files = {
        "question.json": whole,
        "environment.yml": {
            "channels": asked["channels"],
            "dependencies": list(map(format_for_conda_lock, request.requirements)),
        },
        "virtual-packages.yml": {"subdirs": {request.platform.name: {"packages": virtual}}},
        # What conda's packages are called on pip's side, which it would otherwise ask the network for.
        "names.json": {},
    }
    for file, value in files.items():
        (folder / file).write_text(json.dumps(value), "utf-8")
    (folder / "create").write_text(_SHIM_PROGRAM, "utf-8")


def format_for_conda_lock(text: str) -> str:
    """The requirement in the one spelling of its meaning, which conda-lock reads best."""
    name, version, build, channel, *_ = parse_match_spec(text)
    words = [f"{channel}::{name}" if channel else name, *([version or "*"] if version or build else ())]
    return " ".join([*words, *([build] if build else ())])


def _run_conda_lock(folder: Path, request: CondaRequest, program: str | None, effects: Effects) -> str:
    """The explicit list that conda-lock writes. Raises what stands in its way."""
    argv = (
        *(sys.executable, "-m", "conda_lock", "lock", "--conda", sys.executable, "--file", "environment.yml"),
        *("--platform", request.platform.name, "--virtual-package-spec", "virtual-packages.yml"),
        *("--pypi_to_conda_lookup_file", "names.json", "--kind", "explicit", "--log-level", "WARNING"),
    )
    environment = select_environment(effects.environment, *RATTLER_VARIABLES)
    # Its own temporary files go with the folder, however it ends.
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    if program:
        environment = {**environment, **_build_environment(folder, offline=effects.offline)}
    finished = effects.run(argv, str(folder), environment)
    answer, written = folder / "answer.json", folder / f"conda-{request.platform.name}.lock"
    said = json.loads(answer.read_text("utf-8")) if answer.exists() else {"kind": "solved"}
    if said["kind"] != "solved":
        _raise_failure(request, said, program, folder)
    if not written.exists():
        if "No module named conda_lock" in finished.stderr:
            raise UnavailableError("`conda-lock` is not there", "run `pip install 'envcompile[engines]'`")
        raise create_no_answer_error(finished._replace(stderr=finished.stderr.replace(str(folder), "")))
    return written.read_text("utf-8")


def _build_environment(folder: Path, *, offline: bool) -> dict[str, str]:
    """What a conda program must be told, and none of the user's own settings: a home of its own, in the folder."""
    asked = {"CHANNEL_PRIORITY": "strict", "OFFLINE": str(offline).lower()}
    settings = {f"{prefix}_{key}": value for prefix in ("CONDA", "MAMBA") for key, value in asked.items()}
    homes = "HOME USERPROFILE APPDATA LOCALAPPDATA XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME".split()
    return {**settings, "MAMBA_NO_RC": "true", **dict.fromkeys(homes, str(folder))}


def _raise_failure(request: CondaRequest, said: dict[str, Any], program: str | None, folder: Path) -> None:
    """Raises what `conda_program` says is in the way."""
    if said["kind"] == "respelled":
        raise InvalidInputError(f"`conda-lock` takes `{said['asked']}` for `{said['read']}`", _RATTLER_HINT)
    # conda names the channels that it looked in; among them is one of conda-lock's own, in the folder.
    lines = [line for line in redact_secrets(str(said["problem"])).splitlines() if str(folder) not in line]
    if said["kind"] == "program":
        name = Path(program or "").stem
        problem = next(filter(str.strip, lines), "it does not say why").strip()
        raise UnavailableError(f"`{name}`, which `conda-lock` runs, gives no answer: {problem}", _RATTLER_HINT)
    parse_answer(request, {**said, "problem": "\n".join(lines)})


def _parse_explicit_list(request: CondaRequest, explicit: str) -> dict[tuple[str, ...], str]:
    """Of each archive in the list the package's name, its channel's URL, subdir and file; with the md5, if any."""
    chosen: dict[tuple[str, ...], str] = {}
    for line in explicit.splitlines():
        url, separator, md5 = line.partition("#")
        if not url or not separator:
            continue
        place, subdir, file = unquote(url).rsplit("/", 2)
        channel = next((each.url for each in request.channels if unquote(each.url) == place), None)
        if channel is None:
            raise UnavailableError(
                f"`conda-lock` chose `{file}` from a channel that is not one of the spec's", _RATTLER_HINT
            )
        chosen[file.rsplit("-", 2)[0], channel, subdir, file] = md5.replace("None", "")
    return chosen


def _check_archives(request: CondaRequest, chosen: dict[tuple[str, ...], str], found: tuple[CondaPackage, ...]) -> None:
    """Raises unless each archive that was chosen is in its channel, with the hash that it was chosen by."""
    urls = {each.name: each.url for each in request.channels}
    there = {(each.name, urls[each.channel], each.subdir, each.file): each.md5 for each in found}
    names = {each.url: each.name for each in request.channels}
    for key, md5 in chosen.items():
        _, url, _, file = key
        channel = f"the conda channel `{names[url]}`"
        if key not in there:
            raise UnavailableError(
                f"{channel} does not have `{file}`, which `conda-lock` chose", "run the command again"
            )
        if md5 and md5 != there[key]:
            said = f"{channel} has another `{file}` than the one that `conda-lock` chose"
            raise UnavailableError(said, "run the command again")
