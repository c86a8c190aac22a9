"""Why pip-compile failed, or passed over something: from pip's own log to one error without noise or credentials."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import UnavailableError
from envcompile.resolve.protocol import Unsolvable
from envcompile.resolve.simple_index import silent
from envcompile.spec.pip import find_index_name

if TYPE_CHECKING:
    from envcompile.diagnostics.errors import EnvcompileError
    from envcompile.resolve.protocol import PipRequest

INSTALL = "run `pip install 'envcompile[engines]'`"
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:,]+ ?", re.MULTILINE)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SKIPPED = re.compile(r"Could not fetch URL \S*?([^/\s]+)/?: (.+?)(?: - skipping)?$", re.MULTILINE)
_IGNORED = re.compile(r"The repository located at (\S+) is not a trusted or secure host and is being ignored")
_NOT_A_PAGE = re.compile(r"Skipping page \S*?([^/\s]+)/? because (.+?)\.", re.MULTILINE)
_REASON = re.compile(r"ERROR: (?=Could not find a version|Cannot install)")
_AFTER = re.compile(r"^\s*(?:To fix this you could try|Removed build tracker)", re.MULTILINE)
_LINE = re.compile(r"-r requirements\.in \(line (\d+)\)")
_VERSIONS = re.compile(r"\(from versions: (?P<list>[^)]*)\)")
_NETWORK = re.compile(r"NetworkConnectionError|ConnectionFailedError|ConnectionTimeoutError|ProxyConnectionError")
_SHOWN = 3


def skipped_page(log: str) -> UnavailableError | None:
    """The error for a project whose page could not be read.

    pip only notes this in its log and goes on as if the project had no releases: it may then end with older packages
    that need none of it, and call that success. A page that is not there (404) is an answer, and no trouble.
    """
    log = _USERINFO.sub("***", log)
    for project, reason in _SKIPPED.findall(log):
        if not reason.startswith("404"):
            return silent(reason.split(" for url:")[0], project)
    if found := _NOT_A_PAGE.search(log):
        return UnavailableError(f"the package index answers for `{found[1]}` with something else than a page")
    if found := _IGNORED.search(log):
        return UnavailableError(f"pip does not ask `{found[1]}`, which is not https", "give an index with https")
    return None


def failure(log: str, errors: str, request: PipRequest, requirements: tuple[str, ...]) -> EnvcompileError:
    """The error that pip's log and pip-compile's standard error tell of.

    `requirements` are the lines of requirements.in: where pip says "line 2", the requirement is written instead.
    """
    if trouble := skipped_page(log):
        return trouble
    text = _STAMP.sub("", _USERINFO.sub("***", log))
    if parts := _REASON.split(text)[1:]:
        reason = _LINE.sub(lambda found: requirements[int(found[1]) - 1], _AFTER.split(parts[-1])[0])
        missing = dict.fromkeys(name for name, said in _SKIPPED.findall(text) if said.startswith("404"))
        notes = [f"{_index(name, request)} has no package {name}." for name in missing]
        return Unsolvable(request.platform.name, "\n".join([*_tidy(reason), *notes]))
    return _unexpected(_USERINFO.sub("***", errors), request)


def _index(name: str, request: PipRequest) -> str:
    return f"The index `{find_index_name(name, request.indexes)}`" if request.indexes else "The index"


def _tidy(reason: str) -> list[str]:
    """The lines, without blank ones and without hundreds of versions."""
    return [_VERSIONS.sub(_few, line).rstrip() for line in reason.splitlines() if line.strip()]


def _few(found: re.Match[str]) -> str:
    versions = found["list"].split(", ")
    if versions == ["none"]:
        return "(there is none for this platform and Python)"
    cut = f"{len(versions) - _SHOWN} older, " if len(versions) > _SHOWN else ""
    return f"(there are: {cut}{', '.join(versions[-_SHOWN:])})"


def _unexpected(errors: str, request: PipRequest) -> EnvcompileError:
    """An end without a word about requirements: no pip-tools, one that does not fit its pip, a broken download."""
    if "No module named piptools" in errors or "No module named pip." in errors:
        return UnavailableError("`pip-tools`, which is asked to resolve pip packages, is not there", INSTALL)
    last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "it gave no reason")
    said = re.sub(r"^(?:[\w.]+\.\w+|Error): ", "", last)
    if "upload-time metadata" in said:
        reason = "the index does not tell when files were uploaded, so `exclude-newer` cannot be answered"
        return Unsolvable(request.platform.name, reason)
    if _NETWORK.search(errors):
        return UnavailableError(f"the package index did not answer: {said}", "check the network")
    return UnavailableError(f"`pip-tools` failed: {said}", f"its pip may not fit it: {INSTALL}")
