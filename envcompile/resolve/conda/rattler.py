"""Resolve conda packages with py-rattler, all platforms in one short-lived process.

The process is separate for two reasons. py-rattler 0.28 can crash when the interpreter exits, after it has written its
answer, so the exit code is ignored if there is an answer. And the import of py-rattler takes time, so it happens only
if there are conda packages to resolve.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.diagnostic import redact_secrets
from envcompile.diagnostics.errors import EnvcompileError, InvalidInputError, UnavailableError
from envcompile.lock.model import CondaPackage
from envcompile.net.process import select_environment
from envcompile.project.files import temporary_folder
from envcompile.resolve.model import UnsolvableError, allows_upgrades

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.lock.model import Channel
    from envcompile.net.process import ProcessResult
    from envcompile.resolve.model import CondaRequest, Effects
    from envcompile.spec.conda import CondaRequirement
    from envcompile.spec.model import CudaRequest

# With these variables, the worker finds py-rattler, its cache and its credentials (a file or the user's keyring).
RATTLER_VARIABLES = (
    "XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS RATTLER_CACHE_DIR RATTLER_AUTH_FILE PYTHONPATH PYTHONHOME VIRTUAL_ENV "
    "LD_LIBRARY_PATH"
).split()
# This does the same as `-m`, and is 3 ms faster.
_WORKER_PROGRAM = "from envcompile.resolve.conda.rattler_worker import run_worker_program; run_worker_program()"
_LOGIN_HINT = "run `rattler auth login`, or set `RATTLER_AUTH_FILE` to a file with the credentials"


class RattlerResolver:
    """The resolver that runs py-rattler; see `CondaResolver`. `timeout` is the limit for one download in seconds."""

    def __init__(self, timeout: int = 300) -> None:
        self._timeout = timeout

    def resolve(self, requests: tuple[CondaRequest, ...], effects: Effects) -> tuple[tuple[CondaPackage, ...], ...]:
        """Return the packages of each request, sorted by name.

        Raises the errors of `CondaResolver`, and `InvalidInputError` also for an invalid request (`format_request`).
        """
        answers = run_worker([format_request(request) for request in requests], effects, self._timeout)
        return tuple(parse_answer(request, answer) for request, answer in zip(requests, answers, strict=True))


def run_worker(requests: list[dict[str, Any]], effects: Effects, timeout: int) -> list[dict[str, Any]]:
    """Run `rattler_worker`, and return its answers in the order of the requests.

    Raises `UnavailableError` if it writes no answer.
    """
    with temporary_folder() as folder:
        input_file, output_file = folder / "requests.json", folder / "answers.json"
        value = {"requests": requests, "offline": effects.offline, "timeout": timeout}
        input_file.write_text(json.dumps(value), "utf-8")
        environment = select_environment(effects.environment, *RATTLER_VARIABLES)
        argv = (sys.executable, "-c", _WORKER_PROGRAM, str(input_file), str(output_file))
        finished = effects.run(argv, str(folder), environment)
        if not output_file.exists():
            raise create_no_answer_error(finished)
        answers: list[dict[str, Any]] = json.loads(output_file.read_text("utf-8"))
    return answers


# Requests for the worker.


def format_request(request: CondaRequest) -> dict[str, Any]:
    """Return a request as JSON for `rattler_worker`.

    Raises `InvalidInputError` if a requirement names a channel that is not in the request, or if two channels have the
    same name.
    """
    urls = _find_channel_urls(request.channels)
    match_specs = [each.match_spec for each in request.requirements]
    specs = [_format_requirement(each, urls) for each in request.requirements]
    if len(urls) > 1:
        # Strict priority considers only records that match a spec. With the bare name as a second spec, the first
        # channel that has the package in any version wins.
        specs += [match_spec.name for match_spec in match_specs if not match_spec.channel]
    exact = (f"{name} =={version}" for name, version in request.exact.items())
    return {
        "names": [match_spec.name for match_spec in match_specs],
        "specs": specs,
        "channels": list(urls.values()),
        "subdirs": [request.platform.name, "noarch"],
        "virtual_packages": _list_virtual_packages(request),
        "constraints": [*_list_constraints(request.cuda), *exact],
        "cuda": request.cuda.version,
        "exclude_newer": request.exclude_newer,
        "allows_upgrades": allows_upgrades(request.upgrade, request.exact),
        "preferences": [[package.name, package.subdir, package.file] for package in request.kept_pins()],
        # By name: the only channel (as a URL) and the only subdir that a package may come from.
        "only_channel": {spec.name: urls[spec.channel] for spec in match_specs if spec.channel},
        "only_subdir": {spec.name: spec.subdir for spec in match_specs if spec.subdir},
    }


def _find_channel_urls(channels: tuple[Channel, ...]) -> dict[str, str]:
    urls: dict[str, str] = {}
    for channel in channels:
        if urls.setdefault(channel.name, channel.url) != channel.url:
            raise InvalidInputError(f"two channels have the name `{channel.name}`", "rename one of the folders")
    return urls


def _format_requirement(requirement: CondaRequirement, urls: Mapping[str, str]) -> str:
    """Return the requirement with the URL in place of the channel's name; without a channel, as the user wrote it."""
    match_spec = requirement.match_spec
    if not match_spec.channel:
        return requirement.text
    if match_spec.channel not in urls:
        message = f"`{requirement}` requests the channel `{match_spec.channel}`, which is not in `channels`"
        names = ", ".join(f"`{name}`" for name in urls)
        raise InvalidInputError(message, f"add it to `channels` in `[conda]`, which has {names}")
    fields = {
        "version": match_spec.version,
        "build": match_spec.build,
        "md5": match_spec.md5,
        "sha256": match_spec.sha256,
    }
    brackets = ",".join(f'{key}="{value}"' for key, value in fields.items() if value)
    return f"{urls[match_spec.channel]}::{match_spec.name}" + (f"[{brackets}]" if brackets else "")


def _list_virtual_packages(request: CondaRequest) -> list[tuple[str, str, str]]:
    """Return the name, version and build of each virtual package of the target, independent of this machine."""
    rows = [("__unix", "0", "0"), ("__linux", "0", "0"), ("__glibc", request.glibc, "0")]
    rows.append(("__archspec", "1", request.platform.machine))
    if cuda := request.cuda.version:
        # A driver runs every minor version of its major version of CUDA (NVIDIA: minor version compatibility).
        rows.append(("__cuda", cuda if "." in cuda else f"{cuda}.99", "0"))
    return rows


def _list_constraints(cuda: CudaRequest) -> list[str]:
    """Return the constraint on `cuda-version`, on which every CUDA build of conda-forge depends."""
    if cuda.is_excluded:
        return ["cuda-version <0a0"]
    return [f"cuda-version {cuda.version}.*"] if cuda.version else []


# Answers of the worker.


def parse_answer(request: CondaRequest, answer: Mapping[str, Any]) -> tuple[CondaPackage, ...]:
    """Return the packages of an answer, sorted by name.

    Raises `UnsolvableError`, `UnavailableError` or `InvalidInputError` if the answer describes a problem.
    """
    problem = redact_secrets(str(answer.get("problem", "")))
    if answer["kind"] == "unsolvable":
        raise UnsolvableError(request.platform.name, _format_reason(request, problem, answer["missing"]), "conda")
    if answer["kind"] != "solved":
        channel = _find_failed_channel(request.channels, problem, answer.get("failed_channel"))
        raise create_channel_error(answer["kind"], problem, channel)
    names = {channel.url: channel.name for channel in request.channels}
    packages = [
        CondaPackage(**{**row, "channel": names[row["channel"]], "depends": tuple(row["depends"])})
        for row in answer["packages"]
    ]
    for package in packages:
        if not package.sha256:
            message = f"the channel `{package.channel}` has no sha256 of `{package.file}`, so it cannot be locked"
            raise UnavailableError(message, "use a channel whose index contains hashes")
    return tuple(sorted(packages, key=lambda package: package.name))


def _format_reason(request: CondaRequest, problem: str, missing: Mapping[str, Mapping[str, list[str]]]) -> str:
    """Return the solver's explanation with channel names, and a line for each package that no channel has."""
    for name, url in _find_channel_urls(request.channels).items():
        problem = problem.replace(f"{url}/", name).replace(url, name)
    problem = problem.removeprefix("Cannot solve the request because of: ")
    # The solver repeats a constraint for each candidate that it excludes.
    lines = [re.sub(r"(?:├─ (.+)\n)+(?=[├└]─ \1$)", "", problem, flags=re.MULTILINE)]
    platform = request.platform.name
    for name, alternatives in missing.items():
        if alternatives["subdirs"]:
            lines.append(f"{name} is available for {', '.join(alternatives['subdirs'])}, but not for {platform}.")
        else:
            similar = f"; similar names: {', '.join(alternatives['names'])}" if alternatives["names"] else ""
            lines.append(f"No channel has {name} for {platform}{similar}.")
    is_cuda_missing = any("no candidates were found" in each.partition("__cuda ")[2] for each in problem.split("\n"))
    if is_cuda_missing and not request.cuda:
        lines.append("__cuda is available if `version` in `[cuda]` is set.")
    return "\n".join(lines)


def _find_failed_channel(channels: tuple[Channel, ...], problem: str, index: int | None) -> Channel:
    if index is not None:
        return channels[index]
    return next((channel for channel in channels if channel.url in problem), channels[0])


def create_channel_error(kind: str, problem: str, channel: Channel) -> EnvcompileError:
    """Return the error for a channel that cannot be read. `kind` and `problem` come from the worker."""
    name = f"the conda channel `{channel.name}`"
    # Show the first error of the chain (what was tried) and the last one (why it failed).
    first, *causes = " ".join(problem.split()).split(" Caused by: ")
    problem = f"{first}: {causes[-1]}" if causes else first
    if kind == "invalid-configuration":
        message = f"cannot read the configuration of rattler: {problem}"
        return InvalidInputError(message, "correct the file; it is used to read channels")
    if kind == "channel-not-found":
        message = f"there is no channel `{channel.name}` at `{channel.url}`"
        return InvalidInputError(message, "check the name, the URL or the path of the channel")
    if kind == "credentials-required":
        return UnavailableError(f"{name} requires credentials: {problem}", _LOGIN_HINT)
    if kind == "not-cached":
        return UnavailableError(f"{name} is not in the cache, and `--offline` is set", "run once without `--offline`")
    return UnavailableError(f"cannot read {name}: {problem}", "check its URL and the network, and try again")


def create_no_answer_error(finished: ProcessResult) -> UnavailableError:
    """Return the error for a worker or a conda-lock that ended without an answer."""
    errors = finished.stderr.strip()
    if "No module named 'rattler'" in errors:
        hint = "run `pip install 'envcompile[lock]'`"
        return UnavailableError("`py-rattler`, which resolves conda packages, is not installed", hint)
    reason = redact_secrets(errors.splitlines()[-1]) if errors else f"no output, exit code {finished.exit_code}"
    return UnavailableError(f"the conda resolver ended without an answer: {reason}", "run the command again with `-v`")
