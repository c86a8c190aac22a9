"""Resolve pip packages with pip-tools: pip-compile selects versions, the index lists files and hashes.

pip-compile prints neither file names nor sizes. Its option `--generate-hashes` is not used: for an index
without a JSON API, pip-compile would download every file of a release to compute the hash.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from packaging.tags import sys_tags

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.process import select_environment
from envcompile.project.files import temporary_folder
from envcompile.resolve.model import Effects, PipSolution, UnsolvableError, solve_keeping_pins
from envcompile.resolve.pip.index_router import IndexRouter, serve_index_router
from envcompile.resolve.pip.simple_index import SimpleIndex, create_no_answer_error, create_no_page_error
from envcompile.resolve.pip.wheels import check_requirements, find_newer_glibc_wheel, parse_annotations, select_packages
from envcompile.spec.pip import DEFAULT_INDEX, find_index_name, make_marker_environment, normalize_name
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from envcompile.diagnostics.errors import EnvcompileError
    from envcompile.resolve.model import PipRequest
    from envcompile.resolve.pip.simple_index import IndexFile
    from envcompile.spec.pip import PipRequirement

INSTALL_HINT = "run `pip install 'envcompile[engines]'`"
_LOG_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:,]+ ?", re.MULTILINE)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SKIPPED_PAGE = re.compile(r"Could not fetch URL (\S+): (.+)")
_IGNORED_LINE = re.compile(r"The repository located at (\S+) is not a trusted or secure host and is being ignored")
_NOT_A_PAGE = re.compile(r"Skipping page (\S+) because [^.\n]{1,300}\.")
_REASON_START = re.compile(r"ERROR: (?=Could not find a version|Cannot install)")
_REASON_END = re.compile(r"^[ \t]*(?:To fix this you could try|Removed build tracker)", re.MULTILINE)
_REASON_LINE = re.compile(r"-r requirements\.in \(line (\d+)\)")
_VERSION_LIST = re.compile(r"\(from versions: (?P<list>[^()]*)\)")
_NETWORK_ERROR = re.compile(r"NetworkConnectionError|ConnectionFailedError|ConnectionTimeoutError|ProxyConnectionError")
_MAX_SHOWN_VERSIONS = 3
_PIP_INDEX_PROGRAM = "import sys; from pip._internal.models.index import PyPI; sys.stderr.write(PyPI.simple_url)"
_PIN_LINE = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?===?([^\s;]+)")
_MANYLINUX_TAG = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)")
_OFFLINE_HINT = 'write `resolver = "uv"` in `[pip]`: uv can resolve from its cache'
_OTHER_RESOLVER_HINT = 'write `resolver = "uv"` in `[pip]`: uv can resolve for any platform and Python'


class RunningInterpreter(NamedTuple):
    """The running interpreter, as wheel tags and markers describe it.

    `glibc` is X.Y, or "" if the interpreter is not CPython with the default ABI on Linux with glibc.
    """

    python: str
    machine: str
    glibc: str


class PipToolsResolver:
    """A resolver that runs the pip-compile in the Python environment of envcompile."""

    def resolve(self, request: PipRequest, effects: Effects, *, with_dependencies: bool = True) -> PipSolution:
        """Return the packages for one platform; see `PipResolver`.

        Raises `InvalidInputError` if pip-tools does not support the request: offline, for another platform or Python
        than the running one, or if it ignored a wheel that the base image could use.
        """
        del with_dependencies  # the dependencies are always known: comments in the output of pip-compile
        if effects.offline:
            raise InvalidInputError("`pip-tools` needs network access, and `--offline` is set", _OFFLINE_HINT)
        interpreter = find_running_interpreter()
        check_running_platform(request, interpreter)
        with (
            temporary_folder() as folder,
            _serve_one_index(request, request.index or find_index_url(effects, str(folder))) as router,
        ):
            environment = router.exclude_from_proxies(effects.environment) if request.indexes else effects.environment
            text = _run_solver(request, Effects(effects.run, environment), folder, router.url)
        pins = dict(pin for line in text.splitlines() if (pin := _parse_pin(line)))
        needs = _remove_excluded(request, pins, parse_annotations(text))
        indexes = {name: router.served[name] if request.indexes else DEFAULT_INDEX for name in sorted(needs)}
        projects = _fetch_projects(indexes, router.indexes, effects)
        if ignored := find_newer_glibc_wheel(projects, pins, request, interpreter.glibc):
            message = f"`pip-tools` ignores `{ignored}`, because this machine has glibc {interpreter.glibc}"
            raise InvalidInputError(f"{message}; the base image could use this wheel", _OTHER_RESOLVER_HINT)
        selected = select_packages(pins, needs, projects, request)
        packages = tuple(replace(package, index=indexes[package.name]) for package in selected)
        check_requirements(packages, _list_requirements(request), request)
        return PipSolution(packages, {file.sha256: file.url for files in projects.values() for file in files})


def _serve_one_index(request: PipRequest, default: str) -> AbstractContextManager[IndexRouter]:
    if not request.indexes:
        return nullcontext(IndexRouter(default, {DEFAULT_INDEX: default}))
    if "@" in default:
        message = "with `extra-indexes`, `pip-tools` cannot use a default index with credentials in its URL"
        raise InvalidInputError(message, "add the credentials to netrc, and remove them from PIP_INDEX_URL")
    return serve_index_router(request.indexes, default)


def _fetch_projects(
    indexes: Mapping[str, str], urls: Mapping[str, str], effects: Effects
) -> dict[str, tuple[IndexFile, ...]]:
    """Return the files of each project. `indexes` has the index of each project, and `urls` the URL of each index."""
    projects: dict[str, tuple[IndexFile, ...]] = {}
    for index in sorted(set(indexes.values())):
        names = [name for name in indexes if indexes[name] == index]
        projects.update(SimpleIndex(urls[index], effects.environment).fetch_files(names))
    return projects


def find_running_interpreter() -> RunningInterpreter:
    """Return the running interpreter, as the first manylinux tag that pip accepts describes it."""
    python = platform.python_version()
    for tag in sys_tags():
        # The first tag has the newest glibc. A debug or free-threaded build has another ABI than `cp3X`.
        if found := _MANYLINUX_TAG.fullmatch(tag.platform):
            is_supported = tag.interpreter.startswith("cp") and tag.abi == tag.interpreter
            return RunningInterpreter(python, found[3], f"{found[1]}.{found[2]}" if is_supported else "")
    return RunningInterpreter(python, "", "")


def check_running_platform(request: PipRequest, interpreter: RunningInterpreter) -> None:
    """Raise `InvalidInputError` if the request is for another platform or another Python than the running one.

    pip-compile evaluates markers, including `python_full_version`, with the interpreter that it runs in.
    """
    if not interpreter.glibc:
        raise InvalidInputError(
            "`pip-tools` resolves only for this interpreter, which is not CPython on Linux with glibc",
            _OTHER_RESOLVER_HINT,
        )
    if request.platform.machine != interpreter.machine:
        message = f"`pip-tools` resolves only for this machine, which is `{interpreter.machine}`"
        raise InvalidInputError(
            f"{message}; `{request.platform.name}` is `{request.platform.machine}`", _OTHER_RESOLVER_HINT
        )
    if request.abi:
        message = f"`pip-tools` cannot resolve for the free-threaded Python, whose ABI is `{request.abi}`"
        raise InvalidInputError(message, _OTHER_RESOLVER_HINT)
    if request.python != interpreter.python:
        message = f"`pip-tools` resolves only for this Python, which is `{interpreter.python}`"
        raise InvalidInputError(f"{message}; the base image has `{request.python}`", _OTHER_RESOLVER_HINT)


def find_index_url(effects: Effects, folder: str) -> str:
    """Return the URL of the default index: the user's PIP_INDEX_URL, or else the default of the installed pip.

    Raises `UnavailableError` if pip is not installed.
    """
    if url := effects.environment.get("PIP_INDEX_URL"):
        return url
    finished = effects.run((sys.executable, "-c", _PIP_INDEX_PROGRAM), folder, _build_environment(effects.environment))
    if finished.exit_code:
        raise UnavailableError("`pip`, which `pip-tools` uses, is not installed", INSTALL_HINT)
    return finished.stderr.split()[-1]


def _build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    # With the null device as PIP_CONFIG_FILE, pip does not read the configuration of the machine or the user.
    return {
        **select_environment(environment),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def _run_solver(request: PipRequest, effects: Effects, folder: Path, url: str) -> str:
    """Return the text of the requirements.txt that pip-compile writes. Pins are kept if the requirements allow it."""
    lines = tuple(map(str, _list_requirements(request)))
    (folder / "constraints.txt").write_text(request.list_constraints(), "utf-8")
    # The constraints come last, because pip reports requirements by their line numbers.
    (folder / "requirements.in").write_text("".join(f"{line}\n" for line in (*lines, "-c constraints.txt")), "utf-8")
    # With this module (PEP 600), pip rejects wheels for a newer glibc than that of the base image. pip finds the module
    # because `python -m` searches the working folder first.
    limit = version_numbers(request.glibc)
    module = f"def manylinux_compatible(major, minor, arch):\n    return (major, minor) <= {limit}\n"
    (folder / "_manylinux.py").write_text(module, "utf-8")
    # pip-compile reads the pins from its earlier output. It drops a pin that is in conflict with a requirement, but
    # fails if a dependency of a pinned release is in conflict with one.
    pins = {package.name: package.version for package in request.kept_pins()}
    return solve_keeping_pins(lambda kept_pins: _run_pip_compile(request, effects, folder, url, kept_pins), pins)


def _run_pip_compile(request: PipRequest, effects: Effects, folder: Path, url: str, pins: Mapping[str, str]) -> str:
    output, log = folder / "requirements.txt", folder / "pip.log"
    output.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())), "utf-8")
    log.unlink(missing_ok=True)
    newer = ("--uploaded-prior-to", request.exclude_newer) if request.exclude_newer else ()
    argv = (
        *(sys.executable, "-m", "piptools", "compile", "requirements.in", "--output-file", output.name, "--no-config"),
        *("--quiet", "--no-header", "--no-emit-options", "--annotate", "--annotation-style", "line", *newer),
        # Without --allow-unsafe, pip-compile leaves out pip and setuptools even if a package needs them.
        *("--strip-extras", "--allow-unsafe", "--resolver", "backtracking"),
        # Only the log contains the reason of a failure and the pages that pip could not read.
        *("--pip-args", f"--only-binary=:all: --retries=3 --log={log.name}"),
    )
    # The URL is not an argument, because every user of the machine can read the arguments of a process, and the URL may
    # contain a password.
    environment = {**_build_environment(effects.environment), "PIP_INDEX_URL": url}
    # pip leaves temporary files if it is killed; here they are removed with the folder.
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    finished = effects.run(argv, str(folder), environment)
    log_text = log.read_text("utf-8", "replace") if log.exists() else ""
    if finished.exit_code:
        raise create_failure(log_text, finished.stderr, request, tuple(map(str, _list_requirements(request))))
    if error := create_skipped_page_error(log_text):
        raise error
    return output.read_text("utf-8")


def _list_requirements(request: PipRequest) -> list[PipRequirement]:
    """Return the requirements that apply to this platform, except those for excluded packages."""
    excluded = {normalize_name(name) for name in request.exclude}
    environment = make_marker_environment(request.platform.machine, request.python)
    return [each for each in request.requirements if each.name not in excluded and each.applies_to(environment)]


def _parse_pin(line: str) -> tuple[str, str] | None:
    found = _PIN_LINE.match(line)
    return (normalize_name(found[1]), found[2]) if found else None


def _remove_excluded(
    request: PipRequest, pins: Mapping[str, str], needs: Mapping[str, set[str]]
) -> dict[str, set[str]]:
    """Return the packages that are still needed after the excluded ones are removed, with the dependencies of each.

    pip-compile cannot exclude packages, so they are removed from its solution. The other versions still fit together,
    but an excluded package may have forced older versions, or may have made the requirements unsolvable.
    """
    excluded = set(map(normalize_name, request.exclude))
    reached: dict[str, set[str]] = {}
    pending = [each.name for each in _list_requirements(request)]
    while pending:
        name = pending.pop()
        if name in pins and name not in reached:
            reached[name] = needs.get(name, set()) - excluded
            pending.extend(reached[name])
    return reached


# Errors, from the log of pip.


def create_skipped_page_error(log: str) -> UnavailableError | None:
    """Return an error if the log shows that pip could not read the page of a project, or else None.

    pip only logs such a failure, and continues as if the project had no releases. It may then succeed with older
    packages that do not need the project. A missing page (404) is not an error: the project does not exist.
    """
    log = _USERINFO.sub("***", log)
    for url, reason in _SKIPPED_PAGE.findall(log):
        if not reason.startswith("404"):
            return create_no_answer_error(
                reason.removesuffix(" - skipping").split(" for url:")[0], _project_from_page_url(url)
            )
    if found := _NOT_A_PAGE.search(log):
        return create_no_page_error(_project_from_page_url(found[1]))
    if found := _IGNORED_LINE.search(log):
        return UnavailableError(f"pip ignores `{found[1]}`, because its URL is not https", "use an index with https")
    return None


def _project_from_page_url(url: str) -> str:
    return url.removesuffix("/").rpartition("/")[2]


def create_failure(log: str, errors: str, request: PipRequest, requirements: tuple[str, ...]) -> EnvcompileError:
    """Return the error for a failed run of pip-compile.

    The reason comes from the log of pip or, if the log has none, from the standard error of pip-compile (`errors`).
    `requirements` are the lines of requirements.in, which replace the line numbers in the messages of pip.
    """
    if error := create_skipped_page_error(log):
        return error
    text = _LOG_TIMESTAMP.sub("", _USERINFO.sub("***", log))
    if parts := _REASON_START.split(text)[1:]:
        reason = _REASON_LINE.sub(lambda found: requirements[int(found[1]) - 1], _REASON_END.split(parts[-1])[0])
        pages = [url for url, response in _SKIPPED_PAGE.findall(text) if response.startswith("404")]
        missing = dict.fromkeys(map(_project_from_page_url, pages))
        notes = [f"{_format_index_name(name, request)} has no package {name}." for name in missing]
        return UnsolvableError(request.platform.name, "\n".join([*_clean_lines(reason), *notes]))
    return _create_unexpected_error(_USERINFO.sub("***", errors), request)


def _format_index_name(name: str, request: PipRequest) -> str:
    return f"The index `{find_index_name(name, request.indexes)}`" if request.indexes else "The index"


def _clean_lines(reason: str) -> list[str]:
    """Return the lines that are not blank, with long lists of versions shortened."""
    return [_VERSION_LIST.sub(_shorten_versions, line).rstrip() for line in reason.splitlines() if line.strip()]


def _shorten_versions(found: re.Match[str]) -> str:
    versions = found["list"].split(", ")
    if versions == ["none"]:
        return "(none for this platform and Python)"
    cut = f"{len(versions) - _MAX_SHOWN_VERSIONS} older, " if len(versions) > _MAX_SHOWN_VERSIONS else ""
    return f"(available: {cut}{', '.join(versions[-_MAX_SHOWN_VERSIONS:])})"


def _create_unexpected_error(errors: str, request: PipRequest) -> EnvcompileError:
    """Return the error for a failure that is not about requirements, such as an incompatible pip or no network."""
    if "No module named piptools" in errors or "No module named pip." in errors:
        return UnavailableError(
            "`pip-tools`, which resolves pip packages for this spec, is not installed", INSTALL_HINT
        )
    last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "no output")
    reason = re.sub(r"^(?:[\w.]+\.\w+|Error): ", "", last)
    if "upload-time metadata" in reason:
        message = "the index does not provide upload times, which `exclude-newer` needs"
        return UnsolvableError(request.platform.name, message)
    if _NETWORK_ERROR.search(errors):
        return UnavailableError(f"the package index did not answer: {reason}", "check the network")
    return UnavailableError(f"`pip-tools` failed: {reason}", f"its pip may be incompatible: {INSTALL_HINT}")
