"""Docker as `doctor` sees it: client, daemon, buildx, the builder, the image store."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.errors import EnvcompileError, UnavailableError
from envcompile.engine.buildx import check
from envcompile.engine.failure import explain
from envcompile.engine.features import able
from envcompile.engine.images import own_platform
from envcompile.findings import Finding, failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envcompile.engine.command import Ask, Docker

# The first engine whose own builder knows heredocs and that loads layers of zstd (its release notes, February 2023).
_OLDEST_ENGINE = 23
_STORE = (
    'write `{"features": {"containerd-snapshotter": true}}` into the daemon\'s configuration, or name another builder'
    " with `--builder`"
)


def engine(docker: Docker, builder: str) -> Iterator[Finding]:
    """Everything from the command line to the image store. What rests on something missing is not looked at."""
    try:
        versions = _json(docker.ask, "version")
    except UnavailableError as problem:
        yield failed("docker", problem)
        return
    yield Finding("docker", "fine", f"docker {_version(versions.get('Client'))}, the command line")
    daemon = _daemon(docker.ask, versions)
    yield daemon
    try:
        yield Finding("buildx", "fine", f"buildx {check(docker.ask)}")
    except UnavailableError as problem:
        yield failed("buildx", problem)
        return
    if daemon.state == "missing":
        return
    try:
        yield from _builder(docker, builder)
    except EnvcompileError as problem:
        yield failed("builder", problem)


def information(ask: Ask) -> Mapping[str, Any]:
    """What the daemon tells of itself; nothing when it does not answer. Raises `MissingOutside` without docker."""
    return _json(ask, "info")


def contained(told: Mapping[str, Any]) -> bool:
    """Whether the daemon keeps images in containerd's store."""
    return "io.containerd.snapshotter.v1" in str(told.get("DriverStatus"))


def _json(ask: Ask, word: str) -> dict[str, Any]:
    answer = ask(word, "--format", "{{json .}}")
    try:
        value = json.loads(answer.output)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _version(part: object) -> str:
    return str(part.get("Version") or "of no version") if isinstance(part, dict) else "of no version"


def _daemon(ask: Ask, versions: Mapping[str, Any]) -> Finding:
    if not isinstance(versions.get("Server"), dict):
        return failed("daemon", explain(ask("version").errors))
    version = _version(versions["Server"])
    found = re.match(r"[0-9]+", version)
    if found and int(found[0]) < _OLDEST_ENGINE:
        message = f"engine {version} is too old: {_OLDEST_ENGINE} is the first that builds what we write, and loads it"
        return Finding("daemon", "wrong", message, f"install Docker {_OLDEST_ENGINE} or later")
    return Finding("daemon", "fine", f"engine {version}")


def _builder(docker: Docker, builder: str) -> Iterator[Finding]:
    """The builder, what it can do, and where it can put images."""
    answer = docker.ask("buildx", "inspect", *([builder] if builder else []))
    if answer.code:
        raise explain(answer.errors)
    name, driver = _field(answer.output, "Name"), _field(answer.output, "Driver")
    called = f"builder `{name}` ({driver})"
    if not re.search(r"^Status:\s+running", answer.output, re.MULTILINE):
        message = f"{called} is not running: a build starts it, and what it can do is not known before"
        yield Finding("builder", "note", message, "run `docker buildx inspect --bootstrap`, and this command again")
        return
    can = able(docker, builder, own_platform(docker.ask))
    if can.lacks:
        names = " and ".join(f"{each.name} ({each.purpose})" for each in can.lacks)
        problem = explain(can.said)
        remedy = f"install Docker {_OLDEST_ENGINE} or later, or name another builder with `--builder`"
        yield Finding("builder", "wrong", f"{called} lacks {names}: {problem.message}", remedy)
        return
    yield Finding("builder", "fine", f"{called} knows heredocs, `COPY --link` and named contexts")
    yield _outputs(called, archives=can.archives, zstd=can.zstd)


def _outputs(called: str, *, archives: bool, zstd: bool) -> Finding:
    if not archives:
        message = f"{called} writes no OCI archives, so `--repro-check`, and several platforms at once, do not work"
        return Finding("output", "note", message, _STORE)
    if not zstd:
        return Finding("output", "wrong", f"{called} does not write layers of zstd", "add `--compression gzip`")
    return Finding("output", "fine", "OCI archives and layers of zstd")


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s+(\S+)", text, re.MULTILINE)
    return found[1] if found else "?"
