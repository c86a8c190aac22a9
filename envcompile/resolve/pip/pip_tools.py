"""Why pip-compile failed, or passed over something: from pip's own log to one error without noise or credentials."""

from __future__ import annotations

import os
import platform
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from packaging.requirements import Requirement
from packaging.tags import sys_tags

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.process import select_environment
from envcompile.resolve.model import Effects, UnsolvableError, solve_keeping_pins
from envcompile.resolve.pip.index_router import IndexRouter, serve_index_router
from envcompile.resolve.pip.simple_index import SimpleIndex, create_no_answer_error, create_no_page_error
from envcompile.resolve.pip.wheels import check_requirements, find_newer_glibc_wheel, parse_annotations, select_packages
from envcompile.spec.pip import DEFAULT_INDEX, find_index_name, normalize_name
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.diagnostics.errors import EnvcompileError
    from envcompile.lock.model import PipPackage
    from envcompile.resolve.model import PipRequest
    from envcompile.resolve.pip.simple_index import IndexFile

INSTALL_HINT = "run `pip install 'envcompile[engines]'`"
_LOG_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:,]+ ?", re.MULTILINE)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SKIPPED_PAGE = re.compile(r"Could not fetch URL \S*?([^/\s]+)/?: (.+?)(?: - skipping)?$", re.MULTILINE)
_IGNORED_LINE = re.compile(r"The repository located at (\S+) is not a trusted or secure host and is being ignored")
_NOT_A_PAGE = re.compile(r"Skipping page \S*?([^/\s]+)/? because (.+?)\.", re.MULTILINE)
_REASON_START = re.compile(r"ERROR: (?=Could not find a version|Cannot install)")
_REASON_END = re.compile(r"^\s*(?:To fix this you could try|Removed build tracker)", re.MULTILINE)
_REASON_LINE = re.compile(r"-r requirements\.in \(line (\d+)\)")
_VERSION_LIST = re.compile(r"\(from versions: (?P<list>[^)]*)\)")
_NETWORK_ERROR = re.compile(r"NetworkConnectionError|ConnectionFailedError|ConnectionTimeoutError|ProxyConnectionError")
_MAX_SHOWN_VERSIONS = 3


def create_skipped_page_error(log: str) -> UnavailableError | None:
    """The error for a project whose page could not be read.

    pip only notes this in its log and goes on as if the project had no releases: it may then end with older packages
    that need none of it, and call that success. A page that is not there (404) is an answer, and no trouble.
    """
    log = _USERINFO.sub("***", log)
    for project, reason in _SKIPPED_PAGE.findall(log):
        if not reason.startswith("404"):
            return create_no_answer_error(reason.split(" for url:")[0], project)
    if found := _NOT_A_PAGE.search(log):
        return create_no_page_error(found[1])
    if found := _IGNORED_LINE.search(log):
        return UnavailableError(f"pip does not ask `{found[1]}`, which is not https", "give an index with https")
    return None


def create_failure(log: str, errors: str, request: PipRequest, requirements: tuple[str, ...]) -> EnvcompileError:
    """The error that pip's log and pip-compile's standard error tell of.

    `requirements` are the lines of requirements.in: where pip says "line 2", the requirement is written instead.
    """
    if trouble := create_skipped_page_error(log):
        return trouble
    text = _LOG_TIMESTAMP.sub("", _USERINFO.sub("***", log))
    if parts := _REASON_START.split(text)[1:]:
        reason = _REASON_LINE.sub(lambda found: requirements[int(found[1]) - 1], _REASON_END.split(parts[-1])[0])
        missing = dict.fromkeys(name for name, said in _SKIPPED_PAGE.findall(text) if said.startswith("404"))
        notes = [f"{_format_index_name(name, request)} has no package {name}." for name in missing]
        return UnsolvableError(request.platform.name, "\n".join([*_clean_lines(reason), *notes]))
    return _create_unexpected_error(_USERINFO.sub("***", errors), request)


def _format_index_name(name: str, request: PipRequest) -> str:
    return f"The index `{find_index_name(name, request.indexes)}`" if request.indexes else "The index"


def _clean_lines(reason: str) -> list[str]:
    """The lines, without blank ones and without hundreds of versions."""
    return [_VERSION_LIST.sub(_shorten_versions, line).rstrip() for line in reason.splitlines() if line.strip()]


def _shorten_versions(found: re.Match[str]) -> str:
    versions = found["list"].split(", ")
    if versions == ["none"]:
        return "(there is none for this platform and Python)"
    cut = f"{len(versions) - _MAX_SHOWN_VERSIONS} older, " if len(versions) > _MAX_SHOWN_VERSIONS else ""
    return f"(there are: {cut}{', '.join(versions[-_MAX_SHOWN_VERSIONS:])})"


def _create_unexpected_error(errors: str, request: PipRequest) -> EnvcompileError:
    """An end without a word about requirements: no pip-tools, one that does not fit its pip, a broken download."""
    if "No module named piptools" in errors or "No module named pip." in errors:
        return UnavailableError("`pip-tools`, which is asked to resolve pip packages, is not there", INSTALL_HINT)
    last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "it gave no reason")
    said = re.sub(r"^(?:[\w.]+\.\w+|Error): ", "", last)
    if "upload-time metadata" in said:
        reason = "the index does not tell when files were uploaded, so `exclude-newer` cannot be answered"
        return UnsolvableError(request.platform.name, reason)
    if _NETWORK_ERROR.search(errors):
        return UnavailableError(f"the package index did not answer: {said}", "check the network")
    return UnavailableError(f"`pip-tools` failed: {said}", f"its pip may not fit it: {INSTALL_HINT}")


# pip-tools as pip resolver: pip-compile chooses the versions, the index's own pages tell the files and hashes.
#
# pip-compile prints neither file names nor sizes, and without the JSON API of the index it downloads every file of a
# release to hash it; so it runs without `--generate-hashes`.


_PIP_INDEX_PROGRAM = "import sys; from pip._internal.models.index import PyPI; sys.stderr.write(PyPI.simple_url)"
_PIN_LINE = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?===?([^\s;]+)")
_MANYLINUX_TAG = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)")
_OFFLINE_HINT = 'write `resolver = "uv"`, which resolves from its cache'
_OTHER_RESOLVER_HINT = 'write `resolver = "uv"`, which resolves for any platform and Python from here'


class RunningInterpreter(NamedTuple):
    """The running interpreter as wheel tags and markers see it; `glibc` is X.Y, "" where there is none."""

    python: str
    machine: str
    glibc: str


class PipToolsResolver:
    """The pip-compile of the environment that envcompile runs in."""

    def resolve(self, request: PipRequest, effects: Effects) -> tuple[PipPackage, ...]:
        """The packages for one platform; see `PipResolver`.

        Raises `InvalidInputError` when that is not the one it runs on.
        """
        if effects.offline:
            raise InvalidInputError(
                "`pip-tools` asks its index each time, and `--offline` lets nobody be asked", _OFFLINE_HINT
            )
        here = find_running_interpreter()
        check_running_platform(request, here)
        with (
            TemporaryDirectory(prefix="envcompile-") as folder,
            _serve_one_index(request, request.index or find_index_url(effects, folder)) as asked,
        ):
            outer = asked.exclude_from_proxies(effects.environment) if request.indexes else effects.environment
            text = _run_solver(request, Effects(effects.run, outer), Path(folder), asked.url)
        pins = dict(pin for line in text.splitlines() if (pin := _parse_pin(line)))
        needs = _remove_excluded(request, pins, parse_annotations(text))
        where = {name: asked.served[name] if request.indexes else DEFAULT_INDEX for name in sorted(needs)}
        projects = _fetch_projects(where, asked.indexes, effects)
        if hidden := find_newer_glibc_wheel(projects, pins, request, here.glibc):
            said = f"`{hidden}` fits the base image, but not the glibc {here.glibc} of this machine"
            raise InvalidInputError(f"{said}, for which alone `pip-tools` resolves", _OTHER_RESOLVER_HINT)
        found = select_packages(pins, needs, projects, request)
        answer = tuple(replace(package, index=where[package.name]) for package in found)
        check_requirements(answer, _list_requirements(request), request)
        return answer


def _serve_one_index(request: PipRequest, default: str) -> AbstractContextManager[IndexRouter]:
    if not request.indexes:
        return nullcontext(IndexRouter(default, {DEFAULT_INDEX: default}))
    if "@" in default:
        said = "with `extra-indexes`, `pip-tools` cannot use a default index whose URL holds credentials"
        raise InvalidInputError(said, "give them in netrc, and PIP_INDEX_URL without them")
    return serve_index_router(request.indexes, default)


def _fetch_projects(
    where: Mapping[str, str], indexes: Mapping[str, str], effects: Effects
) -> dict[str, tuple[IndexFile, ...]]:
    """The files of every project, of the index that `where` names for it."""
    found: dict[str, tuple[IndexFile, ...]] = {}
    for index in sorted(set(where.values())):
        names = [name for name in where if where[name] == index]
        found.update(SimpleIndex(indexes[index], effects.environment).fetch_files(names))
    return found


def find_running_interpreter() -> RunningInterpreter:
    """The interpreter that runs, read off the first of the manylinux tags that pip itself goes by."""
    python = platform.python_version()
    for tag in sys_tags():
        # The first is the newest. Another ABI than the interpreter's is a debug or a free-threaded build.
        if found := _MANYLINUX_TAG.fullmatch(tag.platform):
            ours = tag.interpreter.startswith("cp") and tag.abi == tag.interpreter
            return RunningInterpreter(python, found[3], f"{found[1]}.{found[2]}" if ours else "")
    return RunningInterpreter(python, "", "")


def check_running_platform(request: PipRequest, here: RunningInterpreter) -> None:
    """Raises `InvalidInputError` unless the request is for this platform and this very Python.

    pip-compile evaluates markers, `python_full_version` too, with the interpreter it runs in.
    """
    if not here.glibc:
        raise InvalidInputError(
            "`pip-tools` resolves for where it runs, and that is not CPython on Linux with glibc", _OTHER_RESOLVER_HINT
        )
    if request.platform.machine != here.machine:
        said = f"`pip-tools` resolves only for the machine it runs on, `{here.machine}`"
        raise InvalidInputError(
            f"{said}, and `{request.platform.name}` is `{request.platform.machine}`", _OTHER_RESOLVER_HINT
        )
    if request.python != here.python:
        said = f"`pip-tools` resolves only for the Python it runs in, `{here.python}`"
        raise InvalidInputError(f"{said}, and the base image has `{request.python}`", _OTHER_RESOLVER_HINT)


def find_index_url(effects: Effects, folder: str) -> str:
    """The index to ask: the user's PIP_INDEX_URL, else the default of the pip that is installed, as that pip says."""
    if given := effects.environment.get("PIP_INDEX_URL"):
        return given
    finished = effects.run((sys.executable, "-c", _PIP_INDEX_PROGRAM), folder, _build_environment(effects.environment))
    if finished.exit_code:
        raise UnavailableError("`pip`, which `pip-tools` works with, is not there", INSTALL_HINT)
    return finished.stderr.split()[-1]


def _build_environment(outer: Mapping[str, str]) -> dict[str, str]:
    kept = select_environment(outer)
    # The null device as configuration file is pip's way of reading none at all, the machine's and the user's included.
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _run_solver(request: PipRequest, effects: Effects, folder: Path, url: str) -> str:
    """The text that pip-compile writes, with the kept pins as its earlier output."""
    lines = tuple(str(each) for each in _list_requirements(request))
    (folder / "constraints.txt").write_text(request.list_constraints(), "utf-8")
    # Behind the requirements: a reason names these by their lines.
    (folder / "requirements.in").write_text("".join(f"{line}\n" for line in (*lines, "-c constraints.txt")), "utf-8")
    # PEP 600: this module tells pip which glibc to believe in. It stands in the folder that `python -m` looks in first.
    limit = version_numbers(request.glibc)
    module = f"def manylinux_compatible(major, minor, arch):\n    return (major, minor) <= {limit}\n"
    (folder / "_manylinux.py").write_text(module, "utf-8")
    # pip-compile takes its earlier output as constraints and drops one that is itself the cause of a conflict, but
    # fails when the cause is what a kept package requires.
    pins = {package.name: package.version for package in request.kept_pins()}
    return solve_keeping_pins(lambda held: _run_pip_compile(request, effects, folder, url, held), pins)


def _run_pip_compile(request: PipRequest, effects: Effects, folder: Path, url: str, pins: Mapping[str, str]) -> str:
    out, log = folder / "requirements.txt", folder / "pip.log"
    out.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())), "utf-8")
    log.unlink(missing_ok=True)
    newer = ("--uploaded-prior-to", request.exclude_newer) if request.exclude_newer else ()
    argv = (
        *(sys.executable, "-m", "piptools", "compile", "requirements.in", "--output-file", out.name, "--no-config"),
        *("--quiet", "--no-header", "--no-emit-options", "--annotate", "--annotation-style", "line", *newer),
        # Without --allow-unsafe it leaves out pip and setuptools, also where a package needs them.
        *("--strip-extras", "--allow-unsafe", "--resolver", "backtracking"),
        # Its log is where pip says why there is no answer, and where it hides that a page could not be read.
        *("--pip-args", f"--only-binary=:all: --retries=3 --log={log.name}"),
    )
    # In the environment, not in argv: it may hold a password, and argv can be read by every user of the machine.
    finished = effects.run(argv, str(folder), {**_build_environment(effects.environment), "PIP_INDEX_URL": url})
    said = log.read_text("utf-8", "replace") if log.exists() else ""
    if finished.exit_code:
        raise create_failure(said, finished.stderr, request, tuple(str(each) for each in _list_requirements(request)))
    if trouble := create_skipped_page_error(said):
        raise trouble
    return out.read_text("utf-8")


def _list_requirements(request: PipRequest) -> list[Requirement]:
    """What the spec requires on this platform, without what it excludes."""
    excluded = {normalize_name(name) for name in request.exclude}
    every = [Requirement(text) for text in request.requirements]
    return [
        each
        for each in every
        if normalize_name(each.name) not in excluded and (not each.marker or each.marker.evaluate())
    ]


def _parse_pin(line: str) -> tuple[str, str] | None:
    found = _PIN_LINE.match(line)
    return (normalize_name(found[1]), found[2]) if found else None


def _remove_excluded(
    request: PipRequest, pins: Mapping[str, str], needs: Mapping[str, set[str]]
) -> dict[str, set[str]]:
    """The graph of what is reached from the requirements without passing an excluded package.

    pip-compile cannot leave a package out. What remains is consistent all the same, being part of a consistent whole;
    only it may be older than need be where an excluded package asked for less, or unsolvable because of it.
    """
    excluded = {normalize_name(name) for name in request.exclude}
    reached: dict[str, set[str]] = {}
    waiting: list[str] = [normalize_name(each.name) for each in _list_requirements(request)]
    while waiting:
        name = waiting.pop()
        if name in pins and name not in reached:
            reached[name] = needs.get(name, set()) - excluded
            waiting.extend(reached[name])
    return reached
