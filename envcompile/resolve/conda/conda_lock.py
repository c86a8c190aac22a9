"""Resolve conda packages with conda-lock, one process per platform, since each platform has its own pins.

conda-lock 4.0 has no solver: it runs a conda executable. Here this is `conda_lock_shim`, which runs the conda, mamba or
micromamba of this machine, or solves with py-rattler if there is none. conda-lock returns a list of archives;
everything else that a lock needs is read from the channels afterwards.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from envcompile.diagnostics.diagnostic import redact_secrets
from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.process import run_in_threads, select_environment
from envcompile.project.files import temporary_folder
from envcompile.resolve.conda.rattler import (
    RATTLER_VARIABLES,
    create_no_answer_error,
    format_request,
    parse_answer,
    run_worker,
)

if TYPE_CHECKING:
    from envcompile.lock.model import CondaPackage
    from envcompile.resolve.model import CondaRequest, Effects
    from envcompile.spec.conda import CondaRequirement

_CONDA_PROGRAMS = ("conda", "mamba", "micromamba")
_RATTLER_HINT = 'write `resolver = "rattler"` in `[conda]`'
_RETRY_HINT = "run the command again"
_SHIM_PROGRAM = "from envcompile.resolve.conda.conda_lock_shim import main\n\nmain()\n"


class CondaLockResolver:
    """The resolver that runs conda-lock; see `CondaResolver`. `timeout` limits a download by py-rattler, in seconds."""

    def __init__(self, timeout: int = 300) -> None:
        self._timeout = timeout

    def resolve(self, requests: tuple[CondaRequest, ...], effects: Effects) -> tuple[tuple[CondaPackage, ...], ...]:
        """Return the packages of each request, sorted by name.

        Raises the errors of `CondaResolver`, and `InvalidInputError` also for a request that conda-lock or the program
        that it runs does not support.
        """
        return tuple(run_in_threads(lambda request: self._resolve_platform(request, effects), requests))

    def _resolve_platform(self, request: CondaRequest, effects: Effects) -> tuple[CondaPackage, ...]:
        formatted, program = format_request(request), _find_conda_program(effects)
        if program:
            unsupported = {"exclude-newer": request.exclude_newer, "cuda.version": request.cuda}
            for key in filter(unsupported.get, unsupported):
                message = f"`{Path(program).stem}`, which `conda-lock` runs, does not support `{key}`"
                raise InvalidInputError(message, _RATTLER_HINT)
            # A lookup of no records reports unreadable channels in the same way for every program.
            parse_answer(request, self._look_up_records(request, [], effects))
        with temporary_folder() as created:
            folder = created.resolve()
            shim_input = {
                "requests": [formatted],
                "offline": effects.offline,
                "timeout": self._timeout,
                "requirements": [each.text for each in request.requirements],
                "program": program,
                # As requirements, because conda programs have no other way to keep pins.
                "pins": {pin.name: f"{pin.name}={pin.version}={pin.build}" for pin in request.kept_pins()},
                "exact": [f"{name} =={version}" for name, version in request.exact.items()],
            }
            _write_inputs(folder, request, shim_input)
            archives = _parse_explicit_list(request, _run_conda_lock(folder, request, program, effects))
        packages = parse_answer(request, self._look_up_records(request, [*archives], effects))
        _check_archives(request, archives, packages)
        return packages

    def _look_up_records(self, request: CondaRequest, files: list[tuple[str, ...]], effects: Effects) -> dict[str, Any]:
        (answer,) = run_worker([{**format_request(request), "files": files}], effects, self._timeout)
        return answer


def _find_conda_program(effects: Effects) -> str | None:
    search_path = effects.environment.get("PATH", "")
    paths = (shutil.which(name, path=search_path) for name in _CONDA_PROGRAMS)
    return next(filter(None, paths), None)


def _write_inputs(folder: Path, request: CondaRequest, shim_input: dict[str, Any]) -> None:
    """Write the input files of conda-lock and of the shim. Every JSON file is a YAML file as well."""
    (formatted,) = shim_input["requests"]
    virtual_packages = {name: f"{version} {build}" for name, version, build in formatted["virtual_packages"]}
    files = {
        "shim-input.json": shim_input,
        "environment.yml": {
            "channels": formatted["channels"],
            "dependencies": list(map(format_for_conda_lock, request.requirements)),
        },
        "virtual-packages.yml": {"subdirs": {request.platform.name: {"packages": virtual_packages}}},
        # The table of pip names, which conda-lock would otherwise download.
        "names.json": {},
    }
    for file, value in files.items():
        (folder / file).write_text(json.dumps(value), "utf-8")
    (folder / "create").write_text(_SHIM_PROGRAM, "utf-8")


def format_for_conda_lock(requirement: CondaRequirement) -> str:
    """Return the requirement in the notation that conda-lock reads most reliably: `channel::name version build`."""
    name, version, build, channel, *_ = requirement.match_spec
    words = [f"{channel}::{name}" if channel else name, *([version or "*"] if version or build else ())]
    return " ".join([*words, *([build] if build else ())])


def _run_conda_lock(folder: Path, request: CondaRequest, program: str | None, effects: Effects) -> str:
    """Return the explicit list that conda-lock writes.

    Raises `UnsolvableError`, `InvalidInputError` or `UnavailableError` if it writes none.
    """
    argv = (
        *(sys.executable, "-m", "conda_lock", "lock", "--conda", sys.executable, "--file", "environment.yml"),
        *("--platform", request.platform.name, "--virtual-package-spec", "virtual-packages.yml"),
        *("--pypi_to_conda_lookup_file", "names.json", "--kind", "explicit", "--log-level", "WARNING"),
    )
    environment = select_environment(effects.environment, *RATTLER_VARIABLES)
    # conda-lock leaves temporary files if it is killed; here they are removed with the folder.
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    if program:
        environment = {**environment, **_build_environment(folder, offline=effects.offline)}
    finished = effects.run(argv, str(folder), environment)
    shim_answer, explicit_list = folder / "shim-answer.json", folder / f"conda-{request.platform.name}.lock"
    if shim_answer.exists():
        answer = json.loads(shim_answer.read_text("utf-8"))
        if answer["kind"] != "solved":
            _raise_failure(request, answer, program, folder)
    if not explicit_list.exists():
        if "No module named conda_lock" in finished.stderr:
            raise UnavailableError("`conda-lock` is not installed", "run `pip install 'envcompile[engines]'`")
        raise create_no_answer_error(finished._replace(stderr=finished.stderr.replace(str(folder), "")))
    return explicit_list.read_text("utf-8")


def _build_environment(folder: Path, *, offline: bool) -> dict[str, str]:
    """Return the settings of a conda program, with a home folder that has none of the user's own settings."""
    settings = {"CHANNEL_PRIORITY": "strict", "OFFLINE": str(offline).lower()}
    variables = {f"{prefix}_{key}": value for prefix in ("CONDA", "MAMBA") for key, value in settings.items()}
    homes = "HOME USERPROFILE APPDATA LOCALAPPDATA XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME".split()
    return {**variables, "MAMBA_NO_RC": "true", **dict.fromkeys(homes, str(folder))}


def _raise_failure(request: CondaRequest, answer: dict[str, Any], program: str | None, folder: Path) -> None:
    """Raise the error that an answer of `conda_lock_shim` describes."""
    if answer["kind"] == "misread-requirement":
        message = f"`conda-lock` reads the requirement `{answer['requirement']}` as `{answer['misread_as']}`"
        raise InvalidInputError(message, _RATTLER_HINT)
    # conda lists the channels that it searched. One of them is a temporary channel of conda-lock in the folder.
    lines = [line for line in redact_secrets(str(answer["problem"])).splitlines() if str(folder) not in line]
    if answer["kind"] == "program-failed":
        name = Path(program or "").stem
        reason = next(filter(str.strip, lines), "no output").strip()
        raise UnavailableError(f"`{name}`, which `conda-lock` runs, failed: {reason}", _RATTLER_HINT)
    parse_answer(request, {**answer, "problem": "\n".join(lines)})


def _parse_explicit_list(request: CondaRequest, text: str) -> dict[tuple[str, ...], str]:
    """Return the md5 (or "") of each archive by its package name, channel URL, subdir and file."""
    archives: dict[tuple[str, ...], str] = {}
    for line in text.splitlines():
        url, separator, md5 = line.partition("#")
        if not url or not separator:
            continue
        channel_url, subdir, file = unquote(url).rsplit("/", 2)
        channel = next((each.url for each in request.channels if unquote(each.url) == channel_url), None)
        if channel is None:
            message = f"`conda-lock` selected `{file}` from a channel that is not in `channels`"
            raise UnavailableError(message, _RATTLER_HINT)
        archives[file.rsplit("-", 2)[0], channel, subdir, file] = md5.replace("None", "")
    return archives


def _check_archives(
    request: CondaRequest, archives: dict[tuple[str, ...], str], packages: tuple[CondaPackage, ...]
) -> None:
    """Raise `UnavailableError` if a selected archive is not in its channel, or has another hash there."""
    urls = {channel.name: channel.url for channel in request.channels}
    hashes = {(each.name, urls[each.channel], each.subdir, each.file): each.md5 for each in packages}
    names = {channel.url: channel.name for channel in request.channels}
    for key, md5 in archives.items():
        _, url, _, file = key
        channel = f"the conda channel `{names[url]}`"
        if key not in hashes:
            raise UnavailableError(f"{channel} does not have `{file}`, which `conda-lock` selected", _RETRY_HINT)
        if md5 and md5 != hashes[key]:
            raise UnavailableError(f"`{file}` in {channel} is not the file that `conda-lock` selected", _RETRY_HINT)
