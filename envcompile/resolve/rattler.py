"""py-rattler as conda resolver: all platforms in one short process of their own.

The process is not ours, because py-rattler 0.28 can crash when the interpreter ends, after its work is done: what
counts is the answer it wrote, not how it ended. And nothing else pays for importing it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics import redact
from envcompile.errors import MissingOutside
from envcompile.lock.model import CondaPackage
from envcompile.resolve.protocol import Unsolvable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.resolve.conda import CondaRequest
    from envcompile.resolve.protocol import Effects

# Where the network is and who the user is there; nothing that changes an answer.
_KEPT = frozenset(
    "PATH HOME USER LOGNAME TMPDIR TEMP TMP SYSTEMROOT APPDATA LOCALAPPDATA USERPROFILE XDG_CACHE_HOME XDG_CONFIG_HOME "
    "XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy "
    "all_proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR NETRC RATTLER_CACHE_DIR RATTLER_AUTH_FILE PYTHONPATH PYTHONHOME "
    "VIRTUAL_ENV LD_LIBRARY_PATH".split()
)


class Rattler:
    """The solver of py-rattler; see `CondaResolver`."""

    def resolve(self, requests: tuple[CondaRequest, ...], effects: Effects) -> tuple[tuple[CondaPackage, ...], ...]:
        """The packages of each request, sorted by name. Raises `Unsolvable` or `MissingOutside`."""
        with TemporaryDirectory(prefix="envcompile-") as folder:
            question, answer = Path(folder, "question.json"), Path(folder, "answer.json")
            question.write_text(json.dumps([_asked(request) for request in requests]), "utf-8")
            environment = {key: value for key, value in effects.environment.items() if key in _KEPT}
            argv = (sys.executable, "-m", "envcompile.resolve.rattler_solve", str(question), str(answer))
            finished = effects.run(argv, folder, environment)
            if not answer.exists():
                raise _gone(finished.errors)
            answers: list[dict[str, Any]] = json.loads(answer.read_text("utf-8"))
        return tuple(_told(request, each) for request, each in zip(requests, answers, strict=True))


def _asked(request: CondaRequest) -> dict[str, Any]:
    kept = [] if request.upgrade is True else [p for p in request.preferences if p.name not in _upgraded(request)]
    return {
        "requirements": request.requirements,
        "channels": [dataclasses.asdict(channel) for channel in request.channels],
        "platform": request.platform.name,
        "machine": request.platform.machine,
        "glibc": request.glibc,
        "cuda": request.cuda,
        "exclude_newer": request.exclude_newer,
        "preferences": [[each.subdir, each.file] for each in kept],
        "offline": request.offline,
    }


def _upgraded(request: CondaRequest) -> frozenset[str]:
    return request.upgrade if isinstance(request.upgrade, frozenset) else frozenset()


def _gone(errors: str) -> MissingOutside:
    if "No module named 'rattler'" in errors:
        hint = "run `pip install 'envcompile[lock]'`"
        return MissingOutside("`py-rattler`, which resolves conda packages, is not there", hint)
    last = redact(errors.strip().splitlines()[-1]) if errors.strip() else "it said nothing"
    return MissingOutside(f"the conda resolver ended without an answer: {last}", "run the command again with `-v`")


def _told(request: CondaRequest, answer: Mapping[str, Any]) -> tuple[CondaPackage, ...]:
    problem = redact(str(answer.get("problem", "")))
    if answer["kind"] == "unsolvable":
        raise Unsolvable(request.platform.name, problem, "conda")
    if answer["kind"] == "channel":
        raise MissingOutside(f"a conda channel cannot be read: {problem}", "check its name, its URL and the network")
    packages = [CondaPackage(**{**row, "depends": tuple(row["depends"])}) for row in answer["packages"]]
    for package in packages:
        if not package.sha256:
            said = f"the channel `{package.channel}` tells no sha256 of `{package.file}`, so it cannot be locked"
            raise MissingOutside(said, "use a channel that is indexed with hashes")
    return tuple(sorted(packages, key=lambda package: package.name))
