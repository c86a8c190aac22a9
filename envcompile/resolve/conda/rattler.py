"""py-rattler as conda resolver: all platforms in one short process of their own.

The process is not ours, because py-rattler 0.28 can crash when the interpreter ends, after its work is done: what
counts is the answer it wrote, not how it ended. And nothing else pays for importing it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.diagnostic import redact_secrets
from envcompile.diagnostics.errors import EnvcompileError, InvalidInputError, UnavailableError
from envcompile.lock.model import CondaPackage
from envcompile.net.process import select_environment
from envcompile.resolve.model import UnsolvableError, allows_upgrades
from envcompile.spec.conda import parse_match_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.lock.model import Channel
    from envcompile.net.process import ProcessResult
    from envcompile.resolve.model import CondaRequest, Effects
    from envcompile.spec.conda import MatchSpec

# How the child finds rattler, its cache, and the user's keyring.
RATTLER_VARIABLES = (
    "XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS RATTLER_CACHE_DIR RATTLER_AUTH_FILE PYTHONPATH PYTHONHOME VIRTUAL_ENV "
    "LD_LIBRARY_PATH"
).split()
# As `-m` would start it, and without the 3 ms that looking for it takes.
_WORKER_PROGRAM = "from envcompile.resolve.conda.rattler_worker import run_worker_program; run_worker_program()"
_LOGIN_HINT = "log in with `rattler auth login`, or name the file that holds them in `RATTLER_AUTH_FILE`"


class RattlerResolver:
    """The solver of py-rattler; see `CondaResolver`. `timeout` is the seconds that one download may take."""

    def __init__(self, timeout: int = 300) -> None:
        self._timeout = timeout

    def resolve(self, requests: tuple[CondaRequest, ...], effects: Effects) -> tuple[tuple[CondaPackage, ...], ...]:
        """The packages of each request, sorted by name.

        Raises `UnsolvableError`, `UnavailableError` or `InvalidInputError`.
        """
        answers = run_worker([format_request(request) for request in requests], effects, self._timeout)
        return tuple(parse_answer(request, answer) for request, answer in zip(requests, answers, strict=True))


def run_worker(questions: list[dict[str, Any]], effects: Effects, timeout: int) -> list[dict[str, Any]]:
    """The answers of one process to some questions, in their order. Raises `UnavailableError` when there are none."""
    with TemporaryDirectory(prefix="envcompile-") as folder:
        asked, answer = Path(folder, "question.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps({"requests": questions, "offline": effects.offline, "timeout": timeout}), "utf-8")
        environment = select_environment(effects.environment, *RATTLER_VARIABLES)
        argv = (sys.executable, "-c", _WORKER_PROGRAM, str(asked), str(answer))
        finished = effects.run(argv, folder, environment)
        if not answer.exists():
            raise create_no_answer_error(finished)
        answers: list[dict[str, Any]] = json.loads(answer.read_text("utf-8"))
    return answers


def format_request(request: CondaRequest) -> dict[str, Any]:
    """A request in the words of `rattler_solve`.

    Raises `InvalidInputError` for a channel that is not one of the request's.
    """
    urls = _find_channel_urls(request.channels)
    parsed = [parse_match_spec(text) for text in request.requirements]
    specs = [_format_requirement(text, each, urls) for text, each in zip(request.requirements, parsed, strict=True)]
    if len(urls) > 1:
        # Asked for by its name too, the first channel that has a package at all is the one that counts.
        specs += [each.name for each in parsed if not each.channel]
    return {
        "names": [each.name for each in parsed],
        "specs": specs,
        "channels": list(urls.values()),
        "subdirs": [request.platform.name, "noarch"],
        "virtual": _list_virtual_packages(request),
        "constraints": [
            *_list_constraints(request.cuda),
            *(f"{name} =={each}" for name, each in request.exact.items()),
        ],
        "cuda": request.cuda if isinstance(request.cuda, str) else None,
        "exclude_newer": request.exclude_newer,
        "free": allows_upgrades(request.upgrade, request.exact),
        "preferences": [[each.name, each.subdir, each.file] for each in request.kept_pins()],
        # Names that may come from one channel, or from one of its folders, alone.
        "only_channel": {each.name: urls[each.channel] for each in parsed if each.channel},
        "only_subdir": {each.name: each.subdir for each in parsed if each.subdir},
    }


def _find_channel_urls(channels: tuple[Channel, ...]) -> dict[str, str]:
    urls: dict[str, str] = {}
    for each in channels:
        if urls.setdefault(each.name, each.url) != each.url:
            raise InvalidInputError(f"two channels are called `{each.name}`", "give one of the folders another name")
    return urls


def _format_requirement(text: str, parsed: MatchSpec, urls: Mapping[str, str]) -> str:
    """The requirement with the URL of its channel for the name, wherever it stood; else as the user wrote it."""
    if not parsed.channel:
        return text
    if parsed.channel not in urls:
        said = f"`{text}` asks for the channel `{parsed.channel}`, which is not one of the spec's"
        raise InvalidInputError(said, f"add it to `channels`, which are: {', '.join(f'`{name}`' for name in urls)}")
    asked = {"version": parsed.version, "build": parsed.build, "md5": parsed.md5, "sha256": parsed.sha256}
    brackets = ",".join(f'{key}="{value}"' for key, value in asked.items() if value)
    return f"{urls[parsed.channel]}::{parsed.name}" + (f"[{brackets}]" if brackets else "")


def _list_virtual_packages(request: CondaRequest) -> list[tuple[str, str, str]]:
    """What the target is said to have, whatever this machine is: system, C library, processor, driver."""
    rows = [("__unix", "0", "0"), ("__linux", "0", "0"), ("__glibc", request.glibc, "0")]
    rows.append(("__archspec", "1", request.platform.machine))
    if isinstance(request.cuda, str):
        # A driver for one release of a major version runs every one of it (NVIDIA: minor version compatibility).
        rows.append(("__cuda", request.cuda if "." in request.cuda else f"{request.cuda}.99", "0"))
    return rows


def _list_constraints(cuda: str | bool | None) -> list[str]:
    """What may be there in no other version: conda-forge's one package that every CUDA build depends on."""
    if cuda is None or cuda is True:
        return []
    return ["cuda-version <0a0"] if cuda is False else [f"cuda-version {cuda}.*"]


def create_no_answer_error(finished: ProcessResult) -> UnavailableError:
    """Why there is no answer, after a process that was to write one."""
    code, errors = finished.exit_code, finished.stderr
    if "No module named 'rattler'" in errors:
        hint = "run `pip install 'envcompile[lock]'`"
        return UnavailableError("`py-rattler`, which resolves conda packages, is not there", hint)
    last = (
        redact_secrets(errors.strip().splitlines()[-1])
        if errors.strip()
        else f"it said nothing, and its code was {code}"
    )
    return UnavailableError(f"the conda resolver ended without an answer: {last}", "run the command again with `-v`")


def parse_answer(request: CondaRequest, answer: Mapping[str, Any]) -> tuple[CondaPackage, ...]:
    """What an answer says, sorted by name; or what it says is in the way, raised."""
    problem = redact_secrets(str(answer.get("problem", "")))
    if answer["kind"] == "unsolvable":
        raise UnsolvableError(request.platform.name, _format_reason(request, problem, answer["missing"]), "conda")
    if answer["kind"] != "solved":
        raise _create_channel_error(
            answer["kind"], problem, _find_failed_channel(request.channels, problem, answer.get("reading"))
        )
    names = {channel.url: channel.name for channel in request.channels}
    found = [
        CondaPackage(**{**row, "channel": names[row["channel"]], "depends": tuple(row["depends"])})
        for row in answer["packages"]
    ]
    for package in found:
        if not package.sha256:
            said = f"the channel `{package.channel}` tells no sha256 of `{package.file}`, so it cannot be locked"
            raise UnavailableError(said, "use a channel that is indexed with hashes")
    return tuple(sorted(found, key=lambda package: package.name))


def _format_reason(request: CondaRequest, problem: str, missing: Mapping[str, Mapping[str, list[str]]]) -> str:
    """The solver's explanation with the channels' names for their URLs, and a line for each name that is not there."""
    for name, url in _find_channel_urls(request.channels).items():
        problem = problem.replace(f"{url}/", name).replace(url, name)
    problem = problem.removeprefix("Cannot solve the request because of: ")
    # A constraint stands there once for each candidate that it leaves out.
    lines = [re.sub(r"(?:├─ (.+)\n)+(?=[├└]─ \1$)", "", problem, flags=re.MULTILINE)]
    for name, found in missing.items():
        near = f"; near it are: {', '.join(found['near'])}" if found["near"] else ""
        if found["there"]:
            lines.append(f"{name} is there for {', '.join(found['there'])}, and not for {request.platform.name}.")
        else:
            lines.append(f"{name} is in none of the channels for {request.platform.name}{near}.")
    if re.search("__cuda [^\n]*no candidates were found", problem) and not request.cuda:
        lines.append("__cuda is there when `version` under `[cuda]` says which one.")
    return "\n".join(lines)


def _find_failed_channel(channels: tuple[Channel, ...], problem: str, reading: int | None) -> Channel:
    if reading is not None:
        return channels[reading]
    return next((channel for channel in channels if channel.url in problem), channels[0])


def _create_channel_error(kind: str, problem: str, channel: Channel) -> EnvcompileError:
    name = f"the conda channel `{channel.name}`"
    # Of a chain of causes, what was tried and what stood in its way.
    first, *causes = " ".join(problem.split()).split(" Caused by: ")
    problem = f"{first}: {causes[-1]}" if causes else first
    if kind == "settings":
        return InvalidInputError(
            f"rattler's own configuration cannot be read: {problem}", "mend it: channels are read with it"
        )
    if kind == "absent":
        return InvalidInputError(
            f"there is no channel `{channel.name}` at `{channel.url}`", "check its name or its place"
        )
    if kind == "refused":
        return UnavailableError(f"{name} lets nobody in without credentials: {problem}", _LOGIN_HINT)
    if kind == "uncached":
        return UnavailableError(
            f"{name} is not in the cache, and `--offline` looks nowhere else", "run without it once"
        )
    return UnavailableError(f"{name} cannot be read: {problem}", "check its URL and the network, and try again")
